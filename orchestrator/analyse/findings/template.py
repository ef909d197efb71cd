"""The words of a finding.

A sentence and a fix with places for its facts, which are written for a person.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from string import Formatter
from typing import Any

from orchestrator.analyse import people
from orchestrator.result import FindingCode, Severity
from orchestrator.result.finding import Facts
from orchestrator.slo import Metric


def _text(value: Any) -> str:
    return people.UNKNOWN if value is None else str(value).strip().rstrip(".")


def _names(value: Any) -> str:
    return ", ".join(str(name) for name in value)


def _metric(value: Any) -> str:
    return Metric(value).label


def _series(value: Any) -> str:
    return "median service time" if value == Metric.P50 else _text(value)


def _percentiles(value: Any) -> str:
    return ", ".join(Metric(name).label for name in value)


# How {fact:format} is written; {fact:one|many} is a count with its noun.
FORMATS: dict[str, Callable[[Any], str]] = {
    "": _text,
    "names": _names,
    "metric": _metric,
    "series": _series,
    "percentiles": _percentiles,
    "count": people.count,
    "digits": people.digits,
    "percent": people.percent,
    "us": people.milliseconds,
    "s": people.seconds,
    "bytes": people.mebibytes,
}


class _ForPeople(Formatter):
    """str.format with FORMATS in place of Python's format specifications."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """Return one fact as text."""
        one, plural, many = format_spec.partition("|")
        return people.several(value, one, many) if plural else FORMATS[format_spec](value)


_FORMATTER = _ForPeople()


@dataclass(frozen=True, slots=True)
class Wording:
    """One way to word a finding. sentence: what happened; fix: what the reader can do now.

    Both may hold {fact:format}, or be functions where the names of the facts are not known
    beforehand.
    """

    sentence: str | Callable[[Facts], str]
    fix: str

    def render(self, facts: Facts) -> tuple[str, str]:
        """Return sentence and fix with the facts in them. Raise KeyError if a fact is missing."""
        sentence = self.sentence(facts) if callable(self.sentence) else _FORMATTER.vformat(self.sentence, (), facts)
        return sentence, _FORMATTER.vformat(self.fix, (), facts)


@dataclass(frozen=True, slots=True)
class Entry:
    """A finding in the registry. severities: those that it can have. wordings: by name.

    "" is the usual one.
    """

    code: FindingCode
    severities: tuple[Severity, ...]
    wordings: dict[str, Wording]

    @property
    def anchor(self) -> str:
        """Where the documentation explains it."""
        return f"docs/reference/findings.md#{self.code}"
