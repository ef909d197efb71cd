"""Quantities as people write them: '5s', '100MiB', '1000/s', '3%'. Each has one type here and one unit inside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_QUANTITY = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([A-Za-zµ%/]*)\s*$")

_DURATIONS_US = {"us": 1, "µs": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000}
_SIZES = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}


def duration_us(value: Any) -> int:
    """Read a duration such as '500ms' or '5s' into µs. Raises ValueError."""
    return round(_read(value, _DURATIONS_US, "a duration", "5s"))


def size_bytes(value: Any) -> int:
    """Read a size such as '100MiB' into bytes. Raises ValueError."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d+\s*[kmgKMG]\s*", value):
        number, unit = value.strip()[:-1], value.strip()[-1].upper().replace("K", "Ki")
        unit = unit if unit == "Ki" else unit + "i"
        raise ValueError(
            f"{value!r} could be a power of 1000 or of 1024; what docker calls {value!r} is '{number}{unit}B'"
        )
    return round(_read(value, _SIZES, "a size", "100MiB"))


def rate_per_s(value: Any) -> float:
    """Read a rate such as '1000/s' into 1/s. Raises ValueError."""
    return _read(value, {"/s": 1.0, "/min": 1 / 60}, "a rate", "1000/s")


def share(value: Any) -> float:
    """Read a share such as '3%' into a fraction of one. Raises ValueError."""
    return _read(value, {"%": 0.01}, "a share", "3%")


def _read(value: Any, units: Mapping[str, float], what: str, example: str) -> float:
    known = ", ".join(units)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is not {what}: write it as '{example}' (units: {known})")
    match = _QUANTITY.match(str(value))
    if not match or not match[2]:
        raise ValueError(f"{value!r} has no unit: write {what} as '{example}' (units: {known})")
    if match[2] not in units:
        raise ValueError(f"{value!r}: {match[2]!r} is no unit of {what}; the units are {known}")
    result = float(match[1]) * units[match[2]]
    if result <= 0:
        raise ValueError(f"{value!r}: {what} is more than zero")
    return result


def _schema(description: str, pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": description, "pattern": pattern, "examples": [example]})


_N = r"^\s*\d+(\.\d+)?\s*"
Duration = Annotated[int, BeforeValidator(duration_us), _schema("a duration", _N + r"(us|µs|ms|s|min|h)\s*$", "5s")]
Size = Annotated[int, BeforeValidator(size_bytes), _schema("a size", _N + r"(B|kB|MB|GB|KiB|MiB|GiB)\s*$", "100MiB")]
Rate = Annotated[float, BeforeValidator(rate_per_s), _schema("a rate", _N + r"/(s|min)\s*$", "1000/s")]
Share = Annotated[float, BeforeValidator(share), _schema("a share", _N + r"%\s*$", "3%")]


def as_text(value: str | int | float | bool) -> str:
    """Give a scalar as it would be written in a file."""
    return str(value).lower() if isinstance(value, bool) else str(value)
