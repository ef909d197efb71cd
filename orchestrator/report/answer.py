"""The answer of a run in words: whole sentences for the head of every page, and a short form for one line of a list."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from orchestrator.analyse.capacity import limit_in_words
from orchestrator.analyse.people import digits, milliseconds, percent, rate, several
from orchestrator.counted import Counted, counted
from orchestrator.report import claims, gates
from orchestrator.report.conditions import counted_in
from orchestrator.report.format import between, objective, ratio, shown_time
from orchestrator.result import (
    CaseResult,
    ComparedMetric,
    Comparison,
    Conclusion,
    Saturation,
    Severity,
    Summary,
    Verdict,
)
from orchestrator.search.records import Ending, LimitedBy
from orchestrator.slo import Metric
from orchestrator.url_name import OTHERWISE, url_name

# More parts than these do not fit a line of a list.
_MOST_PARTS = 2
# Words at the beginning of findings that are no names.
_ARTICLES = ("A", "An", "Between", "For", "No", "Only", "Other", "Some", "The", "Under")


def sentences(summary: Summary) -> list[str]:
    """Return the answer: a sentence for each comparison, or for each case or searched target without one."""
    if summary.saturation:
        return [of_search(search) for search in summary.saturation]
    invalid = {(case.target, case.load) for case in summary.cases if case.verdict is Verdict.INVALID}
    leading = [c for c in leading_comparisons(summary) if not {(c.baseline, c.load), (c.candidate, c.load)} & invalid]
    answers = [claims.sentence(c, _where(summary, c.load)) for c in leading]
    compared = {(name, c.load) for c in leading for name in (c.baseline, c.candidate)}
    answers += [of_case(case, summary) for case in summary.cases if (case.target, case.load) not in compared]
    return [*answers, *_of_objectives(summary)]


def short(summary: Summary) -> str:
    """Return the answer in a few words, for a line of `volley runs`: '7,570 req/s, p99 4.14 ms'."""
    if summary.saturation:
        parts = [_search_briefly(search, len(summary.saturation) > 1) for search in summary.saturation]
    elif leading := leading_comparisons(summary):
        parts = [_comparison_briefly(c) for c in leading]
    elif len(summary.cases) == 1:
        parts = [_case_briefly(summary.cases[0])]
    elif top := _top_of_sweep(summary):
        parts = [top]
    else:
        parts = [f"{case.case} {_case_briefly(case)}" for case in summary.cases]
    rest = len(parts) - _MOST_PARTS
    return "; ".join(parts[:_MOST_PARTS]) + (f"; {rest} more" if rest > 0 else "")


def leading_comparisons(summary: Summary) -> list[Comparison]:
    """Return the comparisons that answer the question of the run: one for each candidate under each load.

    Throughput in the closed loop. In the open loop every server is asked for the same rate: response time p99 instead.
    """
    open_loads = {case.load for case in summary.cases if case.response_time_us is not None}
    wanted = {True: ComparedMetric.RESPONSE_P99, False: ComparedMetric.THROUGHPUT}
    return [c for c in summary.comparisons if c.metric is wanted[c.load in open_loads]]


def subject(case: CaseResult) -> str:
    """Return what a sentence about a case is about: its target, or the URL that was typed in place of a campaign."""
    return _named(case.target, case.urls)


def _named(target: str, urls: Sequence[str]) -> str:
    """Return a target's name, or its URL where the name was made of that. Neither passwords nor queries are shown."""
    if not urls:
        return "The server" if target == OTHERWISE else target
    parts = [urlsplit(url) for url in urls]
    paths = [part.path + (f"?{part.query}" if part.query else "") for part in parts]
    if target not in (OTHERWISE, url_name(urls[0], paths if len(urls) > 1 else ())):
        return target
    first = parts[0]
    place = f"{first.scheme}://{first.netloc.rpartition('@')[2]}"
    return f"{place} ({len(urls)} paths)" if len(urls) > 1 else place + (first.path or "/") + "?…" * bool(first.query)


