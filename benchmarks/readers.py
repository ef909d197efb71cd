"""Read a request log into percentiles, in several ways; each runs in a process of its own, on one core.

python -m benchmarks.readers NAME FILE prints {"seconds", "rows", "p99_us", "peak_mb", "imports_mb"}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

Reader = Callable[[Path], tuple[int, int]]


def volley(path: Path) -> tuple[int, int]:
    """What an agent does: tail, parse, classify, record per second, free."""
    from agents.recorder import Recorder, Window
    from agents.requestlog import LogTail

    recorder = Recorder(Window(START_US, START_US + 3_600_000_000))
    tail = LogTail(path)
    while (rows := tail.read()) is not None:
        recorder.add(rows)
    tail.close()
    return tail.rows, recorder.service["ok"].quantile_us(0.99)


def pandas(path: Path) -> tuple[int, int]:
    """read_csv with explicit types, then numpy's percentile."""
    import numpy as np
    import pandas as pd

    types = {"start": "int64", "status": "int16", "service": "int64"}
    table = pd.read_csv(path, sep="\t", names=list(types), dtype=types)
    return len(table), int(np.percentile(table["service"].to_numpy(), 99))


def polars(path: Path) -> tuple[int, int]:
    """A lazy scan; one thread, like the others."""
    import polars as pl

    scan = pl.scan_csv(path, separator="\t", has_header=False, new_columns=["start", "status", "service"])
    found = scan.select(pl.len().alias("n"), pl.col("service").quantile(0.99, "nearest").alias("p99")).collect()
    return int(found["n"][0]), int(found["p99"][0])


def hdrhistogram(path: Path) -> tuple[int, int]:
    """The public implementation, value by value."""
    from hdrh.histogram import HdrHistogram

    histogram = HdrHistogram(1, 2**36 - 1, 3)
    rows = 0
    with path.open("rb") as file:
        for line in file:
            histogram.record_value(int(line.split(b"\t")[2]))
            rows += 1
    return rows, int(histogram.get_value_at_percentile(99))


READERS: dict[str, Reader] = {f.__name__: f for f in (volley, pandas, polars, hdrhistogram)}
IMPORTS = {
    "volley": ["agents.recorder"],
    "pandas": ["pandas"],
    "polars": ["polars"],
    "hdrhistogram": ["hdrh.histogram"],
}
START_US = 1_795_331_418_881_963


def write_log(path: Path, rows: int) -> None:
    """Write a log of lognormal service times, 100 000 requests a second."""
    import numpy as np

    draw = np.random.default_rng(1)
    with path.open("wb") as file:
        for first in range(0, rows, 500_000):
            n = min(500_000, rows - first)
            start = START_US + (first + np.arange(n)) * 10
            service = draw.lognormal(6, 1, n).astype(np.int64)
            file.write(b"".join(b"%d\t200\t%d\n" % row for row in zip(start.tolist(), service.tolist(), strict=True)))


def main() -> None:
    """Time one reader."""
    name, path = sys.argv[1], Path(sys.argv[2])
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ["POLARS_MAX_THREADS"] = "1"
    for module in IMPORTS[name]:
        __import__(module)
    imports_mb = peak_mb()
    began = time.perf_counter()
    rows, p99 = READERS[name](path)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "rows": rows, "p99_us": p99, "peak_mb": peak_mb(), "imports_mb": imports_mb}))


def peak_mb() -> float:
    """The most memory that this process has had. (getrusage would tell of the process that started it as well.)"""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
