"""What `volley sweep` and `volley scaling` print.

Throughput by number of clients, the fitted law and its meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.records import to_plain
from orchestrator.analyse.findings.measurement import FEWEST_BUSY
from orchestrator.analyse.levels import Shape, Top
from orchestrator.analyse.people import digits, p_value, percent
from orchestrator.analyse.scaling import Point, Scaling
from orchestrator.analyse.usl import NO_KAPPA
from orchestrator.counted import counted
from orchestrator.report.layout import Column, grid, wrapped
from orchestrator.report.rows import VERDICT_STYLE
from orchestrator.result import FORMAT, Interval, Verdict

WIDTH = 80


def render(fit: Scaling, width: int = WIDTH, name: str = "") -> list[Any]:
    """Return what rich prints: the answer, the table, the law. name: of the target on the page, such as its URL."""
    what = name or fit.target
    lines: list[Any] = wrapped(answer(fit, what), width)
    if fit.points:
        lines += ["", *_table(fit, width)]
    for text in law_in_words(fit):
        lines += wrapped(text, width, "  ")
    return lines


def law_in_words(fit: Scaling) -> list[str]:
    """Return the law with its meaning, and the doubts about the curve, line by line."""
    return [*_law(fit), *_doubts(fit)]


def answer(fit: Scaling, what: str) -> str:
    """Return how throughput ends as clients are added, in a sentence."""
    if not fit.points:
        return f"{what} has no valid trial of a closed load with a duration."
    if fit.top is not None:
        return f"{what} {_top(fit, fit.top)}."
    best = max(fit.points, key=lambda point: point.throughput_per_s)
    return f"{what} answered at most {digits(best.throughput_per_s)} {_unit(fit)}, with {_clients(best.clients)}."


def _table(fit: Scaling, width: int) -> list[Any]:
    points = fit.points
    doubted = any(p.verdict is not Verdict.VALID for p in points)
    columns = [
        Column("clients", "", [str(p.clients) for p in points]),
        Column("verdict", "", [(p.verdict, VERDICT_STYLE[p.verdict]) if doubted else None for p in points]),
        Column("trials", "", [_trials(p) for p in points], 3),
        Column("answered", _unit(fit), [digits(p.throughput_per_s) for p in points]),
        Column("fit", _unit(fit), [digits(per_s) for per_s in fit.fitted_per_s] or [None] * len(points), 2),
        Column("mean", "service time, ms", [digits(p.service_time_us / 1e3) for p in points], 1),
        Column("clients busy", "%", ["" if p.busy is None else digits(100 * p.busy) for p in points], 4),
    ]
    return grid(columns, width)


def _trials(point: Point) -> str:
    return f"{point.trials} of {point.trials + point.invalid}" if point.invalid else str(point.trials)


def _doubts(fit: Scaling) -> list[str]:
    """Return the findings by number of clients, and where the clients themselves were the limit."""
    by_code: dict[str, list[int]] = {}
    for point in fit.points:
        for code in point.findings:
            by_code.setdefault(code, []).append(point.clients)
    lines = [f"With {_listed(clients)} the trials have doubts: [{code}]." for code, clients in by_code.items()]
    if fit.idle:
        few = f"fewer than {percent(FEWEST_BUSY)} of them had a {counted([fit.protocol]).one} under way"
        lines.append(
            f"With {_listed(fit.idle)} {few} (Little's law), so the fit partly describes the clients, not the server."
        )
    return lines


def _listed(numbers: Sequence[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last} clients" if most else _clients(numbers[0])


def _law(fit: Scaling) -> list[str]:
    """Return what the law says, and where throughput is best for the time that a request takes."""
    lines = []
    if fit.lambda_per_s is None or fit.sigma is None or fit.kappa is None:
        lines.append(f"{_sentence(fit.reason)}.")
    else:
        lines.append(
            f"Universal scalability law: one client answers {_range(fit.lambda_per_s)} {_unit(fit)}, contention "
            f"{_range(fit.sigma)}, coherency {_range(fit.kappa)} (95 % intervals, lack-of-fit {p_value(fit.misfit_p)})."
        )
    if fit.knee is not None:
        lines.append(
            f"Knee: the best ratio of throughput to service time is at {_clients(fit.knee)} (Kleinrock's power)."
        )
    return lines


def _sentence(reason: str) -> str:
    return f"Not fitted: {reason}" if reason.startswith("a fit") else reason[:1].upper() + reason[1:]


def _top(fit: Scaling, top: Top) -> str:
    """Return how throughput ends as clients are added, after the name of the target."""
    most = fit.points[-1].clients
    if fit.best_clients is not None:
        return f"has its maximum throughput at {_range(fit.best_clients)} clients; more clients make it slower"
    if top.shape is Shape.PLATEAU:
        return f"reaches a plateau at {_range(top.per_s)} {_unit(fit)} from {_clients(top.clients)}"
    if top.shape is Shape.RISING:
        return f"has not reached its limit: throughput still rises at {_clients(most)}; measure more clients"
    return (
        f"answered most at {_clients(top.clients)}, {_range(top.per_s)} {_unit(fit)}; at {_clients(most)} "
        f"{percent(top.falls_to)} of it"
    )


def _unit(fit: Scaling) -> str:
    return counted([fit.protocol]).per_s


def _clients(number: int) -> str:
    return f"{number} client{'s' if number != 1 else ''}"


def _range(value: Interval) -> str:
    return f"{_number(value.estimate)} ({_number(value.low or 0.0)}–{_number(value.high or 0.0)})"


def _number(value: float) -> str:
    return "0" if value < NO_KAPPA else digits(value)


def document(fits: Sequence[Scaling]) -> dict[str, object]:
    """Return what --json prints."""
    return {"format": FORMAT, "scaling": [{**to_plain(fit), "idle": fit.idle} for fit in fits]}
