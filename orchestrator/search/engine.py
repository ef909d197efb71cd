"""The search for capacity, as ask and tell. Pure.

It never touches a host, and the same answers give the same questions.

A probe is a trial of the open loop at some rate. It passes when it meets the objectives. The search
has five phases: Bracketing goes up and down by factors until one probe passed and one failed.
Narrowing probes where the answer is expected to be most informative (belief.py), until the interval
is as narrow as wanted, and then soaks at its lower end. Soaked: the soak held, so a step above the
interval must fail. Sustaining: two soaks failed, so only soaks count from here on. Over: the search
has ended.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace

from orchestrator.search.belief import BEYOND, TRUST, Belief
from orchestrator.search.records import Answer, Ask, Bounds, Ending, Found, Kind, LimitedBy

# The first probe as a share of the rate where the search begins; the factors up and down before
# there is a bracket.
FIRST, UP, DOWN = 0.7, 1.6, 0.5
# After so many failed soaks probes of the usual length say nothing about the capacity, and up to so
# many soaks look for a rate that holds.
SOAKS_FAILED, SOAKS = 2, 12
# What soaks leave open may be so many times as wide as wanted and is still worth reporting.
WORTH = 4.0
# The last probes of a budget are kept for a soak and a step above, however wide the interval is.
RESERVED = 2
# An answer this unlikely shows a server that has changed since: earlier answers count half.
SURPRISE, STALE = 0.2, 0.5
# So often the highest rate has to pass where something below it failed.
TOP_HELD = 3
# So often one rate is asked for again with more connections.
CONNECTED = 6
# After a failed probe: at most this many light loads, at this share of the rate where the search
# began, and never more than DOWN of the rate that failed.
RECOVERIES = 5
LIGHT = 0.1
# These do not change from one probe to the next, so that one counts twice; connections, once enough were asked for.
LASTING = (LimitedBy.CONNECTIONS, LimitedBy.CLIENTS, LimitedBy.UNOPENED)
# A rate that the generator failed to send this often is out of its reach.
LIMITED_TWICE = 2


@dataclass(frozen=True, slots=True)
class Bracketing:
    """No probe passed yet, or none failed."""


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The capacity is bracketed. belief: what is known of it."""

    belief: Belief


@dataclass(frozen=True, slots=True)
class Soaked:
    """The soak at the interval's lower end passed."""

    belief: Belief


@dataclass(frozen=True, slots=True)
class Sustaining:
    """Soaks failed where probes passed. belief: of the rate that holds for the length of a soak."""

    belief: Belief


@dataclass(frozen=True, slots=True)
class Over:
    """The search has ended. belief: None where there was never a bracket."""

    ending: Ending
    belief: Belief | None
    confirmed: bool = False


Phase = Bracketing | Narrowing | Soaked | Sustaining | Over


