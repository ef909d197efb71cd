"""Requests whose text holds placeholders for values of a row: cut once, put together for each row."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from agents.generators.contract import PLACEHOLDER, DataOrder, TaskData, TaskRequest


class UnknownColumn(ValueError):
    """A placeholder names a column that the data does not have."""


# Constant bytes, or the number of a column.
Part = bytes | int


@dataclass(frozen=True, slots=True)
class Text:
    """Text with placeholders, cut at them."""

    parts: tuple[Part, ...] = field(repr=False)

    def filled(self, row: Sequence[bytes]) -> bytes:
        """Return the text for a row."""
        return b"".join([part if isinstance(part, bytes) else row[part] for part in self.parts])


def cut(text: bytes, columns: dict[str, int]) -> Text:
    """Cut a text at its placeholders. Raise UnknownColumn."""
    parts: list[Part] = []
    pieces = PLACEHOLDER.split(text.decode("utf-8", "surrogateescape"))
    for k, piece in enumerate(pieces):
        if k % 2:
            if piece not in columns:
                raise UnknownColumn(piece)
            parts.append(columns[piece])
        elif piece:
            parts.append(piece.encode("utf-8", "surrogateescape"))
    return Text(tuple(parts))


def has_placeholder(request: TaskRequest) -> bool:
    """Return whether a request takes a row."""
    texts = [request.url, *(value for _, value in request.headers)]
    if request.body is not None and b"${row." in request.body:
        texts.append(request.body.decode("utf-8", "surrogateescape"))
    return any(PLACEHOLDER.search(text) for text in texts)


class Rows:
    """The rows of a task, one after the other. taken: how many requests took one."""

    __slots__ = ("_next", "_rows", "columns", "taken")

    def __init__(self, data: TaskData, seed: int) -> None:
        self.columns = {name: k for k, name in enumerate(data.columns)}
        self._rows = [tuple(text.encode("utf-8", "surrogateescape") for text in row) for row in data.rows]
        self._next = _in_turn(len(self._rows)) if data.order is DataOrder.CYCLE else _at_random(len(self._rows), seed)
        self.taken = 0

    def take(self) -> tuple[bytes, ...]:
        """Return the next row."""
        self.taken += 1
        return self._rows[self._next()]


def _in_turn(rows: int) -> Callable[[], int]:
    numbers = count()
    return lambda: next(numbers) % rows


def _at_random(rows: int, seed: int) -> Callable[[], int]:
    # A stream of its own: with the numbers of the mix, one request would always meet the same rows.
    draw = random.Random(f"rows {seed}").random
    return lambda: int(draw() * rows)
