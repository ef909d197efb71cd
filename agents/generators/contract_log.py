"""Rows of the generator contract: `due_us start_us status service_us request`, tabs between.

Two more columns may follow, `first_byte_us bytes`. What else follows is tolerated.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agents.digits import LEAD, columns, words_of
from agents.rows import NEWLINE, TAB, Rows, refuse

_COLUMNS, _WITH_BYTES = 5, 7
_STATUS = 2
# The first byte of an answer whose arrival is not known.
UNKNOWN = -1
_LOWEST, _HIGHEST = -7, 999
_WANTED = "'due start status time request' in whole numbers"


def parse_lines(padded: npt.NDArray[np.uint8], end: int, offset: int) -> Rows:
    """Parse whole lines that lie in padded[LEAD:end], with at least TRAIL bytes after them.

    offset: where they start in the file, for messages. Raises MalformedRow at the first line that is not a row.
    """
    if end == LEAD:
        nothing = np.zeros(0, dtype=np.int64)
        return Rows(nothing, nothing, nothing, nothing, nothing)
    text, words = padded[:end], words_of(padded, end)
    data = text[LEAD:].tobytes()
    begins, ends, number = _fields(text, data, offset)
    ok = np.ones(begins.shape[0], dtype=np.bool_)
    values = []
    for k in range(_COLUMNS):
        begin = begins[:, k]
        # A status below zero is a failure: '-' and one digit.
        negative = (text[begin] == ord("-")) & (ends[:, k] - begin == 2) if k == _STATUS else None
        value, fine = columns(words, begin if negative is None else begin + negative, ends[:, k])
        if negative is not None:
            value = np.where(negative, -value, value)
            fine &= (value >= _LOWEST) & (value <= _HIGHEST)
        ok &= fine
        values.append(value)
    if not ok.all():
        bad = int(np.flatnonzero(~ok)[0])
        stop = data.find(b"\n", int(begins[bad, 0]) - LEAD)
        refuse(data, offset, int(begins[bad, 0]) - LEAD, stop, _WANTED)
    due, start, status, service, request = values
    if number < _WITH_BYTES:
        return Rows(start, status, service, due, request)
    first_byte, size = (_known(words, begins[:, k], ends[:, k]) for k in range(_COLUMNS, _WITH_BYTES))
    return Rows(start, status, service, due, request, first_byte, size)


def _known(
    words: npt.NDArray[np.uint64], begin: npt.NDArray[np.intp], end: npt.NDArray[np.intp]
) -> npt.NDArray[np.int64]:
    """Read a column of whole numbers; whatever else it holds, -1 too, is UNKNOWN."""
    value, fine = columns(words, begin, end)
    return value if fine.all() else np.where(fine, value, UNKNOWN)


def _fields(
    text: npt.NDArray[np.uint8], data: bytes, offset: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], int]:
    """Return where the columns of each line begin and end, both of shape (n, number), and their number.

    That is 7 where each line has as many, else 5. Refuse a line with fewer.
    """
    separators = np.flatnonzero((text == TAB) | (text == NEWLINE))
    lines = np.flatnonzero(text[separators] == NEWLINE)
    first = np.empty_like(lines)
    first[0], first[1:] = 0, lines[:-1] + 1
    short = np.flatnonzero(lines - first < _COLUMNS - 1)
    if short.size:
        row = int(short[0])
        begin = 0 if row == 0 else int(separators[lines[row - 1]]) - LEAD + 1
        refuse(data, offset, begin, int(separators[lines[row]]) - LEAD, _WANTED)
    number = _WITH_BYTES if int((lines - first).min()) >= _WITH_BYTES - 1 else _COLUMNS
    ends = separators[first[:, None] + np.arange(number)]
    begins = np.empty_like(ends)
    begins[:, 1:] = ends[:, :-1] + 1
    begins[0, 0] = LEAD
    begins[1:, 0] = separators[lines[:-1]] + 1
    return begins, ends, number
