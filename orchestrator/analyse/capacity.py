"""From the trials of a search to its answer.

Did a probe pass, what limited it, what is the capacity. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from orchestrator.analyse.bottleneck import ENDED, MEMORY, bottleneck, cpu_full, describe
from orchestrator.analyse.precision import value_of
from orchestrator.result import (
    FindingCode,
    Interval,
    Metrics,
    Probe,
    Saturation,
    Severity,
    Trial,
    Verdict,
    worst,
)
from orchestrator.search.engine import Search
from orchestrator.search.records import Answer, Ask, Bounds, Ending, Found, Kind, LimitedBy
from orchestrator.slo import ERRORS, TIMES, Term

_T = TypeVar("_T")

# The share of due requests that must be answered in the window. Below it the backlog grows, however
# good the times are.
KEEPS_UP = 0.95
# The same for a light load, which is short: a hiccup of the machine takes a larger share of it.
RECOVERED = 0.8
KEEPS_UP_TERM = f"answers >= {KEEPS_UP:.0%} of the rate"
NO_ANSWER_TERM = "answers"
# A load with one of these findings was not the one that was requested, and says nothing about the
# server.
LIMITS = {
    LimitedBy.GENERATOR: {
        FindingCode.GENERATOR_CPU,
        FindingCode.EPHEMERAL_PORTS,
        FindingCode.AGENT_LOST,
        FindingCode.CLOCK_STEP,
    },
    LimitedBy.NETWORK: {FindingCode.NETWORK_SATURATED},
    LimitedBy.MACHINE: {FindingCode.HOST_STEAL},
}
# A probe lasts no longer than this for the sake of a percentile.
LONGEST_S = 120.0
LOWEST_OF_START = 0.01

NOTHING = Found(Ending.NOT_STARTED, None, None, None, False, None, None, 0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is searched for.

    lowest, highest: rates per second. window_us, soak_us: of a probe, and of the soak.
    lowest 0: the rate at which a probe of LONGEST_S has the requests that its percentiles need
    (`needed`), but at least a hundredth of the rate at which the search begins.
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

    def bounds(self, start: float, recovers: bool) -> Bounds:
        """Return the bounds of a search that begins at the closed-loop throughput `start`."""
        lowest = self.lowest or max(1.0, self.needed / LONGEST_S, LOWEST_OF_START * start)
        return Bounds(start, lowest, self.highest, self.precision, self.budget, recovers)


def failed_terms(trial: Trial, terms: Sequence[Term]) -> list[str]:
    """Return the objectives that a probe did not meet, as they were written.

    Keeping up is always one of them.
    """
    metrics = trial.metrics
    if metrics is None or (trial.verdict is Verdict.INVALID and not metrics.requests.ok):
        return [NO_ANSWER_TERM]
    # A light load checks whether the server has recovered. The objectives do not apply: one may be
    # impossible.
    light = trial.facts.case.load == Kind.REFERENCE
    failed = [term.text for term in terms if not light and not term.met_by(_value(metrics, term))]
    rate = trial.facts.case.rate_per_s
    enough = RECOVERED if light else KEEPS_UP
    if rate is not None and metrics.throughput_per_s < enough * rate and not failed:
        failed.append(KEEPS_UP_TERM)
    return failed


def _value(metrics: Metrics, term: Term) -> float | None:
    if term.metric == ERRORS:
        return metrics.requests.error_share
    if term.metric in metrics.beyond:
        return None
    return metrics.objective_time_us.get(term.metric) or value_of(metrics, term.metric)


def answer(trial: Trial, terms: Sequence[Term]) -> Answer:
    """Return whether a probe passed.

    One that failed beside a saturated generator, network or machine does not count.
    """
    if not failed_terms(trial, terms) and not _spoiled_server(trial):
        return Answer(True)
    codes = {f.code for f in trial.findings if f.severity is not Severity.INFORMATION}
    # A server that used up its CPU reached its limit, whatever else was busy.
    if _spoiled_server(trial) or cpu_full(trial):
        return Answer(False)
    for limit, causes in LIMITS.items():
        if codes & causes:
            return Answer(False, limited_by=limit)
    return Answer(False)


def _spoiled_server(trial: Trial) -> bool:
    return any(f.code in MEMORY | ENDED and f.severity is Severity.INVALID for f in trial.findings)


def asked_of(trial: Trial) -> Ask:
    """Return the question behind a stored probe: another version may have asked differently."""
    case = trial.facts.case
    return Ask(Kind(case.load), case.rate_per_s or 0.0)


def probe(asked: Ask, reply: Answer, trial: Trial, terms: Sequence[Term]) -> Probe:
    """Return one point of the curve."""
    limit = None if reply.passed or reply.limited_by else bottleneck(trial)
    metrics = trial.metrics
    times = {} if metrics is None else metrics.response_time_us or metrics.service_time_us
    return Probe(
        trial=trial.facts.number,
        kind=asked.kind,
        rate_per_s=asked.rate_per_s,
        passed=reply.passed,
        limited_by=reply.limited_by,
        failed=failed_terms(trial, terms),
        throughput_per_s=None if metrics is None else metrics.throughput_per_s,
        response_time_us={str(name): times.get(name) for name in TIMES},
        error_share=None if metrics is None else metrics.requests.error_share,
        resource=None if limit is None else describe(limit, trial),
        verdict=trial.verdict,
        bottleneck=limit,
    )


def counts(p: Probe) -> bool:
    """Return whether a probe counts: it is no light load, and nothing but the server limited it."""
    return p.kind != Kind.REFERENCE and p.limited_by is None


def conclude(target: str, wanted: Wanted, found: Found, probes: list[Probe], start: float) -> Saturation:
    """Return the answer: what was found, what limited the server first, and every probe."""
    counted = [p for p in probes if counts(p)]
    # The first limit shows just above the capacity, not far beyond it.
    failing = sorted((p for p in counted if not p.passed), key=lambda p: p.rate_per_s)
    edge = found.low or 0.0
    nearest = [p for p in failing if p.rate_per_s >= edge][:5] or failing[-1:]
    terms = Counter(term for p in nearest for term in p.failed)
    resources = Counter(p.resource for p in nearest if p.resource)
    bottlenecks = Counter(p.bottleneck for p in nearest if p.bottleneck)
    interval = None if found.estimate is None else Interval(found.estimate, found.low, found.high)
    return Saturation(
        target=target,
        slo=wanted.slo,
        terms=wanted.terms,
        ending=found.ending,
        capacity_per_s=interval,
        confirmed=found.confirmed,
        held_per_s=found.held,
        limited_by=found.limited_by,
        gave_way=_most_common(terms),
        resource=_most_common(resources),
        probes=found.probes,
        start_per_s=start,
        curve=probes,
        # A probe that fails overloads the server on purpose; those that passed carry the answer.
        verdict=Verdict.INVALID
        if found.ending is Ending.NOT_STARTED
        else worst([Verdict.VALID, *(p.verdict for p in counted if p.passed)]),
        bottleneck=_most_common(bottlenecks),
    )


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
    search = Search(wanted.bounds(start, trials[0].facts.case.external))
    probes = []
    for trial in trials[1:]:
        search.ask()
        asked, reply = asked_of(trial), answer(trial, wanted.terms)
        search.tell(reply, asked)
        probes.append(probe(asked, reply, trial, wanted.terms))
    search.ask()
    return conclude(target, wanted, search.found(), probes, start)


def within(s: Saturation) -> str:
    """Return where the capacity lies, as far as is known during the search.

    An interval, a bracket, or one bound.
    """
    if (c := s.capacity_per_s) is not None:
        return f"capacity {c.low:.0f} to {c.high:.0f}/s"
    failed = [p.rate_per_s for p in s.curve if counts(p) and not p.passed]
    if s.held_per_s is not None and failed:
        return f"capacity between {s.held_per_s:.0f} and {min(failed):.0f}/s"
    if failed:
        return f"capacity below {min(failed):.0f}/s"
    return "capacity not known yet" if s.held_per_s is None else f"capacity above {s.held_per_s:.0f}/s"


def in_words(s: Saturation) -> str:
    """Return the answer in one sentence."""
    held = "no rate" if s.held_per_s is None else f"{s.held_per_s:.0f}/s"
    met = f"the objective was met up to {held}"
    c = s.capacity_per_s
    if c is not None:
        sure = "confirmed by a soak and a step above" if s.confirmed else "not confirmed"
        if s.ending == Ending.BUDGET:
            sure = "the probe budget ran out before the requested precision"
        if s.ending == Ending.UNFINISHED:
            sure = "so far: the search was interrupted; continue with volley resume"
        return f"capacity {c.estimate:.0f}/s ({c.low:.0f} to {c.high:.0f}/s), {sure}"
    return {
        Ending.ALWAYS_MET: f"at least {held}: the objective was met at every rate up to --highest",
        Ending.LIMITED: f"at least {held}, limited by the {s.limited_by}, not by the server",
        Ending.NEVER_MET: "the objective was not met even at the lowest rate",
        Ending.NOT_STARTED: "not measured: the server did not start or did not answer",
        Ending.UNFINISHED: f"the search was interrupted; {met}; continue with volley resume",
        Ending.NOT_RECOVERED: f"the server did not recover after a failed probe; before that {met}",
    }.get(s.ending, f"no capacity found; {met}")
