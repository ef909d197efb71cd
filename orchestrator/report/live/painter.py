"""A block of lines at the end of a terminal, redrawn in place, and lines that stay above it.

Each frame is one write that replaces the lines one by one, so nothing flickers. rich.live erases all of them first,
and loses its place when the terminal gets narrower and folds the lines of the block.
The cursor is hidden only within a frame: however Volley ends, the terminal has its cursor.
"""

from __future__ import annotations

import io
import os
import shutil
import textwrap
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

_BEGIN, _END = "\x1b[?2026h\x1b[?25l", "\x1b[?25h\x1b[?2026l"
# The whole line: where only its rest is erased, tmux takes that rest for blanks, and folds it when it gets narrower.
_ERASE_LINE, _ERASE_BELOW = "\x1b[2K", "\x1b[J"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a frame. text: with the terminal's own codes; cells: how wide it is."""

    text: str
    cells: int


class Painter:
    """Draws on one terminal, from any thread, and from the handler of a signal that interrupts a frame."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._block: list[Line] = []
        # The lines that are on the terminal now.
        self._drawn: list[Line] = []
        self._above: list[str] = []
        self._drawing = self._closed = False

    def size(self) -> tuple[int, int]:
        """Return the columns and lines of the terminal, now."""
        try:
            columns, lines = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError, io.UnsupportedOperation):
            columns, lines = shutil.get_terminal_size()
        return columns or 80, lines or 24

    def draw(self, block: Sequence[Line] | None = None, above: Sequence[str] = ()) -> None:
        """Draw a block, by default the one before, and lines above it that stay."""
        with self._lock:
            if self._closed:
                self._stream.write("".join(f"{line}\n" for line in above))
                self._stream.flush()
                return
            if block is not None:
                self._block = list(block)
            self._above += above
            if self._drawing:
                return  # the frame that this call interrupts is followed by another
            self._drawing = True
            try:
                self._frame()
                while self._above:
                    self._frame()
            finally:
                self._drawing = False

    def _frame(self) -> None:
        columns, lines = self.size()
        above, self._above = self._above, []
        block = self._block[: max(1, lines - 1)]
        rows = [*above, *(line.text for line in block)]
        frame = self._to_the_top(columns, lines) + "\n".join(f"{_ERASE_LINE}{row}" for row in rows)
        # Shorter than before: the rest of the old block goes.
        frame += _ERASE_BELOW
        self._drawn = block
        self._write(frame)

    def _to_the_top(self, columns: int, lines: int) -> str:
        """Return what moves the cursor to the first line of the block, which the terminal may have folded meanwhile."""
        rows = sum(max(1, -(-line.cells // columns)) for line in self._drawn)
        up = min(rows, lines) - 1
        return "\r" + (f"\x1b[{up}A" if up > 0 else "")

    def _write(self, text: str) -> None:
        # Standard output and error let no sequences through that come with text.
        getattr(self._stream, "control", self._stream.write)(f"{_BEGIN}{text}{_END}")
        self._stream.flush()

    def close(self) -> None:
        """Remove the block; what is said from now on is printed as it comes."""
        with self._lock:
            if self._closed:
                return
            if self._above:
                self._frame()
            if self._drawn:
                columns, lines = self.size()
                self._write(self._to_the_top(columns, lines) + _ERASE_BELOW)
            self._drawn, self._closed = [], True


class Above(io.TextIOBase):
    """Stands for stderr while a block is drawn: what is written to it appears above the block, line by line."""

    def __init__(self, painter: Painter, stream: TextIO) -> None:
        super().__init__()
        self._painter, self._stream, self._rest = painter, stream, ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Return the terminal's encoding."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Return True: it is shown on a terminal."""
        return True

    def fileno(self) -> int:
        """Return the terminal's descriptor."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Show the whole lines of a text; keep the rest."""
        *lines, self._rest = (self._rest + getattr(self._stream, "cleaned", str)(text)).split("\n")
        if lines:
            columns, _ = self._painter.size()
            # A line that the terminal folds would leave parts of the block beside its second half.
            folded = [textwrap.wrap(line, max(1, columns - 1), drop_whitespace=False) or [""] for line in lines]
            self._painter.draw(above=[part for parts in folded for part in parts])
        return len(text)

    def finish(self) -> None:
        """Show what is left of an incomplete line."""
        if self._rest:
            self.write("\n")
