"""From the trials of a search to its answer.

Did a probe pass, what limited it, what is the capacity. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from agents.generators.contract import Protocol
from orchestrator.analyse.backlog import KEEPS_UP as KEEPS_UP
from orchestrator.analyse.bottleneck import bottleneck, describe
from orchestrator.analyse.estimates import added
from orchestrator.analyse.people import digits
from orchestrator.analyse.probing import Judgement, ProbeJudge
from orchestrator.errors import StoredRunError
from orchestrator.result import Interval, Probe, Saturation, Trial, Verdict, worst
from orchestrator.search.engine import Search
from orchestrator.search.records import Ask, Bounds, Ending, Found, Kind, LimitedBy
from orchestrator.slo import TIMES, Term, shown

_T = TypeVar("_T")

# A probe lasts no longer than this for the sake of a percentile.
LONGEST_S = 120.0
LOWEST_OF_START = 0.01
# A load may have this many connections where it sets no limit of its own.
MOST_CONNECTIONS = 10_000
LIMITS_IN_WORDS = {
    LimitedBy.CONNECTIONS: "number of connections",
    LimitedBy.CLIENTS: "number of connections that 'clients' allows",
    LimitedBy.UNOPENED: "number of connections that the server takes",
}

NOTHING = Found(Ending.NOT_STARTED, None, None, None, False, None, None, 0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is searched for.

    lowest, highest: rates per second. window_us, soak_us: of a probe, and of the soak.
    lowest 0: the rate at which a probe of LONGEST_S has the requests that its percentiles need
    (`needed`), but at least a hundredth of the rate at which the search begins. connections: the most
    that a probe may have, over all agents. protocol: of the load.
    """

    slo: str
    terms: list[Term]
    precision: float
    needed: float
    lowest: float
    highest: float
    budget: int
    window_us: int
    soak_us: int
    connections: int = MOST_CONNECTIONS
    protocol: Protocol | None = None

    def judge(self) -> ProbeJudge:
        """Return a judge for the trials of one target."""
        return ProbeJudge(self.terms, self.connections)

    def bounds(self, start: float, recovers: bool) -> Bounds:
        """Return the bounds of a search that begins at the closed-loop throughput `start`."""
        lowest = self.lowest or max(1.0, self.needed / LONGEST_S, LOWEST_OF_START * start)
        return Bounds(start, lowest, self.highest, self.precision, self.budget, recovers)


def asked_of(trial: Trial) -> Ask:
    """Return the question behind a stored probe: another version may have asked differently. Raise StoredRunError."""
    case = trial.facts.case
    try:
        kind = Kind(case.load)
    except ValueError:
        what = f"trial {trial.facts.number} of the search has the load {shown(case.load)}, which no search makes"
        raise StoredRunError(what, "restore it from a copy, or delete that trial's folder") from None
    return Ask(kind, case.rate_per_s or 0.0)


def probe(asked: Ask, judged: Judgement, trial: Trial) -> Probe:
    """Return one point of the curve."""
    reply = judged.answer
    limit = None if reply.passed or reply.limited_by else bottleneck(trial)
    metrics = trial.metrics
    times = {} if metrics is None else metrics.response_time_us or metrics.service_time_us
    return Probe(
        trial=trial.facts.number,
        kind=asked.kind,
        rate_per_s=asked.rate_per_s,
        passed=reply.passed,
        limited_by=reply.limited_by,
        failed=judged.failed,
        throughput_per_s=None if metrics is None else metrics.throughput_per_s,
        response_time_us={str(name): times.get(name) for name in TIMES},
        error_share=None if metrics is None else metrics.requests.error_share,
        resource=None if limit is None else describe(limit, trial),
        verdict=trial.verdict,
        bottleneck=limit,
        answered_per_s=None if metrics is None else judged.answered_per_s,
        window_s=None if metrics is None else metrics.window_s,
        arrivals=trial.facts.case.arrivals,
    )


def counts(p: Probe) -> bool:
    """Return whether a probe counts: it is no light load, and nothing but the server limited it."""
    return p.kind != Kind.REFERENCE and p.limited_by is None


def conclude(target: str, wanted: Wanted, found: Found, probes: list[Probe], start: float) -> Saturation:
    """Return the answer: what was found, what limited the server first, and every probe.

    No rate in it is above what the server answered.
    """
    counted = [p for p in probes if counts(p)]
    # The first limit shows just above the capacity, not far beyond it.
    failing = sorted((p for p in counted if not p.passed), key=lambda p: p.rate_per_s)
    edge = found.low or 0.0
    most = _most_answered([p for p in counted if p.passed], found.held or 0.0)
    nearest = [p for p in failing if p.rate_per_s >= edge][:5] or failing[-1:]
    terms = Counter(term for p in nearest for term in p.failed)
    resources = Counter(p.resource for p in nearest if p.resource)
    bottlenecks = Counter(p.bottleneck for p in nearest if p.bottleneck)
    return Saturation(
        target=target,
        slo=wanted.slo,
        terms=wanted.terms,
        ending=found.ending,
        capacity_per_s=_answered(found, counted),
        confirmed=found.confirmed,
        held_per_s=None if found.held is None else min(found.held, most),
        limited_by=found.limited_by,
        gave_way=_most_common(terms),
        resource=_most_common(resources),
        probes=len(probes),
        start_per_s=start,
        curve=probes,
        verdict=_verdict(found, counted),
        bottleneck=_most_common(bottlenecks),
        soak_failed_per_s=found.soak_failed,
        soak_s=wanted.soak_us / 1e6,
        protocol=wanted.protocol,
    )


