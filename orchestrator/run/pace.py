"""How long trials take: from the plan before the first is over, then from what trials really took. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.facts import Case

# What a trial of a URL, and one of a container, takes beside its load.
URL_S, CONTAINER_S = 0.5, 3.0


def expected_s(case: Case) -> float | None:
    """Return how long a trial should take; None where requests end it, because nobody knows how long they take."""
    if case.load_us is None:
        return None
    return case.load_us / 1e6 + (URL_S if case.external else CONTAINER_S)


def expected_of_all_s(cases: Sequence[Case], pause_s: float = 0.0) -> float | None:
    """Return how long trials should take one after the other, with a pause between them; None where that is not known."""
    each = [expected_s(case) for case in cases]
    known = [seconds for seconds in each if seconds is not None]
    return None if len(known) < len(each) else sum(known) + pause_s * max(0, len(each) - 1)


def in_time(seconds: float) -> str:
    """Return a length of time as a person says it: 14 s, 2 min 10 s, 1 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest_s = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest_s} s" if rest_s and minutes < 10 else "")
    hours, rest_min = divmod(minutes, 60)
    return f"{hours} h" + (f" {rest_min} min" if rest_min else "")


@dataclass(frozen=True, slots=True)
class Pace:
    """The pace of a run. trials: the cases of its trials in order; pause_s: between two trials."""

    trials: Sequence[Case]
    pause_s: float = 0.0

    def left_s(self, done: int, elapsed_s: float) -> float | None:
        """Return how long the trials after the first `done` take; None where nothing is known yet."""
        planned = expected_of_all_s(self.trials[done:], self.pause_s)
        before = expected_of_all_s(self.trials[:done], self.pause_s)
        if not done:
            return planned
        if planned is None or not before:
            return elapsed_s / done * (len(self.trials) - done)
        return elapsed_s / before * planned
