"""The page on the terminal: a table that can be pasted into a chat, the doubts beside the numbers they spoil."""

from __future__ import annotations

from typing import Any

from orchestrator.report import capacity as saturation
from orchestrator.report.pull_request import shown_value
from orchestrator.report.rows import VERDICT_STYLE, table
from orchestrator.result import CaseFinding, CaseResult, Comparison, Interval, ServerCost, Severity, Summary

_CONCLUSIONS = {"faster": "green", "slower": "red"}
_SHOWN_TIMES = ("p50", "p90", "p99", "max")


def render(summary: Summary) -> list[Any]:
    """Give what is to be printed with rich, piece by piece."""
    if summary.saturation:
        return [piece for one in summary.saturation for piece in saturation.render(one)]
    pieces: list[Any] = [_cases_table(summary), _counts_table(summary), _cost_table(summary)]
    open_cases = [case for case in summary.cases if case.response_time_us is not None]
    if open_cases:
        pieces += [_open_table(open_cases)]
    if any(case.endpoints for case in summary.cases):
        pieces += [_endpoints_table(summary.cases)]
    notes = [note for case in summary.cases for note in _notes(case)]
    if notes:
        pieces += [*notes, ""]
    if objectives := [line for case in summary.cases for line in _objectives(case)]:
        pieces += [*objectives, ""]
    if summary.comparisons:
        pieces += [*_comparisons(summary.comparisons), ""]
    pieces.append(_closing(summary))
    return pieces


def _cases_table(summary: Summary) -> Any:
    from rich.text import Text

    rows = table("case", "verdict", "trials", "req/s", *(f"{t} ms" for t in _SHOWN_TIMES))
    for case in summary.cases:
        rows.add_row(
            case.case,
            Text(case.verdict, style=VERDICT_STYLE[case.verdict]),
            f"{case.used}/{case.trials}",
            _throughput(case.throughput_per_s),
            *(_ms(case.service_time_us[name]) for name in _SHOWN_TIMES),
        )
    return rows


def _counts_table(summary: Summary) -> Any:
    """What became of the requests and of the server, over all trials that ran."""
    rows = table("case", "ok", "errors", "failed", "OOM kills", "restarts")
    for case in summary.cases:
        r, server = case.requests, case.server
        counts = (str(r.ok), str(r.http_error), str(r.failed), _number(server.oom_kills), _number(server.restarts))
        rows.add_row(case.case, *counts)
    return rows


def _cost_table(summary: Summary) -> Any:
    """What the answers cost the server, per trial; the peak is that of all."""
    rows = table("cost", "CPU µs/req", "req per CPU s", "req/s per MiB", "peak MiB", "throttled")
    for case in summary.cases:
        server = case.server
        rows.add_row(
            case.case,
            _number(server.cpu_us_per_request),
            _number(server.requests_per_cpu_s),
            "n/a" if server.requests_per_s_per_mib is None else f"{server.requests_per_s_per_mib:.3g}",
            _peak(server),
            _throttled(server),
        )
    return rows


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.0f}"


def _peak(server: ServerCost) -> str:
    if server.peak_memory_bytes is None:
        return "n/a"
    limit = f" of {server.memory_limit_bytes / 2**20:.0f}" if server.memory_limit_bytes else ""
    return f"{server.peak_memory_bytes / 2**20:.0f}{limit}"


def _throttled(server: ServerCost) -> str:
    if server.throttled_ratio is None:
        return "n/a"
    return f"{server.throttled_ratio:.0%}, {server.throttled_s or 0:.1f} s"


def _open_table(cases: list[CaseResult]) -> Any:
    rows = table("response time (from when it was due)", *(f"{t} ms" for t in _SHOWN_TIMES))
    for case in cases:
        rows.add_row(case.case, *(_ms((case.response_time_us or {}).get(name)) for name in _SHOWN_TIMES))
    return rows


def _endpoints_table(cases: list[CaseResult]) -> Any:
    rows = table("endpoint", "req/s", *(f"{t} ms" for t in _SHOWN_TIMES))
    for case in cases:
        for endpoint in case.endpoints:
            times = [_ms(endpoint.service_time_us[name]) for name in _SHOWN_TIMES]
            rows.add_row(f"{case.case} {endpoint.path}", _throughput(endpoint.throughput_per_s), *times)
    return rows


