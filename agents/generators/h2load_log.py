"""Rows of h2load's log: `start_us <tab> status <tab> service_us <newline>`, more columns tolerated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agents.digits import LEAD, columns, eight, eight_whole, words_of
from agents.rows import NEWLINE, TAB, Rows, refuse


def parse_lines(padded: npt.NDArray[np.uint8], end: int, offset: int) -> Rows:
    """Parse whole lines that lie in padded[LEAD:end], with at least TRAIL bytes after them.

    offset: where they start in the file, for messages. Raises MalformedRow at the first line that is not a row.
    """
    if end == LEAD:
        nothing = np.zeros(0, dtype=np.int64)
        return Rows(nothing, nothing, nothing)
    text = padded[:end]
    words = words_of(padded, end)
    return _parse_usual(text, words) or _parse_any(text, words, offset)


def _parse_usual(text: npt.NDArray[np.uint8], words: npt.NDArray[np.uint64]) -> Rows | None:
    """Parse what nearly every row looks like, a start of 16 digits and a status of three; None if one row does not."""
    line_end = np.flatnonzero(text[LEAD:] == NEWLINE)
    line_end += LEAD
    line_start = np.empty_like(line_end)
    line_start[0] = LEAD
    np.add(line_end[:-1], 1, out=line_start[1:])
    length = line_end - line_start
    length -= 21
    if int(length.min()) < 1 or int(length.max()) > 8:
        return None
    statuses = _statuses(words[line_start + 16])
    if statuses is None:
        return None
    starts = _starts(words, line_start)
    service, service_ok = eight(words, line_end, length)
    if starts is None or not service_ok.all():
        return None
    return Rows(starts, statuses, service)


def _statuses(middle: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64] | None:
    """Read tab, three digits, tab from the low five bytes of each word; None if one is something else."""
    middle &= np.uint64(0xFFFFFFFFFF)
    if bool((middle == middle[0]).all()):
        one = _statuses_of_any(middle[:1])
        return None if one is None else np.full(middle.size, one[0], dtype=np.int64)
    return _statuses_of_any(middle)


def _statuses_of_any(middle: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64] | None:
    if not ((middle & np.uint64(0xFF000000FF)) == np.uint64(0x0900000009)).all():
        return None
    hundreds, tens, ones = ((middle >> np.uint64(shift)) & np.uint64(0xFF) for shift in (8, 16, 24))
    zero, nine = np.uint64(ord("0")), np.uint64(9)
    hundreds -= zero  # below zero wraps to a huge number
    tens -= zero
    ones -= zero
    if not ((hundreds <= nine) & (tens <= nine) & (ones <= nine)).all():
        return None
    status: npt.NDArray[np.int64] = (hundreds * np.uint64(100) + tens * np.uint64(10) + ones).view(np.int64)
    return status


def _starts(words: npt.NDArray[np.uint64], line_start: npt.NDArray[np.intp]) -> npt.NDArray[np.int64] | None:
    """Read 16 digits; None if they are not. The first eight change every hundred seconds: one look is often enough."""
    high = words[line_start]
    low, ok = eight_whole(words[line_start + 8])
    if not ok.all():
        return None
    once = bool((high == high[0]).all())
    upper, upper_ok = eight_whole(high[:1] if once else high)
    if not upper_ok.all():
        return None
    low += upper * 10**8
    return low


def _parse_any(text: npt.NDArray[np.uint8], words: npt.NDArray[np.uint64], offset: int) -> Rows:
    """Parse every permitted form of a row, and report where the first forbidden one is."""
    data = text[LEAD:].tobytes()
    separators = np.flatnonzero(text < 32)
    kinds = text[separators]
    lines = np.flatnonzero(kinds == NEWLINE)
    if lines.size * 3 == separators.size and bool((lines[0] == 2) & (np.diff(lines) == 3).all()):
        by_line = separators.reshape(-1, 3)
        first_tab, second_tab, third = by_line[:, 0], by_line[:, 1], by_line[:, 2]
        line_end = third
    else:
        first_tab, second_tab, third, line_end = _columns_of_uneven_lines(separators, kinds, lines, data, offset)
    line_start = np.empty_like(line_end)
    line_start[0] = LEAD
    line_start[1:] = line_end[:-1] + 1
    start, start_ok = columns(words, line_start, first_tab)
    status, status_ok = columns(words, first_tab + 1, second_tab)
    service, service_ok = columns(words, second_tab + 1, third)
    tabs = (text[first_tab] == TAB) & (text[second_tab] == TAB)
    tabs &= (text[third] == TAB) | (text[third] == NEWLINE)
    ok = start_ok & status_ok & service_ok & tabs
    if not ok.all():
        # Rare: -1 in the status column, or a line that is really malformed.
        suspects = np.flatnonzero(~ok)
        failed = (
            (second_tab[suspects] - first_tab[suspects] == 3)
            & (text[first_tab[suspects] + 1] == ord("-"))
            & (text[first_tab[suspects] + 2] == ord("1"))
            & start_ok[suspects]
            & service_ok[suspects]
            & tabs[suspects]
        )
        if not failed.all():
            bad = int(suspects[np.flatnonzero(~failed)[0]])
            refuse(data, offset, int(line_start[bad]) - LEAD, int(line_end[bad]) - LEAD)
        status[suspects] = -1
    if bool((status > 999).any()):
        bad = int(np.flatnonzero(status > 999)[0])
        refuse(data, offset, int(line_start[bad]) - LEAD, int(line_end[bad]) - LEAD)
    return Rows(start, status, service)


def _columns_of_uneven_lines(
    separators: npt.NDArray[np.intp],
    kinds: npt.NDArray[np.uint8],
    lines: npt.NDArray[np.intp],
    data: bytes,
    offset: int,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Find the first three columns of lines of which some have more; refuse a line with fewer."""
    first = np.empty_like(lines)
    first[0] = 0
    first[1:] = lines[:-1] + 1
    short = np.flatnonzero(lines - first < 2)
    if short.size:
        row = int(short[0])
        begin = 0 if row == 0 else int(separators[lines[row - 1]]) - LEAD + 1
        refuse(data, offset, begin, int(separators[lines[row]]) - LEAD)
    return separators[first], separators[first + 1], separators[first + 2], separators[lines]