def of_case(case: CaseResult, summary: Summary) -> str:
    """Return the answer of one case in a sentence."""
    what, where = subject(case), _where(summary, case.load)
    if case.verdict is Verdict.INVALID or case.throughput_per_s is None:
        return f"{what} has no valid result{where}: {reason(case)}"
    number, planned = digits(case.throughput_per_s.estimate), case.planned
    sent = counted_in(case).many
    answered = f"{number} {sent} per second"
    errors = case.requests.error_share
    failed = f"; {percent(errors)} of the {sent} failed" if errors else ""
    if planned is not None and planned.rate_per_s is not None:
        due = f"the {rate(planned.rate_per_s)} {sent} per second that were due"
        return f"{what} answered {number} of {due}{where}{_p99(case)}{failed}."
    if planned is None:
        return f"{what} answers {answered}{where}{failed}."
    streams = f" of {planned.streams} streams" if planned.streams > 1 else ""
    clients = several(planned.clients, "connection", "connections")
    return f"{what} answers {answered} with {clients}{streams}{where}{failed}."


def _p99(case: CaseResult) -> str:
    time, values = shown_time(case)
    p99 = values.get(Metric.P99)
    return "" if p99 is None else f", with a p99 {time} of {milliseconds(p99.estimate)}"


def reason(case: CaseResult) -> str:
    """Return why a case is INVALID, as a clause that ends with a full stop."""
    found = next((f for f in case.findings if f.severity is Severity.INVALID and f.sentence), None)
    if found is not None:
        return lowered(found.sentence)
    return "no trial has finished." if not case.trials else "too few of its trials are valid."


def lowered(sentence: str) -> str:
    """Return a sentence with its article in lower case, to follow a colon. Names keep their capitals."""
    first, _, rest = sentence.partition(" ")
    return f"{first.lower()} {rest}" if first in _ARTICLES else sentence


def _where(summary: Summary, load: str) -> str:
    return f" under the {load} load" if len({case.load for case in summary.cases}) > 1 else ""


def _of_objectives(summary: Summary) -> list[str]:
    states = [each.state for case in summary.cases for each in case.slo]
    return [gates.sentence(states, "objective")] if states else []


def target_of(search: Saturation) -> str:
    """Return what a sentence about a search is about: its target, or the URL that was typed in place of a campaign."""
    return _named(search.target, [search.url] if search.url else [])


def of_search(s: Saturation) -> str:
    """Return what a search came to in a sentence or two."""
    what, wanted, kind = target_of(s), objective(s.slo), counted([s.protocol])
    held = None if s.held_per_s is None else _rate(s.held_per_s, kind)
    if (c := s.capacity_per_s) is not None:
        return _found(s, f"{_rate(c.estimate, kind)} with {wanted} ({between(c)}")
    at_least = f"{what} holds at least {held} with {wanted}" if held else f"{what} passed no probe of {wanted}"
    so_far = f"the objective was met up to {held}" if held else "no rate met the objective"
    soaked = "" if s.soak_failed_per_s is None else f" at {_rate(s.soak_failed_per_s, kind)}"
    shorter = f" Shorter probes passed up to {held}." if held else ""
    lowest = min((probe.rate_per_s for probe in s.curve if not probe.passed), default=None)
    rate_ = "" if lowest is None else f", {_rate(lowest, kind)}"
    return {
        Ending.ALWAYS_MET: f"{at_least}: every rate up to the highest that was allowed met the objective.",
        Ending.LIMITED: f"{at_least}: {_limited(s)}.",
        Ending.NOT_SUSTAINED: f"{what} did not sustain {wanted}: a soak failed{soaked}.{shorter}",
        Ending.NEVER_MET: f"{what} does not meet {wanted} even at the lowest rate{rate_}.",
        Ending.NOT_STARTED: f"{what} was not measured: the server did not start or did not answer.",
        Ending.UNFINISHED: f"The search on {what} was interrupted; {so_far} ({wanted}).",
        Ending.NOT_RECOVERED: f"{what} did not recover after a failed probe; before that {so_far} ({wanted}).",
    }.get(s.ending, f"No capacity of {what} was found; {so_far} ({wanted}).")


