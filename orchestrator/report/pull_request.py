"""What CI shows.

A Markdown summary for a pull request, and a JUnit file with one test per case and objective.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from orchestrator.analyse.capacity import in_words
from orchestrator.analyse.objectives import state_of_search
from orchestrator.analyse.people import count, percent
from orchestrator.analyse.regression import change_of
from orchestrator.report import answer, gates
from orchestrator.report.capacity import limit_reached, measured_how, statuses_of
from orchestrator.report.comparison_words import change_words
from orchestrator.report.conditions import counted_in
from orchestrator.report.connections import connections
from orchestrator.report.finding import spoiling, tag, words
from orchestrator.report.format import shown_time, with_interval
from orchestrator.report.junit import Result, Suite, result_of
from orchestrator.report.markdown import MARKS, cell, code, link
from orchestrator.report.mix import MOST_ROWS, time_of
from orchestrator.report.requests import of_services, outcome, status_codes
from orchestrator.result import (
    CaseResult,
    Comparison,
    Conclusion,
    Interval,
    Saturation,
    Severity,
    Summary,
    Time,
    Verdict,
)
from orchestrator.slo import Metric
from orchestrator.stored.about import About

_EPOCH = About(datetime.fromtimestamp(0, UTC))


def markdown(summary: Summary, known: About | None = None, report_url: str | None = None) -> str:
    """Return the page: the answer, where it comes from, cases, objectives, comparisons, findings."""
    passed = "" if summary.outcome is None else f", outcome **{summary.outcome}**"
    lines = [f"### Volley: {cell(summary.campaign)}: verdict **{summary.verdict}**{passed}", ""]
    lines += [line for sentence in answer.sentences(summary) for line in (cell(sentence), "")]
    lines += _origin(known, report_url)
    lines += [_search(search) for search in summary.saturation]
    closed_loop = [case for case in summary.cases if case.response_time_us is None]
    open_loop = [case for case in summary.cases if case.response_time_us is not None]
    lines += [*_cases(Time.SERVICE, closed_loop), *_cases(Time.RESPONSE, open_loop)]
    lines += _statuses(summary.cases)
    lines += _mix(summary.cases)
    lines += _services(summary.cases)
    lines += _connections(summary.cases)
    lines += _objectives(summary.cases)
    lines += _comparisons(summary.comparisons)
    lines += [
        f"- {cell(case.case)}: {cell(words(f))} [`{tag(f, case)}`]" for case in summary.cases for f in spoiling(case)
    ]
    return "\n".join(lines).rstrip() + "\n"


def _origin(known: About | None, report_url: str | None) -> list[str]:
    """Return when and where the run was made, from which commit, and the link to its report."""
    lines = []
    if known is not None:
        parts = [f"{known.started:%Y-%m-%d %H:%M} UTC"]
        if known.commit is not None:
            parts.append(f"{code(known.file or 'campaign')} at commit {code(known.commit)}")
        if known.hosts:
            parts.append(f"on {cell(', '.join(known.hosts))}")
        lines.append(", ".join(parts) + ".")
    lines += link(report_url)
    return [*lines, ""] if lines else []


def _search(search: Saturation) -> str:
    found = "; ".join([in_words(search), *limit_reached(search), *statuses_of(search), measured_how(search)])
    state = state_of_search(search)
    return f"- {MARKS[state]} {state}: {cell(search.target)}, {code(search.slo)}: {cell(found)}"


def _cases(time: Time, cases: Sequence[CaseResult]) -> list[str]:
    """Return a table of cases. A number that is not known is an empty cell; a column without any is left out."""
    if not cases:
        return []
    headings = [counted_in(*cases).per_s, *(f"{time} {metric.label} ms" for metric in _SHOWN), "errors"]
    rows = []
    for case in cases:
        times = shown_time(case)[1]
        numbers = [_number(case.throughput_per_s), *(_number(times.get(metric), 1000) for metric in _SHOWN)]
        rows.append([*numbers, _errors(case)])
    kept = [i for i in range(len(headings)) if any(row[i] for row in rows)]
    lines = [f"| case | verdict | {' | '.join(headings[i] for i in kept)} |", f"|---|---|{'---:|' * len(kept)}"]
    for case, row in zip(cases, rows, strict=True):
        lines.append(f"| {cell(case.case)} | {case.verdict} | {' | '.join(row[i] for i in kept)} |")
    return [*lines, ""]


def _connections(cases: Sequence[CaseResult]) -> list[str]:
    """Return what became of the connections of loads over WebSocket, a line for each case."""
    known = [(case, parts) for case in cases if (parts := connections(case.handshakes))]
    return [
        *(f"- {cell(case.case)}: connected: {cell(', '.join(parts))}" for case, parts in known),
        *([""] if known else []),
    ]


_SHOWN = (Metric.P50, Metric.P99)


def _number(value: Interval | None, unit: float = 1.0) -> str:
    return "" if value is None else with_interval(value, unit)


def _services(cases: Sequence[CaseResult]) -> list[str]:
    """Return a line for each service of each case: what it used."""
    lines = [f"- {cell(case.case)}: {cell(used)}" for case in cases for used in of_services(case)]
    return ["Services:", "", *lines, ""] if lines else []


def _errors(case: CaseResult) -> str:
    failed = count(case.requests.unsuccessful)
    share = case.requests.error_share
    return f"{failed} ({percent(share)})" if share else failed


def _statuses(cases: Sequence[CaseResult]) -> list[str]:
    """Return the status codes of each case; one line where all cases have the same single one."""
    found = {case.case: status_codes(case.statuses) for case in cases if case.statuses}
    if not found:
        return []
    if len(codes := set(found.values())) == 1 and (len(found) == 1 or next(iter(codes)).startswith("all ")):
        return [f"Status: {cell(codes.pop())}", ""]
    return [*(f"- {cell(name)}: status {cell(codes_)}" for name, codes_ in found.items()), ""]


def _mix(cases: Sequence[CaseResult]) -> list[str]:
    """Return a table of each request, for loads with several."""
    lines = []
    for case in cases:
        shown, time = case.mix[:MOST_ROWS], shown_time(case)[0]
        rows = [
            [
                cell(request.name),
                "" if request.share is None else percent(request.share),
                _number(request.throughput_per_s),
                *(time_of(request, time, metric) for metric in _SHOWN),
                percent(request.requests.error_share) if request.requests.unsuccessful else "0",
                cell(status_codes(request.statuses)),
            ]
            for request in shown
        ]
        if not rows:
            continue
        times = " | ".join(f"{time} {metric.label} ms" for metric in _SHOWN)
        lines += [
            f"| {cell(case.case)} | share | {counted_in(case).per_s} | {times} | errors | status |",
            f"|---|{'---:|' * 5}---|",
        ]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        if rest := len(case.mix) - len(shown):
            lines.append(f"| {rest} more | | | | | | |")
        lines.append("")
    return lines


def _objectives(cases: Sequence[CaseResult]) -> list[str]:
    lines = gates.of_objectives(cases)
    rows = [
        f"| {MARKS[line.state]} {line.state} | {cell(line.case)}: {cell(line.what)} | {cell(gates.message(line))} |"
        for line in lines
    ]
    return ["| | objective | measured (95 % interval) |", "|---|---|---:|", *rows, ""] if rows else []


def _comparisons(comparisons: Sequence[Comparison]) -> list[str]:
    rows = []
    for c in comparisons:
        if c.conclusion is Conclusion.INCOMPARABLE or (c.ratio is None and c.difference is None):
            continue
        change = gates.with_bounds(change_of(c), " %" if c.ratio is not None else " points")
        sides = f"{cell(c.load)}: {cell(c.candidate)} against {cell(c.baseline)}"
        rows.append(f"| {sides} | {c.metric.label} | {change} | {change_words(c)} |")
    return ["| comparison | metric | change (95 % interval) | |", "|---|---|---:|---|", *rows, ""] if rows else []


def junit(summary: Summary, known: About | None = None, strict: bool = False) -> str:
    """Return the XML: an INVALID case is an error, an objective that failed a failure.

    One that is undecided is skipped, one that was not judged an error. strict: both are failures.
    """
    known = known or _EPOCH
    suite = Suite(f"volley {summary.campaign}", known.started)
    for search in summary.saturation:
        result = result_of(state_of_search(search), strict)
        took_s = sum(seconds for case, seconds in known.took_s.items() if case.partition("/")[0] == search.target)
        suite.add(search.target, search.slo, result, in_words(search), took_s)
    for case in summary.cases:
        invalid = [f"{words(f)} [{f.code}]" for f in case.findings if f.severity is Severity.INVALID]
        error = Result.ERROR if case.verdict is Verdict.INVALID else None
        message = " ".join(invalid) or "too few valid trials remain"
        codes = status_codes(case.statuses)
        counts = "" if not codes else f"{outcome([case])}; status {codes}"
        suite.add(case.case, "verdict", error, message, known.took_s.get(case.case, 0.0), counts)
        for objective, line in zip(case.slo, gates.of_objectives([case]), strict=True):
            suite.add(case.case, objective.text, result_of(objective.state, strict), _measured(line))
    return suite.xml()


def _measured(line: gates.GateLine) -> str:
    return f"measured {gates.message(line)}" if line.found else line.why
