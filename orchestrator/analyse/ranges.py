"""Sentences that differ only in their numbers, as one sentence with ranges: '57 %' and '43 %' become '43–57 %'. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

# A number of its own: not part of a name, an address or a version, nor an HTTP status. Or the range of two.
_ONE = r"\d[\d,]*(?:\.\d+)?"
_NUMBER = re.compile(rf"(?<![\w./:-])(?<!status ){_ONE}(?:–{_ONE})?(?![\w/:]|[.-]\w)")


def without_numbers(sentence: str) -> str:
    """Return a sentence with a mark in place of each number: equal for sentences that together() takes."""
    return _NUMBER.sub("#", sentence)


def together(sentences: Sequence[str]) -> str:
    """Return sentences that differ only in numbers as one."""
    numbers = zip(*(_NUMBER.findall(sentence) for sentence in sentences), strict=True)
    ranges = iter([_range(values) for values in numbers])
    return _NUMBER.sub(lambda _: next(ranges), sentences[0])


def _range(values: Sequence[str]) -> str:
    ends = [end for value in values for end in value.split("–")]
    ordered = sorted(ends, key=lambda end: float(end.replace(",", "")))
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]}–{ordered[-1]}"
