"""Readings of one process: CPU time by thread, and the TCP connections that it holds."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

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


def established_sockets(pid: int, port: int) -> int:
    """Return how many established TCP connections to `port` a process holds. Raises OSError when it is gone."""
    inodes = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            name = os.readlink(entry.path)
        except OSError:
            continue  # closed between the two calls
        if name.startswith("socket:["):
            inodes.add(name[8:-1])
    held = 0
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == "01" and columns[9] in inodes and int(columns[2].rpartition(":")[2], 16) == port:
                held += 1
    return held
