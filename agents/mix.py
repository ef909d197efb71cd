"""The counters of each request of a mix, in memory that neither the number of rows nor that of requests makes large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from agents.histogram import COUNTERS, HIGHEST_US, HdrCounts, Ints, Sparse, index_of

# So many requests of a load have counters of their own; all others share those of the number after the last.
MOST_REQUESTS = 200
# Values wait until there are this many, because sorting them together is cheaper than a few at a time.
_WAITING = 1 << 18
# Up to this value the squares of _BLOCK values add up to less than 2^63.
_BLOCK, _SQUARE_SAFE_US = 1 << 18, 1 << 22
# The lowest status of a row is -7.
_STATUSES, _SHIFT = 1024, 8


@dataclass(slots=True)
class RequestCounts:
    """What one agent, or all of a trial, counted of one request in the window.

    service, response, first_byte: times as for all requests together; response and unanswered in the open loop only.
    received_bytes: of the bodies of successful answers, as far as the log has them.
    """

    service: HdrCounts = field(default_factory=HdrCounts)
    response: HdrCounts | None = None
    unanswered: HdrCounts | None = None
    first_byte: HdrCounts = field(default_factory=HdrCounts)
    http_error: int = 0
    failed: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    received_bytes: int = 0

    def __iadd__(self, other: RequestCounts) -> RequestCounts:
        """Add the counters of another agent."""
        self.service += other.service
        self.first_byte += other.first_byte
        self.response = plus(self.response, other.response)
        self.unanswered = plus(self.unanswered, other.unanswered)
        self.http_error += other.http_error
        self.failed += other.failed
        self.statuses = added(self.statuses, other.statuses)
        self.received_bytes += other.received_bytes
        return self


def plus(total: HdrCounts | None, part: HdrCounts | None) -> HdrCounts | None:
    """Return the sum of counters of which both may be missing. It is never `part` itself."""
    if part is None:
        return total
    total = HdrCounts() if total is None else total
    total += part
    return total


def added(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    """Return counts added up by key, the keys in order."""
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}


class Times:
    """One histogram for each number from 0 to size - 1, kept sparse. Equals HdrCounts of the same values, sums included."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._keys = np.zeros(0, dtype=np.int32)
        self._counts = np.zeros(0, dtype=np.int64)
        self._waiting: list[npt.NDArray[np.int32]] = []
        self._waits = 0
        self._minimum = np.full(size, np.iinfo(np.int64).max)
        self._maximum = np.zeros(size, dtype=np.int64)
        self._overflow = np.zeros(size, dtype=np.int64)
        # Python's whole numbers: sums of squares outgrow 64 bits.
        self._total = [0] * size
        self._squares = [0] * size

    def add(self, number: Ints, values_us: Ints) -> None:
        """Add values in µs with their numbers, both of shape (n,)."""
        for start in range(0, values_us.size, _BLOCK):
            self._add_block(number[start : start + _BLOCK], values_us[start : start + _BLOCK])

    def _add_block(self, number: Ints, values_us: Ints) -> None:
        if int(values_us.min()) < 0:
            raise ValueError(f"a time cannot be negative: {int(values_us.min())} µs")
        np.minimum.at(self._minimum, number, values_us)
        np.maximum.at(self._maximum, number, values_us)
        if int(values_us.max()) > HIGHEST_US:
            over = values_us > HIGHEST_US
            for k, value in zip(number[over].tolist(), values_us[over].tolist(), strict=True):
                self._overflow[k] += 1
                self._total[k] += value
                self._squares[k] += value**2
            number, values_us = number[~over], values_us[~over]
            if not values_us.size:
                return
        self._add_sums(number, values_us)
        self._waiting.append((number * COUNTERS + index_of(values_us)).astype(np.int32))
        self._waits += values_us.size
        if self._waits >= _WAITING:
            self._settle()

    def _add_sums(self, number: Ints, values_us: Ints) -> None:
        sums = self._sum(number, values_us)
        if int(values_us.max()) < _SQUARE_SAFE_US:
            squares = self._sum(number, values_us * values_us)
        else:
            high, low = values_us >> 18, values_us & ((1 << 18) - 1)
            parts = (self._sum(number, high * high), self._sum(number, high * low), self._sum(number, low * low))
            squares = [(a << 36) + (b << 19) + c for a, b, c in zip(*parts, strict=True)]
        self._total = [a + b for a, b in zip(self._total, sums, strict=True)]
        self._squares = [a + b for a, b in zip(self._squares, squares, strict=True)]

    def _sum(self, number: Ints, values: Ints) -> list[int]:
        sums = np.zeros(self._size, dtype=np.int64)
        np.add.at(sums, number, values)
        return sums.tolist()

    def _settle(self) -> None:
        """Sort what waits into the counters."""
        if not self._waiting:
            return
        keys, counts = np.unique(np.concatenate(self._waiting), return_counts=True)
        self._waiting, self._waits = [], 0
        both = np.concatenate([self._keys, keys])
        order = np.argsort(both, kind="stable")
        both, every = both[order], np.concatenate([self._counts, counts])[order]
        first = np.flatnonzero(np.concatenate([[True], both[1:] != both[:-1]]))
        self._keys, self._counts = both[first], np.add.reduceat(every, first)

    def of(self, number: int) -> HdrCounts:
        """Return the histogram of a number."""
        self._settle()
        begin, end = np.searchsorted(self._keys, [number * COUNTERS, (number + 1) * COUNTERS])
        sparse = Sparse.made(self._keys[begin:end] - number * COUNTERS, self._counts[begin:end])
        overflow = int(self._overflow[number])
        empty = not (overflow or end > begin)
        return HdrCounts(
            sparse,
            overflow,
            0 if empty else int(self._minimum[number]),
            int(self._maximum[number]),
            self._total[number],
            self._squares[number],
        )


