"""How long this machine stood still meanwhile: what tells a program that is late from a machine that was busy."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic_ns

# The tolerances of the rules are far above this, and a machine with nothing else to do wakes a thread far sooner.
STILL_MS = 20.0
_EVERY_S = 0.01
# More cores than this cost the check more than they tell.
_CORES = 8


class Watch:
    """When threads that sleep for a moment woke late, on the cores that the program may use."""

    def __init__(self) -> None:
        """Know of nothing yet."""
        self._late: list[tuple[int, int]] = []

    def stood_still(self, begin_ns: int, end_ns: int) -> bool:
        """Return whether a core was late for STILL_MS between two instants of the monotonic clock."""
        return any(due < end_ns and woke > begin_ns for due, woke in self._late)

    def follow(self, core: int, ended: threading.Event) -> None:
        """Sleep and wake on one core, until it is over."""
        # Of this thread only.
        os.sched_setaffinity(0, {core})
        while not ended.is_set():
            due_ns = monotonic_ns() + int(_EVERY_S * 1e9)
            time.sleep(_EVERY_S)
            if (woke_ns := monotonic_ns()) - due_ns > STILL_MS * 1e6:
                self._late.append((due_ns, woke_ns))


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch the machine until the block ends."""
    watch, ended = Watch(), threading.Event()
    threads = [
        threading.Thread(target=watch.follow, args=(core, ended), name=f"conformance-watch-{core}")
        for core in sorted(os.sched_getaffinity(0))[:_CORES]
    ]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        ended.set()
        for thread in threads:
            thread.join()
