"""`make fuzz`: many inputs of every kind. `python -m tests.fuzz --inputs 20000 --seed 1 [KIND ...]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.fuzz.kinds import kinds
from tests.fuzz.running import Fuzzed, fuzz

# Shown of each input that went wrong.
SHOWN_BYTES = 300


def _one(name: str, inputs: int, seed: int) -> tuple[str, Fuzzed, float]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        began = time.monotonic()
        done = fuzz(kinds(Path(folder))[name], inputs, f"{name}/{seed}")
        return name, done, time.monotonic() - began


def main() -> int:
    """Print a table; return 1 when an input went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", nargs="*")
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    known = list(kinds(Path(tempfile.gettempdir())))
    names = asked.kind or known
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"there is no kind {unknown[0]!r}: use {', '.join(known)}")
    print(f"{'kind':16} {'inputs':>8} {'accepted':>9} {'wrong':>6} {'s':>6}")
    wrong = 0
    with ProcessPoolExecutor() as pool:
        for name, done, took_s in pool.map(_one, names, [asked.inputs] * len(names), [asked.seed] * len(names)):
            print(f"{name:16} {done.inputs:8,} {done.accepted:9,} {len(done.wrong):6,} {took_s:6.0f}", flush=True)
            wrong += len(done.wrong)
            for data, what in done.wrong[:3]:
                print(f"\n{data[:SHOWN_BYTES]!r}\n{what}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
