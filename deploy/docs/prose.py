"""How readable a document is: words a sentence, and its longest line. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.docs.markdown import ROOT, prose_lines

MOST_WORDS = 20.0
MOST_COLUMNS = 100
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+")
# A full stop inside of these ends no sentence.
_ABBREVIATIONS = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf)\.", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?:])[)\"'”*_]*\s+(?=[\"'“(*_\[`A-Z0-9])")


@dataclass(frozen=True, slots=True)
class Readability:
    """Of one document. words: per sentence, on average. columns: of the longest line of prose."""

    sentences: int
    words: float
    longest: str
    columns: int


def paragraphs(path: Path) -> Iterator[str]:
    """Yield paragraphs and list items as one line each. Tables, headings and images are no prose."""
    collected: list[str] = []
    for _, line in prose_lines(path):
        text = line.strip().removeprefix("> ")
        is_prose = bool(text) and not text.startswith(("|", "#", "!["))
        if collected and (not is_prose or _ITEM.match(line)):
            yield " ".join(collected)
            collected = []
        if is_prose:
            collected.append(_ITEM.sub("", text))
    if collected:
        yield " ".join(collected)


def sentences(paragraph: str) -> list[str]:
    """Split a paragraph into sentences. A colon in front of a new sentence ends one, too."""
    text = re.sub(r"`[^`]*`", "code", re.sub(r"\]\([^)]*\)", "]", paragraph))
    text = _ABBREVIATIONS.sub(lambda match: match[0].replace(".", ""), text)
    return [part for part in _SENTENCE.split(text) if re.search(r"[A-Za-z]{2}", part)]


def readability(path: Path) -> Readability:
    """Measure a document."""
    found = [sentence for paragraph in paragraphs(path) for sentence in sentences(paragraph)]
    counts = [len(re.findall(r"[^\W_][\w'’%/,.-]*", sentence)) for sentence in found]
    columns = max(
        (len(line) for _, line in prose_lines(path) if not line.lstrip().startswith(("|", "![", "#"))), default=0
    )
    longest = found[counts.index(max(counts))] if counts else ""
    return Readability(len(found), sum(counts) / len(counts) if counts else 0.0, longest, columns)


def unreadable(paths: list[Path]) -> Iterator[str]:
    """Yield each document with long sentences or long lines.

    Decisions are not rewritten later, so that their sentences count together.
    """
    decisions = []
    for path in paths:
        found, name = readability(path), str(path.relative_to(ROOT))
        if found.columns > MOST_COLUMNS:
            yield f"{name}: a line of {found.columns} columns, at most {MOST_COLUMNS}: python -m deploy.docs wrap"
        if path.parent.name == "adr":
            decisions.append(found)
        elif found.words > MOST_WORDS:
            yield f"{name}: {found.words:.1f} words a sentence on average, at most {MOST_WORDS:.0f}: {found.longest[:60]}"
    words = sum(each.words * each.sentences for each in decisions) / max(1, sum(each.sentences for each in decisions))
    if words > MOST_WORDS:
        yield f"docs/adr: {words:.1f} words a sentence on average, at most {MOST_WORDS:.0f}"
