"""A search for capacity as a page: the probes, the curve, the capacity, the limit reached first.

And while it runs.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from agents.generators.contract import Arrivals
from orchestrator.analyse.capacity import in_words, within
from orchestrator.analyse.people import UNKNOWN, count, digits, several
from orchestrator.report import curve
from orchestrator.report.format import milliseconds
from orchestrator.report.rows import table
from orchestrator.result import Probe, Saturation, Time
from orchestrator.search.records import Kind
from orchestrator.slo import Metric

SHOWN_TIMES = (Metric.P50, Metric.P90, Metric.P99)
# On the terminal, which is narrower.
_TIMES = (Metric.P50, Metric.P99)
WIDTH = 80
_ARRIVALS = {Arrivals.EVEN: "even arrivals", Arrivals.POISSON: "random (Poisson) arrivals"}
_KINDS = {Kind.REFERENCE: "light"}


def render(search: Saturation) -> list[Any]:
    """Return what rich prints.

    The probes in the order of their rates, the curve, then the answer.
    """
    from rich.text import Text

    rows = table("due/s", "kind", "answered/s", *(f"{name} ms" for name in _TIMES), "errors", "met")
    for probe in by_rate(search):
        mark = Text(_met_briefly(probe), curve.COLOURS[curve.state_of(probe)])
        rows.add_row(count(probe.rate_per_s), *cells(probe, _TIMES), mark)
    lines = [line for answer in answers(search) for line in textwrap.wrap(answer, WIDTH, subsequent_indent="  ")]
    return [f"{search.target}: probes, {Time.RESPONSE}:", rows, curve.drawn(curve.curve_of(search)), *lines]


def by_rate(search: Saturation) -> list[Probe]:
    """Return the probes in the order of their rates."""
    return sorted(search.curve, key=lambda probe: probe.rate_per_s)


def answers(search: Saturation) -> list[str]:
    """Return the answer in sentences: the capacity, what limits it, and how it was found."""
    return [
        f"{search.target}: {search.slo}: {in_words(search)}",
        *(f"{search.target}: {line}" for line in limit_reached(search)),
        f"{search.target}: {measured_how(search)}",
    ]


def measured_how(search: Saturation) -> str:
    """Return for which arrivals and windows an answer is."""
    probes = [probe for probe in search.curve if probe.kind == Kind.PROBE]
    found = f"{several(search.probes, 'probe', 'probes')}; {digits(search.start_per_s)} req/s in the closed loop"
    if not probes:
        return found
    arrivals = " and ".join(dict.fromkeys(_ARRIVALS[probe.arrivals] for probe in probes))
    windows = _range([probe.window_s for probe in probes if probe.window_s is not None])
    soaks = _range([probe.window_s for probe in search.curve if probe.kind == Kind.SOAK and probe.window_s is not None])
    soaked = f", a soak of {soaks}" if soaks else ", no soak"
    return (
        f"{found}. The answer is for {arrivals}, windows of {windows or 'no length'}{soaked}. Capacity is the highest "
        "rate that meets the objective in the long run. Response times count from when a request is due"
    )


def _range(lengths_s: Sequence[float]) -> str:
    if not lengths_s:
        return ""
    low, high = digits(min(lengths_s)), digits(max(lengths_s))
    return f"{low} s" if low == high else f"{low} to {high} s"


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


def cells(probe: Probe, times: Sequence[Metric] = SHOWN_TIMES) -> list[str]:
    """Return the columns of a probe between its rate and whether it met the objectives."""
    errors = UNKNOWN if probe.error_share is None else f"{probe.error_share:.2%}"
    answered = probe.throughput_per_s if probe.answered_per_s is None else probe.answered_per_s
    values = (milliseconds(probe.response_time_us.get(name)) for name in times)
    return [_KINDS.get(probe.kind, str(probe.kind)), digits(answered), *values, errors]


def met(probe: Probe) -> str:
    """Return whether a probe met the objectives, and if not, which it missed."""
    if probe.limited_by is not None:
        return f"not counted ({probe.limited_by})"
    return "yes" if probe.passed else f"no: {', '.join(probe.failed) or probe.resource}"


def _met_briefly(probe: Probe) -> str:
    """Return the same in a narrow column: the first objective that was missed."""
    if probe.limited_by is not None:
        return f"limit: {probe.limited_by}"
    if probe.passed or not probe.failed:
        return met(probe)
    return f"no: {probe.failed[0]}" + (f" +{len(probe.failed) - 1}" if probe.failed[1:] else "")
