"""Room for files on a host: what is free, what request logs need, and the error that names both.

Standard library only.
"""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

MEMORY = Path("/dev/shm")
# A log is read once a second and given back in pieces of 4 MiB (agents/requestlog.py), so that is what it occupies,
# with the rows of a second at 100,000 a second, the most that one generator was measured to send.
LOG_BYTES = 8 << 20
ROW_BYTES = 48
# Standard error, gate and body of an agent, and what the file system needs for them.
OTHER_BYTES = 64 << 10
FULL = (errno.ENOSPC, errno.EDQUOT)
_SAID = tuple(os.strerror(number) for number in FULL)


@dataclass(frozen=True, slots=True)
class FolderRoom:
    """The room in a folder, and what was needed there. free_bytes: None when the system does not say."""

    folder: str
    free_bytes: int | None
    needed_bytes: int


class NoSpace(RuntimeError):
    """A folder has no room for what has to be written there. The message has the folder, and free and needed bytes."""

    @staticmethod
    def of(folder: Path, needed_bytes: int, why: str = "") -> NoSpace:
        """Return the error about a folder. why: what the system said, where it refused a write."""
        said = f" ({why})" if why else ""
        return NoSpace(
            f"{folder} has {in_mib(free_bytes(folder))} free, and the request logs need {in_mib(needed_bytes)}{said}"
        )


def in_mib(number: int | None) -> str:
    """Return bytes in words: '3.2 MiB'."""
    return "an unknown number of bytes" if number is None else f"{number / (1 << 20):.1f} MiB"


def free_bytes(folder: Path) -> int | None:
    """Return what this user can still write to the file system of a folder; None when the system does not say.

    A quota of the user is not in it.
    """
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def room_in(folder: Path, needed_bytes: int) -> FolderRoom:
    """Return what is free in a folder now, beside what is needed."""
    return FolderRoom(str(folder), free_bytes(folder), needed_bytes)


def log_bytes(rows: int | None, body_bytes: int = 0) -> int:
    """Return the room that an agent needs. rows: how many its log can have in all; None when that has no limit."""
    log = LOG_BYTES if rows is None else min(LOG_BYTES, rows * ROW_BYTES)
    return log + body_bytes + OTHER_BYTES


def is_full(error: BaseException) -> TypeGuard[OSError]:
    """Return whether a write failed because nothing more fits: the disk is full, or the user's quota is."""
    return isinstance(error, OSError) and error.errno in FULL


def says_full(output: str) -> bool:
    """Return whether a program's output says that nothing more fits."""
    return any(words in output for words in _SAID)


def scratch_root(needed_bytes: int = 0) -> Path:
    """Return where request logs go: memory, so that writing them costs no disk access; else the temporary folder.

    The temporary folder is used where memory is missing or has less than is needed. Raises NoSpace where neither has it.
    """
    places = [place for place in (MEMORY, Path(tempfile.gettempdir())) if os.access(place, os.W_OK)]
    for place in places:
        if (free := free_bytes(place)) is None or free >= needed_bytes:
            return place
    raise NoSpace.of(places[0] if places else MEMORY, needed_bytes)
