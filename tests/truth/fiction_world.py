"""What the tests of "Load Fiction" share: cores, a starved client, a throw-away certificate, arrivals against the schedule."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.merge import Merged, merge
from orchestrator.result import Trial
from orchestrator.run.inputs import TrialOutput
from tests.truth.harness import Hiccups, hiccups, run

# Findings that say that the arrivals were not those of the schedule.
ARRIVALS = {"bursty-arrivals", "send-lag", "out-of-slots", "rate-not-reached"}
# A program that wants all of its core, as a noisy neighbour does.
BUSY = "import sys\nprint('ready', flush=True)\nwhile True:\n    pass"


def cores() -> tuple[int, int]:
    """Return the core of the server and that of the client, the same one where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


@contextmanager
def starved(core: int, neighbours: int) -> Iterator[None]:
    """Share a core with so many busy processes: whatever else runs there gets one part in neighbours + 1."""
    command = ["taskset", "-c", str(core), sys.executable, "-c", BUSY]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(neighbours)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def certificate(folder: Path) -> str:
    """Make a certificate and its key; return the path of the file with both."""
    path = folder / "both.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(path), "-out", str(folder / "certificate.pem")]
    subprocess.run(["openssl", "req", "-x509", *curve, "-subj", "/CN=t", *files], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (folder / "certificate.pem").read_bytes())
    return str(path)


@dataclass(frozen=True)
class Seen:
    """One open load. merged: its counters. machine: how this machine ran."""

    trial: Trial
    output: TrialOutput
    merged: Merged
    machine: Hiccups

    @property
    def codes(self) -> set[str]:
        """Return the codes of the findings."""
        return {str(found.code) for found in self.trial.findings}

    @property
    def rate_per_s(self) -> float:
        """Return the rate that was asked for."""
        rate = self.trial.facts.case.rate_per_s
        assert rate is not None
        return rate

    def due_ns(self, count: int) -> NDArray[np.int64]:
        """Return the first due times of an even load, shape (count,)."""
        assert self.trial.facts.t0_ns is not None
        due: NDArray[np.int64] = self.trial.facts.t0_ns + np.round(np.arange(count) * 1e9 / self.rate_per_s).astype(
            np.int64
        )
        return due

    def in_window(self, due_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which due times are in the window."""
        facts = self.trial.facts
        assert facts.window_start_us is not None
        assert facts.window_end_us is not None
        inside: NDArray[np.bool_] = (due_ns >= facts.window_start_us * 1000) & (due_ns < facts.window_end_us * 1000)
        return inside

    def late_us(self, arrived_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how late the requests of the window arrived on a server's record, in the order of their due times.

        The record's first request is Volley's check before the load. Requests are matched by rank, which for requests that
        overtake each other is the smallest lateness that explains the record.
        """
        loaded = np.sort(arrived_ns[arrived_ns >= self.due_ns(1)[0]])
        due_ns = self.due_ns(loaded.size)
        late: NDArray[np.float64] = ((loaded - due_ns) / 1e3)[self.in_window(due_ns)]
        return late

    @property
    def late_above_us(self) -> float:
        """Return the lateness from which Volley counts a request as late."""
        return max(1_000.0, 0.5e6 / self.rate_per_s)

    def percentile_us(self, quantile: float) -> int:
        """Return a percentile of the reported response time."""
        assert self.merged.response is not None
        return self.merged.response.quantile_us(quantile)

    def arrivals_line(self, late_us: NDArray[np.float64]) -> str:
        """Return the arrivals in one line: those due, those on the record, and how late these were."""
        due = sum(agent.due or 0 for agent in self.trial.facts.agents)
        p50, p90, p99 = np.percentile(late_us, [50, 90, 99])
        return (
            f"due {due}, arrived {late_us.size}; late p50 {p50 / 1e3:.2f} p90 {p90 / 1e3:.2f} p99 {p99 / 1e3:.2f} "
            f"max {late_us.max() / 1e3:.2f} ms"
        )

    def verdict_line(self) -> str:
        """Return the reported percentiles, the verdict and the findings about arrivals in one line."""
        p50, p90, p99 = (self.percentile_us(q) / 1e3 for q in (0.5, 0.9, 0.99))
        found = sorted(self.codes - {"shared-host", "too-few-samples", "no-warmup"})
        return f"response {p50:.2f} / {p90:.2f} / {p99:.2f} ms; {self.trial.verdict} {', '.join(found)}"


def load(url: str, **load: object) -> Seen:
    """Run one open load by one agent."""
    with hiccups() as witness:
        trial, output = run(url, agents=1, model="open", **load)
    return Seen(trial, output, merge(output.agents), witness)
