"""Read h2load's request log while it grows: `start_us <tab> status <tab> service_us <newline>`, more columns tolerated.

The reader takes the file in chunks, parses with numpy and gives the parsed part back to the file system, so that a run
of any length needs bounded memory and a bounded part of the tmpfs it is logged to.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

CHUNK_BYTES = 1 << 19  # measured: larger ones leave the processor's cache, smaller ones pay more per chunk
# Earlier starts are not points in time: h2load writes 0 for a request that it queued and never sent.
EARLIEST_START_US = 10**15

_FALLOC_PUNCH_KEEP_SIZE = 0x01 | 0x02
_PUNCH_BYTES = 1 << 22
_PUNCH_UNIT = 4096
# Bytes before and after the lines of a chunk, so that eight bytes can be read around any column.
_LEAD, _TRAIL = 16, 8
_LONGEST_LINE = 4096
_NEWLINE, _TAB = 10, 9
_ASCII_ZEROS = np.uint64(0x3030303030303030)
_SIXES = np.uint64(0x0606060606060606)
_HIGH_NIBBLES = np.uint64(0xF0F0F0F0F0F0F0F0)


class MalformedRow(ValueError):
    """A line that is no row: says at which byte of the log it starts and what it was."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Parsed rows in file order (by end of response, roughly), each array of shape (n,).

    start_us: wall clock of the load host, µs since the epoch; 0 when the request was never sent.
    status: HTTP status; -1 stream failed; 0 headers came in h2load's own warm-up.
    service_us: monotonic µs from send to the end of the response.
    """

    start_us: npt.NDArray[np.int64]
    status: npt.NDArray[np.int64]
    service_us: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.start_us.size)


def parse(data: bytes, offset: int = 0) -> Rows:
    """Parse whole lines (`data` is empty or ends in a newline); `offset` is where they start in the file, for messages.

    Raises MalformedRow at the first line that is no row.
    """
    padded = np.frombuffer(b"0" * _LEAD + data + b"0" * _TRAIL, dtype=np.uint8)
    return _parse_padded(padded, _LEAD + len(data), offset)


def _parse_padded(padded: npt.NDArray[np.uint8], end: int, offset: int) -> Rows:
    """Parse whole lines that lie in padded[_LEAD:end], with at least _TRAIL bytes after them."""
    if end == _LEAD:
        nothing = np.zeros(0, dtype=np.int64)
        return Rows(nothing, nothing, nothing)
    text = padded[:end]
    # Eight bytes from every position on, unaligned.
    words = np.ndarray(shape=(end,), dtype="<u8", buffer=padded.data, strides=(1,))
    return _parse_usual(text, words) or _parse_any(text, words, offset)


def _parse_usual(text: npt.NDArray[np.uint8], words: npt.NDArray[np.uint64]) -> Rows | None:
    """Parse what nearly every row looks like, a start of 16 digits and a status of three; None if one row does not."""
    line_end = np.flatnonzero(text[_LEAD:] == _NEWLINE)
    line_end += _LEAD
    line_start = np.empty_like(line_end)
    line_start[0] = _LEAD
    np.add(line_end[:-1], 1, out=line_start[1:])
    length = line_end - line_start
    length -= 21
    if int(length.min()) < 1 or int(length.max()) > 8:
        return None
    statuses = _statuses(words[line_start + 16])
    if statuses is None:
        return None
    starts = _starts(words, line_start)
    service, service_ok = _eight(words, line_end, length)
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
    low, ok = _eight_whole(words[line_start + 8])
    if not ok.all():
        return None
    once = bool((high == high[0]).all())
    upper, upper_ok = _eight_whole(high[:1] if once else high)
    if not upper_ok.all():
        return None
    low += upper * 10**8
    return low


def _parse_any(text: npt.NDArray[np.uint8], words: npt.NDArray[np.uint64], offset: int) -> Rows:
    """Parse every permitted form of a row, and say where the first forbidden one is."""
    data = text[_LEAD:].tobytes()
    separators = np.flatnonzero(text < 32)
    kinds = text[separators]
    lines = np.flatnonzero(kinds == _NEWLINE)
    if lines.size * 3 == separators.size and bool((lines[0] == 2) & (np.diff(lines) == 3).all()):
        columns = separators.reshape(-1, 3)
        first_tab, second_tab, third = columns[:, 0], columns[:, 1], columns[:, 2]
        line_end = third
    else:
        first_tab, second_tab, third, line_end = _columns_of_uneven_lines(separators, kinds, lines, data, offset)
    line_start = np.empty_like(line_end)
    line_start[0] = _LEAD
    line_start[1:] = line_end[:-1] + 1
    start, start_ok = _digits(words, line_start, first_tab)
    status, status_ok = _digits(words, first_tab + 1, second_tab)
    service, service_ok = _digits(words, second_tab + 1, third)
    tabs = (text[first_tab] == _TAB) & (text[second_tab] == _TAB)
    tabs &= (text[third] == _TAB) | (text[third] == _NEWLINE)
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
            _refuse(data, offset, int(line_start[bad]) - _LEAD, int(line_end[bad]) - _LEAD)
        status[suspects] = -1
    if bool((status > 999).any()):
        bad = int(np.flatnonzero(status > 999)[0])
        _refuse(data, offset, int(line_start[bad]) - _LEAD, int(line_end[bad]) - _LEAD)
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
        begin = 0 if row == 0 else int(separators[lines[row - 1]]) - _LEAD + 1
        _refuse(data, offset, begin, int(separators[lines[row]]) - _LEAD)
    return separators[first], separators[first + 1], separators[first + 2], separators[lines]


def _digits(
    words: npt.NDArray[np.uint64], begin: npt.NDArray[np.intp], end: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Decimal columns [begin, end) to int64, eight digits at a time; and whether each was 1 to 18 digits and nothing else.

    The eight-digit step is the well-known SIMD-within-a-register one (D. Lemire, "Quickly parsing eight digits", 2018).
    """
    length = end - begin
    value, ok = _eight(words, end, np.minimum(length, 8))
    ok &= (length >= 1) & (length <= 18)
    weight = 10**8
    for done in (8, 16):
        more = np.flatnonzero(length > done)
        if more.size == 0:
            break
        if more.size == length.size:
            part, part_ok = _eight(words, end - done, np.minimum(length - done, 8))
            value += part * weight
            ok &= part_ok
        else:
            part, part_ok = _eight(words, end[more] - done, np.minimum(length[more] - done, 8))
            value[more] += part * weight
            ok[more] &= part_ok
        weight *= 10**8
    return value, ok


