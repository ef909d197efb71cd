"""Rows in, counters out: which rows count, in which class, at which second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from agents.arrivals import ArrivalCheck, Schedule
from agents.generators.contract import WITHOUT_ANSWER
from agents.histogram import HdrCounts, Ints, index_of
from agents.mix import MixCounters, RequestCounts
from agents.occupancy import Occupancy
from agents.records import AssignedRequest
from agents.rows import EARLIEST_START_US, MalformedRow, Rows
from agents.series import Series
from agents.success import Success

OK, HTTP_ERROR, STREAM_FAILED = "ok", "http_error", "stream_failed"
CLASSES = (OK, HTTP_ERROR, STREAM_FAILED)

# Was due and has no answer: it stands in the response times at its age, a lower bound.
UNANSWERED = np.array(WITHOUT_ANSWER)

# Ends of requests that are kept for drain_us().
KEPT_ENDS = 4096

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Window:
    """[start_us, end_us) on the load host's wall clock; end_us None: to the end of the run (a load bound by a count).

    observed_until_us: when the load ends, a tail after the window; None: not known.
    """

    start_us: int
    end_us: int | None
    observed_until_us: int | None = None


@dataclass(slots=True)
class Tally:
    """Counts beside the histograms. Every row is in exactly one of: in the window by class, before, after, never_sent.

    Where rows hold due times a request belongs to the window in which it was due, sent or not; then never_sent stays 0.
    boundary counts the rows inside the window whose status h2load lost (0): they are in no class.
    crossing counts rows that started in the window and ended after it: slots seen occupied at its end.
    first_start_us and last_end_us span all rows that were sent, on the load host's clock; 0 while there are none.
    first_due_us: the first due time, where rows hold due times.
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
    first_due_us: int = 0


