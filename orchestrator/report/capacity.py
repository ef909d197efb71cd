"""What a search for capacity is told as: the curve, every probe, the capacity, what gave way first; and while it goes on."""

from __future__ import annotations

from typing import Any

from orchestrator.analyse.capacity import in_words, within
from orchestrator.report import curve
from orchestrator.report.rows import table
from orchestrator.result import Probe, Saturation

_TIMES = ("p50", "p90", "p99")


def render(found: Saturation) -> list[Any]:
    """Give what is to be printed with rich: the probes in the order of their rates, the curve, then the answer."""
    from rich.text import Text

    rows = table(found.target, "kind", "answered/s", *(f"{name} ms" for name in _TIMES), "errors", "met")
    for probe in sorted(found.curve, key=lambda p: p.rate_per_s):
        rows.add_row(f"{probe.rate_per_s:.0f}/s", *cells(probe), Text(*_met(probe)))
    return [rows, curve.drawn(curve.curve_of(found)), *answers(found)]


def answers(found: Saturation) -> list[str]:
    """Say it in sentences: what was found, what gave way first, and what that is founded on."""
    lines = [f"{found.target}: {found.slo}: {in_words(found)}"]
    if found.gave_way is not None:
        lines.append(
            f"{found.target}: first gave way: {found.gave_way}; {found.resource or 'what it lacked is not known'}"
        )
    lines.append(
        f"{found.target}: {found.probes} probes; {found.start_per_s:.0f} req/s in a closed model; response times, from when "
        "requests were due, over one window each: capacity is where three of four probes pass"
    )
    return lines


def board(targets: list[Saturation], last: str) -> Any:
    """Give what is shown while it goes on: a line for each target, and the curve of the one that was probed last."""
    from rich.console import Group
    from rich.text import Text

    lines = [Text(f"{one.target}: {within(one)}, {one.probes} probes") for one in targets]
    return Group(*(curve.drawn(curve.curve_of(one)) for one in targets if one.target == last), *lines)


def cells(probe: Probe) -> list[str]:
    """Give the columns of a probe between its rate and whether it met the objectives."""
    errors = "n/a" if probe.error_share is None else f"{probe.error_share:.2%}"
    answered = "n/a" if probe.throughput_per_s is None else f"{probe.throughput_per_s:.0f}"
    return [probe.kind, answered, *(_ms(probe.times_us.get(name)) for name in _TIMES), errors]


def _ms(value: float | None) -> str:
    return "n/a" if value is None else f"{value / 1000:.3g}" if value < 100_000 else f"{value / 1000:.0f}"


def _met(probe: Probe) -> tuple[str, str]:
    return met(probe), curve.COLOURS[curve.state_of(probe)]


def met(probe: Probe) -> str:
    """Say whether a probe met the objectives, and if not, which."""
    if probe.limited_by is not None:
        return f"not counted ({probe.limited_by})"
    return "yes" if probe.passed else f"no: {', '.join(probe.failed) or probe.resource}"
