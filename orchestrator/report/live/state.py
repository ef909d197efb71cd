"""What a run is doing, as its events say. Pure: instants come from the caller, in seconds of a monotonic clock."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

# How much of the throughput is drawn.
HISTORY_S = 60
# A trial that takes longer than expected never looks finished.
ALMOST = 0.98


class Happening(Protocol):
    """What progress needs to know of an event."""

    @property
    def kind(self) -> str:
        """The kind of event, for programs."""

    @property
    def text(self) -> str:
        """The line for people."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Numbers by name, as the module that makes the event defines them."""

    @property
    def passing(self) -> bool:
        """Whether the line is only of interest until the next one."""

    @property
    def picture(self) -> Callable[[int], Any] | None:
        """Returns what a terminal shows in this many lines below the others, until the next picture."""


@dataclass(slots=True)
class Trial:
    """The trial under way. number: from 1. of: how many are planned; at_most: of a search, which plans none."""

    number: int
    case: str
    began_s: float
    of: int | None = None
    at_most: int | None = None
    left_s: float | None = None
    expected_s: float | None = None

    def share(self, now_s: float) -> float:
        """Return how much of this trial is over, as far as is known."""
        if not self.expected_s:
            return 0.0
        return min(ALMOST, (now_s - self.began_s) / self.expected_s)


@dataclass(slots=True)
class State:
    """What the live view shows. figures: of the load under way, as run/load.py reports them; None without a load.

    history: requests per second by the second in which they were read. findings: trials by code. so_far: of a search.
    """

    began_s: float
    trial: Trial | None = None
    doing: str = ""
    figures: Mapping[str, Any] | None = None
    figures_at_s: float = 0.0
    history: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=HISTORY_S))
    findings: Counter[str] = field(default_factory=Counter)
    so_far: str = ""
    picture: Callable[[int], Any] | None = None

    def take_in(self, event: Happening, now_s: float) -> None:
        """Take in one event."""
        facts = event.facts
        if event.kind == "trial":
            self._start(facts, now_s)
        elif event.kind == "load":
            self.figures, self.figures_at_s, self.doing = facts, now_s, str(facts.get("phase", ""))
            if "answered_per_s" in facts:
                self.history.append((int(now_s), facts["answered_per_s"]))
        elif event.kind == "judged":
            self.figures, self.doing = None, ""
            self.findings.update(facts.get("findings", ()))
            self.picture = event.picture or self.picture
        elif event.passing:
            self.figures, self.doing = None, event.text

    def _start(self, facts: Mapping[str, Any], now_s: float) -> None:
        self.trial = Trial(
            facts["number"],
            facts["case"],
            now_s,
            facts.get("of"),
            facts.get("at_most"),
            facts.get("left_s"),
            facts.get("expected_s"),
        )
        self.figures, self.doing, self.so_far = None, "", facts.get("so_far", "")

    def share(self, now_s: float) -> float | None:
        """Return how much of the run is over; None where that is not known, as in a search."""
        trial = self.trial
        if trial is None or trial.of is None:
            return None
        return (trial.number - 1 + trial.share(now_s)) / trial.of

    def left_s(self, now_s: float) -> float | None:
        """Return how long the run still takes; None where that is not known."""
        trial = self.trial
        if trial is None or trial.left_s is None:
            return None
        # As long as this trial lasts, its own time does not run out.
        least = 0.0 if trial.of is None or trial.number == trial.of else trial.left_s * 0.02
        return max(least, trial.left_s - (now_s - trial.began_s))

    def throughput(self, now_s: float, seconds: int) -> list[float | None]:
        """Return requests per second of the last seconds, the latest at the end; None where nothing was read."""
        by_second = dict(self.history)
        # The last second may not have been read yet.
        last = max(by_second, default=int(now_s)) if int(now_s) not in by_second else int(now_s)
        last = last if int(now_s) - last <= 1 else int(now_s)
        return [by_second.get(second) for second in range(last - seconds + 1, last + 1)]