class Recorder:
    """Adds rows, in chunks of any size and in any order, to counters per class and per second of the window.

    With a schedule (an open loop whose rows hold due times) response time and send lag are recorded as well. Response time
    is of the same population as service time, the successful answers, and of what was due and never answered, at its age;
    `unanswered` holds the latter alone. first_byte: of successful answers, where the rows hold it; received_bytes: of their
    bodies, None where they do not.
    """

    def __init__(
        self, window: Window, schedule: Schedule | None = None, requests: Sequence[AssignedRequest] = ()
    ) -> None:
        """requests: those of the load. Several are a mix: each has counters of its own."""
        self.window = window
        self.tally = Tally()
        self.service = {name: HdrCounts() for name in CLASSES}
        self.series = {name: Series() for name in CLASSES}
        self.response = None if schedule is None else HdrCounts()
        self.lag = None if schedule is None else HdrCounts()
        self.unanswered = None if schedule is None else HdrCounts()
        self.arrivals = None if schedule is None else ArrivalCheck(schedule)
        self.first_byte = HdrCounts()
        self.received_bytes: int | None = None
        self._success = Success(requests)
        self._requests = len(requests)
        self._mix = MixCounters(len(requests), schedule is not None) if len(requests) > 1 else None
        until_us = window.observed_until_us
        self._last_ends = np.zeros(0, dtype=np.int64)
        timed = schedule is None and window.end_us is not None and until_us is not None and until_us > window.end_us
        self.occupancy = Occupancy(window.start_us, window.end_us or 0, until_us or 0) if timed else None

    def add(self, rows: Rows) -> None:
        """Add parsed rows."""
        tally = self.tally
        tally.rows += len(rows)
        sent = rows.start_us >= EARLIEST_START_US
        everything_sent = bool(sent.all())
        on_the_wire = rows if everything_sent else rows.where(sent)
        if len(on_the_wire):
            end = on_the_wire.start_us + on_the_wire.service_us
            tally.first_start_us = min(tally.first_start_us or _NEVER, int(on_the_wire.start_us.min()))
            tally.last_end_us = max(tally.last_end_us, int(end.max()))
            if self.occupancy is not None:
                self.occupancy.add(on_the_wire.start_us, end)
            if self.window.end_us is None:
                ends = np.concatenate([self._last_ends, end])
                self._last_ends = np.partition(ends, -KEPT_ENDS)[-KEPT_ENDS:] if ends.size > KEPT_ENDS else ends
        if self.response is not None and rows.due_us is not None and len(rows):
            tally.first_due_us = min(tally.first_due_us or _NEVER, int(rows.due_us.min()))
            inside = self._inside(rows, rows.due_us)
            if len(inside):
                self._record_open(inside)
            return
        tally.never_sent += len(rows) - len(on_the_wire)
        inside = self._inside(on_the_wire, on_the_wire.start_us)
        if len(inside):
            self._classify(inside.start_us - self.window.start_us, inside, self._success.of(inside))

    @property
    def mix(self) -> dict[int, RequestCounts]:
        """The counters of each request of a mix, by its number; none for a load with a single request."""
        return {} if self._mix is None else self._mix.counts()

    def drain_us(self, slots: int) -> int:
        """Return how long at the end of a load bound by a count fewer than `slots` requests were left.

        Each slot has a share of the count. With equal servers for all, the last request of each ends at about the same time.
        """
        if self._last_ends.size <= slots or slots > KEPT_ENDS:
            return 0
        ends = np.sort(self._last_ends)
        return int(ends[-1] - ends[-slots])

    def _inside(self, rows: Rows, instant_us: Ints) -> Rows:
        """Return the rows whose instant, shape (n,), lies in the window, and count the others."""
        window, tally = self.window, self.tally
        if window.end_us is None or not len(rows):
            return rows
        if int(instant_us.min()) < window.start_us or int(instant_us.max()) >= window.end_us:
            before, after = instant_us < window.start_us, instant_us >= window.end_us
            tally.before += int(before.sum())
            tally.after += int(after.sum())
            rows = rows.where(~(before | after))
        tally.crossing += int((rows.start_us + rows.service_us >= window.end_us).sum())
        return rows

    def _record_open(self, rows: Rows) -> None:
        """Record requests that were due in the window."""
        assert rows.due_us is not None
        assert self.response is not None
        assert self.lag is not None
        assert self.arrivals is not None
        assert self.unanswered is not None
        due, start, status, service = rows.due_us, rows.start_us, rows.status, rows.service_us
        ok = self._success.of(rows)
        sent = start > 0
        lag = np.where(sent, np.maximum(start - due, 0), 0)
        # What was never sent has its time from when it was due already.
        response = service + lag
        unanswered = np.isin(status, UNANSWERED)
        self.unanswered.record(response[unanswered])
        self.lag.record(lag[sent])
        self.response.record(response[unanswered | ok])
        self.arrivals.add(due, start)
        if self._mix is not None:
            self._mix.add_open(self._numbers(rows), response, ok, unanswered)
        self._classify(due - self.window.start_us, rows, ok)

    def _numbers(self, rows: Rows) -> Ints:
        """Return the number of each row's request. Raises MalformedRow for one that the load does not have."""
        if rows.request is None:
            raise MalformedRow("request log: its rows have no request numbers, and the load has several requests")
        if (highest := int(rows.request.max())) >= self._requests:
            allowed = f"0 to {self._requests - 1}"
            raise MalformedRow(f"request log: a row is of request {highest}; the load's requests are {allowed}")
        return rows.request

    def _classify(self, relative_us: Ints, rows: Rows, ok: npt.NDArray[np.bool_]) -> None:
        tally, status, service = self.tally, rows.status, rows.service_us
        lowest, highest = int(status.min()), int(status.max())
        if lowest == highest:
            tally.statuses[lowest] = tally.statuses.get(lowest, 0) + int(status.size)
        else:
            for code, count in zip(*np.unique(status, return_counts=True), strict=True):
                tally.statuses[int(code)] = tally.statuses.get(int(code), 0) + int(count)
        every = bool(ok.all())
        self._record_answers(rows if every else rows.where(ok))
        if self._mix is not None:
            self._mix.add(self._numbers(rows), status, ok, service, rows.first_byte_us, rows.bytes)
        if every:
            self._record(OK, relative_us, service)
            return
        for name, mask in ((OK, ok), (HTTP_ERROR, (status >= 100) & ~ok), (STREAM_FAILED, status < 0)):
            if mask.any():
                self._record(name, relative_us[mask], service[mask])
        tally.boundary += int((status == 0).sum())

    def _record_answers(self, rows: Rows) -> None:
        """Record the first byte and the bytes of successful answers."""
        if rows.first_byte_us is not None:
            known = rows.first_byte_us >= 0
            self.first_byte.record(rows.first_byte_us if known.all() else rows.first_byte_us[known])
        if rows.bytes is not None:
            self.received_bytes = (self.received_bytes or 0) + int(np.maximum(rows.bytes, 0).sum())

    def _record(self, name: str, relative_us: np.ndarray, service: np.ndarray) -> None:
        index = index_of(service)
        self.service[name].record(service, index)
        self.series[name].record(relative_us, service, index)