class MixCounters:
    """Adds the rows of the window to the counters of their requests. size: the number of requests of the load."""

    def __init__(self, size: int, open_loop: bool) -> None:
        self._size = min(size, MOST_REQUESTS + 1)
        self._service, self._first_byte = Times(self._size), Times(self._size)
        self._response = Times(self._size) if open_loop else None
        self._unanswered = Times(self._size) if open_loop else None
        self._statuses = np.zeros(self._size * _STATUSES, dtype=np.int64)
        self._http_errors = np.zeros(self._size, dtype=np.int64)
        self._bytes = np.zeros(self._size, dtype=np.int64)

    def add(
        self,
        request: Ints,
        status: Ints,
        ok: npt.NDArray[np.bool_],
        service_us: Ints,
        first_byte_us: Ints | None,
        body_bytes: Ints | None,
    ) -> None:
        """Add rows, each array of shape (n,). ok: which are successes."""
        number = self._numbers(request)
        np.add.at(self._statuses, number * _STATUSES + (status + _SHIFT), 1)
        if not ok.all():
            np.add.at(self._http_errors, number[(status >= 100) & ~ok], 1)
            number, service_us = number[ok], service_us[ok]
            first_byte_us = None if first_byte_us is None else first_byte_us[ok]
            body_bytes = None if body_bytes is None else body_bytes[ok]
        self._service.add(number, service_us)
        if body_bytes is not None:
            np.add.at(self._bytes, number, np.maximum(body_bytes, 0))
        if first_byte_us is not None:
            known = first_byte_us >= 0
            self._first_byte.add(number[known], first_byte_us[known])

    def add_open(
        self, request: Ints, response_us: Ints, ok: npt.NDArray[np.bool_], unanswered: npt.NDArray[np.bool_]
    ) -> None:
        """Add the response times of rows that were due, each array of shape (n,)."""
        assert self._response is not None
        assert self._unanswered is not None
        number, recorded = self._numbers(request), ok | unanswered
        self._response.add(number[recorded], response_us[recorded])
        if unanswered.any():
            self._unanswered.add(number[unanswered], response_us[unanswered])

    def _numbers(self, request: Ints) -> Ints:
        return np.minimum(request, self._size - 1)

    def counts(self) -> dict[int, RequestCounts]:
        """Return the counters by number of the request; MOST_REQUESTS stands for all from that number on."""
        return {number: self._of(number) for number in range(self._size)}

    def _of(self, number: int) -> RequestCounts:
        own = self._statuses[number * _STATUSES : (number + 1) * _STATUSES]
        statuses = {int(k) - _SHIFT: int(own[k]) for k in np.flatnonzero(own)}
        return RequestCounts(
            service=self._service.of(number),
            response=None if self._response is None else self._response.of(number),
            unanswered=None if self._unanswered is None else self._unanswered.of(number),
            first_byte=self._first_byte.of(number),
            http_error=int(self._http_errors[number]),
            failed=sum(count for status, count in statuses.items() if status < 0),
            statuses=statuses,
            received_bytes=int(self._bytes[number]),
        )
