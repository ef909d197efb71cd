"""CPU time of a process tree and of the whole machine, read from /proc."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class CpuSample:
    """CPU time since the start of each, and when it was read. steal_s: taken by other virtual machines."""

    at_ns: int
    generator_ns: int
    server_ns: int
    own_ns: int
    machine_s: float
    steal_s: float


def sample(generator: int, server: int) -> CpuSample:
    """Read the CPU time of the generator's and the server's process trees (by process id), and the machine's."""
    machine_s, steal_s = machine()
    return CpuSample(time.time_ns(), tree_ns(generator), tree_ns(server), time.process_time_ns(), machine_s, steal_s)


def tree_ns(pid: int) -> int:
    """Return the CPU time of a process and its living descendants, in ns; threads that ended are not in it."""
    total = 0
    for task in _tasks(pid):
        # A thread may end while it is looked at.
        with suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
            total += sum(tree_ns(int(child)) for child in (task / "children").read_text().split())
    return total


def _tasks(pid: int) -> list[Path]:
    with suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def machine() -> tuple[float, float]:
    """Return the seconds that all cores together were busy, and that other virtual machines took, since boot."""
    user, nice, system, _, _, irq, softirq, steal, *_ = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(map(int, (user, nice, system, irq, softirq))) * TICK_S, int(steal) * TICK_S
