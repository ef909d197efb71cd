"""How often does the interval of a search hold the capacity? Simulated servers, and a linear ramp beside.

python -m benchmarks.searches [SERVER]...: all by default, 200 searches each, a quarter of an hour on one core; seeds
are fixed. docs/adr/0011 quotes it. Exit code 1 when an interval holds the capacity in fewer than 90 % of the searches
that state one, or more than 5 % are confirmed and wrong.
"""

from __future__ import annotations

import sys

import numpy as np

from tests.unit.simulated_searches import SERVERS, Coverage, covered, ramp

SEARCHES, RAMPS = 200, 30
LEAST_RIGHT, MOST_WRONG = 0.9, 0.05


def good(coverage: Coverage) -> bool:
    """Return whether the intervals can be relied upon."""
    enough = coverage.right >= LEAST_RIGHT * coverage.stated
    return enough and coverage.confirmed_and_wrong <= MOST_WRONG * len(coverage.outcomes)


def main(names: list[str]) -> int:
    """Print a line for each server."""
    failed = 0
    for name in names or SERVERS:
        coverage = covered(name, range(SEARCHES))
        ramps = {tries: [ramp(name, seed, tries) for seed in range(RAMPS)] for tries in (1, 3)}
        beside = ", ".join(
            f"{'once' if tries == 1 else 'three times'} {np.mean([p for _, p in those]):.0f} probes "
            f"right {np.mean([r for r, _ in those]):.0%}"
            for tries, those in ramps.items()
        )
        failed += not good(coverage)
        print(f"{coverage.line()}; ramp {beside}{'' if good(coverage) else '  MISSED'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
