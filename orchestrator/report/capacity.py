"""A search for capacity as a page: the probes, the curve, the capacity, the limit reached first.

And while it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.analyse.capacity import in_words, within
from orchestrator.analyse.people import UNKNOWN, count, digits
from orchestrator.report import curve
from orchestrator.report.format import milliseconds
from orchestrator.report.rows import table
from orchestrator.result import Probe, Saturation, Time
from orchestrator.slo import Metric

SHOWN_TIMES = (Metric.P50, Metric.P90, Metric.P99)


def render(search: Saturation) -> list[Any]:
    """Return what rich prints.

    The probes in the order of their rates, the curve, then the answer.
    """
    from rich.text import Text

    times = (f"{name} ms" for name in SHOWN_TIMES)
    rows = table("rate", "kind", "answered/s", *times, "errors", "met")
    for probe in by_rate(search):
        rows.add_row(
            f"{count(probe.rate_per_s)}/s", *cells(probe), Text(met(probe), curve.COLOURS[curve.state_of(probe)])
        )
    return [f"{search.target}: probes, {Time.RESPONSE}:", rows, curve.drawn(curve.curve_of(search)), *answers(search)]


def by_rate(search: Saturation) -> list[Probe]:
    """Return the probes in the order of their rates."""
    return sorted(search.curve, key=lambda probe: probe.rate_per_s)


def answers(search: Saturation) -> list[str]:
    """Return the answer in sentences: the capacity, what limits it, and how it was found."""
    return [
        f"{search.target}: {search.slo}: {in_words(search)}",
        *(f"{search.target}: {line}" for line in limit_reached(search)),
        f"{search.target}: {search.probes} probes; {digits(search.start_per_s)} req/s in the closed loop; response times "
        "count from when a request is due, over one window per probe. Capacity: the rate at which three of four probes pass",
    ]


def limit_reached(search: Saturation) -> list[str]:
    """Return the objective that failed first and the bottleneck, in one line.

    None if no objective failed.
    """
    if search.gave_way is None:
        return []
    return [f"limit reached: {search.gave_way} · bottleneck: {search.resource or 'unknown'}"]


def board(targets: Sequence[Saturation], last: str) -> Any:
    """Return what is shown during a search.

    A line for each target, and the curve of the one that was probed last.
    """
    from rich.console import Group
    from rich.text import Text

    lines = [Text(f"{search.target}: {within(search)}, {search.probes} probes") for search in targets]
    return Group(*(curve.drawn(curve.curve_of(search)) for search in targets if search.target == last), *lines)


def cells(probe: Probe) -> list[str]:
    """Return the columns of a probe between its rate and whether it met the objectives."""
    errors = UNKNOWN if probe.error_share is None else f"{probe.error_share:.2%}"
    times = (milliseconds(probe.response_time_us.get(name)) for name in SHOWN_TIMES)
    return [probe.kind, digits(probe.throughput_per_s), *times, errors]


def met(probe: Probe) -> str:
    """Return whether a probe met the objectives, and if not, which it missed."""
    if probe.limited_by is not None:
        return f"not counted ({probe.limited_by})"
    return "yes" if probe.passed else f"no: {', '.join(probe.failed) or probe.resource}"
