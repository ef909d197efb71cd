"""Whole numbers in text, read by numpy: eight digits at a time, from every position at once.

The eight-digit step is the well-known SIMD-within-a-register one (D. Lemire, "Quickly parsing eight digits", 2018).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Bytes before and after the lines of a chunk, so that eight bytes can be read around any column.
LEAD, TRAIL = 16, 8
_ASCII_ZEROS = np.uint64(0x3030303030303030)
_SIXES = np.uint64(0x0606060606060606)
_HIGH_NIBBLES = np.uint64(0xF0F0F0F0F0F0F0F0)


def words_of(padded: npt.NDArray[np.uint8], end: int) -> npt.NDArray[np.uint64]:
    """Return the eight bytes from every position on, unaligned, shape (end,)."""
    return np.ndarray(shape=(end,), dtype="<u8", buffer=padded.data, strides=(1,))


def columns(
    words: npt.NDArray[np.uint64], begin: npt.NDArray[np.intp], end: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Read decimal columns [begin, end), shape (n,), as int64; and whether each was 1 to 18 digits and nothing else."""
    length = end - begin
    value, ok = eight(words, end, np.minimum(length, 8))
    ok &= (length >= 1) & (length <= 18)
    weight = 10**8
    for done in (8, 16):
        more = np.flatnonzero(length > done)
        if more.size == 0:
            break
        if more.size == length.size:
            part, part_ok = eight(words, end - done, np.minimum(length - done, 8))
            value += part * weight
            ok &= part_ok
        else:
            part, part_ok = eight(words, end[more] - done, np.minimum(length[more] - done, 8))
            value[more] += part * weight
            ok[more] &= part_ok
        weight *= 10**8
    return value, ok


def eight(
    words: npt.NDArray[np.uint64], end: npt.NDArray[np.intp], length: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Read up to eight digits that end before `end`, shape (n,), as int64; and whether they were digits and nothing else."""
    digits = words[end - 8]
    digits ^= _ASCII_ZEROS
    junk_bits = (np.maximum(8 - length, 0) * 8).astype(np.uint64)
    # A shift by 64 is undefined: a column of no length is refused by its caller, so any mask will do.
    np.minimum(junk_bits, np.uint64(56), out=junk_bits)
    digits >>= junk_bits
    digits <<= junk_bits
    return _eight_values(digits)


def eight_whole(digits: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Read words of eight digits, shape (n,), as int64; and whether they were digits and nothing else. Overwrites them."""
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
