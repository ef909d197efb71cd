"""What happens during a run, as it happens: to the journal, and to the person who waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: a kind for programs, a sentence for people, facts for the journal.

    passing: of interest only while it is shown (a counter, a line of a build): it is not journalled.
    picture: on a terminal, what is shown below the lines until there is another; nowhere else is it even made.
    """

    kind: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    passing: bool = False
    picture: Callable[[], Any] | None = None


Say = Callable[[Event], None]
