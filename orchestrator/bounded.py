"""Read files that a person or another program wrote, with a bound on their size and on the time. Standard library only."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path

# A pipe can be fed by a program that takes a while, such as ssh. Nobody waits longer for a file.
PATIENCE_S = 10.0
_CHUNK_BYTES = 1 << 20


def read_bytes(path: Path, most_bytes: int, patience_s: float | None = None) -> bytes:
    """Return the content of a file, a pipe or a device. patience_s: for a pipe; None: PATIENCE_S.

    Raises OSError: EFBIG for more than most_bytes, before more than that is read; ETIMEDOUT for a pipe that has not ended
    after patience_s seconds. Raises ValueError for a path that no file can have.
    """
    # Without O_NONBLOCK, opening a pipe waits for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_size > most_bytes:
            raise _too_large(path, most_bytes)
        longest_s = PATIENCE_S if patience_s is None else patience_s
        return _read(descriptor, path, most_bytes, None if stat.S_ISREG(found.st_mode) else longest_s)
    finally:
        os.close(descriptor)


def _read(descriptor: int, path: Path, most_bytes: int, patience_s: float | None) -> bytes:
    """Return what a descriptor holds. patience_s: None for a regular file, which never waits."""
    deadline = None if patience_s is None else time.monotonic() + patience_s
    pieces: list[bytes] = []
    size = 0
    while True:
        if deadline is not None:
            _wait(descriptor, path, deadline)
        piece = os.read(descriptor, min(_CHUNK_BYTES, most_bytes + 1 - size))
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
        if size > most_bytes:
            raise _too_large(path, most_bytes)


def _wait(descriptor: int, path: Path, deadline: float) -> None:
    """Wait until there is something to read, or the end. Raise OSError when neither comes in time."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    left_s = deadline - time.monotonic()
    if left_s <= 0 or not waiting.poll(left_s * 1000):
        raise TimeoutError(errno.ETIMEDOUT, "it is a pipe whose writer did not finish in time", str(path))


def _too_large(path: Path, most_bytes: int) -> OSError:
    return OSError(errno.EFBIG, f"it is larger than {most_bytes >> 20} MiB", str(path))
