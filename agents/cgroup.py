"""Exact counters of a container's cgroup (v1 and v2), read at the edges of the window."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# A server thrashes when its memory fills this share of the limit and the kernel has to read this many
# pages of program text back in.
THRASH_FULL = 0.97
THRASH_FAULTS = 1000


@dataclass(frozen=True, slots=True)
class Counters:
    """What a container has used since it started. Times in µs, memory in bytes; memory_limit 0: no limit."""

    cpu_us: int = 0
    cpu_system_us: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled_us: int = 0
    memory_bytes: int = 0
    memory_peak_bytes: int = 0
    memory_limit_bytes: int = 0
    oom_kills: int = 0
    major_faults: int = 0

    def fills_limit(self, used_bytes: int) -> bool:
        """Return whether this much memory leaves the server no room below its limit."""
        return self.memory_limit_bytes > 0 and used_bytes >= THRASH_FULL * self.memory_limit_bytes


class Cgroup:
    """The counters of one container, found through its first process.

    container: the engine's id of it. Raises OSError when the process is gone: a process that ends is moved to the host's
    own cgroup, and its number can be another process's by then.
    """

    def __init__(self, pid: int, container: str, root: Path = _CGROUP, proc: Path = Path("/proc")) -> None:
        paths = {}
        for line in (proc / str(pid) / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for controller in controllers.split(",") if controllers else [""]:
                paths[controller] = path.lstrip("/")
        self._v1 = "memory" in paths
        if container not in (path := paths["memory" if self._v1 else ""]):
            raise ProcessLookupError(f"process {pid} is in cgroup '/{path}', not in that of container {container}")
        if self._v1:
            self._memory = root / "memory" / paths["memory"]
            self._cpu = root / "cpu" / paths["cpu"]
            self._account = root / "cpuacct" / paths["cpuacct"]
        else:
            self._memory = self._cpu = self._account = root / paths[""]

    def read(self) -> Counters:
        """Return the counters as they are now; a file that this kernel does not have counts as zero.

        Raises OSError when the cgroup is gone.
        """
        if not self._memory.is_dir():
            raise FileNotFoundError(f"{self._memory} is gone")
        return self._read_v1() if self._v1 else self._read_v2()

    def _read_v1(self) -> Counters:
        cpu, split = _table(self._cpu / "cpu.stat"), _table(self._account / "cpuacct.stat")
        memory, oom = _table(self._memory / "memory.stat"), _table(self._memory / "memory.oom_control")
        limit = _number(self._memory / "memory.limit_in_bytes")
        return Counters(
            cpu_us=_number(self._account / "cpuacct.usage") // 1000,
            cpu_system_us=split.get("system", 0) * 1_000_000 // _TICKS_PER_S,
            periods=cpu.get("nr_periods", 0),
            throttled_periods=cpu.get("nr_throttled", 0),
            throttled_us=cpu.get("throttled_time", 0) // 1000,
            memory_bytes=_number(self._memory / "memory.usage_in_bytes"),
            memory_peak_bytes=_number(self._memory / "memory.max_usage_in_bytes"),
            memory_limit_bytes=0 if limit >= 1 << 60 else limit,
            oom_kills=oom.get("oom_kill", 0),
            major_faults=memory.get("total_pgmajfault", 0),
        )

    def _read_v2(self) -> Counters:
        cpu, memory = _table(self._cpu / "cpu.stat"), _table(self._memory / "memory.stat")
        return Counters(
            cpu_us=cpu.get("usage_usec", 0),
            cpu_system_us=cpu.get("system_usec", 0),
            periods=cpu.get("nr_periods", 0),
            throttled_periods=cpu.get("nr_throttled", 0),
            throttled_us=cpu.get("throttled_usec", 0),
            memory_bytes=_number(self._memory / "memory.current"),
            memory_peak_bytes=_number(self._memory / "memory.peak"),
            memory_limit_bytes=_number(self._memory / "memory.max"),
            oom_kills=_table(self._memory / "memory.events").get("oom_kill", 0),
            major_faults=memory.get("pgmajfault", 0),
        )


def _table(path: Path) -> dict[str, int]:
    try:
        pairs = (line.split() for line in path.read_text().splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
    except OSError:
        return {}


def _number(path: Path) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0
