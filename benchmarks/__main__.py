"""Print the figures, side by side in one run, and as ratios.

python -m benchmarks [PART]...: all parts by default.
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

from benchmarks import fleet, generators, overhead
from benchmarks.readers import READERS, write_log

ROWS, ROUNDS = 10_000_000, 3
# The public histogram takes ten seconds for a tenth of the rows.
FEWER = {"hdrhistogram": 1_000_000}


def readers() -> None:
    """Rows parsed and recorded per second on one core, and peak memory."""
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
            rate = statistics.median(rates)
            base = base or rate
            print(
                f"{name:14}{rate:14,.0f}{rate / base:12.2f}{peak:10.0f}{last['imports_mb']:12.0f}{last['p99_us']:9}",
                flush=True,
            )


def agent_overhead() -> None:
    """h2load under an agent against h2load alone."""
    if shutil.which("nginx") is None:
        print("h2load under an agent: nginx is missing; run deploy/bootstrap-host.sh bench")
        return
    print(
        f"\nh2load, {overhead.REQUESTS:,} requests, {overhead.CLIENTS} clients, nginx, {overhead.usable_cores()} cores, "
        f"{overhead.ROUNDS} rounds in random order; ratios within a round"
    )
    found = overhead.measure()
    logged = found["bare, --log-file"]
    print(f"{'':20}{'req/s median':>14}{'to bare with log':>18}{'quartiles':>16}{'h2load CPU µs/req':>20}{'ratio':>8}")
    for name, samples in found.items():
        pairs = list(zip(samples, logged, strict=True))
        low, middle, high = statistics.quantiles([ours.rate / other.rate for ours, other in pairs], n=4)
        cpu = statistics.median(ours.cpu_us / other.cpu_us for ours, other in pairs)
        rate, each = (statistics.median(getattr(s, field) for s in samples) for field in ("rate", "cpu_us"))
        print(f"{name:20}{rate:14,.0f}{middle:18.3f}{f'{low:.3f}-{high:.3f}':>16}{each:20.2f}{cpu:8.3f}", flush=True)


def over_hosts() -> None:
    """Many hosts, in the lab."""
    if os.geteuid() != 0:
        print("\nover hosts: the lab needs root; run: sudo make bench")
        return
    fleet.report()


PARTS: dict[str, Callable[[], None]] = {
    "readers": readers,
    "overhead": agent_overhead,
    "generators": generators.report,
    "hosts": over_hosts,
}


def main(names: list[str]) -> int:
    """Run the named parts, or all; return the exit status."""
    if unknown := [name for name in names if name not in PARTS]:
        print(f"'{unknown[0]}' is not a part. Use: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    for name in names or PARTS:
        PARTS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
