"""How evenly load generators send, what CPU a request costs them, and up to which rate on one core.

paced, h2load --rps and Locust by turns against the zoo's fixed server, which records every arrival; wrk, which has no
rate, for its CPU time only. Server and generator have a core each.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import generators_table, peers
from benchmarks.evenness import highest, is_even
from benchmarks.one_load import Case, Outcome, disturbed_cores, measure, two_cores
from benchmarks.peers import Peer

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks" / "out"
ROUNDS = 3
# Rates by service time of the server, in µs.
RATES_PER_S = {0: (100, 497, 1000, 2011, 5000, 10_000), 2000: (1000, 5000)}
WINDOW_S = 1.0
# Over all rounds a p99 has at least this many requests behind it.
FEWEST = 1000
PACERS = (Peer.PACED, Peer.H2LOAD, Peer.LOCUST)
WRK_CONNECTIONS = 16
# A round trip to the server of 2 ms, so that this many connections make the closed loop run at about the rate.
ROUND_TRIP_S = 0.00215

SEARCHES, SEARCH_WINDOW_S, TRIES = 2, 1.0, 2
FIRST_PER_S, LOWEST_PER_S, MOST_PER_S, WITHIN = 1000.0, 100.0, 64_000.0, 1.15
# After this a search that is under way is dropped: everything together stays below 6 minutes.
SEARCH_UNTIL_S = 345.0


# A load is repeated, whatever it showed, when others used more than this of the machine; so often, and in all so often.
MOST_DISTURBED_CORES, REPEATS, REPEATS_IN_ALL = 0.1, 2, 25


class OutOfTime(RuntimeError):
    """The time for searches is over."""


@dataclass(frozen=True, slots=True)
class Search:
    """The highest even rate of one search; None: not even LOWEST_PER_S was even. tried: every load, in order."""

    peer: Peer
    highest_per_s: float | None
    tried: list[Outcome]


@dataclass(slots=True)
class Quiet:
    """Measures loads, and again while the machine is busy with something else. set_aside: what was repeated."""

    measure: Callable[[Case], Outcome] = measure
    set_aside: list[Outcome] = field(default_factory=list)

    def __call__(self, case: Case) -> Outcome:
        """Return the first load that was not disturbed, or the least disturbed one."""
        tried = [self.measure(case)]
        while (
            disturbed_cores(tried[-1]) > MOST_DISTURBED_CORES
            and len(tried) <= REPEATS
            and len(self.set_aside) + len(tried) <= REPEATS_IN_ALL
        ):
            tried.append(self.measure(case))
        best = min(tried, key=disturbed_cores)
        self.set_aside += [outcome for outcome in tried if outcome is not best]
        return best


def cases(present: list[Peer]) -> Iterator[Case]:
    """Yield the cases of one round: for each server and rate every generator in turn."""
    for service_us, rates in RATES_PER_S.items():
        for rate in rates:
            window_s = max(WINDOW_S, FEWEST / ROUNDS / rate)
            yield from (Case(peer, service_us, rate, window_s) for peer in PACERS if peer in present)
            if service_us and Peer.WRK in present:
                yield Case(Peer.WRK, service_us, None, window_s, max(1, round(rate * ROUND_TRIP_S)))
        if not service_us and Peer.WRK in present:
            yield Case(Peer.WRK, service_us, None, WINDOW_S, WRK_CONNECTIONS)


def search(peer: Peer, quiet: Quiet, until_s: float) -> Search:
    """Return the highest even rate of a generator. Raise OutOfTime at until_s of the monotonic clock."""
    tried: list[Outcome] = []

    def holds(rate_per_s: float) -> bool:
        return any(even(rate_per_s) for _ in range(TRIES))

    def even(rate_per_s: float) -> bool:
        if time.monotonic() > until_s:
            raise OutOfTime
        tried.append(quiet(Case(peer, 0, rate_per_s, SEARCH_WINDOW_S)))
        found = tried[-1].evenness
        return found is not None and is_even(found, rate_per_s)

    return Search(peer, highest(holds, FIRST_PER_S, LOWEST_PER_S, MOST_PER_S, WITHIN), tried)


def searches(present: list[Peer], quiet: Quiet, until_s: float) -> Iterator[Search]:
    """Yield SEARCHES rounds of searches, as far as the time allows."""
    try:
        for _ in range(SEARCHES):
            for peer in PACERS:
                if peer in present:
                    yield search(peer, quiet, until_s)
    except OutOfTime:
        print("searches stopped: the time for them is over", file=sys.stderr)


def machine(present: list[Peer]) -> dict[str, object]:
    """Return what the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    server_core, generator_core = two_cores()
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "server_core": server_core,
        "generator_core": generator_core,
        "virtual": any(line.startswith("flags") and " hypervisor" in line for line in lines),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
        "versions": peers.versions(present),
    }


def commit() -> dict[str, object]:
    """Return the commit of this folder, and whether files of its generators differ from it."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    paths = ["agents", "benchmarks", "tests/truth/zoo"]
    changed = subprocess.run(["git", "status", "--porcelain", *paths], capture_output=True, text=True, cwd=ROOT)
    return {"commit": done.stdout.strip(), "changed": bool(changed.stdout.strip())}


def report() -> None:
    """Measure, print the tables, and keep everything as JSON in OUT."""
    absent = peers.missing()
    for reason in absent.values():
        print(reason, file=sys.stderr)
    present = [peer for peer in Peer if peer not in absent]
    about = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **commit(), "machine": machine(present)}
    began_s = time.monotonic()
    quiet = Quiet()
    found = [quiet(case) for _ in range(ROUNDS) for case in cases(present)]
    generators_table.accuracy(found)
    limits = list(searches(present, quiet, began_s + SEARCH_UNTIL_S))
    generators_table.limits([(each.peer, each.highest_per_s) for each in limits], LOWEST_PER_S)
    generators_table.noise([*found, *(outcome for each in limits for outcome in each.tried)], len(quiet.set_aside))
    plain = {
        **about,
        "lasted_s": round(time.monotonic() - began_s, 1),
        "loads": [asdict(outcome) for outcome in found],
        "searches": [asdict(each) for each in limits],
        "set_aside": [asdict(outcome) for outcome in quiet.set_aside],
    }
    OUT.mkdir(exist_ok=True)
    path = OUT / f"generators-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    path.write_text(json.dumps(plain, indent=1))
    print(f"all loads: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    report()
