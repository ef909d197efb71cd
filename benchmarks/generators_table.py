"""The tables of benchmarks/generators.py: medians over rounds, ranges in brackets, at most 100 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from statistics import median

from benchmarks.one_load import Case, Outcome
from benchmarks.peers import Peer

HEAD = (
    f"{'asked/s':>8} {'generator':9}{'sent':>8} {'p50':>7}{'p90':>7}{'p99':>7} {'(range)':15}{'gap p99':>8}{'burst':>6}"
    f"{'CPU µs':>8} {'(range)':9}"
)


def accuracy(outcomes: list[Outcome]) -> None:
    """Print a row per server, rate and generator."""
    for service_us, of_server in groupby(sorted(outcomes, key=_server), key=_server):
        print(f"\nserver answers after {service_us / 1000:g} ms; times off the even schedule in µs, CPU per request")
        print(HEAD.rstrip())
        for case, of_case in by_case(list(of_server)):
            print(row(case, of_case), flush=True)


def _server(outcome: Outcome) -> int:
    return outcome.case.service_us


def by_case(outcomes: list[Outcome]) -> list[tuple[Case, list[Outcome]]]:
    """Return the outcomes of each case, over all rounds, in the order of the first round."""
    found: dict[Case, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.case, []).append(outcome)
    return list(found.items())


def row(case: Case, outcomes: list[Outcome]) -> str:
    """Return the line of one case; a failed load is counted at its end."""
    good = [outcome for outcome in outcomes if not outcome.error]
    failed = f" {len(outcomes) - len(good)} failed" if len(good) < len(outcomes) else ""
    asked = "-" if case.rate_per_s is None else f"{case.rate_per_s:g}"
    start = f"{asked:>8} {case.peer:9}"
    if not good:
        return f"{start} {outcomes[0].error[:80]}"
    sent = f"{median(outcome.achieved_per_s for outcome in good):8.0f}"
    return f"{start}{sent} {_times(good)}{_cpu(good)}{failed}".rstrip()


def _times(outcomes: list[Outcome]) -> str:
    found = [outcome.evenness for outcome in outcomes if outcome.evenness is not None]
    if not found:
        return f"{'-':>7}{'-':>7}{'-':>7} {'':15}{'-':>8}{'-':>6}"
    p50, p90, p99 = (median(each.schedule_off_us[i] for each in found) for i in range(3))
    range_p99 = spread([each.schedule_off_us[-1] for each in found], lambda value: f"{value:.0f}")
    gap, burst = median(each.gap_off_us[-1] for each in found), median(each.largest_burst for each in found)
    return f"{p50:7.0f}{p90:7.0f}{p99:7.0f} {range_p99:15}{gap:8.0f}{burst:6.0f}"


def _cpu(outcomes: list[Outcome]) -> str:
    each = [outcome.cpu.us_per_request for outcome in outcomes if outcome.cpu is not None]
    return f"{median(each):8.0f} {spread(each, lambda value: f'{value:.0f}'):9}" if each else f"{'-':>8}"


def spread(values: Iterable[float], text: Callable[[float], str]) -> str:
    """Return '(lowest-highest)'."""
    ordered = sorted(values)
    return f"({text(ordered[0])}-{text(ordered[-1])})"


def limits(found: list[tuple[Peer, float | None]], lowest_per_s: float) -> None:
    """Print the highest even rate of each generator, search by search."""
    print("\nhighest even rate on one core: at least 99 % sent, 99 % of them within 1 ms of the schedule")
    for peer in dict.fromkeys(peer for peer, _ in found):
        rates = [rate for one, rate in found if one is peer]
        print(f"{peer:9} {' and '.join(limit(rate, lowest_per_s) for rate in rates)}", flush=True)


def limit(rate_per_s: float | None, lowest_per_s: float) -> str:
    """Return a rate for a person; None is below the lowest that was tried."""
    return (
        f"below {lowest_per_s:,.0f}/s" if rate_per_s is None else f"{round(rate_per_s, -1 - (rate_per_s > 1e4)):,.0f}/s"
    )


def noise(outcomes: list[Outcome], set_aside: int) -> None:
    """Print what else ran on the machine during the loads that count, and how busy the server was."""
    seen = [outcome.cpu for outcome in outcomes if outcome.cpu is not None]
    if not seen:
        return
    others, steal = [cpu.others_cores for cpu in seen], [cpu.steal_cores for cpu in seen]
    print(f"\nnoise: other programs used {median(others):.2f} cores (most: {max(others):.2f}),")
    print(
        f"other virtual machines {median(steal):.2f} (most: {max(steal):.2f}); {set_aside} disturbed loads were repeated"
    )
    print(f"the server used at most {max(cpu.server_cores for cpu in seen):.2f} cores")
