"""Readings of one process: CPU time by thread, whether it is stopped, how many sockets it holds, and its limits."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

# Descriptors that are looked at one by one.
_LOWEST = 64
# Some programs prepare a table of as many entries as the limit, which has no end in some containers.
MOST_FILES = 1 << 20
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


def is_stopped(pid: int, proc: Path = Path("/proc")) -> bool:
    """Return whether a signal has stopped a process (SIGSTOP, SIGTSTP). Raises OSError when the process is gone."""
    return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "T"


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


def raise_open_files() -> int:
    """Let this process and its children open as many files as they may; return the limit.

    The usual soft limit of 1,024 is for programs that use select(), which no generator does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard or hard == resource.RLIM_INFINITY:
        most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def ephemeral_ports(proc: Path = Path("/proc")) -> int | None:
    """Return how many ports the kernel gives to outgoing connections to one place; None when it is not known."""
    try:
        low, high = (proc / "sys/net/ipv4/ip_local_port_range").read_text().split()
        return int(high) - int(low) + 1
    except (OSError, ValueError):
        return None
