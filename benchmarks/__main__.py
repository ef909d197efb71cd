"""Print the figures, side by side in one run, and as ratios; keep them as JSON under benchmarks/out/.

python -m benchmarks [PART]...: all parts by default. The exit status is 1 when a figure is beyond its bound.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    campaigns,
    fleet,
    generators,
    hosts_scale,
    idle_cost,
    idle_cost_ray,
    many_agents,
    many_rows,
    one_hour,
    overhead,
    report_page,
    searching,
    stages,
    start_up,
)
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
    """Generators under an agent against h2load alone, and other generators. Raises overhead.Missing."""
    found, figures = overhead.measure(), []
    print(
        f"\n{overhead.CLIENTS} connections, closed loop, nginx, {overhead.usable_cores()} cores, {overhead.ROUNDS} rounds "
        f"of at least {overhead.LASTING_S} s in random order; ratios to {overhead.LOGGED}, within a round"
    )
    print(f"{'':24}{'req/s':>10}{'ratio':>8}{'quartiles':>14}{'req/CPU s, tree':>18}{'ratio':>8}{'CPU µs/req':>12}")
    for name, samples in found.items():
        pairs = list(zip(samples, found[overhead.LOGGED], strict=True))
        rates = [ours.rate / other.rate for ours, other in pairs]
        trees = [other.tree_cpu_us / ours.tree_cpu_us for ours, other in pairs]
        each = [1e6 / sample.tree_cpu_us for sample in samples]
        figures += [
            Figure(f"{name}: requests", "/s", [sample.rate for sample in samples]),
            Figure(
                f"{name}: rate to h2load with a log",
                "ratio",
                rates,
                at_least=LEAST_OF_H2LOAD if name == overhead.UNDER_AGENT else None,
            ),
            Figure(f"{name}: requests for each CPU second of all", "/s", each),
            Figure(f"{name}: the same to h2load with a log", "ratio", trees),
            Figure(f"{name}: generator's CPU for each request", "µs", [sample.cpu_us for sample in samples]),
        ]
        low, middle, high = statistics.quantiles(rates, n=4)
        rate, per_cpu, cpu = (
            statistics.median(numbers) for numbers in ([s.rate for s in samples], each, [s.cpu_us for s in samples])
        )
        print(
            f"{name:24}{rate:10,.0f}{middle:8.3f}{f'{low:.3f}-{high:.3f}':>14}{per_cpu:18,.0f}"
            f"{statistics.median(trees):8.3f}{cpu:12.2f}",
            flush=True,
        )
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


def run_over_hosts() -> list[Figure]:
    """Stages of a run over two hosts of the lab."""
    if os.geteuid() != 0:
        print("\na run over hosts: the lab needs root; run: sudo make bench")
        return []
    figures = stages.over_hosts()
    show("a run of one command over two hosts, by stage", figures)
    return figures


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
    "idle-ray": shown("the same of a host that Ray reaches", idle_cost_ray.measure),
    "stages": shown(f"volley bench URL -n {stages.REQUESTS}, by stage", stages.measure),
    "agents": shown("many agents", many_agents.measure),
    "rows": shown("50 agents at 2,000 rows/s for 60 s", many_rows.measure),
    "campaigns": shown("many trials", campaigns.measure),
    "hour": shown("one hour of a load, at speed", one_hour.measure),
    "start-up": shown("start-up of verbs", start_up.measure),
    "search": shown("the search for capacity, beside a ramp and a bisection; simulated", searching.measure),
    "page": shown("report.html of 100 trials of eight agents", report_page.measure),
    "generators": by_generator,
    "hosts-scale": shown("a run over many hosts that are simulated, by stage", hosts_scale.measure),
    "hosts": over_hosts,
    "stages-hosts": run_over_hosts,
}


def main(names: list[str]) -> int:
    """Run the named parts, or all; return the exit status."""
    if unknown := [name for name in names if name not in PARTS]:
        print(f"'{unknown[0]}' is not a part. Use: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    missed = []
    for name in names or PARTS:
        try:
            figures = PARTS[name]()
        except overhead.Missing as error:
            print(error, file=sys.stderr)
            return 1
        if figures:
            print(f"kept in {keep(name, figures).relative_to(ROOT)}")
            missed += [figure.name for figure in figures if figure.is_missed]
    for figure_name in missed:
        print(f"beyond its bound: {figure_name}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
