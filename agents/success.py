"""Which answers are successes: statuses from 100 to 399, or those that a request allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agents.records import AssignedRequest
from agents.rows import Rows

# Statuses have at most three digits.
_STATUSES = 1000
LOWEST, BEYOND = 100, 400


class Success:
    """The rule of one load. It is plain (the statuses 100 to 399) unless a request allows others."""

    def __init__(self, requests: Sequence[AssignedRequest] = ()) -> None:
        kinds: dict[tuple[int, ...], int] = {}
        of_request = [kinds.setdefault(tuple(sorted(request.allowed)), len(kinds)) for request in requests]
        self.plain = not any(kinds)
        self._kind = np.array(of_request or [0], dtype=np.int64)
        # Equal rules share a row: a load can have thousands of requests.
        self._table = np.zeros((len(kinds) or 1, _STATUSES), dtype=np.bool_)
        for allowed, kind in kinds.items() or {(): 0}.items():
            if allowed:
                self._table[kind, [status for status in allowed if 0 < status < _STATUSES]] = True
            else:
                self._table[kind, LOWEST:BEYOND] = True

    def of(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Return which rows are successes, shape (n,). Rows of a log without request numbers are of the first request."""
        status = rows.status
        if self.plain:
            return (status >= LOWEST) & (status < BEYOND)
        last = self._kind.size - 1
        kind = self._kind[0] if rows.request is None or not last else self._kind[np.minimum(rows.request, last)]
        found: npt.NDArray[np.bool_] = self._table[kind, np.clip(status, 0, _STATUSES - 1)]
        return found & (status > 0)
