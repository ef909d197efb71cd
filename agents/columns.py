"""A value per second in bounded memory: of LONGEST values neighbours are joined two by two, into 2 s, 4 s and so on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

# The most values that a column, or a series of histograms, has.
LONGEST = 600
Join = Callable[[list[float]], float]


def last(values: list[float]) -> float:
    """Return the last value: for instants and readings of a level."""
    return values[-1]


def mean(values: list[float]) -> float:
    """Return the mean: for shares of equally long seconds."""
    return round(sum(values) / len(values), 4)


class Column:
    """One value per second, or per 2, 4, 8 ... seconds of a long load."""

    __slots__ = ("_join", "_open", "_seconds", "_values")

    def __init__(self, join: Join) -> None:
        """join: makes one value of several: sum, max, last or mean."""
        self._join = join
        self._values: list[float] = []
        # The seconds that are not a whole interval yet.
        self._open: list[float] = []
        self._seconds = 1

    def add(self, value: float) -> None:
        """Add the value of the next second."""
        if self._seconds == 1:
            self._values.append(value)
        else:
            self._open.append(value)
            if len(self._open) < self._seconds:
                return
            self._values.append(self._join(self._open))
            self._open = []
        if len(self._values) == LONGEST:
            self._values = [self._join(self._values[i : i + 2]) for i in range(0, LONGEST, 2)]
            self._seconds *= 2

    def values(self) -> list[float]:
        """Return all values, in order of time; the last may be of a shorter interval."""
        return [*self._values, *([self._join(self._open)] if self._open else [])]


class Columns:
    """Columns by name that grow together."""

    def __init__(self, joins: Mapping[str, Join], otherwise: Join = mean) -> None:
        """joins: how values are joined, by name. otherwise: how those of all other columns are."""
        self._joins, self._otherwise = joins, otherwise
        self._columns: dict[str, Column] = {}

    def add(self, row: Mapping[str, float]) -> None:
        """Add the values of the next second."""
        for name, value in row.items():
            column = self._columns.get(name)
            if column is None:
                column = self._columns[name] = Column(self._joins.get(name, self._otherwise))
            column.add(value)

    def values(self) -> dict[str, list[float]]:
        """Return the columns."""
        return {name: column.values() for name, column in self._columns.items()}
