"""Numbers as a person reads them.

A unit, and at most three significant digits where the number is an estimate.
"""

from __future__ import annotations

import math

UNKNOWN = "unknown"
# Below this, a p-value has no digits worth reading.
SMALLEST_P = 0.001


def digits(value: float | None) -> str:
    """Return a number with three significant digits, and thousands separated.

    0.123, 12.3, 1,230.
    """
    if value is None:
        return UNKNOWN
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    places = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, places)
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.{max(0, places)}f}".rstrip("0").rstrip(".")


def count(value: float | None) -> str:
    """Return a whole number in full: 12,345."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def rate(per_s: float | None) -> str:
    """Return a rate per second as it was asked for: whole from 100 on, with up to three digits below (0.5, 12.5, 1,234)."""
    return count(per_s) if per_s is not None and per_s >= 100 else digits(per_s)


def percent(share: float | None) -> str:
    """Return a share as a percentage: 24 %, 0.15 %."""
    return UNKNOWN if share is None else f"{digits(100 * share)} %"


def milliseconds(us: float | None) -> str:
    """Return microseconds as milliseconds: 12.5 ms; from ten seconds on as seconds."""
    if us is None:
        return UNKNOWN
    return f"{digits(us / 1e6)} s" if abs(us) >= 1e7 else f"{digits(us / 1e3)} ms"


def lasting(seconds_: float) -> str:
    """Return how long something took, in whole seconds and minutes: 2 min 10 s."""
    minutes, rest_s = divmod(round(seconds_), 60)
    return f"{minutes} min {rest_s} s" if minutes else f"{rest_s} s"


def seconds(value: float | None) -> str:
    """Return seconds: 2.5 s."""
    return UNKNOWN if value is None else f"{digits(value)} s"


def mebibytes(value: float | None) -> str:
    """Return bytes as MiB: 100 MiB."""
    return UNKNOWN if value is None else f"{digits(value / 2**20)} MiB"


def several(number: float | None, one: str, many: str) -> str:
    """Return a count with its noun: 1 request, 12,345 requests."""
    return f"{count(number)} {one if number == 1 else many}"


def p_value(p: float | None) -> str:
    """Return a p-value: 'p = 0.012', 'p < 0.001'. Empty where there is none."""
    if p is None:
        return ""
    return f"p < {SMALLEST_P}" if p < SMALLEST_P else f"p = {p:.3f}" if p < 0.9995 else "p = 1"