def _eight(
    words: npt.NDArray[np.uint64], end: npt.NDArray[np.intp], length: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    digits = words[end - 8]
    digits ^= _ASCII_ZEROS
    junk_bits = (np.maximum(8 - length, 0) * 8).astype(np.uint64)
    # A shift by 64 is undefined: a column of no length is refused by its caller, so any mask will do.
    np.minimum(junk_bits, np.uint64(56), out=junk_bits)
    digits >>= junk_bits
    digits <<= junk_bits
    return _eight_values(digits)


def _eight_whole(digits: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    digits ^= _ASCII_ZEROS
    return _eight_values(digits)


def _eight_values(digits: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    ok = (((digits + _SIXES) | digits) & _HIGH_NIBBLES) == 0
    digits *= np.uint64((10 << 8) + 1)
    digits >>= np.uint64(8)
    digits &= np.uint64(0x00FF00FF00FF00FF)
    digits *= np.uint64((100 << 16) + 1)
    digits >>= np.uint64(16)
    digits &= np.uint64(0x0000FFFF0000FFFF)
    digits *= np.uint64((10000 << 32) + 1)
    digits >>= np.uint64(32)
    return digits.view(np.int64), ok


def _refuse(data: bytes, offset: int, begin: int, end: int) -> None:
    line = data[begin:end][:80]
    raise MalformedRow(f"request log, byte {offset + begin}: {line!r} is not 'start status time' in whole numbers")


class LogTail:
    """Follow one log file: whole lines as they come, the incomplete last line kept for the next read."""

    def __init__(self, path: Path, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._path = path
        self._fd: int | None = None
        self._read = 0
        self._punched = 0
        # One buffer for all chunks: the incomplete line of the last one lies at its beginning.
        self._buffer = bytearray(b"0") * (_LEAD + _LONGEST_LINE + chunk_bytes + _TRAIL)
        self._chunk_bytes = chunk_bytes
        self._kept = 0
        self.rows = 0

    def read(self) -> Rows | None:
        """Parse the next chunk; None when nothing more is there at present (or no file yet).

        Raises MalformedRow for a line that is no row.
        """
        if self._fd is None:
            try:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
        begin = _LEAD + self._kept
        with memoryview(self._buffer) as view:
            got = os.preadv(self._fd, [view[begin : begin + self._chunk_bytes]], self._read)
        if not got:
            return None
        offset = self._read - self._kept
        self._read += got
        end = begin + got
        whole_end = self._buffer.rfind(b"\n", _LEAD, end) + 1
        if not whole_end:
            if end - _LEAD > _LONGEST_LINE:
                line = bytes(self._buffer[_LEAD : _LEAD + 80])
                raise MalformedRow(f"request log, byte {offset}: no line ends within {_LONGEST_LINE} bytes: {line!r}")
            self._kept = end - _LEAD
            return parse(b"")
        rows = _parse_padded(np.frombuffer(self._buffer, dtype=np.uint8), whole_end, offset)
        self._kept = end - whole_end
        if self._kept > _LONGEST_LINE:
            line = bytes(self._buffer[whole_end : whole_end + 80])
            raise MalformedRow(f"request log, byte {self._read - self._kept}: no line ends within 4096 bytes: {line!r}")
        self._buffer[_LEAD : _LEAD + self._kept] = self._buffer[whole_end:end]
        self.rows += len(rows)
        self._give_back()
        return rows

    def close(self) -> bytes:
        """Close the file and give what is left of an incomplete last line (empty in a log that ended well)."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        return bytes(self._buffer[_LEAD : _LEAD + self._kept])

    def _give_back(self) -> None:
        """Punch a hole into what has been parsed. Where the file system cannot, the file just stays long."""
        assert self._fd is not None
        whole = (self._read // _PUNCH_UNIT) * _PUNCH_UNIT
        if whole - self._punched >= _PUNCH_BYTES:
            _libc.fallocate(
                self._fd,
                _FALLOC_PUNCH_KEEP_SIZE,
                ctypes.c_int64(self._punched),
                ctypes.c_int64(whole - self._punched),
            )
            self._punched = whole


_libc = ctypes.CDLL(None, use_errno=True)
