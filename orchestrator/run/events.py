"""What happens during a run, as it happens: to the journal, and to the person who waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: a kind for programs, a sentence for people, facts for the journal.

    passing: of interest only while it is shown (a counter, a line of a build): it is not journalled.
    """

    kind: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    passing: bool = False


Say = Callable[[Event], None]
