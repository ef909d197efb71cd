"""What CI shows.

A Markdown summary for a pull request, and a JUnit file with one test per case and objective.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.analyse.capacity import in_words
from orchestrator.analyse.people import count
from orchestrator.report.capacity import limit_reached, measured_how
from orchestrator.report.finding import spoiling, tag, words
from orchestrator.report.format import measured, objective_text, shown_time, with_interval
from orchestrator.report.junit import Result, Suite
from orchestrator.result import CaseResult, Comparison, Outcome, Saturation, Severity, Summary, Time, Verdict
from orchestrator.search.records import Ending
from orchestrator.slo import Metric


def markdown(summary: Summary) -> str:
    """Return the page: verdict and outcome, cases, objectives, comparisons, findings."""
    outcome = "" if summary.outcome is None else f", outcome **{summary.outcome}**"
    lines = [f"### Volley: {summary.campaign}: verdict **{summary.verdict}**{outcome}", ""]
    if summary.saturation:
        return "\n".join([*lines, *(_search(search) for search in summary.saturation)]) + "\n"
    closed_loop = [case for case in summary.cases if case.response_time_us is None]
    open_loop = [case for case in summary.cases if case.response_time_us is not None]
    lines += [*_cases(Time.SERVICE, closed_loop), *_cases(Time.RESPONSE, open_loop)]
    lines += _objectives(summary.cases)
    lines += [line for c in summary.comparisons for line in _comparison(c)]
    lines += [f"- {case.case}: {words(f)} [`{tag(f, case)}`]" for case in summary.cases for f in spoiling(case)]
    return "\n".join(lines).rstrip() + "\n"


def _search(search: Saturation) -> str:
    answer = f"{search.target}: `{search.slo}`: {in_words(search)}"
    return f"- {'; '.join([answer, *limit_reached(search), measured_how(search)])}"


def _cases(time: Time, cases: Sequence[CaseResult]) -> list[str]:
    if not cases:
        return []
    lines = [f"| case | verdict | req/s | {time} p50 ms | {time} p99 ms | errors |", "|---|---|---:|---:|---:|---:|"]
    for case in cases:
        times = shown_time(case)[1]
        numbers = (
            with_interval(case.throughput_per_s),
            with_interval(times[Metric.P50], 1000),
            with_interval(times[Metric.P99], 1000),
            count(case.requests.unsuccessful),
        )
        lines.append(f"| {case.case} | {case.verdict} | {' | '.join(numbers)} |")
    return [*lines, ""]


def _objectives(cases: Sequence[CaseResult]) -> list[str]:
    rows = [
        f"| {case.case}: {objective_text(case, o)} | {measured(o)} | {Outcome.PASS if o.passed else Outcome.FAIL} |"
        for case in cases
        for o in case.slo
    ]
    return ["| objective | measured | |", "|---|---:|---|", *rows, ""] if rows else []


def _comparison(c: Comparison) -> list[str]:
    if c.ratio is None:
        return []
    sides = f"{c.load}: {c.candidate} against {c.baseline}, {c.metric.label}"
    return [f"{sides}: **{c.conclusion}**, {c.ratio.estimate:.3f}×", ""]


def junit(summary: Summary) -> str:
    """Return the XML: an INVALID case is an error, an objective that is not met a failure."""
    suite = Suite(f"volley {summary.campaign}")
    results = {
        Ending.NEVER_MET: Result.FAILURE,
        Ending.NOT_SUSTAINED: Result.FAILURE,
        Ending.NOT_RECOVERED: Result.ERROR,
        Ending.NOT_STARTED: Result.ERROR,
    }
    for search in summary.saturation:
        suite.add(search.target, search.slo, results.get(search.ending), in_words(search))
    for case in summary.cases:
        invalid = [f"{words(f)} [{f.code}]" for f in case.findings if f.severity is Severity.INVALID]
        error = Result.ERROR if case.verdict is Verdict.INVALID else None
        suite.add(case.case, "verdict", error, " ".join(invalid) or "too few valid trials remain")
        for objective in case.slo:
            failure = None if objective.passed else Result.FAILURE
            suite.add(case.case, objective.text, failure, f"measured {measured(objective)}")
    return suite.xml()
