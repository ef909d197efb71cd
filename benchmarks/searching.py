"""How often does the interval of a search hold the capacity? Simulated servers, and a ramp and a bisection beside.

python -m benchmarks.searching [SERVER]...: a line for each server, all by default, 200 searches each, a quarter of an
hour on one core; seeds are fixed. docs/adr/0011 quotes it. All ways want the capacity within 3 % to either side. The ramp
and the bisection are told what the search has to find out: the ramp how wide a step has to be, the bisection between
which rates to look.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from benchmarks.figures import Figure
from tests.unit.simulated_searches import SERVERS, Coverage, bisection, covered, ramp

SEARCHES, TRIED = 200, 40
LEAST_RIGHT, MOST_WRONG = 0.9, 0.05
BESIDE: dict[str, Callable[[str, int], tuple[bool, int]]] = {
    "ramp": lambda name, seed: ramp(name, seed, 1),
    "ramp, three tries": lambda name, seed: ramp(name, seed, 3),
    "bisection": lambda name, seed: bisection(name, seed, 1),
    "bisection, three tries": lambda name, seed: bisection(name, seed, 3),
}
# Those that take seconds, for the benchmark; the others take minutes.
QUICK = ("hard limit", "noise 2 %", "M/M/1", "D/M/1", "errors", "cold start")


def measure() -> list[Figure]:
    """Measure some servers by every way."""
    figures = []
    for name in QUICK:
        coverage = covered(name, range(TRIED))
        right = coverage.right / max(1, coverage.stated)
        figures += [
            Figure(f"{name}, search: right", "share", [right], at_least=LEAST_RIGHT),
            Figure(f"{name}, search", "probes", [float(each.found.probes) for each in coverage.outcomes]),
        ]
        for way, go in BESIDE.items():
            outcomes = [go(name, seed) for seed in range(TRIED)]
            figures += [
                Figure(f"{name}, {way}: right", "share", [sum(good for good, _ in outcomes) / TRIED]),
                Figure(f"{name}, {way}", "probes", [float(probes) for _, probes in outcomes]),
            ]
    return figures


def good(coverage: Coverage) -> bool:
    """Return whether the intervals can be relied upon."""
    enough = coverage.right >= LEAST_RIGHT * coverage.stated
    return enough and coverage.confirmed_and_wrong <= MOST_WRONG * len(coverage.outcomes)


def main(names: list[str]) -> int:
    """Print a line for each server; return 1 when the intervals of one cannot be relied upon."""
    failed = 0
    for name in names or SERVERS:
        coverage = covered(name, range(SEARCHES))
        print(coverage.line() + ("" if good(coverage) else "  MISSED"))
        for way, go in BESIDE.items():
            outcomes = [go(name, seed) for seed in range(TRIED)]
            right, probes = sum(good for good, _ in outcomes) / TRIED, np.mean([probes for _, probes in outcomes])
            print(f"{'':22} {way}: right {right:.0%}, {probes:.0f} probes")
        sys.stdout.flush()
        failed += not good(coverage)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
