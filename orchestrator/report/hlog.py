"""Counters for other tools.

HdrHistogram's V2 encoding, and .hlog files that its log processors read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from agents.histogram import HIGHEST_US, LOWEST_US, SIGNIFICANT_DIGITS, Ints, highest_equivalent_us
from orchestrator.errors import UsageError
from orchestrator.facts import TrialFacts
from orchestrator.merge import Merged


def encode_v2(counts: Ints) -> str:
    """Return counters, shape (COUNTERS,), as HdrHistogram V2, compressed, base64.

    Raise UsageError without hdrhistogram.
    """
    oracle_class = _hdr_histogram()
    oracle = oracle_class(LOWEST_US, HIGHEST_US, SIGNIFICANT_DIGITS)
    np.ctypeslib.as_array(oracle.counts)[:] = counts
    present = np.flatnonzero(counts)
    oracle.total_count = int(counts.sum())
    if present.size:
        oracle.min_value = int(highest_equivalent_us(int(present[0])))
        oracle.max_value = int(highest_equivalent_us(int(present[-1])))
    return str(oracle.encode().decode())


def decode_v2(text: str) -> Ints:
    """Return encoded counters as an array, shape (COUNTERS,)."""
    counts: Ints = np.array(_hdr_histogram().decode(text).counts, dtype=np.int64)
    return counts


def _hdr_histogram() -> Any:
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError:
        raise UsageError(
            ".hlog files need the package hdrhistogram, which is not installed", "run: pip install 'volley-load[hlog]'"
        ) from None
    return HdrHistogram


def lines(facts: TrialFacts, merged: Merged) -> Iterator[str]:
    """Yield the lines of one trial's .hlog: service times by interval, tagged by class.

    Values in µs, Interval_Max in ms.

    Start stamps are seconds since the start of the window on the coordinator's clock.
    """
    start_s = (facts.window_start_us or 0) / 1e6
    stamp = time.strftime("%a %b %d %H:%M:%S UTC %Y", datetime.fromtimestamp(start_s, UTC).timetuple())
    yield f"#[Volley trial {facts.number}, case {facts.case.name}; service time in microseconds]"
    yield "#[Histogram log format version 1.3]"
    yield f"#[StartTime: {start_s:.3f} (seconds since epoch), {stamp}]"
    yield f"#[BaseTime: {start_s:.3f} (seconds since epoch)]"
    yield '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
    for name, series in merged.series.items():
        for k, sparse in series.intervals():
            longest_ms = int(highest_equivalent_us(int(sparse.index[-1]))) / 1000
            at_s, length_s = k * series.interval_s, series.interval_s
            yield f"Tag={name},{at_s:.3f},{length_s:.3f},{longest_ms:.3f},{encode_v2(sparse.dense())}"


def write(folder: Path, trials: Iterable[tuple[TrialFacts, Merged]]) -> list[Path]:
    """Write one .hlog per trial that has counters; return the files.

    Raise UsageError without hdrhistogram, before anything is written, and where the folder cannot be written.
    """
    _hdr_histogram()
    try:
        return _write(folder, trials)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}", "name another folder with --out") from error


def _write(folder: Path, trials: Iterable[tuple[TrialFacts, Merged]]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for facts, merged in trials:
        if merged.parts:
            path = folder / f"{facts.number:04d}-{facts.case.name.replace('/', '-')}.hlog"
            path.write_text("\n".join(lines(facts, merged)) + "\n")
            files.append(path)
    return files
