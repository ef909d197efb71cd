"""How many slots had a request under way around the end of a closed loop's window: what is missing hangs or was lost."""

from __future__ import annotations

import numpy as np

from agents.histogram import Ints

_INSTANTS = 400
# At a single instant a slot of a fast load may be between two requests.
_FEWEST = 10
# So long before the end of what is observed the instants begin: HUNG_US and more fit into a short tail as well.
_SEEN_US = 4_000_000
# A slot that reconnects, or connects for the first time, is idle for less than this.
_RECONNECTS_US = 300_000
# A slot without an answer for this long, or for this many times the p99, hangs.
HUNG_US = 1_000_000
HUNG_P99 = 10


class Occupancy:
    """Counts, at instants spread over the tail and before, the requests that were under way then and were answered later."""

    def __init__(self, window_start_us: int, window_end_us: int, observed_until_us: int) -> None:
        self._window_end_us, self._end_us = window_end_us, observed_until_us
        # By then all slots have begun.
        self._begun_us = window_start_us + _RECONNECTS_US
        begin_us = min(window_end_us, max(window_start_us, observed_until_us - _SEEN_US))
        self._at_us = np.linspace(begin_us, observed_until_us, _INSTANTS, endpoint=False).astype(np.int64)
        self._steps = np.zeros(_INSTANTS + 1, dtype=np.int64)

    def add(self, start_us: Ints, end_us: Ints) -> None:
        """Add requests that ended, in chunks of any size and order; both of shape (n,), on the clock of the window."""
        tail = end_us > self._at_us[0]
        np.add.at(self._steps, np.searchsorted(self._at_us, start_us[tail]), 1)
        np.add.at(self._steps, np.searchsorted(self._at_us, end_us[tail]), -1)

    def hung(self, slots: int, p99_us: int) -> int:
        """Return how many slots had no answer for longer than HUNG_US and HUNG_P99 times the p99.

        A request that was under way at an instant, and has no row, is that old only if the load went on long enough after
        it. So the instants count that are that old: those after the window where the tail is long, else the last ones
        before its end. 0 where there are too few to know, or all slots may not have begun.
        """
        age_us = max(HUNG_US, HUNG_P99 * p99_us)
        last_us = self._end_us - age_us
        known = (self._at_us <= last_us) & (self._at_us >= min(self._window_end_us, last_us - _RECONNECTS_US))
        if last_us < self._begun_us or np.count_nonzero(known) < _FEWEST:
            return 0
        # A slot that reconnects is idle for a moment; one that hangs never is under way. So the fullest instant counts.
        return max(0, slots - int(np.cumsum(self._steps)[:-1][known].max()))
