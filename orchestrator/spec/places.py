"""Where a problem is: the line of a file, or the option on the command line that holds the value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.slo import legible
from orchestrator.spec.overrides import Override

Location = tuple[Any, ...]
MOST_IN_A_PLACE = 200


@dataclass(frozen=True, slots=True)
class Places:
    """Names the places of one file. tree: ruamel's data, which knows lines; overrides: what did not come from it."""

    path: Path
    tree: Any
    overrides: Sequence[Override] = ()

    def name(self, location: Location) -> str:
        """Return what the user calls a location: 'FILE:LINE: a.b.c', or the option."""
        text = tuple(str(part) for part in location)
        for override in reversed(self.overrides):
            if text[: len(override.keys)] == override.keys:
                rest = ".".join(text[len(override.keys) :])
                return f"{override.option}: {legible(rest, MOST_IN_A_PLACE)}" if rest else override.option
        return f"{self.path}{self._line(location)}: {legible('.'.join(text), MOST_IN_A_PLACE) or 'the file'}"

    def _line(self, location: Location) -> str:
        """Return ':LINE' of a location, or of its nearest parent that is in the file."""
        node, line = self.tree, ""
        for part in location:
            marks = getattr(node, "lc", None)
            key = _key(node, part)
            if marks is None or key is None:
                break
            row = _row(marks, node, key)
            line = line if row is None else f":{row + 1}"
            node = node[key]
        return line


def _row(marks: Any, node: Any, key: Any) -> int | None:
    """Return the row of an entry. One that was merged from elsewhere has none."""
    try:
        return int((marks.key(key) if isinstance(node, dict) else marks.item(key))[0])
    except (KeyError, IndexError, TypeError):
        return None


def _key(node: Any, part: Any) -> Any:
    """Return the key of an entry as the tree has it: a number in the file is text in a location."""
    if isinstance(node, dict):
        return next((key for key in node if str(key) == str(part)), None)
    return part if isinstance(node, list) and isinstance(part, int) and part < len(node) else None
