"""Prose and tables that fit the width of the terminal. Pure: what comes out are lines of rich text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.printable import printable as text_without_sequences

# Prose in longer lines is hard to read.
MOST_PROSE = 100
MISSING = "–"
_MARGIN = "  "
_GAP = 2
_SHORTEST_LABEL, _LONGEST_LABEL = 12, 32
# A number stays on the line of its unit.
_UNIT = re.compile(
    r"(?<=[\d×]) (?=%|(?:ms|s|min|µs|MiB|GiB|Mbit/s|(?:req|msg|answers)/s)(?!\w))|(?<=[<>≤≥]) (?=\d)| (?=[<>≤≥] \d)"
)
UNBROKEN = "\xa0"

# Text with a style of rich; '' for none.
Cell = str | tuple[str, str] | None


def printable(text: str) -> str:
    """Return text from a file or a server in one line, without the characters that steer a terminal."""
    return "".join(c if c.isprintable() or c == UNBROKEN else " " for c in text_without_sequences(text))


def wrapped(text: str, width: int, first: str = "", rest: str | None = None) -> list[str]:
    """Return prose in lines of at most `width` columns. first, rest: before the first line, and before the others.

    A word that is longer than a line, such as a path, stays whole so that it can be copied.
    """
    lines = textwrap.wrap(
        _UNIT.sub(UNBROKEN, printable(text)),
        min(width, MOST_PROSE),
        initial_indent=first,
        subsequent_indent=" " * len(first) if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(UNBROKEN, " ") for line in lines]


def fields(parts: Sequence[str], width: int, label: str, indent: int) -> list[str]:
    """Return a label and its fields, three spaces apart, broken between fields only."""
    first, rest = f"{_MARGIN}{printable(label):<{indent}}", " " * (len(_MARGIN) + indent)
    lines, line = [], first
    for part in map(printable, parts):
        gap = "" if line in (first, rest) else "   "
        if gap and len(line) + len(gap) + len(part) > width:
            lines.append(line)
            line, gap = rest, ""
        line += gap + part
    return [
        line for long in [*lines, line] for line in (wrapped_field(long, width, rest) if len(long) > width else [long])
    ]


def wrapped_field(line: str, width: int, rest: str) -> list[str]:
    """Return one field that is longer than a line as several lines."""
    return wrapped(line[len(rest) :], width, line[: len(rest)], rest)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. unit: below the heading; adjacent equal units are written once.

    need: columns with the highest number are left out first where the terminal is narrow; those with 0 always stay.
    A column without any content is left out.
    """

    heading: str
    unit: str
    cells: Sequence[Cell]
    need: int = 0
    left: bool = False

    @property
    def empty(self) -> bool:
        """Whether no cell has content."""
        return not any(_plain(cell).strip() for cell in self.cells)

    @property
    def width(self) -> int:
        """The widest cell or heading. Units may span columns."""
        return max(len(self.heading), *(len(_plain(cell)) for cell in self.cells), 0)


def _plain(cell: Cell) -> str:
    return "" if cell is None else printable(cell if isinstance(cell, str) else cell[0])


def grid(columns: Sequence[Column], width: int, spans: Mapping[int, Cell] | None = None) -> list[Any]:
    """Return a table of at most `width` columns: headings, units, rows; none without a row.

    spans: by number of the row, text that stands after the first column in place of the others.
    """
    label, *others = columns
    rows, spans = len(label.cells), spans or {}
    whole = [i for i in range(rows) if i not in spans]
    kept = [column for column in others if any(_plain(column.cells[i]).strip() for i in whole)]
    while kept and _total(label, kept) > width and (most := max(column.need for column in kept)):
        kept.remove([column for column in kept if column.need == most][-1])
    room = width - len(_MARGIN) - sum(_widths(kept)) - _GAP * len(kept)
    label_width = min(label.width, max(_SHORTEST_LABEL, room))
    if not rows:
        return []
    widths = _widths(kept)
    lines = _headings(label, label_width, kept, widths)
    for i in range(rows):
        name = _shortened(_plain(label.cells[i]), label_width)
        if i in spans:
            lines += _spanning(name, label_width, spans[i], width)
            continue
        cells = [column.cells[i] for column in kept]
        lines.append(_row(name, label_width, cells, kept, widths))
    return lines


def _total(label: Column, kept: Sequence[Column]) -> int:
    return len(_MARGIN) + min(_LONGEST_LABEL, label.width) + sum(_widths(kept)) + _GAP * len(kept)


def _units(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Return each unit with the number of adjacent columns that have it."""
    spans: list[tuple[str, int]] = []
    for column in columns:
        if spans and column.unit and spans[-1][0] == column.unit:
            spans[-1] = (column.unit, spans[-1][1] + 1)
        else:
            spans.append((column.unit, 1))
    return spans


def _widths(columns: Sequence[Column]) -> list[int]:
    """Return the widths of columns; the first under a long unit is as wide as that takes."""
    widths, at = [column.width for column in columns], 0
    for unit, number in _units(columns):
        missing = len(unit) - sum(widths[at : at + number]) - _GAP * (number - 1)
        widths[at] += max(0, missing)
        at += number
    return widths


def _headings(label: Column, label_width: int, kept: Sequence[Column], widths: Sequence[int]) -> list[Any]:
    from rich.text import Text

    names = f"{_MARGIN}{label.heading:<{label_width}}"
    units, at = f"{_MARGIN}{label.unit:<{label_width}}", 0
    for unit, number in _units(kept):
        room = sum(widths[at : at + number]) + _GAP * (number - 1)
        left = kept[at].left
        units += " " * _GAP + _placed(unit, room, number, left)
        for column, width in zip(kept[at : at + number], widths[at : at + number], strict=True):
            names += " " * _GAP + (column.heading.ljust(width) if column.left else column.heading.rjust(width))
        at += number
    return [Text(line.rstrip(), style="dim") for line in (names, units) if line.strip()]


def _placed(unit: str, room: int, number: int, left: bool) -> str:
    """Return a unit below its heading, or in the middle below several."""
    return unit.ljust(room) if left else unit.center(room) if number > 1 else unit.rjust(room)


def _row(name: str, label_width: int, cells: Sequence[Cell], kept: Sequence[Column], widths: Sequence[int]) -> Any:
    from rich.text import Text

    line = Text(f"{_MARGIN}{name:<{label_width}}")
    for cell, column, width in zip(cells, kept, widths, strict=True):
        style = cell[1] if isinstance(cell, tuple) else ""
        text = _plain(cell) or ("" if column.left else MISSING)
        line.append(" " * _GAP).append(text.ljust(width) if column.left else text.rjust(width), style)
    line.rstrip()
    return line


def _spanning(name: str, label_width: int, cell: Cell, width: int) -> list[Any]:
    from rich.text import Text

    first = f"{_MARGIN}{name:<{label_width}}{' ' * _GAP}"
    return [
        Text(line, style=cell[1] if isinstance(cell, tuple) else "") for line in wrapped(_plain(cell), width, first)
    ]


def _shortened(text: str, width: int) -> str:
    """Return a name in `width` columns: its end tells names apart as well as its beginning."""
    if len(text) <= width:
        return text
    end = (width - 2) // 2
    return f"{text[: width - 2 - end]}..{text[len(text) - end :]}"
