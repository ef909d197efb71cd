"""The log of rows: one buffer, written in whole lines."""

from __future__ import annotations

import os

from agents.generators.contract import COLUMNS, LONG_COLUMNS, LONG_ROW, ROW

FLUSH_BYTES = 1 << 16


class RowLog:
    """Appends rows to a file. Times come in ns of the monotonic clock; the file holds µs of the wall clock.

    wall_ns: wall clock minus monotonic clock, read once, so that a step of the wall clock during a run changes nothing.
    """

    __slots__ = ("_buffer", "_fd", "_long", "rows", "wall_ns")

    def __init__(self, path: str, columns: int = COLUMNS) -> None:
        """columns: the most that a row may have."""
        self._long = columns >= LONG_COLUMNS
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._buffer = bytearray()
        self.rows = 0
        self.wall_ns = 0

    def add(
        self,
        due_ns: int,
        start_ns: int,
        status: int,
        service_ns: int,
        request: int,
        first_byte_ns: int = -1,
        received: int = 0,
    ) -> None:
        """Append a row. Raise OSError when the file cannot be written.

        due_ns and start_ns of 0 mean "none" and stay 0. first_byte_ns: from sending to the first byte, below 0 without one.
        """
        wall = self.wall_ns
        due_us, start_us = due_ns and (due_ns + wall) // 1000, start_ns and (start_ns + wall) // 1000
        if self._long:
            row = (due_us, start_us, status, service_ns // 1000, request, first_byte_ns // 1000, received)
            self._buffer += LONG_ROW % row
        else:
            self._buffer += ROW % (due_us, start_us, status, service_ns // 1000, request)
        self.rows += 1
        if len(self._buffer) >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered. Raise OSError when the file cannot be written."""
        buffer = self._buffer
        while buffer:
            del buffer[: os.write(self._fd, buffer)]

    def close(self) -> None:
        """Write what is buffered and close the file."""
        self.flush()
        os.close(self._fd)
