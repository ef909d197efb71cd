"""The page on the terminal.

Tables that can be pasted into a chat, and the findings that affect their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.analyse.people import UNKNOWN, count, digits, percent
from orchestrator.report import capacity
from orchestrator.report.finding import spoiling, tag, words
from orchestrator.report.format import estimate, measured, objective_text, shown_time, with_interval
from orchestrator.report.rows import CONCLUSION_STYLE, OUTCOME_STYLE, SEVERITY_STYLE, VERDICT_STYLE, table
from orchestrator.result import (
    CaseResult,
    Comparison,
    Conclusion,
    Interval,
    Outcome,
    ServerCost,
    Severity,
    Summary,
)
from orchestrator.slo import Metric

_SHOWN_TIMES = (Metric.P50, Metric.P90, Metric.P99, Metric.MAX)
_TIME_HEADINGS = tuple(f"{name} ms" for name in _SHOWN_TIMES)


def render(summary: Summary) -> list[Any]:
    """Return what rich prints, piece by piece."""
    if summary.saturation:
        return [piece for search in summary.saturation for piece in capacity.render(search)]
    open_loop = [case for case in summary.cases if case.response_time_us is not None]
    closed_loop = [case for case in summary.cases if case.response_time_us is None]
    pieces: list[Any] = []
    if closed_loop:
        pieces += ["closed loop, service time:", _cases_table(closed_loop)]
    if open_loop:
        pieces += ["open loop, response time (from when a request is due):", _cases_table(open_loop)]
        pieces += ["open loop, service time:", _service_table(open_loop)]
    pieces += [_counts_table(summary), _cost_table(summary)]
    if any(case.endpoints for case in summary.cases):
        pieces += ["endpoints, service time:", _endpoints_table(summary.cases)]
    for lines in (
        [line for case in summary.cases for line in _findings(case)],
        [line for case in summary.cases for line in _objectives(case)],
        _comparisons(summary.comparisons),
    ):
        pieces += [*lines, ""] if lines else []
    return [*pieces, _closing(summary)]


def _cases_table(cases: Sequence[CaseResult]) -> Any:
    from rich.text import Text

    rows = table("case", "verdict", "trials", "req/s", *_TIME_HEADINGS)
    for case in cases:
        rows.add_row(
            case.case,
            Text(case.verdict, style=VERDICT_STYLE[case.verdict]),
            f"{case.used}/{case.trials}",
            with_interval(case.throughput_per_s),
            *_times(shown_time(case)[1]),
        )
    return rows


def _times(times: Mapping[str, Interval | None]) -> list[str]:
    return [estimate(times.get(name), 1000) for name in _SHOWN_TIMES]


def _service_table(cases: Sequence[CaseResult]) -> Any:
    rows = table("case", *_TIME_HEADINGS)
    for case in cases:
        rows.add_row(case.case, *_times(case.service_time_us))
    return rows


def _counts_table(summary: Summary) -> Any:
    """Return the table of requests and of what happened to the server, over all trials that ran."""
    rows = table("requests", "ok", "HTTP errors", "failed", "OOM kills", "restarts")
    for case in summary.cases:
        r, server = case.requests, case.server
        rows.add_row(case.case, *map(count, (r.ok, r.http_error, r.failed, server.oom_kills, server.restarts)))
    return rows


def _cost_table(summary: Summary) -> Any:
    """Return the table of what the requests cost the server.

    Means per trial, and the peak of all trials.
    """
    rows = table("cost", "CPU µs/req", "req per CPU s", "req/s per MiB", "peak MiB", "throttled")
    for case in summary.cases:
        server = case.server
        costs = (server.cpu_us_per_request, server.requests_per_cpu_s, server.requests_per_s_per_mib)
        rows.add_row(case.case, *map(digits, costs), _peak(server), _throttled(server))
    return rows


def _peak(server: ServerCost) -> str:
    if server.peak_memory_bytes is None:
        return UNKNOWN
    limit = f" of {digits(server.memory_limit_bytes / 2**20)}" if server.memory_limit_bytes else ""
    return f"{digits(server.peak_memory_bytes / 2**20)}{limit}"


def _throttled(server: ServerCost) -> str:
    if server.throttled_ratio is None:
        return UNKNOWN
    return f"{percent(server.throttled_ratio)}, {digits(server.throttled_s or 0.0)} s"


def _endpoints_table(cases: Sequence[CaseResult]) -> Any:
    rows = table("endpoint", "req/s", *_TIME_HEADINGS)
    for case in cases:
        for endpoint in case.endpoints:
            times = _times(endpoint.service_time_us)
            rows.add_row(f"{case.case} {endpoint.path}", with_interval(endpoint.throughput_per_s), *times)
    return rows


def _findings(case: CaseResult) -> list[Any]:
    """Return one line for each finding that affects the verdict."""
    from rich.text import Text

    lines = []
    for finding in spoiling(case):
        text = Text(f"{case.case}: {words(finding)} [")
        text.append(tag(finding, case), style=SEVERITY_STYLE[finding.severity])
        lines.append(text.append("]"))
    return lines


def _objectives(case: CaseResult) -> list[Any]:
    """Return one line for each objective, with what was measured."""
    from rich.text import Text

    lines = []
    for objective in case.slo:
        outcome = Outcome.PASS if objective.passed else Outcome.FAIL
        text = Text(f"{case.case}: {objective_text(case, objective)}: ")
        text.append(outcome, style=OUTCOME_STYLE[outcome])
        lines.append(text.append(f", measured {measured(objective)}"))
    return lines


def _comparisons(comparisons: Sequence[Comparison]) -> list[Any]:
    """Return one line for each comparison.

    Those that cannot be made for the same reason share a line.
    """
    lines: list[Any] = []
    shown = set()
    for c in comparisons:
        if c.ratio is not None or c.difference is not None:
            lines.append(_comparison(c))
        elif c.conclusion is not Conclusion.INCOMPARABLE:
            continue  # no errors on either side: the counts above show it
        elif (c.load, c.candidate, c.reason) not in shown:
            shown.add((c.load, c.candidate, c.reason))
            lines.append(f"{c.load}: {c.candidate} against {c.baseline}: {c.conclusion} ({c.reason})")
    return lines


def _comparison(c: Comparison) -> Any:
    from rich.text import Text

    text = Text(f"{c.load}: {c.candidate} against {c.baseline}, {c.metric.label}: ")
    text.append(c.conclusion, style=CONCLUSION_STYLE[c.conclusion])
    if c.ratio is not None:
        low, high = c.ratio.low or 0.0, c.ratio.high or 0.0
        text.append(f", {c.ratio.estimate:.3f}× (95 % interval {low:.3f}–{high:.3f}×), p = {c.p_holm:.3f}")
    if c.difference is not None:
        low, high = c.difference.low or 0.0, c.difference.high or 0.0
        text.append(f", {c.difference.estimate:+.2%} (95 % interval {low:+.2%} to {high:+.2%}), p = {c.p_holm:.3f}")
    return text.append(f" ({c.reason})")


def _closing(summary: Summary) -> Any:
    from rich.text import Text

    informed = sorted({f.code for case in summary.cases for f in case.findings if f.severity is Severity.INFORMATION})
    text = Text("verdict ")
    text.append(summary.verdict, style=VERDICT_STYLE[summary.verdict])
    if summary.outcome is not None:
        text.append(f", outcome {summary.outcome}")
    text.append(": geometric means over trials, 95 % intervals")
    skews = [case.start_skew_us for case in summary.cases if case.start_skew_us is not None]
    bounds = [case.clock_bound_us for case in summary.cases if case.clock_bound_us is not None]
    if skews and bounds:
        text.append(f"; agents started within {max(skews) / 1e3:.1f} ms, clocks known to ± {max(bounds) / 1e3:.2f} ms")
    if informed:
        text.append(f"; also noted: [{', '.join(informed)}]")
    return text