def _throughput(interval: Interval | None) -> str:
    if interval is None:
        return "n/a"
    if interval.low is None or interval.high is None:
        return f"{interval.estimate:.0f}"
    return f"{interval.estimate:.0f} ({interval.low:.0f}–{interval.high:.0f})"


def _ms(interval: Interval | None) -> str:
    if interval is None:
        return "n/a"
    value = interval.estimate / 1000
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _notes(case: CaseResult) -> list[Any]:
    """One line per finding that spoils a number, and one for all that is only information."""
    from rich.text import Text

    lines = []
    for finding in case.findings:
        if finding.severity is Severity.INFORMATION:
            continue
        style = "red" if finding.severity is Severity.INVALID else "yellow"
        text = Text(f"{case.case}: ")
        text.append(finding.code, style=style)
        text.append(f" in {len(finding.trials)} of {case.trials} trials: {_facts(finding)}. {finding.hint}")
        lines.append(text)
    return lines


def _objectives(case: CaseResult) -> list[Any]:
    """One line per objective, with what was measured."""
    from rich.text import Text

    lines = []
    for objective in case.slo:
        text = Text(f"{case.case}: {objective.text}: ")
        text.append("PASS" if objective.passed else "FAIL", style="green" if objective.passed else "bold red")
        text.append(f", {shown_value(objective)}")
        lines.append(text)
    return lines


def _facts(finding: CaseFinding) -> str:
    shown = {k: v for k, v in finding.facts.items() if v not in ("", None)}
    return ", ".join(f"{name} {_value(name, value)}" for name, value in shown.items()) or "no details"


def _value(name: str, value: Any) -> str:
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / 2**20:.1f} MiB"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {v}" for k, v in value.items()) + "}"
    return str(value)


def _comparisons(comparisons: list[Comparison]) -> list[Any]:
    """One line each; those that cannot be compared for one reason share a line."""
    lines, told = [], set()
    for c in comparisons:
        if c.ratio is not None or c.difference is not None:
            lines.append(_comparison(c))
        elif c.conclusion != "incomparable":
            continue  # no errors on either side: the counts above say so
        elif (c.load, c.candidate, c.reason) not in told:
            told.add((c.load, c.candidate, c.reason))
            lines.append(f"{c.load}: {c.candidate} against {c.baseline}: {c.conclusion} ({c.reason})")
    return lines


def _comparison(c: Comparison) -> Any:
    from rich.text import Text

    text = Text(f"{c.load}: {c.candidate} against {c.baseline}, {c.metric}: ")
    text.append(c.conclusion, style=_CONCLUSIONS.get(c.conclusion, "bold"))
    if c.ratio is not None:
        low, high = c.ratio.low or 0.0, c.ratio.high or 0.0
        text.append(f", ratio {c.ratio.estimate:.3f} ({low:.3f}–{high:.3f}), p = {c.p_holm:.3f}")
    if c.difference is not None:
        low, high = c.difference.low or 0.0, c.difference.high or 0.0
        text.append(f", difference {c.difference.estimate:+.2%} ({low:+.2%} to {high:+.2%}), p = {c.p_holm:.3f}")
    text.append(f" ({c.reason})")
    return text


def _closing(summary: Summary) -> Any:
    from rich.text import Text

    informed = sorted({f.code for case in summary.cases for f in case.findings if f.severity is Severity.INFORMATION})
    text = Text("verdict ")
    text.append(summary.verdict, style=VERDICT_STYLE[summary.verdict])
    if summary.outcome is not None:
        text.append(f", outcome {summary.outcome}")
    text.append(": service time at this concurrency; geometric means over trials, 95 % intervals")
    skews = [case.start_skew_us for case in summary.cases if case.start_skew_us is not None]
    bounds = [case.clock_bound_us for case in summary.cases if case.clock_bound_us is not None]
    if skews and bounds:
        text.append(f"; agents started within {max(skews) / 1e3:.1f} ms, clocks known to ± {max(bounds) / 1e3:.2f} ms")
    if informed:
        text.append(f"; noted: {', '.join(informed)}")
    return text