def _answered(found: Found, counted: Sequence[Probe]) -> Interval | None:
    """Return the interval of a search, none of it above what was answered: by probes that passed, and at its end by any."""
    if found.estimate is None or found.low is None or found.high is None:
        return None
    passed = _most_answered([p for p in counted if p.passed], found.high)
    low, estimate = min(found.low, passed), min(found.estimate, passed)
    return Interval(estimate, low, min(found.high, _most_answered(counted, found.high)))


def _most_answered(probes: Sequence[Probe], otherwise: float) -> float:
    return max((p.answered_per_s for p in probes if p.answered_per_s is not None), default=otherwise)


def _verdict(found: Found, counted: Sequence[Probe]) -> Verdict:
    if found.ending is Ending.NOT_STARTED:
        return Verdict.INVALID
    doubts = [Verdict.SUSPECT] if found.ending is Ending.NOT_SUSTAINED else []
    # A probe that fails overloads the server on purpose; those that passed carry the answer.
    return worst([Verdict.VALID, *doubts, *(p.verdict for p in counted if p.passed)])


def _most_common(counted: Counter[_T]) -> _T | None:
    return counted.most_common(1)[0][0] if counted else None


def replay(target: str, trials: Sequence[Trial], wanted: Wanted) -> Saturation:
    """Replay a stored search: the same answers give the same conclusion.

    trials: of the target, in order; the first is the closed-loop estimate.
    """
    # A fresh server that did not start says nothing about a rate.
    trials = [trial for trial in trials if trial.metrics is not None or trial.facts.case.external]
    if not trials or trials[0].metrics is None or not trials[0].metrics.requests.ok:
        return conclude(target, wanted, NOTHING, [], 0.0)
    start = trials[0].metrics.throughput_per_s
    search, judge = Search(wanted.bounds(start, trials[0].facts.case.external)), wanted.judge()
    judge.estimated(trials[0])
    probes = []
    for trial in trials[1:]:
        search.ask()
        asked, judged = asked_of(trial), judge.judge(trial)
        search.tell(judged.answer, asked)
        probes.append(probe(asked, judged, trial))
    search.ask()
    concluded = conclude(target, wanted, search.found(), probes, start)
    first = trials[0].facts
    url = next((agent.url for agent in first.agents), "") if first.case.external else ""
    took_us = sum(sum(trial.facts.stages_us.values()) for trial in trials)
    statuses = added([trial.metrics.statuses for trial in trials[1:] if trial.metrics is not None])
    took_s = took_us / 1e6 if took_us else None
    return replace(concluded, url=url, took_s=took_s, statuses=statuses, protocol=first.case.protocol)


def within(s: Saturation) -> str:
    """Return where the capacity lies, as far as is known during the search.

    An interval, a bracket, or one bound.
    """
    if (c := s.capacity_per_s) is not None:
        return f"capacity {digits(c.low)} to {digits(c.high)}/s"
    failed = [p.rate_per_s for p in s.curve if counts(p) and not p.passed]
    if s.held_per_s is not None and failed:
        return f"capacity between {digits(s.held_per_s)} and {digits(min(failed))}/s"
    if failed:
        return f"capacity below {digits(min(failed))}/s"
    return "capacity not known yet" if s.held_per_s is None else f"capacity above {digits(s.held_per_s)}/s"


def in_words(s: Saturation) -> str:
    """Return the answer in one sentence."""
    held = "no rate" if s.held_per_s is None else f"{digits(s.held_per_s)}/s"
    met = f"the objective was met up to {held}"
    c = s.capacity_per_s
    if c is not None:
        sure = "confirmed by a soak and a step above" if s.confirmed else "not confirmed"
        if s.ending == Ending.BUDGET:
            sure = "the probe budget ran out before the requested precision"
        if s.ending == Ending.UNFINISHED:
            sure = "so far: the search was interrupted; continue with volley resume"
        return f"capacity {digits(c.estimate)}/s ({digits(c.low)} to {digits(c.high)}/s), {sure}"
    not_by_it = "" if s.limited_by is LimitedBy.UNOPENED else ", not by the server"
    return {
        Ending.ALWAYS_MET: f"at least {held}: the objective was met at every rate up to --highest",
        Ending.LIMITED: f"at least {held}, limited by the {limit_in_words(s.limited_by)}{not_by_it}",
        Ending.NOT_SUSTAINED: f"not sustained: a soak failed{_failed_soak(s)}; shorter probes passed up to {held}",
        Ending.NEVER_MET: "the objective was not met even at the lowest rate",
        Ending.NOT_STARTED: "not measured: the server did not start or did not answer",
        Ending.UNFINISHED: f"the search was interrupted; {met}; continue with volley resume",
        Ending.NOT_RECOVERED: f"the server did not recover after a failed probe; before that {met}",
    }.get(s.ending, f"no capacity found; {met}")


def _failed_soak(s: Saturation) -> str:
    return "" if s.soak_failed_per_s is None else f" at {digits(s.soak_failed_per_s)}/s"


def limit_in_words(limit: LimitedBy | None) -> str:
    """Return what other than the server reached its limit, to follow "limited by the"."""
    return LIMITS_IN_WORDS.get(limit, str(limit)) if limit is not None else "generator"
