"""What `volley sweep` and `volley scaling` print: throughput by number of clients, the law, and what may be read off it."""

from __future__ import annotations

from typing import Any

from agents.records import to_plain
from orchestrator.analyse.findings.measurement import FEWEST_BUSY
from orchestrator.analyse.scaling import NO_KAPPA, Scaling
from orchestrator.report.rows import VERDICT_STYLE, table
from orchestrator.result import FORMAT, Interval


def render(found: Scaling) -> list[Any]:
    """Give what is to be printed with rich."""
    from rich.text import Text

    rows = table(found.target, "verdict", "trials", "req/s", "law req/s", "mean service ms", "clients busy")
    for i, p in enumerate(found.points):
        rows.add_row(
            _clients(p.clients),
            Text(p.verdict, style=VERDICT_STYLE[p.verdict]),
            f"{p.trials}/{p.trials + p.invalid}",
            f"{p.throughput_per_s:.0f}",
            f"{found.fitted_per_s[i]:.0f}" if found.fitted_per_s else "n/a",
            f"{p.service_time_us / 1000:.3g}",
            "n/a" if p.busy is None else f"{p.busy:.0%}",
        )
    return [rows, *(f"{found.target}: {line}" for line in [*_doubts(found), *_law(found)])]


def _doubts(found: Scaling) -> list[str]:
    """Say what spoils single numbers of clients, and where the clients themselves were what is measured."""
    lines = [f"{_clients(p.clients)}: {', '.join(p.findings)}" for p in found.points if p.findings]
    if found.idle:
        at = ", ".join(str(clients) for clients in found.idle)
        few = f"fewer than {FEWEST_BUSY:.0%} of them waited for an answer"
        lines.append(f"at {at} clients {few} (Little's law): the fit is about them, too")
    return lines


def _law(found: Scaling) -> list[str]:
    if found.lambda_per_s is None or found.sigma is None or found.kappa is None:
        return [f"no fit: {found.reason}"]
    one, most = _range(found.lambda_per_s), found.best_clients
    lines = [
        f"one client {one} req/s, contention {_range(found.sigma)}, coherency {_range(found.kappa)} (universal scalability "
        "law, 95 % by bootstrap over trials)"
    ]
    if most is None:
        lines.append("no number of clients is the best: that coherency costs anything is not shown")
    else:
        lines.append(f"most throughput at {_range(most)} clients; beyond, more make it slower")
    return [*lines, f"knee: most throughput for its waiting at {_clients(found.knee or 0)} (Kleinrock's power)"]


def _clients(number: int) -> str:
    return f"{number} client{'s' if number != 1 else ''}"


def _range(value: Interval) -> str:
    return f"{_number(value.estimate)} ({_number(value.low or 0.0)}–{_number(value.high or 0.0)})"


def _number(value: float) -> str:
    """Three digits that count; whole numbers from a thousand on."""
    return f"{value:.0f}" if value >= 1000 else "0" if value < NO_KAPPA else f"{value:.3g}"


def document(found: list[Scaling]) -> dict[str, Any]:
    """Give what --json prints."""
    return {"format": FORMAT, "scaling": [{**to_plain(one), "idle": one.idle} for one in found]}
