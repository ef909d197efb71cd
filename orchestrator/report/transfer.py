"""Bytes per second and the time to the first byte: pages show them where bodies are large or come in parts."""

from __future__ import annotations

from orchestrator.analyse.people import digits
from orchestrator.report.format import between, estimate
from orchestrator.result import CaseRequest, CaseResult
from orchestrator.slo import Metric

MEGABYTE = 1e6
# A body is large from here on, in bytes.
_LARGE = 64 << 10
# An answer comes in parts if its end is this much later than its first byte: in µs, or as a share of its time.
_LATER_US, _LATER_SHARE = 1000, 0.1


def streams(case: CaseResult | CaseRequest) -> bool:
    """Return whether answers end noticeably after their first byte."""
    first, whole = (case.first_byte_us or {}).get(Metric.P50), case.service_time_us.get(Metric.P50)
    if first is None or whole is None:
        return False
    later_us = whole.estimate - first.estimate
    return later_us > _LATER_US or later_us > _LATER_SHARE * whole.estimate


def is_shown(case: CaseResult) -> bool:
    """Return whether the bytes per second say something."""
    return case.received_bytes_per_s is not None and ((case.body_bytes or 0) >= _LARGE or streams(case))


def in_words(case: CaseResult) -> list[str]:
    """Return the bytes per second and the length of a body, each as a field."""
    value = case.received_bytes_per_s
    if value is None:
        return []
    interval = between(value, MEGABYTE)
    parts = [f"{estimate(value, MEGABYTE)} MB/s"]
    if interval:
        parts.append(f"95 % interval {interval}")
    return [*parts, f"{_size(case.body_bytes)} per answer"] if case.body_bytes else parts


def _size(size: float) -> str:
    for unit, value in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= value:
            return f"{digits(size / value)} {unit}"
    return f"{digits(size)} bytes"
