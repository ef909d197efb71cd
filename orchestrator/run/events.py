"""Events of a run, as they happen: for the journal, and for the person who waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: a kind for programs, a sentence for people, facts for the journal.

    passing: not journalled, because it matters only while it is shown (a counter, a line of a build).
    text: empty for observers only, such as the live metrics: nothing is shown.
    picture: returns what a terminal shows in so many lines below the others; called only for a terminal.
    """

    kind: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    passing: bool = False
    picture: Callable[[int], Any] | None = None


# Kinds without a text. COUNTERS: what the agents of the running load have counted so far. COUNTED: a trial is over, with
# the counters of its agents. Facts of both: case, target, load; live, or requests (None: no load ran) and agents.
COUNTERS, COUNTED = "counters", "counted"

Say = Callable[[Event], None]
