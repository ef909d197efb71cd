"""Rows in, counters out: which rows count, in which class, at which second."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from agents.histogram import HdrCounts, index_of
from agents.rows import EARLIEST_START_US, Rows
from agents.series import Series

OK, HTTP_ERROR, STREAM_FAILED = "ok", "http_error", "stream_failed"
CLASSES = (OK, HTTP_ERROR, STREAM_FAILED)

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Window:
    """[start_us, end_us) on the load host's wall clock; end_us None: to the end of the run (a load bound by a count)."""

    start_us: int
    end_us: int | None


@dataclass(slots=True)
class Tally:
    """Counts beside the histograms. Every row is in exactly one of: in the window by class, before, after, never_sent.

    boundary counts the rows inside the window whose status h2load lost (0): they are in no class.
    crossing counts rows that started in the window and ended after it: slots seen occupied at its end.
    first_start_us and last_end_us span all rows that were sent, on the load host's clock; 0 while there are none.
    """

    rows: int = 0
    before: int = 0
    after: int = 0
    never_sent: int = 0
    boundary: int = 0
    crossing: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    first_start_us: int = 0
    last_end_us: int = 0


class Recorder:
    """Adds rows, in chunks of any size and in any order, to counters per class and per second of the window."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.tally = Tally()
        self.service = {name: HdrCounts() for name in CLASSES}
        self.series = {name: Series() for name in CLASSES}

    def add(self, rows: Rows) -> None:
        """Add parsed rows."""
        tally = self.tally
        tally.rows += len(rows)
        start, status, service = rows.start_us, rows.status, rows.service_us
        sent = start >= EARLIEST_START_US
        if not sent.all():
            tally.never_sent += int((~sent).sum())
            start, status, service = start[sent], status[sent], service[sent]
        if start.size == 0:
            return
        end = start + service
        first, last_start = int(start.min()), int(start.max())
        tally.first_start_us = min(tally.first_start_us or _NEVER, first)
        tally.last_end_us = max(tally.last_end_us, int(end.max()))
        window = self.window
        if window.end_us is not None:
            if first < window.start_us or last_start >= window.end_us:
                before, after = start < window.start_us, start >= window.end_us
                tally.before += int(before.sum())
                tally.after += int(after.sum())
                inside = ~(before | after)
                start, status, service, end = start[inside], status[inside], service[inside], end[inside]
                if start.size == 0:
                    return
            tally.crossing += int((end >= window.end_us).sum())
        self._classify(start - window.start_us, status, service)

    def _classify(self, relative_us: np.ndarray, status: np.ndarray, service: np.ndarray) -> None:
        tally = self.tally
        lowest, highest = int(status.min()), int(status.max())
        if lowest == highest:
            tally.statuses[lowest] = tally.statuses.get(lowest, 0) + int(status.size)
        else:
            for code, count in zip(*np.unique(status, return_counts=True), strict=True):
                tally.statuses[int(code)] = tally.statuses.get(int(code), 0) + int(count)
        if lowest >= 100 and highest < 400:
            self._record(OK, relative_us, service)
            return
        for name, mask in (
            (OK, (status >= 100) & (status < 400)),
            (HTTP_ERROR, status >= 400),
            (STREAM_FAILED, status < 0),
        ):
            if mask.any():
                self._record(name, relative_us[mask], service[mask])
        tally.boundary += int((status == 0).sum())

    def _record(self, name: str, relative_us: np.ndarray, service: np.ndarray) -> None:
        index = index_of(service)
        self.service[name].record(service, index)
        self.series[name].record(relative_us, service, index)
