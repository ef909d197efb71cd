"""Lay out plain text: sentences and tables that fit the terminal, 80 columns where there is none."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

# What a page is written for, and the narrowest that it becomes.
USUAL, NARROWEST = 80, 60
GAP = "  "
CUT = "…"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. rank: columns of the highest rank are left out first where there is no room; 0: never.

    most: longer cells are cut where there is no room; None: never.
    """

    heading: str
    cells: Sequence[str]
    right: bool = False
    rank: int = 0
    most: int | None = None

    @property
    def wide(self) -> int:
        """Return its width."""
        return max(map(len, [self.heading, *self.cells]))


def width() -> int:
    """Return the columns of the terminal; 80 where the output goes elsewhere and COLUMNS does not say otherwise."""
    columns = shutil.get_terminal_size((USUAL, 24)).columns if sys.stdout is not None else USUAL
    return max(NARROWEST, columns)


def fill(text: str, columns: int, first: str = "", rest: str = "") -> list[str]:
    """Return a text in lines. first, rest: what the first line, and the others, begin with."""
    return textwrap.wrap(
        text,
        columns,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def table(columns: Sequence[Column], most: int, indent: str = "  ") -> list[str]:
    """Return a table in lines, at most `most` columns wide where that is possible, without its empty columns."""
    left = [column for column in columns if any(column.cells)]
    while _wide(left, indent) > most and (ranked := max((c.rank for c in left), default=0)):
        left = [column for column in left if column.rank != ranked]
    left = _narrowed(left, most, indent)
    rows = [[column.heading for column in left], *zip(*(column.cells for column in left), strict=True)]
    if not any(rows[0]):
        rows = rows[1:]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(column.wide) if column.right else cell.ljust(column.wide)
            for cell, column in zip(row, left, strict=True)
        ]
        lines.append((indent + GAP.join(cells)).rstrip())
    return lines


def _wide(columns: Sequence[Column], indent: str) -> int:
    return len(indent) + sum(column.wide for column in columns) + len(GAP) * (len(columns) - 1)


def _narrowed(columns: list[Column], most: int, indent: str) -> list[Column]:
    """Cut the cells of the columns that allow it, those of the last column first."""
    fitted = list(columns)
    for i in reversed(range(len(fitted))):
        over, column = _wide(fitted, indent) - most, fitted[i]
        if over > 0 and column.most is not None:
            room = max(column.most, column.wide - over)
            cells = [cell if len(cell) <= room else cell[: room - len(CUT)].rstrip() + CUT for cell in column.cells]
            fitted[i] = Column(column.heading, cells, column.right, column.rank, column.most)
    return fitted
