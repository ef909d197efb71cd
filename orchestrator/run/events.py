"""Events of a run, as they happen: for the journal, and for the person who waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: a kind for programs, a sentence for people, facts for the journal.

    passing: not journalled, because it matters only while it is shown (a counter, a line of a build).
    picture: returns what a terminal shows in so many lines below the others; called only for a terminal.
    """

    kind: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    passing: bool = False
    picture: Callable[[int], Any] | None = None


Say = Callable[[Event], None]
