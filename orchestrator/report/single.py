"""The numbers of a run with a single case: a few labelled lines, no table."""

from __future__ import annotations

from typing import Any

from orchestrator.analyse.people import rate
from orchestrator.report import requests, transfer
from orchestrator.report.conditions import counted_in, length, trials_in_words
from orchestrator.report.connections import connections
from orchestrator.report.format import between, estimate, page_times
from orchestrator.report.layout import fields
from orchestrator.report.sparkline import sparkline
from orchestrator.result import CaseResult, CaseTimes, Time, Verdict
from orchestrator.slo import Metric

SHOWN_TIMES = (Metric.P50, Metric.P90, Metric.P99, Metric.P999, Metric.MAX)
# From this width on every percentile has its interval beside it.
_WITH_INTERVALS = 100
_LABEL = 15


def render(case: CaseResult, width: int) -> list[Any]:
    """Return what rich prints: throughput, times, requests, the server, the distribution."""
    lines = []
    if case.verdict is not Verdict.INVALID:
        lines += fields(_throughput(case), width, "throughput", _LABEL)
        if case.response_time_us is not None:
            lines += _time(Time.RESPONSE, page_times(case, Time.RESPONSE), width)
        lines += _time(Time.SERVICE, page_times(case, Time.SERVICE), width)
    if case.verdict is not Verdict.INVALID:
        lines += _first_byte(case, width)
    codes = requests.status_codes(case.statuses)
    parts = [requests.outcome([case]), *([f"status {codes}"] if codes else [])]
    lines += fields(parts, width, counted_in(case).many, _LABEL)
    if parts := connections(case.handshakes):
        lines += fields(parts, width, "connected", _LABEL)
    if parts := requests.cost(case):
        lines += fields(parts, width, "server", _LABEL)
    for i, service in enumerate(requests.of_services(case)):
        lines += fields([service], width, "" if i else "services", _LABEL)
    if case.verdict is not Verdict.INVALID and (drawn := picture(case, width)):
        lines += ["", *drawn]
    return lines


def picture(case: CaseResult, width: int) -> list[str]:
    """Return the distribution of the time that is shown first."""
    time, shape = main_shape(case)
    trials = "all trials" if case.used == case.trials else trials_in_words(case)
    return sparkline(shape, width, f"{time}, {trials}, logarithmic axis")


def main_shape(case: CaseResult) -> tuple[Time, dict[int, int]]:
    """Return which time is drawn, and its distribution."""
    if case.response_time_us is not None:
        return Time.RESPONSE, case.response_time_shape
    return Time.SERVICE, case.service_time_shape


def _throughput(case: CaseResult) -> list[str]:
    planned = case.planned
    behind = trials_in_words(case) + ("" if planned is None else f" of {length(planned)}")
    interval = between(case.throughput_per_s)
    parts = [f"{estimate(case.throughput_per_s)} {counted_in(case).per_s}"]
    if planned is not None and planned.rate_per_s is not None:
        parts[0] += f" of {rate(planned.rate_per_s)} asked"
    return [*parts, f"95 % interval {interval} over {behind}" if interval else behind]


def _first_byte(case: CaseResult, width: int) -> list[str]:
    """Return the time to the first byte and the bytes per second, where bodies are large or come in parts."""
    lines = []
    if case.first_byte_us is not None and transfer.streams(case):
        # The mean of the trials' maxima is not the longest of all.
        shown = {name: value for name, value in case.first_byte_us.items() if name != Metric.MAX}
        lines += _time(Time.FIRST_BYTE, shown, width, "first byte")
    if transfer.is_shown(case):
        lines += fields(transfer.in_words(case), width, "transfer", _LABEL)
    return lines


def _time(time: Time, values: CaseTimes, width: int, label: str = "") -> list[str]:
    parts = []
    for name in SHOWN_TIMES:
        value = values.get(name)
        if value is not None:
            sure = f" ({between(value, 1e3)})" if width >= _WITH_INTERVALS and between(value) else ""
            parts.append(f"{name.label} {estimate(value, 1e3)}{sure}")
    return fields([*parts[:-1], f"{parts[-1]}   ms"], width, label or str(time), _LABEL) if parts else []