@dataclass(slots=True)
class Search:
    """A search: call ask(), run that trial, call tell(), until ask() returns None.

    Found() returns the result at any time.
    """

    bounds: Bounds
    history: list[tuple[Ask, Answer]] = field(default_factory=list)
    _phase: Phase = field(default_factory=Bracketing)
    # The indices of answers that showed a server that had changed.
    _changes: list[int] = field(default_factory=list)
    _pending: Ask | None = None

    def ask(self) -> Ask | None:
        """Return the next trial, the same one until tell() is called.

        None when the search is over.
        """
        if self._pending is None and not isinstance(self._phase, Over):
            step = self._next()
            if isinstance(step, Ending):
                self._phase = Over(step, self._belief)
            else:
                self._pending = step
        return self._pending

    def tell(self, answer: Answer, asked: Ask | None = None) -> None:
        """Take the answer to the last question.

        asked: another question, in the replay of a search that asked differently.
        """
        asked = asked or self._pending
        assert asked is not None, "tell() before ask()"
        self._pending = None
        self.history.append((asked, answer))
        if answer.limited_by is not None:
            self._phase = self._after_limited(asked)
        elif asked.kind in (Kind.PROBE, Kind.SOAK, Kind.ABOVE):
            self._phase = self._after(asked, answer)

    def found(self) -> Found:
        """Return what is known, at any time."""
        phase, belief = self._phase, self._belief
        over = phase if isinstance(phase, Over) else Over(Ending.UNFINISHED, belief)
        estimate = low = high = None
        if belief is not None and over.ending in (Ending.CAPACITY, Ending.BUDGET, Ending.UNFINISHED):
            low, estimate, high = belief.interval()
        limits = [limit for by_rate in self._limits().values() for limit in by_rate]
        limited_by = limits[-1] if over.ending is Ending.LIMITED else None
        failed = min(self._failed_soaks(), default=None)
        probes = len(self.history)
        return Found(over.ending, estimate, low, high, over.confirmed, self._held(), limited_by, probes, failed)

    @property
    def _spent(self) -> int:
        """The number of probes that the budget is for: neither light loads nor those that are asked again."""
        return sum(
            ask.kind is not Kind.REFERENCE and answer.limited_by is not LimitedBy.CONNECTIONS
            for ask, answer in self.history
        )

    @property
    def curve(self) -> list[tuple[float, bool]]:
        """Every rate that was tried and whether it passed, without probes that do not count."""
        return _curve(self.history)

    @property
    def _belief(self) -> Belief | None:
        return None if isinstance(self._phase, Bracketing) else self._phase.belief

    def _held(self) -> float | None:
        return max((rate for rate, passed in self.curve if passed), default=None)

    # What to ask next.

    def _next(self) -> Ask | Ending:
        if (recovery := self._recovering()) is not None:
            return recovery
        if (again := self._with_more_connections()) is not None:
            return again
        if isinstance(self._phase, Sustaining):
            return self._sustaining(self._phase.belief)
        if self._spent >= self.bounds.budget:
            return Ending.BUDGET
        if not isinstance(self._phase, (Narrowing, Soaked)):
            return self._bracketing()
        return self._narrowing(self._phase)

    def _with_more_connections(self) -> Ask | None:
        """Return the last question again if only connections were missing."""
        if not self.history or self.history[-1][1].limited_by is not LimitedBy.CONNECTIONS:
            return None
        asked = self.history[-1][0]
        return None if len(self._limits().get(asked.rate_per_s, [])) else asked

    def _recovering(self) -> Ask | Ending | None:
        """Return a light load after a failed probe, until one passes.

        None where the server need not recover.
        """
        if not self.bounds.recovers or not self.history:
            return None
        _, answer = self.history[-1]
        if answer.passed or answer.limited_by is not None:
            return None
        since = next(i for i, (past, _) in enumerate(reversed(self.history)) if past.kind is not Kind.REFERENCE)
        if since >= RECOVERIES:
            return Ending.NOT_RECOVERED
        failed, _ = self.history[-1 - since]
        return Ask(Kind.REFERENCE, max(self.bounds.lowest, min(LIGHT * self.bounds.start, DOWN * failed.rate_per_s)))

    def _bracketing(self) -> Ask | Ending:
        """Go up while probes pass and down while they fail.

        Each end of the range is tried twice before it counts.
        """
        passed = [rate for rate, good in self.curve if good]
        failed = [rate for rate, good in self.curve if not good]
        if passed and failed:
            belief = self._believed(min(*passed, *failed), max(*passed, *failed))
            self._phase = Narrowing(belief)
            return self._probe(belief.next_rate(self._top()))
        if not passed and not failed:
            out_of_reach = [rate for rate, limits in self._limits().items() if len(limits) >= LIMITED_TWICE]
            return self._probe(min(out_of_reach) * DOWN if out_of_reach else self.bounds.start * FIRST)
        if passed:
            if max(passed) >= self._top() and passed.count(max(passed)) > 1:
                return self._beyond_the_top()
            return self._probe(max(passed) * UP)
        if min(failed) <= self.bounds.lowest and failed.count(min(failed)) > 1:
            return Ending.NEVER_MET
        # After two steps down go straight to the lowest rate, so that an impossible objective is
        # found out soon.
        return self._probe(min(failed) * DOWN if len(failed) < 2 else self.bounds.lowest)

    def _narrowing(self, phase: Narrowing | Soaked) -> Ask | Ending:
        """Probe until the interval is narrow enough, then soak, then step above it."""
        low, _, high = phase.belief.interval()
        if low >= self._top() or self._holds_at_the_top():
            return self._beyond_the_top()
        if high <= self.bounds.lowest:
            return Ending.NEVER_MET
        if not self._is_narrow(phase.belief) and self._spent < self.bounds.budget - RESERVED:
            self._phase = Narrowing(phase.belief)
            return self._probe(phase.belief.next_rate(self._top()))
        if isinstance(phase, Narrowing):
            return Ask(Kind.SOAK, max(low, self.bounds.lowest))
        above = high * (1 + self.bounds.precision)
        return self._enough(phase.belief) if above > self._top() else Ask(Kind.ABOVE, above)

    def _sustaining(self, belief: Belief) -> Ask | Ending:
        """Soak until it is clear what holds, as far as the soaks go."""
        _, _, high = belief.interval()
        if high <= self.bounds.lowest:
            return Ending.NOT_SUSTAINED
        soaks = [answer.passed for ask, answer in self.history if ask.kind is Kind.SOAK]
        if self._is_narrow(belief) and any(soaks):
            return Ending.CAPACITY
        if len(soaks) >= SOAKS or self._spent >= self.bounds.budget:
            return Ending.BUDGET if any(soaks) and self._is_narrow(belief, WORTH) else Ending.NOT_SUSTAINED
        return Ask(Kind.SOAK, max(self.bounds.lowest, belief.most_telling(min(self._top(), *self._failed_soaks()))))

    def _is_narrow(self, belief: Belief, times: float = 1.0) -> bool:
        """Return whether the interval is as narrow as wanted, or so many times as wide."""
        low, _, high = belief.interval()
        return (high - low) / 2 <= times * self.bounds.precision * (high + low) / 2

    def _enough(self, belief: Belief) -> Ending:
        """Return the ending of a search that has done all it can."""
        return Ending.CAPACITY if self._is_narrow(belief) else Ending.BUDGET

    def _probe(self, rate: float) -> Ask:
        return Ask(Kind.PROBE, min(self._top(), max(self.bounds.lowest, rate)))

    def _holds_at_the_top(self) -> bool:
        """Return whether what fails below the highest rate is the exception: there it passes again and again."""
        outcomes = [passed for rate, passed in self.curve if rate * (1 + self.bounds.precision) >= self._top()]
        return outcomes.count(True) >= TOP_HELD + 2 * outcomes.count(False)

    def _beyond_the_top(self) -> Ending:
        """Return the ending of a search whose capacity lies above every rate that can be tried."""
        return Ending.LIMITED if self._ceiling() < self.bounds.highest else Ending.ALWAYS_MET

    # What an answer changes.

    def _after(self, asked: Ask, answer: Answer) -> Phase:
        """Return the phase after a probe that counts."""
        phase = self._phase
        if isinstance(phase, Sustaining):
            if asked.kind is Kind.SOAK:
                phase.belief.update(asked.rate_per_s, answer, 1 / TRUST)
            return phase
        belief = self._learned(asked, answer)
        if asked.kind is Kind.ABOVE and not answer.passed and belief is not None:
            return Over(self._enough(belief), belief, confirmed=True)
        if isinstance(phase, Over):
            return replace(phase, belief=belief, confirmed=phase.confirmed and asked.kind is not Kind.ABOVE)
        if isinstance(phase, Bracketing) or belief is None:
            return phase
        if asked.kind is Kind.PROBE:
            return replace(phase, belief=belief)
        if asked.kind is Kind.SOAK and len(self._failed_soaks()) >= SOAKS_FAILED:
            return Sustaining(self._sustained())
        return Soaked(belief) if asked.kind is Kind.SOAK and answer.passed else Narrowing(belief)

    def _after_limited(self, asked: Ask) -> Phase:
        """Return the phase after a probe that something other than the server limited."""
        if len(self._limits().get(asked.rate_per_s, [])) < LIMITED_TWICE:
            return self._phase
        if isinstance(self._phase, Sustaining):
            return Over(Ending.NOT_SUSTAINED, None)
        held, ceiling, belief = self._held(), self._ceiling(), self._belief
        if not self.curve:
            # Nothing is known about the server yet, so lower rates are tried, which the generator
            # can send.
            return Over(Ending.LIMITED, belief) if asked.rate_per_s <= self.bounds.lowest else self._phase
        if belief is not None and belief.interval()[0] < ceiling:
            return self._phase if isinstance(self._phase, Over) else Narrowing(belief)
        # The capacity lies above what can be tried, so there is none to report.
        return Over(Ending.LIMITED, belief) if held is None or held >= ceiling / UP else self._phase

    def _learned(self, asked: Ask, answer: Answer) -> Belief | None:
        """Return the belief after a probe, over a wider range if the answers point outside."""
        if (belief := self._belief) is None:
            return None
        contradicts = asked.kind in (Kind.SOAK, Kind.ABOVE) and belief.chance(asked.rate_per_s, answer) < SURPRISE
        if contradicts:
            self._changes.append(len(self.history) - 1)
        belief.update(asked.rate_per_s, answer)
        edge = belief.beyond()
        if edge is None and not contradicts:
            return belief
        rates = [rate for rate, _ in self.curve]
        low, high = min(rates), max(rates)
        return self._believed(
            low / BEYOND if edge is not None and edge < 0 else low,
            high * BEYOND if edge is not None and edge > 0 else high,
        )

    def _believed(self, low: float, high: float) -> Belief:
        belief = Belief(low, high, self.bounds.precision)
        for i, (asked, answer) in enumerate(self.history):
            if _counts(asked, answer):
                belief.update(asked.rate_per_s, answer, STALE ** sum(change > i for change in self._changes))
        return belief

    def _sustained(self) -> Belief:
        """Return what the soaks so far say of the rate that holds for their length."""
        failed = self._failed_soaks()
        belief = Belief(max(self.bounds.lowest, min(failed) * DOWN), max(failed), self.bounds.precision, cold_at_most=0)
        for asked, answer in self.history:
            if asked.kind is Kind.SOAK and _counts(asked, answer):
                belief.update(asked.rate_per_s, answer, 1 / TRUST)
        return belief

    def _failed_soaks(self) -> list[float]:
        return [
            asked.rate_per_s
            for asked, answer in self.history
            if asked.kind is Kind.SOAK and _counts(asked, answer) and not answer.passed
        ]

    # What the generator can send.

    def _limits(self) -> dict[float, list[LimitedBy]]:
        """Return what limited probes other than the server, by rate: see _limits()."""
        return _limits(self.history)

    def _ceiling(self) -> float:
        """Return the highest rate that can be tried.

        Below the last one that was limited twice, but not below lower ones.
        """
        ceiling = math.inf
        for i, (asked, answer) in enumerate(self.history):
            if (
                answer.limited_by is not None
                and len(_limits(self.history[: i + 1]).get(asked.rate_per_s, [])) >= LIMITED_TWICE
            ):
                sent = [rate for rate, _ in _curve(self.history[:i]) if rate < asked.rate_per_s]
                ceiling = max([asked.rate_per_s / UP**0.5, *sent])
        return ceiling

    def _top(self) -> float:
        return min(self.bounds.highest, self._ceiling())


def _limits(history: list[tuple[Ask, Answer]]) -> dict[float, list[LimitedBy]]:
    """Return what limited probes other than the server, by rate.

    Too few connections only count once more were opened CONNECTED times in vain. What the load's
    clients allow, and what the server takes, does not change, so it counts twice.
    """
    limits: dict[float, list[LimitedBy]] = defaultdict(list)
    tried: dict[float, int] = defaultdict(int)
    for asked, answer in history:
        if (limit := answer.limited_by) is None:
            continue
        if limit is LimitedBy.CONNECTIONS:
            tried[asked.rate_per_s] += 1
            if tried[asked.rate_per_s] < CONNECTED:
                continue
        limits[asked.rate_per_s] += [limit] * (2 if limit in LASTING else 1)
    return limits


def _counts(asked: Ask, answer: Answer) -> bool:
    return asked.kind is not Kind.REFERENCE and answer.limited_by is None


def _curve(history: list[tuple[Ask, Answer]]) -> list[tuple[float, bool]]:
    return [(ask.rate_per_s, answer.passed) for ask, answer in history if _counts(ask, answer)]
