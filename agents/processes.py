"""Readings of one process: CPU time by thread, and how many sockets it holds."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Descriptors that are looked at one by one.
_LOWEST = 64
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def thread_times_us(pid: int, proc: Path = Path("/proc")) -> dict[int, tuple[int, int]]:
    """Return, by thread: CPU time so far, and the time it was runnable but had no core; both in µs.

    A kernel without schedstat reports CPU time in whole ticks and no waiting time. Raises OSError when the process is gone.
    """
    found = {}
    for task in os.listdir(proc / str(pid) / "task"):
        folder = proc / str(pid) / "task" / task
        try:
            ran, waited, *_ = (int(n) for n in (folder / "schedstat").read_text().split())
            found[int(task)] = (ran // 1000, waited // 1000)
        except (OSError, ValueError):
            with contextlib.suppress(OSError):  # a thread that has ended meanwhile
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                found[int(task)] = ((int(fields[11]) + int(fields[12])) * 1_000_000 // _TICKS_PER_S, 0)
    return found


def open_sockets(pid: int, proc: Path = Path("/proc")) -> int:
    """Return how many sockets a process holds open, at a cost that hardly depends on their number.

    A program opens its files first, so that the lowest descriptors tell how many are no sockets. The kernel's table of
    all TCP sockets would cost 5 to 26 ms to read, whoever holds them. Raises OSError when the process is gone.
    """
    folder = proc / str(pid) / "fd"
    # Since Linux 6.2 the size is the number of descriptors; before, it is 0.
    held = folder.stat().st_size or len(os.listdir(folder))
    others = found = 0
    for descriptor in range(_LOWEST):
        if found == held:
            break
        try:
            name = os.readlink(f"{folder}/{descriptor}")
        except OSError:
            continue  # not open
        found += 1
        others += not name.startswith("socket:")
    return held - others
