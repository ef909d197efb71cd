"""Wrap the prose of a document at MOST_COLUMNS. Code, tables, headings and quotes stay as they are."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from deploy.docs.prose import MOST_COLUMNS

_ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+")
_FENCE = re.compile(r"^\s*(`{3,})")
_OTHER = re.compile(r"^\s*(?:`{3,}|\||#|<!--|>|!\[)")


def wrap(path: Path) -> bool:
    """Wrap the paragraphs of a document that have too long a line; return whether there were any."""
    text = path.read_text(encoding="utf-8")
    wrapped = "\n".join(_lines(text.split("\n")))
    path.write_text(wrapped, encoding="utf-8")
    return wrapped != text


def _lines(lines: list[str]) -> Iterator[str]:
    fence, i = "", 0
    while i < len(lines):
        line = lines[i]
        match = _FENCE.match(line)
        if fence or match or not line.strip() or _OTHER.match(line):
            if match and (not fence or line.strip() == fence):
                fence = "" if fence else match[1]
            yield line
            i += 1
            continue
        end = i + 1
        while end < len(lines) and lines[end].strip() and not _ITEM.match(lines[end]) and not _OTHER.match(lines[end]):
            end += 1
        yield from _paragraph(lines[i:end])
        i = end


def _paragraph(lines: list[str]) -> list[str]:
    if max(map(len, lines)) <= MOST_COLUMNS:
        return lines
    item = _ITEM.match(lines[0])
    lead = item[0] if item else lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    words = " ".join([lines[0][len(lead) :], *lines[1:]]).split()
    return textwrap.wrap(
        " ".join(words),
        MOST_COLUMNS,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_on_hyphens=False,
        break_long_words=False,
    )
