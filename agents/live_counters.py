"""Count the rows of one agent for the live view: a few numpy operations a row, in memory that does not grow."""

from __future__ import annotations

import numpy as np

from agents.generators.contract import WITHOUT_ANSWER
from agents.live import BITS, COUNTERS, AgentCounts
from agents.rows import Rows
from agents.success import Success

_WITHOUT_ANSWER = np.array(WITHOUT_ANSWER)
# The exponent of 1.0 as a float32, and how far its bits are from being an index.
_ONE, _SHIFT = 127 << BITS, 23 - BITS


class LiveCounters:
    """Adds rows as they are read. response: times count from when a request was due (open loop, due times in the log)."""

    def __init__(self, response: bool, success: Success | None = None) -> None:
        """success: which answers are successes; by default those with a status from 100 to 399."""
        self.response = response
        self._success = success or Success()
        self._counts = np.zeros(COUNTERS, dtype=np.int64)
        self._answered = self._failed = self._at_us = 0

    def add(self, rows: Rows) -> None:
        """Add rows."""
        if not len(rows):
            return
        status, times = rows.status, rows.service_us
        if self.response and rows.due_us is not None:
            times = times + np.where(rows.start_us > 0, np.maximum(rows.start_us - rows.due_us, 0), 0)
        ok = self._success.of(rows)
        answered = int(ok.sum())
        if answered == len(rows):
            self._answered += answered
        else:
            self._answered += answered
            # Status 0: h2load lost it at the end of its own warm-up.
            self._failed += int((status != 0).sum()) - answered
            times = times[ok | np.isin(status, _WITHOUT_ANSWER)] if self.response else times[ok]
        # The upper bits of a float are its logarithm, with a straight line between two powers of two.
        bits = np.maximum(times, 1).astype(np.float32).view(np.int32)
        index = np.minimum((bits >> _SHIFT) - _ONE, COUNTERS - 1)
        self._counts += np.bincount(index, minlength=COUNTERS)

    def read_until(self, at_us: int) -> None:
        """Note that the log was read at_us after T0, and everything in it was added."""
        self._at_us = at_us

    def counts(self) -> AgentCounts:
        """Return the counts. Another thread may be adding rows."""
        return AgentCounts(self._at_us, self._answered, self._failed)

    def times(self) -> dict[int, int]:
        """Return the counters that are not zero. Another thread may be adding rows."""
        # A copy: numpy refuses counters that become non-zero while it looks for those that are.
        counts = self._counts.copy()
        index = np.flatnonzero(counts)
        return dict(zip(index.tolist(), counts[index].tolist(), strict=True))
