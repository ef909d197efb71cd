"""Print the figures, side by side in one run, and as ratios; keep them as JSON under benchmarks/out/.

python -m benchmarks [PART]...: all parts by default. The exit status is 1 when a figure is beyond its bound.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import campaigns, fleet, generators, idle_cost, many_agents, one_hour, overhead, searching, start_up
from benchmarks.figures import ROOT, Figure, keep, show
from benchmarks.readers import READERS, write_log

# What an agent reaches of the rate of h2load with its log, on a machine where both share cores.
LEAST_OF_H2LOAD = 0.8
ROWS, ROUNDS = 10_000_000, 3
# The public histogram takes ten seconds for a tenth of the rows.
FEWER = {"hdrhistogram": 1_000_000}


def readers() -> list[Figure]:
    """Rows parsed and recorded per second on one core, and peak memory."""
    figures: list[Figure] = []
    print(
        f"request log to p99, {ROWS:,} rows ({FEWER['hdrhistogram']:,} for hdrhistogram), one core, median of {ROUNDS}"
    )
    print(f"{'':14}{'rows/s':>14}{'of volley':>12}{'peak MB':>10}{'imports MB':>12}{'p99 µs':>9}")
    base = 0.0
    with tempfile.TemporaryDirectory(prefix="volley-bench-", dir="/dev/shm") as folder:
        for name in READERS:
            rates, peak, last = [], 0.0, {}
            for _ in range(ROUNDS):
                # Volley frees what it has read: each round has a log of its own.
                log = Path(folder) / "log"
                write_log(log, FEWER.get(name, ROWS))
                argv = [sys.executable, "-m", "benchmarks.readers", name, str(log)]
                last = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
                rates.append(last["rows"] / last["seconds"])
                peak = max(peak, last["peak_mb"])
                log.unlink()
            figures += [Figure(f"{name}: rows", "/s", rates), Figure(f"{name}: most memory", "MB", [peak])]
            rate = statistics.median(rates)
            base = base or rate
            print(
                f"{name:14}{rate:14,.0f}{rate / base:12.2f}{peak:10.0f}{last['imports_mb']:12.0f}{last['p99_us']:9}",
                flush=True,
            )
    return figures


def agent_overhead() -> list[Figure]:
    """h2load under an agent against h2load alone."""
    if shutil.which("nginx") is None:
        print("h2load under an agent: nginx is missing; run deploy/bootstrap-host.sh bench")
        return []
    print(
        f"\nh2load, {overhead.REQUESTS:,} requests, {overhead.CLIENTS} clients, nginx, {overhead.usable_cores()} cores, "
        f"{overhead.ROUNDS} rounds in random order; ratios within a round"
    )
    found, figures = overhead.measure(), []
    logged = found["bare, --log-file"]
    print(f"{'':20}{'req/s median':>14}{'to bare with log':>18}{'quartiles':>16}{'h2load CPU µs/req':>20}{'ratio':>8}")
    for name, samples in found.items():
        pairs = list(zip(samples, logged, strict=True))
        figures += [
            Figure(
                f"{name}: to h2load with a log",
                "ratio",
                [ours.rate / other.rate for ours, other in pairs],
                at_least=LEAST_OF_H2LOAD if name == "under an agent" else None,
            ),
            Figure(f"{name}: CPU for each request", "µs", [sample.cpu_us for sample in samples]),
            Figure(
                f"{name}: requests for each CPU second of all", "/s", [1e6 / sample.tree_cpu_us for sample in samples]
            ),
        ]
        low, middle, high = statistics.quantiles([ours.rate / other.rate for ours, other in pairs], n=4)
        cpu = statistics.median(ours.cpu_us / other.cpu_us for ours, other in pairs)
        rate, each = (statistics.median(getattr(s, field) for s in samples) for field in ("rate", "cpu_us"))
        print(f"{name:20}{rate:14,.0f}{middle:18.3f}{f'{low:.3f}-{high:.3f}':>16}{each:20.2f}{cpu:8.3f}", flush=True)
    return figures


def by_generator() -> list[Figure]:
    """How even the generators are; they keep their own file."""
    generators.report()
    return []


def over_hosts() -> list[Figure]:
    """Many hosts, in the lab; printed only."""
    if os.geteuid() != 0:
        print("\nover hosts: the lab needs root; run: sudo make bench")
        return []
    fleet.report()
    return []


def shown(title: str, measure: Callable[[], list[Figure]]) -> Callable[[], list[Figure]]:
    """Return a part that prints its figures as a table."""

    def part() -> list[Figure]:
        figures = measure()
        show(title, figures)
        return figures

    return part


PARTS: dict[str, Callable[[], list[Figure]]] = {
    "readers": readers,
    "overhead": agent_overhead,
    "idle": shown("a load host beside its generators, which send 20/s each", idle_cost.measure),
    "agents": shown("many agents", many_agents.measure),
    "campaigns": shown("many trials", campaigns.measure),
    "hour": shown("one hour of a load, at speed", one_hour.measure),
    "start-up": shown("start-up of verbs", start_up.measure),
    "search": shown("the search for capacity, beside a ramp and a bisection; simulated", searching.measure),
    "generators": by_generator,
    "hosts": over_hosts,
}


def main(names: list[str]) -> int:
    """Run the named parts, or all; return the exit status."""
    if unknown := [name for name in names if name not in PARTS]:
        print(f"'{unknown[0]}' is not a part. Use: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    missed = []
    for name in names or PARTS:
        if figures := PARTS[name]():
            print(f"kept in {keep(name, figures).relative_to(ROOT)}")
            missed += [figure.name for figure in figures if figure.is_missed]
    for figure_name in missed:
        print(f"beyond its bound: {figure_name}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
