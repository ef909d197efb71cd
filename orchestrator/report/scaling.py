"""What `volley sweep` and `volley scaling` print.

Throughput by number of clients, the fitted law and its meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.records import to_plain
from orchestrator.analyse.findings.measurement import FEWEST_BUSY
from orchestrator.analyse.levels import Shape, Top
from orchestrator.analyse.people import UNKNOWN, digits, percent
from orchestrator.analyse.scaling import Scaling
from orchestrator.analyse.usl import NO_KAPPA
from orchestrator.report.format import milliseconds
from orchestrator.report.rows import VERDICT_STYLE, table
from orchestrator.result import FORMAT, Interval


def render(fit: Scaling) -> list[Any]:
    """Return what rich prints."""
    from rich.text import Text

    rows = table(fit.target, "verdict", "trials", "req/s", "fit req/s", "mean service time ms", "clients busy")
    for i, p in enumerate(fit.points):
        rows.add_row(
            _clients(p.clients),
            Text(p.verdict, style=VERDICT_STYLE[p.verdict]),
            f"{p.trials}/{p.trials + p.invalid}",
            digits(p.throughput_per_s),
            digits(fit.fitted_per_s[i]) if fit.fitted_per_s else UNKNOWN,
            milliseconds(p.service_time_us),
            percent(p.busy),
        )
    return [rows, *(f"{fit.target}: {line}" for line in [*_doubts(fit), *_law(fit)])]


def _doubts(fit: Scaling) -> list[str]:
    """Return the findings by number of clients, and where the clients themselves were the limit."""
    lines = [f"{_clients(p.clients)}: [{', '.join(p.findings)}]" for p in fit.points if p.findings]
    if fit.idle:
        at = ", ".join(str(clients) for clients in fit.idle)
        few = f"fewer than {percent(FEWEST_BUSY)} of them had a request under way"
        lines.append(f"at {at} clients {few} (Little's law), so the fit partly describes the clients")
    return lines


def _law(fit: Scaling) -> list[str]:
    if fit.top is None:
        return [f"not fitted: {fit.reason}"]
    lines = [_top(fit, fit.top)]
    if fit.lambda_per_s is None or fit.sigma is None or fit.kappa is None:
        lines.append(fit.reason)
    else:
        lines.append(
            f"one client {_range(fit.lambda_per_s)} req/s, contention {_range(fit.sigma)}, coherency "
            f"{_range(fit.kappa)} (universal scalability law, 95 % intervals, lack-of-fit p = {fit.misfit_p:.2g})"
        )
    return [
        *lines,
        f"knee: best ratio of throughput to service time at {_clients(fit.knee or 0)} (Kleinrock's power)",
    ]


def _top(fit: Scaling, top: Top) -> str:
    """Return how throughput ends as clients are added."""
    most = fit.points[-1].clients
    if fit.best_clients is not None:
        return f"maximum throughput at {_range(fit.best_clients)} clients; more clients make it slower"
    if top.shape is Shape.PLATEAU:
        return f"plateau at {_range(top.per_s)} req/s from {_clients(top.clients)}"
    if top.shape is Shape.RISING:
        return f"throughput still rises at {_clients(most)}, the most that were measured; measure more clients"
    return (
        f"highest throughput measured at {_clients(top.clients)}, {_range(top.per_s)} req/s; at {_clients(most)} "
        f"{percent(top.falls_to)} of it"
    )


def _clients(number: int) -> str:
    return f"{number} client{'s' if number != 1 else ''}"


def _range(value: Interval) -> str:
    return f"{_number(value.estimate)} ({_number(value.low or 0.0)}–{_number(value.high or 0.0)})"


def _number(value: float) -> str:
    return "0" if value < NO_KAPPA else digits(value)


def document(fits: Sequence[Scaling]) -> dict[str, object]:
    """Return what --json prints."""
    return {"format": FORMAT, "scaling": [{**to_plain(fit), "idle": fit.idle} for fit in fits]}
