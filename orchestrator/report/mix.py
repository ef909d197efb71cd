"""The requests of loads with several: a table of each case's mix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.analyse.people import digits
from orchestrator.report import transfer
from orchestrator.report.conditions import counted_in
from orchestrator.report.format import between, estimate, shown_time
from orchestrator.report.layout import Column, grid, wrapped
from orchestrator.report.requests import status_codes
from orchestrator.result import CaseRequest, CaseResult, Time, Verdict
from orchestrator.slo import Metric

# A page on a terminal lists no more requests of a case than these.
MOST_ROWS = 20
# By percentile: how long its column stays on a narrow terminal (see Column.need).
_TIMES = {Metric.P50: 0, Metric.P90: 5, Metric.P99: 0, Metric.MAX: 6}


def render(cases: Sequence[CaseResult], width: int) -> list[Any]:
    """Return a table for each case with a mix; nothing where every load has a single request."""
    mixed = [case for case in cases if case.mix]
    lines: list[Any] = []
    for case in mixed:
        lines += ["", *wrapped(f"{case.case}: each {counted_in(case).one}", width)] if len(cases) > 1 else [""]
        lines += _table(case, width)
    return lines


def _table(case: CaseResult, width: int) -> list[Any]:
    shown, time = case.mix[:MOST_ROWS], shown_time(case)[0]
    sent = counted_in(case)
    columns = [
        Column(sent.one, "", [request.name for request in shown]),
        Column("share", "%", [_percent(request.share) for request in shown], 4),
    ]
    if case.verdict is not Verdict.INVALID:
        columns += [
            Column("answered", sent.per_s, [estimate(request.throughput_per_s) for request in shown], 2),
            Column("95 % interval", sent.per_s, [between(request.throughput_per_s) for request in shown], 7),
            *(
                Column(name.label, f"{time}, ms", [time_of(request, time, name) for request in shown], need)
                for name, need in _TIMES.items()
            ),
            Column("p50", "first byte, ms", [_first_byte(request) for request in shown], 5),
        ]
    columns.append(Column("errors", "%", [_percent(request.requests.error_share) or "0" for request in shown], 1))
    if any(request.unexpected for request in shown):
        columns.append(Column("unexpected", "answers", [_some(request.unexpected) for request in shown], 1))
    lines = grid(columns, width)
    for request in shown:
        if request.requests.unsuccessful:
            lines += wrapped(f"{request.name}: status {status_codes(request.statuses)}", width, "  ", "    ")
    if rest := len(case.mix) - len(shown):
        lines += wrapped(f"{rest} more: report.html lists them all.", width, "  ")
    return lines


def time_of(request: CaseRequest, time: Time, name: Metric) -> str:
    """Return a time of a request in ms, without the unit; empty where it is not known."""
    times = request.response_time_us if time is Time.RESPONSE else request.service_time_us
    value = (times or {}).get(name)
    return "" if value is None else digits(value.estimate / 1e3)


def _first_byte(request: CaseRequest) -> str:
    value = (request.first_byte_us or {}).get(Metric.P50)
    return digits(value.estimate / 1e3) if value is not None and transfer.streams(request) else ""


def _percent(share: float | None) -> str:
    if not share:
        return ""
    return f"{100 * share:.2g}" if share < 0.01 else digits(100 * share)


def _some(number: int) -> str:
    return str(number) if number else ""
