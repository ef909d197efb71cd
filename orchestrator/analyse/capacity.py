"""From the trials of a saturation run to its answer: did a probe pass, what gave way, what is the capacity. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analyse.precision import value_of
from orchestrator.result import Interval, Metrics, Probe, Saturation, Trial, Verdict, worst
from orchestrator.search.engine import Answer, Ask, Bounds, Ending, Found, Kind, Search
from orchestrator.slo import ERRORS, TIMES, Term

# Of what is due, in the window, at least so much must be answered: below, the backlog grows however well the times look.
KEEPS_UP = 0.95
# A light load is short: a hiccup of the machine takes a larger share of it.
RECOVERED = 0.8
KEEPS_UP_TERM = f"answers >= {KEEPS_UP:.0%} of the rate"
NO_ANSWER_TERM = "answers"
# A load that failed for these was not the one that was asked for, and says nothing of the server.
GENERATOR = {"generator-cpu", "ephemeral-ports", "agent-lost", "clock-step"}
NETWORK = {"network-saturated"}
MACHINE = {"host-steal"}
_MEMORY = {"server-oom-kill", "server-memory-thrash"}
_ENDED = {"server-exited", "server-restarted", "server-unresponsive", "server-not-ready"}
# The CPU of a server is what gave way when it used so much of what it may use.
CPU_FULL, THROTTLED = 0.85, 0.3
HOST_FULL = 0.1
WHOLE_CORES = 0.1
# No probe lasts longer for the sake of a percentile.
LONGEST_S = 120.0
LOWEST_OF_START = 0.01


NOTHING = Found(Ending.NOT_STARTED, None, None, None, False, None, None, 0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is searched for. lowest and highest: rates per second; window_us and soak_us: of a probe, and of the soak.

    lowest 0: where a probe of LONGEST_S has the requests that its percentiles need (`needed`), and no less than a hundredth
    of where the search begins.
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
        """Where a search looks that begins at the closed model's throughput."""
        lowest = self.lowest or max(1.0, self.needed / LONGEST_S, LOWEST_OF_START * start)
        return Bounds(start, lowest, self.highest, self.precision, self.budget, recovers)


def failed_terms(trial: Trial, terms: Sequence[Term]) -> list[str]:
    """Give the objectives that a probe did not meet, as they were written; that it keeps up nobody has to write."""
    metrics = trial.metrics
    if metrics is None or (trial.verdict is Verdict.INVALID and not metrics.requests.ok):
        return [NO_ANSWER_TERM]
    # A light load asks whether the server has recovered, not whether it is good: an objective may be impossible.
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
    return value_of(metrics, term.metric)


def answer(trial: Trial, terms: Sequence[Term]) -> Answer:
    """Say whether a probe passed; one that failed beside a generator, network or machine at its end tells nothing."""
    if not failed_terms(trial, terms) and not _spoiled_server(trial):
        return Answer(True)
    codes = {f.code for f in trial.findings if f.severity != "information"}
    # A server that has used up its CPU has given way, whoever else was busy.
    if _spoiled_server(trial) or _cpu_full(trial):
        return Answer(False)
    for name, those in (("generator", GENERATOR), ("network", NETWORK), ("machine", MACHINE)):
        if codes & those:
            return Answer(False, limited_by=name)
    return Answer(False)


def _spoiled_server(trial: Trial) -> bool:
    return any(f.code in _MEMORY | _ENDED and f.severity == "invalid" for f in trial.findings)


def resource(trial: Trial) -> str:
    """Say what the server had none left of, as far as it was metered."""
    codes = {f.code for f in trial.findings}
    if codes & _MEMORY:
        return "memory"
    if codes & _ENDED:
        return "the server itself: it ended, or fell silent"
    metrics, case = trial.metrics, trial.facts.case
    if metrics is None:
        return "unknown: it did not answer"
    server = metrics.server
    if (server.throttled_ratio or 0.0) >= THROTTLED:
        return f"CPU: its quota of {_cores(case.cpus)}" if case.cpus else "CPU: a quota that nobody asked for"
    used = _cores_used(trial)
    if used is not None and case.cpus is not None and _cpu_full(trial):
        return f"CPU: {used:.2f} of {_cores(case.cpus)}"
    if any(use.free_share <= HOST_FULL for use in trial.facts.hosts if use.host in _server_hosts(trial)):
        return "CPU of its host"
    # A server of one busy process, or of several, uses whole cores.
    if used is not None and round(used) >= 1 and abs(used - round(used)) < WHOLE_CORES:
        return f"CPU: {used:.2f} cores busy, as many as its processes can use"
    if metrics.requests.http_error:
        return "admission: it answered with errors"
    if metrics.requests.failed:
        return "connections: it refused or ended them"
    if used is None:
        return "unknown: it is not metered"
    return "its own concurrency: neither CPU, memory nor connections were at their end"


def _cores(number: float) -> str:
    return f"{number:g} core{'' if number == 1 else 's'}"


def _cores_used(trial: Trial) -> float | None:
    """How many cores the server used on average over the window; None: not metered."""
    metrics = trial.metrics
    if metrics is None or metrics.server.cpu_s is None or metrics.window_s <= 0:
        return None
    return metrics.server.cpu_s / metrics.window_s


def _cpu_full(trial: Trial) -> bool:
    used, allowed = _cores_used(trial), trial.facts.case.cpus
    return used is not None and allowed is not None and used >= CPU_FULL * allowed


def _server_hosts(trial: Trial) -> set[str]:
    """The hosts of the server, as far as they are told apart from load hosts."""
    if trial.facts.shared_host:
        return {use.host for use in trial.facts.hosts}
    return {use.host for use in trial.facts.hosts if use.role == "server"}


