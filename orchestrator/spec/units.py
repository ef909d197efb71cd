"""Quantities as people write them: '5s', '1m30s', '100MiB', '1000/s', '3%'.

Each quantity has one type and one unit in memory. The readers take text from a file or a command line;
the writers return text that reads back to exactly the same value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from orchestrator.slo import NUMBER, share, shown

DURATION_EXAMPLE = "'5s', '500ms' or '1m30s'"
RATE_EXAMPLE = "'1000/s' or '6000/min'"
SIZE_EXAMPLE = "'100MiB'"

# Longest first: each unit at most once, as in 1h30m.
_DURATIONS_US = {"h": 3_600_000_000, "min": 60_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000, "us": 1, "µs": 1}
_STEPS = (("h", r"h"), ("m", r"m(?:in)?"), ("s", r"s"), ("ms", r"ms"), ("us", r"[uµ]s"))
_DURATION_PATTERN = r"^\s*(?=[0-9])" + "".join(rf"(?:({NUMBER})\s*{unit}\s*)?" for _, unit in _STEPS) + "$"
_SIZES = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_RATES_S = {"": 1, "/s": 1, "/min": 60}
_DURATION = re.compile(_DURATION_PATTERN)
_SIZE = re.compile(rf"^\s*({NUMBER})\s*({'|'.join(_SIZES)})\s*$")
_RATE = re.compile(rf"^\s*({NUMBER})\s*(/s|/min|)\s*$")
_BARE = re.compile(rf"\s*{NUMBER}\s*")
_DOCKER_SIZE = re.compile(r"\s*([0-9]+)\s*([kmgKMG])\s*")

MOST_DURATION_US = 366 * 24 * _DURATIONS_US["h"]
MOST_RATE_PER_S = 10**9
MOST_SIZE_BYTES = 2**60


class Micros(int):
    """A duration that has been read already, in µs. A bare number in a file has no unit and is refused."""


class ByteCount(int):
    """A size that has been read already, in bytes."""


class Part(float):
    """A share that has been read already, as a fraction of one."""


def duration_us(value: Any) -> Micros:
    """Return a duration such as '500ms' or '1m30s' in µs. Raise ValueError if it is not one."""
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(_refused(value, "duration", DURATION_EXAMPLE, "units: h, m or min, s, ms, us"))
    units = (_DURATIONS_US[unit] for unit, _ in _STEPS)
    exact = sum(
        (Decimal(number) * unit for number, unit in zip(match.groups(), units, strict=True) if number), Decimal()
    )
    if exact == 0:
        raise ValueError(f"{shown(value)} is not above zero: write a duration as {DURATION_EXAMPLE}")
    if exact < 1:
        raise ValueError(f"{shown(value)} is shorter than 1 µs: write a duration as {DURATION_EXAMPLE}")
    if exact > MOST_DURATION_US:
        raise ValueError(f"{shown(value)} is longer than a year: write a duration as {DURATION_EXAMPLE}")
    return Micros(round(exact))


def size_bytes(value: Any) -> ByteCount:
    """Return a size such as '100MiB' in bytes. Raise ValueError if it is not one."""
    if isinstance(value, str) and (docker := _DOCKER_SIZE.fullmatch(value)):
        number, letter = docker[1], docker[2].upper()
        binary, decimal = f"{number}{letter}iB", f"{number}{letter.replace('K', 'k')}B"
        raise ValueError(f"{shown(value)} is ambiguous: write '{binary}' (what Docker means by it) or '{decimal}'")
    match = _SIZE.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(_refused(value, "size", SIZE_EXAMPLE, f"units: {', '.join(_SIZES)}"))
    exact = Decimal(match[1]) * _SIZES[match[2]]
    if not 1 <= exact <= MOST_SIZE_BYTES:
        raise ValueError(f"{shown(value)} is out of range: write a size from 1B to {MOST_SIZE_BYTES // 1024**3}GiB")
    return ByteCount(round(exact))


def rate_per_s(value: Any) -> float:
    """Return a rate such as '1000/s', '6000/min' or 1000 in 1/s. Raise ValueError if it is not one."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        exact: Decimal | float = value
    elif isinstance(value, str) and (match := _RATE.match(value)):
        exact = Decimal(match[1]) / _RATES_S[match[2]]
    else:
        raise ValueError(_refused(value, "rate", RATE_EXAMPLE, "units: /s, /min; a bare number is per second"))
    # A comparison that not-a-number fails, too.
    if not 0 < exact <= MOST_RATE_PER_S:
        raise ValueError(f"{shown(value)} is out of range: write a rate above 0 and up to {MOST_RATE_PER_S:,}/s")
    return float(exact)


