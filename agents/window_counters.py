"""A container's counters at both edges of the window, and once a second in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from agents.cgroup import Counters
from agents.columns import Columns, last

INTERVAL_S = 1.0
JOINED_WITHIN_S = 5.0


class WindowCounters:
    """Reads counters in a thread of its own from start() to stop(), or to the end of the window.

    opening, closing: readings at the edges, None until they are reached.
    """

    def __init__(self, read: Callable[[], Counters]) -> None:
        self._read = read
        self.opening: Counters | None = None
        self.closing: Counters | None = None
        self._series = Columns({"at_s": last, "memory_bytes": last}, otherwise=sum)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def series(self) -> dict[str, list[float]]:
        """Columns by name as in ServerFacts, a value per second; of longer intervals in a load of more than ten minutes."""
        return self._series.values()

    def start(self, opening_ns: int, closing_ns: int | None) -> None:
        """Begin; the edges are instants on this host's wall clock. closing_ns None: there is no closing edge."""
        self._thread = threading.Thread(target=self._follow, args=(opening_ns, closing_ns), name="edges", daemon=True)
        self._thread.start()

    def abort(self) -> None:
        """Read nothing more."""
        self._over.set()

    def stop(self) -> None:
        """Read nothing more, and wait until a reading that is under way has ended."""
        self.abort()
        if self._thread is not None:
            self._thread.join(timeout=JOINED_WITHIN_S)

    def _follow(self, opening_ns: int, closing_ns: int | None) -> None:
        if self._over.wait(_seconds_until(opening_ns)):
            return
        before = self.opening = self._read()
        began = due = time.monotonic()
        while True:
            due += INTERVAL_S
            left_s = max(0.0, due - time.monotonic())
            if self._over.wait(left_s if closing_ns is None else min(left_s, _seconds_until(closing_ns))):
                return
            now = self._read()
            self._add_second(time.monotonic() - began, before, now)
            before = now
            if closing_ns is not None and time.time_ns() >= closing_ns:
                self.closing = now
                return

    def _add_second(self, at_s: float, before: Counters, now: Counters) -> None:
        row = {
            "at_s": round(at_s, 3),
            "cpu_us": now.cpu_us - before.cpu_us,
            "throttled_us": now.throttled_us - before.throttled_us,
            "major_faults": now.major_faults - before.major_faults,
            "memory_bytes": now.memory_bytes,
        }
        self._series.add(row)


def _seconds_until(wall_ns: int) -> float:
    return max(0.0, (wall_ns - time.time_ns()) / 1e9)
