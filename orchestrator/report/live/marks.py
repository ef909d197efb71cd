"""Bars and sparklines, in Unicode or in ASCII. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.printable import printable

# What the pictures and texts of Volley hold beside ASCII, for a terminal that cannot show it.
_IN_ASCII = str.maketrans({
    "●": "o", "×": "x", "·": ".", "░": ":", "─": "-", "│": "|", "┤": "+", "└": "+", "┬": "+", "–": "-", "…": "~",
    "µ": "u", "−": "-", "≥": ">", "≤": "<",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Marks:
    """The characters to draw with. levels: of a sparkline, from nothing to full; steps: of the end of a bar."""

    full: str
    empty: str
    levels: str
    steps: str
    cut: str
    ascii: bool

    def bar(self, share: float, width: int) -> str:
        """Return a bar that is filled to a share between 0 and 1."""
        cells = min(1.0, max(0.0, share)) * width
        whole = int(cells)
        part = self.steps[int((cells - whole) * len(self.steps))] if whole < width and self.steps else ""
        part = "" if part == " " else part
        return (self.full * whole + part).ljust(width, self.empty)

    def sparkline(self, values: Sequence[float | None]) -> str:
        """Return one character a value, in proportion to the largest; a blank where there is none."""
        highest = max((value for value in values if value is not None), default=0.0)
        last = len(self.levels) - 1
        return "".join(
            " " if value is None else self.levels[round(last * value / highest) if highest else 0] for value in values
        )

    def plain(self, text: str) -> str:
        """Return a text as the terminal can show it: no control characters, and ASCII where there is nothing else."""
        shown = "".join(character if character.isprintable() else " " for character in printable(text))
        return shown.translate(_IN_ASCII).encode("ascii", "replace").decode() if self.ascii else shown


UNICODE = Marks("█", "░", "▁▂▃▄▅▆▇█", " ▏▎▍▌▋▊▉", "…", False)
ASCII = Marks("#", "-", "_.:-=+*#", "", "~", True)


def marks_for(encoding: str | None) -> Marks:
    """Return the characters that an encoding can show."""
    try:
        (UNICODE.full + UNICODE.levels + UNICODE.steps + "●×").encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
