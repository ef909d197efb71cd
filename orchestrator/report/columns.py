"""The columns of the tables, with their kinds. docs/reference/data.md explains each; a test compares the two."""

from __future__ import annotations

from enum import StrEnum

from orchestrator.slo import TIMES


class ColumnKind(StrEnum):
    """What a column holds. Text is never missing: it is empty. Numbers can be missing."""

    TEXT = "text"
    WHOLE = "whole"
    NUMBER = "number"
    FLAG = "flag"


# The columns of a table, in order.
Columns = dict[str, ColumnKind]
_TEXT, _WHOLE, _NUMBER = ColumnKind.TEXT, ColumnKind.WHOLE, ColumnKind.NUMBER


def _interval(name: str) -> Columns:
    """Return the columns of an estimate with its 95 % interval."""
    return dict.fromkeys((name, f"{name}_low", f"{name}_high"), _NUMBER)


# How the load was driven, and with what: the same in both tables.
LOAD: Columns = {
    "url": _TEXT,
    "model": _TEXT,
    "protocol": _TEXT,
    "clients": _WHOLE,
    "streams": _WHOLE,
    "rate_per_s": _NUMBER,
    "planned_requests": _WHOLE,
    "duration_s": _NUMBER,
    "warm_up_s": _NUMBER,
    "agents": _WHOLE,
    "generator": _TEXT,
    "generator_version": _TEXT,
    "volley_version": _TEXT,
    "python_version": _TEXT,
}
REQUESTS: Columns = dict.fromkeys(("ok", "http_error", "failed", "censored"), _WHOLE)
_TRIAL_TIMES = [f"{time}_{name}_us" for time in ("service_time", "response_time", "send_lag") for name in TIMES]
# Of a trial and of a case: the first byte of an answer, and the bytes of bodies.
_BYTES_TRIAL: Columns = {
    **dict.fromkeys([f"first_byte_{name}_us" for name in TIMES], _NUMBER),
    "received_bytes": _WHOLE,
    "received_bytes_per_s": _NUMBER,
}
TRIALS: Columns = {
    **dict.fromkeys(("trial", "block"), _WHOLE),
    **dict.fromkeys(("case", "target", "load", "verdict", "findings"), _TEXT),
    "started_at_ns": _WHOLE,
    "throughput_per_s": _NUMBER,
    "window_s": _NUMBER,
    **REQUESTS,
    **dict.fromkeys(_TRIAL_TIMES, _NUMBER),
    **_BYTES_TRIAL,
    "cpu_us_per_request": _NUMBER,
    "requests_per_cpu_s": _NUMBER,
    "requests_per_s_per_mib": _NUMBER,
    "cpu_s": _NUMBER,
    "throttled_ratio": _NUMBER,
    "throttled_s": _NUMBER,
    "peak_memory_bytes": _WHOLE,
    "oom_kills": _WHOLE,
    "major_faults": _WHOLE,
    "restarts": _WHOLE,
    **LOAD,
}
CASES: Columns = {
    **dict.fromkeys(("case", "target", "load", "verdict"), _TEXT),
    **dict.fromkeys(("trials", "used"), _WHOLE),
    **_interval("throughput_per_s"),
    **{name: kind for time in TIMES for name, kind in _interval(f"service_time_{time}_us").items()},
    **{name: kind for time in TIMES for name, kind in _interval(f"response_time_{time}_us").items()},
    **{name: kind for time in TIMES for name, kind in _interval(f"first_byte_{time}_us").items()},
    **_interval("received_bytes_per_s"),
    **REQUESTS,
    "cpu_us_per_request": _NUMBER,
    "requests_per_cpu_s": _NUMBER,
    "requests_per_s_per_mib": _NUMBER,
    "throttled_ratio": _NUMBER,
    "peak_memory_bytes": _WHOLE,
    "oom_kills": _WHOLE,
    "restarts": _WHOLE,
    "findings": _TEXT,
    **LOAD,
}
COMPARISONS: Columns = {
    **dict.fromkeys(("metric", "load", "target", "baseline", "candidate"), _TEXT),
    **_interval("ratio"),
    "p_value": _NUMBER,
    "p_holm": _NUMBER,
    **_interval("difference"),
    "conclusion": _TEXT,
    "reason": _TEXT,
}
SERIES: Columns = {
    "trial": _WHOLE,
    "case": _TEXT,
    "second": _WHOLE,
    "interval_s": _WHOLE,
    **dict.fromkeys(("ok", "http_error", "failed"), _WHOLE),
    "p50_us": _NUMBER,
    "p99_us": _NUMBER,
}
# One row for each trial and request of a mix.
MIX: Columns = {
    "trial": _WHOLE,
    **dict.fromkeys(("case", "request"), _TEXT),
    "share": _NUMBER,
    **dict.fromkeys(("ok", "http_error", "failed", "unexpected"), _WHOLE),
    "statuses": _TEXT,
    "throughput_per_s": _NUMBER,
    **dict.fromkeys(
        [f"{time}_{name}_us" for time in ("service_time", "response_time", "first_byte") for name in TIMES], _NUMBER
    ),
    "received_bytes_per_s": _NUMBER,
}
SERVICES: Columns = {
    "trial": _WHOLE,
    **dict.fromkeys(("case", "service", "host", "state", "image", "lifetime"), _TEXT),
    "cpus": _NUMBER,
    "memory_limit_bytes": _WHOLE,
    "cpu_us_per_request": _NUMBER,
    "cpu_s": _NUMBER,
    "throttled_ratio": _NUMBER,
    "throttled_s": _NUMBER,
    **dict.fromkeys(("peak_memory_bytes", "oom_kills", "major_faults", "exit_code"), _WHOLE),
    "ready_after_s": _NUMBER,
}
PROBES: Columns = {
    **dict.fromkeys(("target", "slo"), _TEXT),
    "trial": _WHOLE,
    "kind": _TEXT,
    "rate_per_s": _NUMBER,
    "passed": ColumnKind.FLAG,
    **dict.fromkeys(("limited_by", "failed"), _TEXT),
    "throughput_per_s": _NUMBER,
    "error_share": _NUMBER,
    **dict.fromkeys(("resource", "verdict", "bottleneck"), _TEXT),
    "answered_per_s": _NUMBER,
    "window_s": _NUMBER,
    "arrivals": _TEXT,
    **{f"response_time_{name}_us": _NUMBER for name in TIMES},
}
TABLES: dict[str, Columns] = {
    "trials": TRIALS,
    "cases": CASES,
    "comparisons": COMPARISONS,
    "series": SERIES,
    "requests": MIX,
    "services": SERVICES,
    "saturation": PROBES,
}
