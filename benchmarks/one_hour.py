"""Feed one hour of a load, at speed, into what holds its numbers: does the memory grow with time?

On a load host: recorder (open loop, with response times), counters per second, meter of the host, readings of the
generator. On a server host: counters of the container. On the coordinator: the journal, and a whole trial of an hour
with a clock that is put forward (coordinator_hour.py).
"""

from __future__ import annotations

import gc
import tempfile
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np

from agents.arrivals import Schedule
from agents.cgroup import Counters
from agents.columns import Column, mean
from agents.hostfiles import Sample
from agents.hostmeter import Samples
from agents.recorder import Recorder, Window
from agents.rows import Rows
from agents.window_counters import WindowCounters
from benchmarks import coordinator_hour
from benchmarks.figures import Figure
from orchestrator.stored.folder import RunStore

HOUR_S, RATE_PER_S = 3600, 500
# After 20 minutes every series has been joined once or twice.
SETTLED_S = 1200
# Series hold 300 to 600 intervals, whatever their length: memory goes up and down with their number.
MOST_GROWTH, TOOK_S = 1.25, 60.0
# Per look at the load hosts. The terminal's library remembers the widths of its last 4,096 texts, 71 bytes each; one event
# that is kept takes 500.
MOST_KEPT_BYTES = 40.0
START_US = 1_795_331_418_000_000
CORES = {f"cpu{core}": (0, 0, 0, 0, 0, 0, 0, 0) for core in range(16)}


def measure() -> list[Figure]:
    """Feed the hour; return what is held after 20 and after 60 minutes."""
    began = time.process_time()
    kept_kb = feed(HOUR_S)
    took_s = time.process_time() - began
    coordinator = coordinator_hour.hold(HOUR_S)
    memory_kb, looks = coordinator.memory_kb, coordinator.looks * (HOUR_S - SETTLED_S) / HOUR_S
    kept_bytes = (memory_kb[HOUR_S] - memory_kb[SETTLED_S]) * 1024 / looks
    written = coordinator.journal_bytes[HOUR_S] - coordinator.journal_bytes[SETTLED_S]
    return [
        Figure("memory after 20 minutes", "KB", [kept_kb[SETTLED_S]]),
        Figure("memory after 60 minutes", "KB", [kept_kb[HOUR_S]]),
        Figure("60 minutes to 20: memory", "ratio", [kept_kb[HOUR_S] / kept_kb[SETTLED_S]], at_most=MOST_GROWTH),
        Figure("CPU time for the hour, traced", "s", [took_s], at_most=TOOK_S),
        Figure("coordinator: memory after 20 minutes", "KB", [memory_kb[SETTLED_S]]),
        Figure("coordinator: memory after 60 minutes", "KB", [memory_kb[HOUR_S]]),
        Figure("coordinator: kept of each look", "bytes", [kept_bytes], at_most=MOST_KEPT_BYTES),
        Figure("coordinator: written to the journal in 40 minutes", "bytes", [written], at_most=0.0),
    ]


def feed(seconds: int) -> dict[int, float]:
    """Return the memory in KB that everything holds after each ten minutes of such a load, by second."""
    draw = np.random.default_rng(1)
    kept_kb: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="volley-bench-") as folder, RunStore.create(Path(folder), "hour") as store:
        gc.collect()
        tracemalloc.start()
        schedule = Schedule(RATE_PER_S, RATE_PER_S, True, START_US, 0.0)
        recorder = Recorder(Window(START_US, START_US + seconds * 1_000_000), schedule)
        samples, server, thread = Samples(), WindowCounters(Counters), Column(mean)
        for second in range(seconds):
            recorder.add(_rows(second, draw))
            samples.add(_sample(second))
            server._add_second(second, Counters(cpu_us=second), replace(Counters(), cpu_us=second + 900))
            thread.add(0.25)
            store.journal("load", f"{second} s of {seconds} s", {"rows": recorder.tally.rows})
            if (second + 1) % 600 == 0:
                gc.collect()
                kept_kb[second + 1] = tracemalloc.get_traced_memory()[0] / 1024
        tracemalloc.stop()
    assert recorder.tally.rows == seconds * RATE_PER_S
    return kept_kb


def _rows(second: int, draw: np.random.Generator) -> Rows:
    due_us = START_US + second * 1_000_000 + np.arange(RATE_PER_S, dtype=np.int64) * (1_000_000 // RATE_PER_S)
    service_us = draw.lognormal(6, 0.7, RATE_PER_S).astype(np.int64)
    zero = np.zeros(RATE_PER_S, dtype=np.int64)
    return Rows(due_us + 30, zero + 200, service_us, due_us, zero)


def _sample(second: int) -> Sample:
    ticks: dict[str, tuple[int, ...]] = dict.fromkeys(CORES, (20 * second, 0, 10 * second, 70 * second, 0, 0, 0, 0))
    links = {"eth0": (9000 * second, 3000 * second, 90 * second, 30 * second, 0)}
    return Sample(second * 10**9, 10**18 + second, ticks, links, second, 100 * second, 0, 44)