def _limited(s: Saturation) -> str:
    if s.limited_by is LimitedBy.UNOPENED:
        above = "" if s.held_per_s is None else "above that "
        return (
            f"{above}h2load opens more connections than the server takes. Use more agents, or raise the server's limit"
        )
    return f"{_limit(s.limited_by)} reached its limit, not the server"


def _limit(limit: LimitedBy | None) -> str:
    return "the load generator" if limit in (None, LimitedBy.GENERATOR) else f"the {limit_in_words(limit)}"


def _found(s: Saturation, found: str) -> str:
    what = target_of(s)
    if s.ending is Ending.BUDGET:
        return f"{what} holds about {found}). The probe budget ran out before the requested precision."
    if s.ending is Ending.UNFINISHED:
        return f"{what} holds about {found}) so far: the search was interrupted."
    if s.confirmed:
        return f"{what} holds {found}, confirmed)."
    return f"{what} holds about {found}), but no soak confirmed it."


def _rate(per_s: float, kind: Counted) -> str:
    return f"{digits(per_s)} {kind.one if per_s == 1 else kind.many} per second"


def _search_briefly(s: Saturation, named: bool) -> str:
    name, wanted, unit = f"{s.target} " if named else "", objective(s.slo), counted([s.protocol]).per_s
    if s.capacity_per_s is not None:
        sure = "" if s.confirmed else ", not confirmed"
        return f"{name}{digits(s.capacity_per_s.estimate)} {unit} at {wanted}{sure}"
    held = f"at least {digits(s.held_per_s)} {unit}" if s.held_per_s is not None else "no capacity"
    words = {
        Ending.ALWAYS_MET: held,
        Ending.LIMITED: held,
        Ending.NOT_SUSTAINED: "not sustained",
        Ending.NEVER_MET: "never met",
        Ending.NOT_STARTED: "not measured",
        Ending.UNFINISHED: "interrupted",
        Ending.NOT_RECOVERED: "did not recover",
    }.get(s.ending, "no capacity")
    return f"{name}{words} at {wanted}"


def _comparison_briefly(c: Comparison) -> str:
    sides = f"{c.candidate}/{c.baseline}"
    if c.conclusion is Conclusion.INCOMPARABLE or c.ratio is None:
        return f"{sides} not compared ({c.load})"
    if c.conclusion is Conclusion.INCONCLUSIVE:
        return f"{sides} not settled ({c.load})"
    if c.conclusion is Conclusion.EQUIVALENT:
        return f"{c.candidate} as {c.baseline} ({c.load})"
    what = "" if c.metric is ComparedMetric.THROUGHPUT else f" {c.metric.label}"
    return f"{c.candidate} {ratio(c.ratio.estimate)}× {c.baseline}{what} ({c.load})"


def is_sweep(summary: Summary) -> bool:
    """Return whether the loads of a run differ in nothing but their number of clients, as those of `volley sweep`."""
    planned = [case.planned for case in summary.cases if case.planned is not None]
    return len({case.load for case in planned}) > 1 and all(
        case.load == f"c{case.clients}" and case.rate_per_s is None and case.requests is None for case in planned
    )


def _top_of_sweep(summary: Summary) -> str:
    """Return the highest throughput of a sweep of one target."""
    known = [(case.throughput_per_s.estimate, case) for case in summary.cases if case.throughput_per_s is not None]
    if not known or not is_sweep(summary) or len({case.target for case in summary.cases}) > 1:
        return ""
    per_s, best = max(known, key=lambda each: each[0])
    clients = 0 if best.planned is None else best.planned.clients
    return f"{digits(per_s)} {counted_in(best).per_s} at most, with {several(clients, 'client', 'clients')}"


def _case_briefly(case: CaseResult) -> str:
    if case.verdict is Verdict.INVALID or case.throughput_per_s is None:
        return "INVALID"
    p99 = shown_time(case)[1].get(Metric.P99)
    answered = f"{digits(case.throughput_per_s.estimate)} {counted_in(case).per_s}"
    return answered + (f", p99 {digits(p99.estimate / 1e3)} ms" if p99 else "")
