"""One hour on the coordinator, with a clock that is put forward: what it keeps for each look must not grow.

A whole trial over load hosts that only answer, with the journal of a run and the line of a terminal.
"""

from __future__ import annotations

import contextlib
import gc
import io
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest import mock

from agents.clock import OffsetBound
from agents.load_host import Progress as Rows
from orchestrator.campaign.session import journalled
from orchestrator.fleet import clock_probes
from orchestrator.fleet.handles import LoadHandle
from orchestrator.fleet.hosts import Placed
from orchestrator.plan import make_plan
from orchestrator.report.progress import Progress
from orchestrator.run import load
from orchestrator.run.inputs import TrialInput
from orchestrator.run.trial import run_trial
from orchestrator.spec.load import from_plain
from orchestrator.stored.folder import RunStore
from orchestrator.stored.layout import JOURNAL_FILE
from tests.fakes.handles import Done, NotedLoad

HOSTS, RATE_PER_S = 4, 500
EVERY_S = 600
BOUND = OffsetBound(-10, 10, 20, 32, 0)


@dataclass(slots=True)
class Kept:
    """What the coordinator holds after each ten minutes, by second: memory, and bytes of the journal. looks: in all."""

    memory_kb: dict[int, float] = field(default_factory=dict)
    journal_bytes: dict[int, int] = field(default_factory=dict)
    looks: int = 0


class Screen(io.TextIOBase):
    """A terminal that forgets what it shows."""

    def isatty(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Drop the text."""
        return len(text)


class Ahead:
    """The wall clock, put forward by whole seconds."""

    def __init__(self, seconds: int, passed: Callable[[int], None]) -> None:
        """seconds: when the load ends. passed: called after each second with their number."""
        self.second, self._seconds, self._passed = 0, seconds, passed
        self._began_ns = time.time_ns()

    def time_ns(self) -> int:
        """Return the time in ns."""
        return self._began_ns + self.second * 10**9

    def tick(self) -> bool:
        """Let a second pass; return whether the load is over."""
        self.second += 1
        self._passed(self.second)
        return self.second >= self._seconds


class Answering(NotedLoad):
    """A load host that has something new to report at every look. ahead: of the first host, which moves the clock."""

    ahead: Ahead
    is_first: bool

    def wait(self, timeout_s: float) -> Done:
        """Return whether the load is over, a second later."""
        return Done(self.ahead.tick() if self.is_first else self.ahead.second >= self.ahead._seconds)

    def progress(self) -> Rows:
        """Return the requests logged so far."""
        return Rows({f"{self.host}/0": self.ahead.second * RATE_PER_S}, True)


def hold(seconds: int) -> Kept:
    """Run a trial of that many seconds; return what was held on the way."""
    kept = Kept()
    plain = {
        "campaign": "hour",
        "targets": {"t": {"url": "http://198.18.0.1/"}},
        "loads": {"l": {"model": "open", "rate": f"{RATE_PER_S}/s", "duration": f"{seconds}s", "warm_up": "1s"}},
        "agents": HOSTS,
        "repetitions": 1,
    }
    campaign = from_plain(plain).campaign
    with tempfile.TemporaryDirectory(prefix="volley-bench-") as folder, RunStore.create(Path(folder), "hour") as store:

        def passed(second: int) -> None:
            kept.looks += 1
            if second % EVERY_S == 0:
                gc.collect()
                kept.memory_kb[second] = tracemalloc.get_traced_memory()[0] / 1024
                kept.journal_bytes[second] = (store.path / JOURNAL_FILE).stat().st_size

        ahead = Ahead(seconds, passed)
        clock = SimpleNamespace(time_ns=ahead.time_ns, time=lambda: ahead.time_ns() / 1e9)
        loads = [Answering([], f"gen{number}") for number in range(HOSTS)]
        for number, host in enumerate(loads):
            host.ahead, host.is_first = ahead, number == 0
        item = TrialInput(
            make_plan(campaign).trials[0], campaign.targets["t"], campaign.loads["l"], None, Path(), "hour"
        )
        with (
            mock.patch.object(load, "time", clock),
            mock.patch.object(clock_probes, "probe_all", lambda places: [BOUND for _ in places]),
            contextlib.redirect_stderr(Screen()),
        ):
            progress = Progress()
            placed = Placed(None, cast(list[LoadHandle], loads), [[None]] * HOSTS, {host.host: host for host in loads})
            tracemalloc.start()
            try:
                run_trial(item, placed, journalled(store, progress.show))
            finally:
                tracemalloc.stop()
                progress.close()
    return kept