def bytes_per_s(value: Any) -> float:
    """Return a rate of transfer such as '50MB/s' in bytes per second. Raise ValueError if it is not one."""
    size = value.strip().removesuffix("/s") if isinstance(value, str) else ""
    if size == "" or size == value.strip() or not _SIZE.match(size):
        units = f"units: {', '.join(f'{unit}/s' for unit in _SIZES)}"
        raise ValueError(_refused(value, "rate of transfer", "'50MB/s'", units))
    return float(size_bytes(size))


def _refused(value: Any, what: str, example: str, units: str) -> str:
    """Return why text is not a quantity, and how to write one."""
    bare = isinstance(value, int | float) and not isinstance(value, bool)
    if bare or (isinstance(value, str) and _BARE.fullmatch(value)):
        return f"{shown(value)} has no unit: write a {what} as {example}"
    return f"{shown(value)} is not a {what}: write it as {example} ({units})"


def duration_text(us: int) -> str:
    """Return a duration as text that reads back exactly, in the largest unit that divides it."""
    return next(f"{us // size}{unit}" for unit, size in _DURATIONS_US.items() if unit != "min" and us % size == 0)


def size_text(size: int) -> str:
    """Return a size as text that reads back exactly."""
    return next(f"{size // value}{unit}" for unit, value in reversed(_SIZES.items()) if size % value == 0)


def share_text(part: float) -> str:
    """Return a share as text that reads back exactly."""
    return f"{(Decimal(repr(float(part))) * 100).normalize():f}%"


def _read_once(read: Callable[[Any], Any], already: type, plain: type) -> BeforeValidator:
    """Return a validator that reads text and leaves alone what has been read already."""
    return BeforeValidator(lambda value: plain(value if isinstance(value, already) else read(value)))


def _described(kind: str, pattern: str, example: str) -> dict[str, Any]:
    return {"type": "string", "description": kind, "pattern": pattern, "examples": [example]}


def _written(write: Callable[[Any], str]) -> PlainSerializer:
    return PlainSerializer(write, return_type=str, when_used="json")


_SCHEMAS: dict[str, dict[str, Any]] = {
    "Duration": _described("a duration", _DURATION_PATTERN, "1m30s"),
    "Size": _described("a size", _SIZE.pattern, "100MiB"),
    "Share": _described("a share", rf"^\s*{NUMBER}\s*%\s*$", "3%"),
    "Rate": {
        "description": "a rate; a bare number is per second",
        "anyOf": [{"type": "string", "pattern": _RATE.pattern}, {"type": "number", "exclusiveMinimum": 0}],
        "examples": ["1000/s", "6000/min", 100],
    },
}
Duration = Annotated[
    int, _read_once(duration_us, Micros, int), _written(duration_text), WithJsonSchema(_SCHEMAS["Duration"])
]
Size = Annotated[int, _read_once(size_bytes, ByteCount, int), _written(size_text), WithJsonSchema(_SCHEMAS["Size"])]
Share = Annotated[float, _read_once(share, Part, float), _written(share_text), WithJsonSchema(_SCHEMAS["Share"])]
Rate = Annotated[float, BeforeValidator(rate_per_s), WithJsonSchema(_SCHEMAS["Rate"])]


def quantities() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each quantity, by its name."""
    return _SCHEMAS


def as_text(value: str | int | float | bool) -> str:
    """Return a scalar as it would be written in a file."""
    return str(value).lower() if isinstance(value, bool) else str(value)
