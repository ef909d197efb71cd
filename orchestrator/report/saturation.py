"""The curve of rate against response time, as it is printed: every probe, the capacity, what gave way first."""

from __future__ import annotations

from typing import Any

from orchestrator.analyse.saturation import in_words
from orchestrator.report.rows import table
from orchestrator.result import Probe, Saturation

_TIMES = ("p50", "p90", "p99")


def render(found: Saturation) -> list[Any]:
    """Give what is to be printed with rich: the curve in the order of its rates, then the answer."""
    from rich.text import Text

    rows = table(found.target, "kind", "answered/s", *(f"{name} ms" for name in _TIMES), "errors", "met")
    for probe in sorted(found.curve, key=lambda p: p.rate_per_s):
        rows.add_row(f"{probe.rate_per_s:.0f}/s", *_cells(probe), Text(*_met(probe)))
    lines: list[Any] = [rows, f"{found.target}: {found.slo}: {in_words(found)}"]
    if found.gave_way is not None:
        lines.append(
            f"{found.target}: first gave way: {found.gave_way}; {found.resource or 'what it lacked is not known'}"
        )
    lines.append(
        f"{found.target}: {found.probes} probes; {found.start_per_s:.0f} req/s in a closed model; response times, from when "
        "requests were due, over one window each: capacity is where three of four probes pass"
    )
    return lines


def _cells(probe: Probe) -> list[str]:
    errors = "n/a" if probe.error_share is None else f"{probe.error_share:.2%}"
    answered = "n/a" if probe.throughput_per_s is None else f"{probe.throughput_per_s:.0f}"
    return [probe.kind, answered, *(_ms(probe.times_us.get(name)) for name in _TIMES), errors]


def _ms(value: float | None) -> str:
    return "n/a" if value is None else f"{value / 1000:.3g}" if value < 100_000 else f"{value / 1000:.0f}"


def _met(probe: Probe) -> tuple[str, str]:
    if probe.limited_by is not None:
        return f"not counted ({probe.limited_by})", "dim"
    if probe.passed:
        return "yes", "green"
    return f"no: {', '.join(probe.failed) or probe.resource}", "red"
