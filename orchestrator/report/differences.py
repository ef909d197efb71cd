"""What differs between two runs, in the words of a page. JSON keeps the names that programs use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.analyse.people import mebibytes, seconds
from orchestrator.result import Difference

_ABSENT = "(none)"


def _time(value: str) -> str:
    return seconds(float(value) / 1e6)


def _bytes(value: str) -> str:
    return mebibytes(float(value))


def _rate(value: str) -> str:
    return f"{float(value):,.4g}/s"


# Fields of a case: their words, and their values as a person reads them.
_WORDS: dict[str, tuple[str, Callable[[str], str]]] = {
    "cpus": ("CPU limit", str),
    "memory_bytes": ("memory limit", _bytes),
    "cpuset": ("cores of the container", str),
    "rate_per_s": ("rate", _rate),
    "duration_us": ("duration", _time),
    "warm_up_us": ("warm-up", _time),
    "tail_us": ("tail", _time),
}


def unlike(differences: Sequence[Difference]) -> list[str]:
    """Return one line for each difference: 'memory limit: 100 MiB → 200 MiB'."""
    return [_line(difference) for difference in differences]


def _line(d: Difference) -> str:
    name, shown = _WORDS.get(d.key, (d.key, str))
    field, _, service = d.key.partition(" of ")
    if service and field in _WORDS:
        words, shown = _WORDS[field]
        name = f"{words} of {service}"
    if d.key.startswith("memory of "):
        shown = _bytes
    old, new = (value if value == _ABSENT else _shown(shown, value) for value in (d.baseline, d.candidate))
    if old == new:
        return f"{name}: changed {old}"
    return f"{name}: {old} → {new}"


def _shown(shown: Callable[[str], str], value: str) -> str:
    try:
        return shown(value)
    except ValueError:
        return value
