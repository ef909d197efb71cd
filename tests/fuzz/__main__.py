"""`make fuzz`: many inputs of every kind. `python -m tests.fuzz --inputs 20000 --seed 1 [KIND ...]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.kinds import kinds
from tests.fuzz.running import Fuzzed
from tests.fuzz.supervised import supervised

# Shown of each input that went wrong.
SHOWN_BYTES = 300
# Inputs of one process: what earlier ones left in memory is not held against later ones for long.
CHUNK = 5_000


def _one(name: str, numbers: range, seed: int) -> tuple[Fuzzed, float]:
    began = time.monotonic()
    return supervised(name, numbers, f"{name}/{seed}"), time.monotonic() - began


def main() -> int:
    """Print a table; return 1 when an input went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", nargs="*")
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        known = list(kinds(Path(folder)))
    names = asked.kind or known
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"unknown kind {unknown[0]!r}: use {', '.join(known)}")
    print(f"{'kind':16} {'inputs':>8} {'accepted':>9} {'wrong':>6} {'s':>6}")
    wrong = 0
    with ThreadPoolExecutor(asked.processes) as pool:
        chunks = [range(first, min(first + CHUNK, asked.inputs)) for first in range(0, asked.inputs, CHUNK)]
        parts = {name: [pool.submit(_one, name, chunk, asked.seed) for chunk in chunks] for name in names}
        for name, started in parts.items():
            done = [each.result() for each in started]
            inputs, accepted = sum(each.inputs for each, _ in done), sum(each.accepted for each, _ in done)
            found = [item for each, _ in done for item in each.wrong]
            took_s = sum(seconds for _, seconds in done)
            print(f"{name:16} {inputs:8,} {accepted:9,} {len(found):6,} {took_s:6.0f}", flush=True)
            wrong += len(found)
            for data, what in found[:3]:
                print(f"\n{data[:SHOWN_BYTES]!r}\n{what}", file=sys.stderr, flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
