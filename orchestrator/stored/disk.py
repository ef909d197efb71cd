"""The disk of a run folder: what a run will need, what is free, and what to do when something cannot be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from orchestrator.analyse.people import mebibytes
from orchestrator.errors import NotStored
from orchestrator.facts import Case

# What small stored runs take (report.html alone 1.5 MiB), so that less is certainly too little.
RUN_BYTES = 3 << 20
TRIAL_BYTES = 16 << 10
AGENT_BYTES = 4 << 10
AGENT_SECOND_BYTES = 512
# Longer series have longer intervals (docs/adr/0002-series-in-bounded-memory.md).
MOST_SECONDS = 600


def needed_bytes(cases: Iterable[Case]) -> int:
    """Return about how much the trials of some cases, one for each, and the results of their run need."""
    total = RUN_BYTES
    for case in cases:
        seconds = min(MOST_SECONDS, (case.duration_us or 0) // 1_000_000)
        total += TRIAL_BYTES + case.agents * (AGENT_BYTES + AGENT_SECOND_BYTES * seconds)
    return total


def free_bytes(path: Path) -> int | None:
    """Return what this user can still write where a path is or would be; None when the system does not say."""
    for folder in (path, *path.resolve().parents):
        try:
            found = os.statvfs(folder)
        except OSError:
            continue
        return found.f_bavail * found.f_frsize
    return None


def require_disk(folder: Path, needed: int) -> None:
    """Raise NotStored when a folder has less room than a run needs."""
    free = free_bytes(folder)
    if free is not None and free < needed:
        raise NotStored(
            f"{folder} has {mebibytes(free)} free, and this run needs about {mebibytes(needed)}",
            "free some space there, or choose another folder with --out",
        )


def reason(path: Path, error: OSError) -> str:
    """Return why something could not be written below a path: what the system said, with the free space if it is full."""
    if error.errno == errno.ENOENT and not path.exists():
        return "the folder was removed"
    said = error.strerror or str(error)
    return f"{said} ({mebibytes(free_bytes(path))} free)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else said


def fix(error: OSError) -> str:
    """Return what to do about an error of writing, as an imperative without an end."""
    match error.errno:
        case errno.ENOSPC:
            return "free some space there"
        case errno.EDQUOT:
            return "free some space there, or raise your quota"
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return "make the folder writable"
        case _:
            return "check the disk"
