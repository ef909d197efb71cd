"""Rows of a request log as arrays, whatever the generator that wrote them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Earlier starts are not points in time: h2load writes 0 for a request that it queued and never sent.
EARLIEST_START_US = 10**15
NEWLINE, TAB = 10, 9
_SHOWN_BYTES = 80


class MalformedRow(ValueError):
    """A line of the log is not a row: where it starts and what it is."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Parsed rows in file order (by end of response, roughly), each array of shape (n,).

    start_us: wall clock of the load host, µs since the epoch; 0 when the request was never sent.
    status: HTTP status; below 0 a failure (agents.generators.contract.Failure); 0: headers came in h2load's own warm-up.
    service_us: monotonic µs from send to the end of the response; for a request that was never sent, from when it was due.
    due_us: wall clock when the request was due, 0 in the closed loop. request: index into the load's requests.
    first_byte_us: from send to the first byte of the answer, -1 where it is not known. bytes: of the answer's body.
    None for a log that does not hold them (h2load's holds the first three only).
    """

    start_us: npt.NDArray[np.int64]
    status: npt.NDArray[np.int64]
    service_us: npt.NDArray[np.int64]
    due_us: npt.NDArray[np.int64] | None = None
    request: npt.NDArray[np.int64] | None = None
    first_byte_us: npt.NDArray[np.int64] | None = None
    bytes: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return int(self.start_us.size)

    def where(self, mask: npt.NDArray[np.bool_]) -> Rows:
        """Return the rows that a mask of shape (n,) selects."""
        return Rows(
            self.start_us[mask],
            self.status[mask],
            self.service_us[mask],
            None if self.due_us is None else self.due_us[mask],
            None if self.request is None else self.request[mask],
            None if self.first_byte_us is None else self.first_byte_us[mask],
            None if self.bytes is None else self.bytes[mask],
        )


def refuse(
    data: bytes, offset: int, begin: int, end: int, wanted: str = "'start status time' in whole numbers"
) -> None:
    """Raise MalformedRow for the line data[begin:end]; offset: where `data` starts in the file."""
    line = data[begin:end][:_SHOWN_BYTES]
    raise MalformedRow(f"request log, byte {offset + begin}: {line!r} is not {wanted}")
