"""What a generator's process used while it ran: CPU by thread, time without a core, connections, steps of the clock.

And how long it was stopped from outside, which its rows cannot tell from a server that stands still.
"""

from __future__ import annotations

import contextlib
import time

from agents import processes
from agents.clock import StepWatch
from agents.columns import Column, mean

# A load that is over sooner says nothing about the share of a core that it took.
SHORTEST_US = 200_000


class Sampler:
    """Samples one process about once a second. waited_us: by thread, time in which it could have run and had no core.

    stopped_s: how long it was stopped by a signal (SIGSTOP) at least: the time between samples that both saw it stopped, if
    it used no CPU time in between.
    """

    def __init__(self, pid: int, interval_s: float) -> None:
        """Begin now. Samples closer than half an interval are dropped."""
        self.clock = StepWatch()
        self.sockets_fewest: int | None = None
        self.sockets_most: int | None = None
        self.cpu_busiest = 0.0
        self.stopped_s = 0.0
        self._was_stopped = False
        self._pid, self._interval_s = pid, interval_s
        self._thread_cpu: dict[int, Column] = {}
        self._waited_us: dict[int, int] = {}
        self._sampled_s = 0.0
        self._started = self._sampled_at = time.monotonic()
        self._threads: dict[int, tuple[int, int]] = {}
        self.clock.sample()
        with contextlib.suppress(OSError):
            self._threads = processes.thread_times_us(pid)
        self._cpu_before_us = sum(cpu for cpu, _ in self._threads.values())

    def sample(self) -> None:
        """Take a sample, unless the last one is too recent. Does nothing once the process is gone."""
        elapsed_s = time.monotonic() - self._sampled_at
        if elapsed_s <= self._interval_s / 2:
            return
        self._sampled_at += elapsed_s
        self.clock.sample()
        with contextlib.suppress(OSError):
            stopped = processes.is_stopped(self._pid)
            now = processes.thread_times_us(self._pid)
            if stopped and self._was_stopped and now == self._threads:
                self.stopped_s += elapsed_s
            self._was_stopped = stopped
            for thread, (cpu, waited) in now.items():
                cpu_before, waited_before = self._threads.get(thread, (0, 0))
                share = (cpu - cpu_before) / (elapsed_s * 1e6)
                self.cpu_busiest = max(self.cpu_busiest, share)
                self._thread_cpu.setdefault(thread, Column(mean)).add(round(share, 4))
                self._waited_us[thread] = self._waited_us.get(thread, 0) + waited - waited_before
            self._threads = now
            self._sampled_s += elapsed_s
            held = processes.open_sockets(self._pid)
            self.sockets_fewest = held if self.sockets_fewest is None else min(self.sockets_fewest, held)
            self.sockets_most = max(self.sockets_most or 0, held)

    def ended(self, cpu_us: int) -> None:
        """Take in the CPU time of the whole process, where it ended before the first sample."""
        lasted_us = (time.monotonic() - self._started) * 1e6
        if not self._sampled_s and lasted_us > SHORTEST_US:
            self.cpu_busiest = (cpu_us - self._cpu_before_us) / lasted_us

    @property
    def thread_cpu(self) -> dict[int, list[float]]:
        """The share of a core that each thread used, by thread, per second or longer interval."""
        return {thread: column.values() for thread, column in self._thread_cpu.items()}

    @property
    def waiting_share(self) -> float:
        """Return the share of the sampled time in which the thread that waited most could have run and had no core."""
        return max(self._waited_us.values(), default=0) / max(1.0, self._sampled_s * 1e6)
