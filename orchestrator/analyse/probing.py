"""Did a probe pass, and if not, does that say something about the server? Pure.

A probe is judged beside those before it: whether a server has recovered, and whether more requests
under way brought more answers, shows only in comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analyse.backlog import answered_per_s, due_of, growth
from orchestrator.analyse.bottleneck import ENDED, MEMORY, OF_SERVICES, cpu_full, service_full
from orchestrator.analyse.evidence import evidence, measured, must_keep_up, subject_of
from orchestrator.analyse.lateness import explained_by_lateness
from orchestrator.result import FindingCode, Metrics, Severity, Trial, Verdict
from orchestrator.search.records import Answer, Kind, LimitedBy
from orchestrator.slo import ERRORS, QUANTILES, Metric, Term, TimeName

NO_ANSWER_TERM = "answers"
RECOVERED_TERM = "recovers"
# A light load is short: the share of it that must be answered, or all but one request.
RECOVERED = 0.9
# A light load may take this many times as long as the fastest load before it, and a little: an idle
# server is slower than a busy one, whose caches are warm and whose cores are awake.
SLOWER, SLOWER_US = 3.0, 10_000.0
# More requests under way by one factor and no more answers than by the other: the server is at its
# limit.
MORE_UNDER_WAY, MORE_ANSWERS = 1.5, 1.1
# A load with one of these findings was not the one that was requested.
LIMITS = {
    LimitedBy.GENERATOR: {
        FindingCode.GENERATOR_CPU,
        FindingCode.EPHEMERAL_PORTS,
        FindingCode.HOST_LOST,
        FindingCode.AGENT_LOST,
        FindingCode.NO_SPACE,
        FindingCode.DEGRADED,
        FindingCode.CLOCK_STEP,
        FindingCode.RATE_NOT_REACHED,
    },
    LimitedBy.NETWORK: {FindingCode.NETWORK_SATURATED},
    LimitedBy.MACHINE: {FindingCode.HOST_STEAL},
}


def keeps_up_term(terms: Sequence[Term]) -> str:
    """Return the objective that is always one, in words."""
    return f"answers >= {must_keep_up(terms) * 100:.4g}%"


@dataclass(frozen=True, slots=True)
class _Level:
    """What a server answered with how many requests under way, on average."""

    answered_per_s: float
    under_way: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """One probe, judged. failed: the objectives that it did not meet, as they were written."""

    answer: Answer
    failed: list[str]
    answered_per_s: float


class ProbeJudge:
    """Judges the trials of one search, in order. most_connections: what the load allows, over all agents."""

    def __init__(self, terms: Sequence[Term], most_connections: int) -> None:
        self._terms, self._most = terms, most_connections
        self._best = _Level(0.0, 0.0)
        self._fastest_us: float | None = None

    def estimated(self, trial: Trial) -> None:
        """Take in the closed loop at the beginning of the search."""
        self._learn(trial)

    def judge(self, trial: Trial) -> Judgement:
        """Judge a probe, and remember it for those that follow."""
        failed = self.failed_terms(trial)
        answer = self._answer(trial, failed)
        if trial.facts.case.load != Kind.REFERENCE and answer.limited_by is None:
            self._learn(trial)
        return Judgement(answer, failed, answered_per_s(trial))

    def failed_terms(self, trial: Trial) -> list[str]:
        """Return the objectives that a probe did not meet, as they were written. Keeping up is always one."""
        metrics = trial.metrics
        if metrics is None or (trial.verdict is Verdict.INVALID and not metrics.requests.ok):
            return [NO_ANSWER_TERM]
        failed = [term.text for term in self._terms if not term.met_by(measured(metrics, term))]
        if trial.facts.case.load == Kind.REFERENCE:
            return [] if self._recovered(trial, metrics, not failed) else [RECOVERED_TERM]
        if not failed and not self._keeps_up(trial, metrics):
            failed.append(keeps_up_term(self._terms))
        return failed

    def _keeps_up(self, trial: Trial, metrics: Metrics) -> bool:
        due, share = due_of(trial), must_keep_up(self._terms)
        return metrics.requests.ok >= share * due and growth(trial) <= (1 - share) * due

    def _answer(self, trial: Trial, failed: list[str]) -> Answer:
        spoiled = _spoiled_server(trial)
        passed = not failed and not spoiled
        limited_by = None if passed else self._limited_by(trial)
        if limited_by is not None or spoiled or trial.facts.case.load == Kind.REFERENCE:
            return Answer(passed, limited_by)
        # Evidence is of shares: it does not show that a maximum or a mean was missed.
        others = {term.text for term in self._terms if term.allowed_share is None}
        return Answer(passed, None, None if others & set(failed) else evidence(trial, self._terms))

    def _learn(self, trial: Trial) -> None:
        if (level := _level(trial)) is None or trial.metrics is None:
            return
        self._best = max(self._best, level, key=lambda each: each.answered_per_s)
        median_us = _typical_us(trial.metrics)
        if median_us is not None:
            self._fastest_us = median_us if self._fastest_us is None else min(self._fastest_us, median_us)

    def _recovered(self, trial: Trial, metrics: Metrics, met: bool) -> bool:
        """Return whether a light load was answered, and as fast as before or as the objectives ask.

        They need not be met: one may be impossible.
        """
        due = due_of(trial)
        if not metrics.requests.ok or metrics.requests.ok < min(RECOVERED * due, due - 1):
            return False
        typical_us = _typical_us(metrics)
        if met or typical_us is None or self._fastest_us is None:
            return True
        return typical_us <= SLOWER * self._fastest_us + SLOWER_US

    def _limited_by(self, trial: Trial) -> LimitedBy | None:
        """Return what other than the server made a probe fail; None if it was the server."""
        # A server or a service that used up its CPU reached its limit, whatever else was busy.
        if _spoiled_server(trial) or cpu_full(trial) or service_full(trial):
            return None
        codes = {f.code for f in trial.findings if f.severity is not Severity.INFORMATION}
        for limit, causes in LIMITS.items():
            if codes & causes:
                return limit
        if FindingCode.OUT_OF_SLOTS in codes:
            return self._out_of_slots(trial)
        return LimitedBy.GENERATOR if explained_by_lateness(trial, self._terms) else None

    def _out_of_slots(self, trial: Trial) -> LimitedBy | None:
        """Return whether too few connections are why a probe failed."""
        metrics, level = trial.metrics, _level(trial)
        if metrics is None or level is None or self._slow_or_refused(metrics):
            # With fewer requests under way than were due it was too slow already.
            return None
        more_under_way = level.under_way > MORE_UNDER_WAY * self._best.under_way
        if more_under_way and level.answered_per_s < MORE_ANSWERS * self._best.answered_per_s:
            return None
        if any(f.code == FindingCode.OUT_OF_SLOTS and "opened" in f.facts for f in trial.findings):
            return LimitedBy.UNOPENED
        return LimitedBy.CLIENTS if trial.facts.case.clients >= self._most else LimitedBy.CONNECTIONS

    def _slow_or_refused(self, metrics: Metrics) -> bool:
        """Return whether the answers alone, from when they were sent, miss an objective."""
        return any(_too_slow(metrics, term) or _refused(metrics, term) for term in self._terms)


def _too_slow(metrics: Metrics, term: Term) -> bool:
    """Return whether a service time misses a limit. Where a percentile is withheld, a lower one may show it."""
    subject, limit_us, allowed = subject_of(metrics, term), term.time_limit_us, term.allowed_share
    if subject is None or limit_us is None:
        return False
    first_byte = term.time is TimeName.FIRST_BYTE
    times = (subject.first_byte_us or {}) if first_byte else subject.service_time_us
    names = [term.metric] if allowed is None else [metric for metric, q in QUANTILES.items() if q <= 1 - allowed]
    return any((times.get(name) or 0.0) >= limit_us for name in names)


def _refused(metrics: Metrics, term: Term) -> bool:
    """Return whether the share of answers that are HTTP errors misses a limit of errors."""
    subject = subject_of(metrics, term)
    if subject is None or term.metric != ERRORS:
        return False
    answered = subject.requests.ok + subject.requests.http_error
    return answered > 0 and subject.requests.http_error / answered >= term.limit


def _typical_us(metrics: Metrics) -> float | None:
    return metrics.service_time_us.get(Metric.P50) or metrics.service_time_us.get(Metric.MEAN)


def _level(trial: Trial) -> _Level | None:
    """Return the answers and the requests under way (Little 1961) of a trial; None without answers."""
    metrics = trial.metrics
    mean_us = None if metrics is None else metrics.service_time_us.get(Metric.MEAN)
    if metrics is None or mean_us is None:
        return None
    # The requests of an open loop's growing backlog do not count as answered in its window. A closed loop has none.
    answered = metrics.throughput_per_s if trial.facts.case.rate_per_s is None else answered_per_s(trial)
    return _Level(answered, answered * mean_us / 1e6)


def _spoiled_server(trial: Trial) -> bool:
    return any(f.code in MEMORY | ENDED | set(OF_SERVICES) and f.severity is Severity.INVALID for f in trial.findings)
