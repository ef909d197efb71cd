"""Follow a request log while it grows.

The reader takes the file in chunks, parses with numpy and returns the parsed part to the file system, so that a run of any
length needs bounded memory and a bounded part of the tmpfs it is logged to.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agents.digits import LEAD, TRAIL
from agents.generators import h2load_log
from agents.rows import MalformedRow, Rows

CHUNK_BYTES = 1 << 19  # measured: larger ones leave the processor's cache, smaller ones pay more per chunk

_FALLOC_PUNCH_KEEP_SIZE = 0x01 | 0x02
_PUNCH_BYTES = 1 << 22
_PUNCH_UNIT = 4096
_LONGEST_LINE = 4096
# Parses padded[LEAD:end]; the last argument is where that starts in the file.
Parse = Callable[[npt.NDArray[np.uint8], int, int], Rows]


def parse(data: bytes, offset: int = 0, lines: Parse = h2load_log.parse_lines) -> Rows:
    """Parse whole lines (`data` is empty or ends in a newline); `offset` is where they start in the file, for messages.

    Raises MalformedRow at the first line that is not a row.
    """
    padded = np.frombuffer(b"0" * LEAD + data + b"0" * TRAIL, dtype=np.uint8)
    return lines(padded, LEAD + len(data), offset)


class LogTail:
    """Follow one log file: whole lines as they come, the incomplete last line kept for the next read."""

    def __init__(self, path: Path, parse: Parse = h2load_log.parse_lines, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._parse = parse
        self._path = path
        self._fd: int | None = None
        self._read = 0
        self._punched = 0
        # One buffer for all chunks: the incomplete line of the last one lies at its beginning.
        self._buffer = bytearray(b"0") * (LEAD + _LONGEST_LINE + chunk_bytes + TRAIL)
        self._chunk_bytes = chunk_bytes
        self._kept = 0
        self.rows = 0

    def read(self) -> Rows | None:
        """Parse the next chunk; None when nothing more is there at present (or no file yet).

        Raises MalformedRow for a line that is not a row.
        """
        if self._fd is None:
            try:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
        begin = LEAD + self._kept
        with memoryview(self._buffer) as view:
            got = os.preadv(self._fd, [view[begin : begin + self._chunk_bytes]], self._read)
        if not got:
            return None
        offset = self._read - self._kept
        self._read += got
        end = begin + got
        whole_end = self._buffer.rfind(b"\n", LEAD, end) + 1
        if not whole_end:
            if end - LEAD > _LONGEST_LINE:
                line = bytes(self._buffer[LEAD : LEAD + 80])
                raise MalformedRow(f"request log, byte {offset}: no line ends within {_LONGEST_LINE} bytes: {line!r}")
            self._kept = end - LEAD
            return self._parse(np.frombuffer(self._buffer, dtype=np.uint8), LEAD, offset)
        rows = self._parse(np.frombuffer(self._buffer, dtype=np.uint8), whole_end, offset)
        self._kept = end - whole_end
        if self._kept > _LONGEST_LINE:
            line = bytes(self._buffer[whole_end : whole_end + 80])
            raise MalformedRow(f"request log, byte {self._read - self._kept}: no line ends within 4096 bytes: {line!r}")
        self._buffer[LEAD : LEAD + self._kept] = self._buffer[whole_end:end]
        self.rows += len(rows)
        self._give_back()
        return rows

    def close(self) -> bytes:
        """Close the file and return what is left of an incomplete last line (empty in a log that ended well)."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        return bytes(self._buffer[LEAD : LEAD + self._kept])

    def _give_back(self) -> None:
        """Punch a hole into what has been parsed. Where the file system cannot, the file just stays long."""
        assert self._fd is not None
        whole = (self._read // _PUNCH_UNIT) * _PUNCH_UNIT
        if whole - self._punched >= _PUNCH_BYTES:
            _libc.fallocate(
                self._fd,
                _FALLOC_PUNCH_KEEP_SIZE,
                ctypes.c_int64(self._punched),
                ctypes.c_int64(whole - self._punched),
            )
            self._punched = whole


_libc = ctypes.CDLL(None, use_errno=True)
