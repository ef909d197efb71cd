"""Print the table of truth: python -m tests.truth.table [--behaviour GLOB] [--rate N] [--agents N] [--arrivals KIND] [--full].

Each row is one load, an open or a closed loop, against a server of the zoo: what Volley reports beside what the server's
record and the schedule say. Loads over WebSocket have names that begin with "ws:". The last column holds the bounds of the open loop: p50 and p90 within 2 % + 0.1 ms, p99 within 5 % + 0.5 ms, counts
exact. The record does not contain the way through the sockets; what it takes for an answer without delay is measured first,
and allowed for on top. Exits with 1 when a row is OFF.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import time
from collections.abc import Sequence

from agents.generators.contract import Failure
from orchestrator.result import Severity
from tests.truth.behaviours import BEHAVIOURS, Cell, cells
from tests.truth.measure import Pair, Result, Times, floor, measure
from tests.truth.reference import nearest_rank

COLUMNS = (
    f"{'behaviour':24}{'rate/s':>6}{'agents':>7} {'arrivals':8} {'due=record':>10} {'late p99/max ms':>15}"
    f"  {'response ms: p50, p90, p99, reported/true':47}  {'service ms: p50, p90, p99, reported/true':47}"
    f"  {'counts reported (record)':36} {'verdict':8} bounds"
)


def main(words: Sequence[str]) -> int:
    """Measure the chosen cells and print a row for each; return the exit status."""
    chosen = select(words)
    began = time.monotonic()
    kinds = sorted({(cell.behaviour.websocket, cell.agents) for cell in chosen})
    floors = {(websocket, agents): floor(agents, websocket) for websocket, agents in kinds}
    for (websocket, agents), base in floors.items():
        answer = "an answer over WebSocket" if websocket else "an answer"
        print(f"floor, {answer} without delay beyond the record, {agents} agents: {_times(base)} ms (p50, p90, p99)")
    print(COLUMNS)
    results = []
    for cell in chosen:
        results.append(measure(cell))
        print(row(results[-1], floors[_kind(cell)]), flush=True)
    off = sum(bool(result.off(floors[_kind(result.cell)])) for result in results)
    print(summary(results, off, time.monotonic() - began))
    return 1 if off else 0


def _kind(cell: Cell) -> tuple[bool, int]:
    return cell.behaviour.websocket, cell.agents


def select(words: Sequence[str]) -> list[Cell]:
    """Return the cells that the command line asks for; exit with a message when there are none."""
    parser = argparse.ArgumentParser(
        prog="make truth ARGS=...", description="Compare Volley with servers of known behaviour."
    )
    parser.add_argument("--behaviour", default="*", help="a glob over the first column, e.g. 'one at a time*'")
    parser.add_argument("--rate", type=int, help="one rate only")
    parser.add_argument("--agents", type=int, help="one number of agents only")
    parser.add_argument("--arrivals", choices=("even", "poisson"), help="one kind of arrivals only")
    parser.add_argument("--full", action="store_true", help="every combination at every rate (about 15 minutes)")
    chosen = parser.parse_args(words)
    wanted = [
        cell
        for behaviour in BEHAVIOURS.values()
        if fnmatch.fnmatch(behaviour.name, chosen.behaviour)
        for cell in cells(behaviour, chosen.full)
        if chosen.rate in (None, cell.rate_per_s)
        and chosen.agents in (None, cell.agents)
        and chosen.arrivals in (None, cell.arrivals.value)
    ]
    if not wanted:
        parser.error("no row has all of this. Try --full, or one of: " + ", ".join(BEHAVIOURS))
    return wanted


def row(result: Result, base: Times) -> str:
    """Return one line of the table."""
    cell, truth = result.cell, result.truth
    late = ""
    if truth.lateness_us.size:
        late = f"{nearest_rank(truth.lateness_us, 0.99) / 1e3:.2f}/{truth.lateness_us.max() / 1e3:.2f}"
    arrivals = f"{result.due}{'=' if result.due == truth.arrived else '!='}{truth.arrived}"
    rate, kind = ("", "closed") if cell.behaviour.count is not None else (cell.rate_per_s, cell.arrivals.value)
    return (
        f"{cell.behaviour.name:24}{rate:6}{cell.agents:7} {kind:8} {arrivals:>10} {late:>15}"
        f"  {_pair(result.response):47}  {_pair(result.service):47}"
        f"  {counts(result):36} {result.trial.verdict.value:8} {bounds(result, base)}"
    )


def _pair(pair: Pair) -> str:
    return " ".join(f"{f'{_ms(pair.reported[name])}/{_ms(pair.true[name])}':15}" for name in pair.true)


def _times(times: Times) -> str:
    return ", ".join(_ms(value) for value in times.values())


def _ms(us: float) -> str:
    return f"{us / 1e3:.2f}" if us < 100_000 else f"{us / 1e3:.1f}"


def counts(result: Result) -> str:
    """Return how many requests ended in each way, and in brackets the record's number where it is another one."""
    parts = []
    for status in sorted({*result.statuses, *result.truth.statuses}, reverse=True):
        name = "ok" if status == 200 else Failure(status).name.lower() if status < 0 else str(status)
        reported, recorded = result.statuses.get(status, 0), result.truth.statuses.get(status, 0)
        parts.append(f"{name} {reported}" + ("" if reported == recorded else f" ({recorded})"))
    return ", ".join(parts)


def bounds(result: Result, base: Times) -> str:
    """Return ok, or what is OFF, what the verdict says about it, and how the machine ran meanwhile."""
    off = result.off(base)
    if not off:
        return "ok"
    doubts = [str(finding.code) for finding in result.trial.findings if finding.severity is not Severity.INFORMATION]
    findings = f" [{', '.join(doubts)}]" if doubts else ""
    return f"OFF {', '.join(off)}{findings}; the machine: {result.machine}"


def summary(results: list[Result], off: int, lasted_s: float) -> str:
    """Return the last lines: how many rows are within the bounds, with and without the floor."""
    behaviours = len({result.cell.behaviour.name for result in results})
    responses = sum(not result.response.off({}) for result in results)
    exact = sum(result.counts_agree for result in results)
    return (
        f"{len(results)} rows, {behaviours} behaviours, {lasted_s:.0f} s: {len(results) - off} within the bounds, {off} OFF; "
        f"counts exact in {exact}; response time within the bounds without the floor in {responses}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