def asked_of(trial: Trial) -> Ask:
    """Say what a stored probe was asked for: another Volley may have asked otherwise than this one would."""
    case = trial.facts.case
    return Ask(Kind(case.load), case.rate_per_s or 0.0)


def probe(asked: Ask, told: Answer, trial: Trial, terms: Sequence[Term]) -> Probe:
    """One line of the curve."""
    metrics = trial.metrics
    times = {} if metrics is None else metrics.response_us or metrics.service_us
    return Probe(
        trial=trial.facts.number,
        kind=str(asked.kind),
        rate_per_s=asked.rate_per_s,
        passed=told.passed,
        limited_by=told.limited_by,
        failed=failed_terms(trial, terms),
        throughput_per_s=None if metrics is None else metrics.throughput_per_s,
        times_us={name: times.get(name) for name in TIMES},
        error_share=None if metrics is None else metrics.requests.error_share,
        resource=None if told.passed or told.limited_by else resource(trial),
        verdict=trial.verdict,
    )


def counts(p: Probe) -> bool:
    """Say whether a probe says something of the rate: no light load, and not limited by what is not the server."""
    return p.kind != Kind.REFERENCE and p.limited_by is None


def conclude(target: str, wanted: Wanted, found: Found, probes: list[Probe], start: float) -> Saturation:
    """Put the answer together: what was found, what gave way first, and every probe."""
    counted = [p for p in probes if counts(p)]
    # What gave way first shows just above the capacity, not far beyond it.
    failing = sorted((p for p in counted if not p.passed), key=lambda p: p.rate_per_s)
    edge = found.low or 0.0
    nearest = [p for p in failing if p.rate_per_s >= edge][:5] or failing[-1:]
    terms = Counter(term for p in nearest for term in p.failed)
    resources = Counter(p.resource for p in nearest if p.resource)
    interval = None if found.estimate is None else Interval(found.estimate, found.low, found.high)
    return Saturation(
        target=target,
        slo=wanted.slo,
        terms=wanted.terms,
        ending=str(found.ending),
        capacity_per_s=interval,
        confirmed=found.confirmed,
        held_per_s=found.held,
        limited_by=found.limited_by,
        gave_way=_first(terms),
        resource=_first(resources),
        probes=found.probes,
        start_per_s=start,
        curve=probes,
        # A probe that failed is meant to spoil something; what passed carries the answer.
        verdict=Verdict.INVALID
        if found.ending is Ending.NOT_STARTED
        else worst([Verdict.VALID, *(p.verdict for p in counted if p.passed)]),
    )


def _first(counted: Counter[str]) -> str | None:
    return counted.most_common(1)[0][0] if counted else None


def replay(target: str, trials: Sequence[Trial], wanted: Wanted) -> Saturation:
    """Play a stored search again: the same answers give the same conclusion.

    trials: of the target, in order; the first is the closed-model estimate.
    """
    # A fresh server that did not come up says nothing of a rate.
    trials = [trial for trial in trials if trial.metrics is not None or trial.facts.case.external]
    if not trials or trials[0].metrics is None or not trials[0].metrics.requests.ok:
        return conclude(target, wanted, NOTHING, [], 0.0)
    start = trials[0].metrics.throughput_per_s
    search = Search(wanted.bounds(start, trials[0].facts.case.external))
    probes = []
    for trial in trials[1:]:
        search.ask()
        asked, told = asked_of(trial), answer(trial, wanted.terms)
        search.tell(told, asked)
        probes.append(probe(asked, told, trial, wanted.terms))
    search.ask()
    return conclude(target, wanted, search.found(), probes, start)


def within(s: Saturation) -> str:
    """Say where the capacity lies, as far as is known in mid-search: in an interval, in a bracket, or on one side."""
    if (c := s.capacity_per_s) is not None:
        return f"capacity {c.low:.0f} to {c.high:.0f}/s"
    failed = [p.rate_per_s for p in s.curve if counts(p) and not p.passed]
    if s.held_per_s is not None and failed:
        return f"capacity between {s.held_per_s:.0f} and {min(failed):.0f}/s"
    if failed:
        return f"capacity below {min(failed):.0f}/s"
    return "nothing is known yet" if s.held_per_s is None else f"capacity above {s.held_per_s:.0f}/s"


def in_words(s: Saturation) -> str:
    """Say it in one sentence."""
    held = "nothing" if s.held_per_s is None else f"{s.held_per_s:.0f}/s"
    c = s.capacity_per_s
    if c is not None:
        sure = "confirmed by a soak and a step above" if s.confirmed else "not confirmed"
        if s.ending == Ending.BUDGET:
            sure = "the probes were used up before it was as precise as asked"
        if s.ending == Ending.UNFINISHED:
            sure = "so far: the search was stopped; go on with volley resume"
        return f"capacity {c.estimate:.0f}/s ({c.low:.0f} to {c.high:.0f}/s), {sure}"
    return {
        Ending.ALWAYS_MET: f"at least {held}: the objective was met up to the highest rate that was allowed",
        Ending.LIMITED: f"at least {held}, limited by the {s.limited_by}, not by the server",
        Ending.NEVER_MET: "not even the lowest rate meets the objective",
        Ending.NOT_STARTED: "it did not come up, or answered nothing: there was nothing to search",
        Ending.UNFINISHED: f"the search was stopped; it held {held}; go on with volley resume",
        Ending.NOT_RECOVERED: f"the server did not come back after a probe that failed; it held {held} before",
    }.get(Ending(s.ending), f"no capacity was found; it held {held}")
