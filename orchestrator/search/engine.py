"""The search for capacity, as ask and tell. Pure: it never touches a host, and the same answers give the same questions.

A probe is a trial of the open model at some rate; it passes when it meets the objectives. Up and down by factors until one
passed and one failed; then wherever the answer is expected to tell the most (belief.py), until the interval is as narrow as
asked; then a soak at its lower end, and a step above it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.search.belief import BEYOND, Belief

# The first probe, as a share of where the search begins; going up and down before there is a bracket.
FIRST, UP, DOWN = 0.7, 1.6, 0.5
# The soak is at the lower end of the interval; the step above it, beyond the upper end by the asked precision.
SOAKS = 4
# After a failed probe: a light load, so often at the most, at this share of the rate that the search began at, and never
# more than DOWN of the rate that failed.
RECOVERIES = 5
LIGHT = 0.1


class Kind(StrEnum):
    """What a probe is for. An estimate, as fast as the server can, comes before the search: it is where that begins."""

    ESTIMATE = "estimate"
    PROBE = "probe"
    REFERENCE = "reference"
    SOAK = "soak"
    ABOVE = "above"


class Ending(StrEnum):
    """How a search ended."""

    CAPACITY = "capacity"
    ALWAYS_MET = "always met"
    NEVER_MET = "never met"
    LIMITED = "limited"
    BUDGET = "budget"
    NOT_RECOVERED = "not recovered"
    NOT_STARTED = "not started"
    UNFINISHED = "unfinished"


class LimitedBy(StrEnum):
    """What other than the server made a probe fail, so that it says nothing about the server."""

    GENERATOR = "generator"
    NETWORK = "network"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be done next: a trial at a rate per second, and why."""

    kind: Kind
    rate_per_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it. limited_by: it failed for what is not the server ('generator', 'network'): it says nothing of it."""

    passed: bool
    limited_by: LimitedBy | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where to look: rates per second. Starting at a fraction of `start`; never below lowest or above highest.

    precision: half the width of the interval that is asked for, as a share. budget: the most probes.
    recovers: after a failed probe a light reference load has to pass first; False where each probe has a fresh server.
    """

    start: float
    lowest: float
    highest: float
    precision: float = 0.03
    budget: int = 60
    recovers: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What the search came to. Rates per second.

    estimate, low, high: of the capacity, None when there is none. confirmed: a soak at `low` passed, and a step above `high`
    failed. held: the highest rate that passed. limited_by: what gave way before the server.
    """

    ending: Ending
    estimate: float | None
    low: float | None
    high: float | None
    confirmed: bool
    held: float | None
    limited_by: LimitedBy | None
    probes: int


@dataclass(slots=True)
class Search:
    """Ask, do it, tell; until ask() gives None. Then found() says what came of it."""

    bounds: Bounds
    history: list[tuple[Ask, Answer]] = field(default_factory=list)
    _ceiling: float = math.inf
    _limits: dict[float, list[LimitedBy]] = field(default_factory=dict)
    _ending: Ending | None = None
    _belief: Belief | None = None
    _soaks: int = 0
    _soaked: bool = False
    _confirmed: bool = False
    _pending: Ask | None = None

    def ask(self) -> Ask | None:
        """Give what is to be done next; the same until it has been told. None: the search is over."""
        if self._pending is None and self._ending is None:
            self._pending = self._next()
        return self._pending

    def tell(self, answer: Answer, asked: Ask | None = None) -> None:
        """Take in what came of the last question; asked: of another one, from a search that asked differently."""
        asked = asked or self._pending
        assert asked is not None, "nothing was asked"
        self._pending = None
        self.history.append((asked, answer))
        if answer.limited_by is not None:
            self._limited(asked, answer.limited_by)
        elif asked.kind is Kind.SOAK:
            self._soaked = answer.passed
            self._learn(asked, answer)
        elif asked.kind is Kind.ABOVE:
            self._confirmed = not answer.passed
            self._learn(asked, answer)
            if self._confirmed:
                self._ending = Ending.CAPACITY
            self._soaked = self._confirmed
        elif asked.kind is Kind.PROBE:
            self._learn(asked, answer)

    def found(self) -> Found:
        """Say what is known, at any time."""
        estimate = low = high = None
        if self._belief is not None and self._ending in (Ending.CAPACITY, Ending.BUDGET, None):
            low, estimate, high = self._belief.interval()
        limits = [what for told in self._limits.values() for what in told]
        limited_by = limits[-1] if self._ending is Ending.LIMITED else None
        ending = self._ending or Ending.UNFINISHED
        return Found(ending, estimate, low, high, self._confirmed, self._held(), limited_by, self.probes)

    @property
    def probes(self) -> int:
        """How many probes there were, without the reference loads."""
        return sum(ask.kind is not Kind.REFERENCE for ask, _ in self.history)

    @property
    def curve(self) -> list[tuple[float, bool]]:
        """Every rate that was tried and whether it passed, without reference loads and what was limited by others."""
        return [
            (a.rate_per_s, b.passed) for a, b in self.history if a.kind is not Kind.REFERENCE and b.limited_by is None
        ]

    def _held(self) -> float | None:
        return max((rate for rate, passed in self.curve if passed), default=None)

    def _next(self) -> Ask | None:
        if (reference := self._recovering()) is not None or self._ending is not None:
            return reference
        if self.probes >= self.bounds.budget:
            self._ending = Ending.BUDGET
            return None
        if self._belief is None:
            return self._bracketing()
        low, _, high = self._belief.interval()
        if low >= self._top():
            self._ending = self._beyond_the_top()
            return None
        if high <= self.bounds.lowest:
            self._ending = Ending.NEVER_MET
            return None
        if not self._precise(low, high):
            self._soaked = False
            return self._probe(self._belief.most_telling(self._top()))
        if not self._soaked:
            if self._soaks >= SOAKS:
                self._ending = Ending.CAPACITY
                return None
            self._soaks += 1
            return Ask(Kind.SOAK, low)
        above = high * (1 + self.bounds.precision)
        if above > self._top():
            self._ending = Ending.CAPACITY
            return None
        return Ask(Kind.ABOVE, above)

    def _precise(self, low: float, high: float) -> bool:
        return (high - low) / 2 <= self.bounds.precision * (high + low) / 2

    def _beyond_the_top(self) -> Ending:
        """Say how a search ends whose capacity lies above all that can be looked at."""
        return Ending.LIMITED if self._ceiling < self.bounds.highest else Ending.ALWAYS_MET

    def _top(self) -> float:
        return min(self.bounds.highest, self._ceiling)

    def _recovering(self) -> Ask | None:
        """After a failed probe: a light load, until it passes."""
        if not self.bounds.recovers or not self.history:
            return None
        _, answer = self.history[-1]
        if answer.passed or answer.limited_by is not None:
            return None
        since = next(i for i, (past, _) in enumerate(reversed(self.history)) if past.kind is not Kind.REFERENCE)
        if since >= RECOVERIES:
            self._ending = Ending.NOT_RECOVERED
            return None
        failed, _ = self.history[-1 - since]
        return Ask(Kind.REFERENCE, max(self.bounds.lowest, min(LIGHT * self.bounds.start, DOWN * failed.rate_per_s)))

    def _bracketing(self) -> Ask | None:
        """Up while it passes, down while it fails; the ends of the range are tried twice before they are believed."""
        passed = [rate for rate, good in self.curve if good]
        failed = [rate for rate, good in self.curve if not good]
        if passed and failed:
            self._believe(min(*passed, *failed), max(*passed, *failed))
            assert self._belief is not None
            return self._probe(self._belief.most_telling(self._top()))
        if not passed and not failed:
            given_up = [rate for rate, told in self._limits.items() if len(told) > 1]
            return self._probe(min(given_up) * DOWN if given_up else self.bounds.start * FIRST)
        if passed:
            if max(passed) >= self._top() and passed.count(max(passed)) > 1:
                self._ending = self._beyond_the_top()
                return None
            return self._probe(max(passed) * UP)
        if min(failed) <= self.bounds.lowest and failed.count(min(failed)) > 1:
            self._ending = Ending.NEVER_MET
            return None
        # An objective that nothing meets is told soon: after two steps down, the lowest.
        return self._probe(min(failed) * DOWN if len(failed) < 2 else self.bounds.lowest)

    def _probe(self, rate: float) -> Ask:
        return Ask(Kind.PROBE, min(self._top(), max(self.bounds.lowest, rate)))

    def _limited(self, asked: Ask, what: LimitedBy) -> None:
        """A rate that the generator could not give, twice, is as high as one can look."""
        told = self._limits.setdefault(asked.rate_per_s, [])
        told.append(what)
        if len(told) < 2:
            return
        held = self._held()
        # Not below what it could give before.
        given = [rate for rate, _ in self.curve if rate < asked.rate_per_s]
        self._ceiling = max([asked.rate_per_s / UP**0.5, *given])
        if held is None and not self.curve:
            # Nothing is known of the server yet: look where the generator can.
            if asked.rate_per_s <= self.bounds.lowest:
                self._ending = Ending.LIMITED
            return
        # What is believed lies above what can be looked at: there is no capacity to tell.
        if self._belief is None or self._belief.interval()[0] >= self._ceiling:
            if held is None or held >= self._ceiling / UP:
                self._ending = Ending.LIMITED
        else:
            self._soaked = False

    def _believe(self, low: float, high: float) -> None:
        self._belief = Belief(low, high, self.bounds.precision)
        for rate, passed in self.curve:
            self._belief.update(rate, passed)

    def _learn(self, asked: Ask, answer: Answer) -> None:
        if self._belief is None:
            return
        self._belief.update(asked.rate_per_s, answer.passed)
        edge = self._belief.beyond()
        if edge is not None:
            # The answers say that it lies outside: look there as well.
            rates = [rate for rate, _ in self.curve]
            low, high = min(rates), max(rates)
            self._believe(low / BEYOND if edge < 0 else low, high * BEYOND if edge > 0 else high)
