"""What `volley sweep` and `volley scaling` print: throughput by number of clients, the law, and what may be read off it."""

from __future__ import annotations

import math
from typing import Any

from orchestrator.analyse.scaling import Scaling
from orchestrator.report.rows import table
from orchestrator.result import FORMAT, Interval


def render(found: Scaling) -> list[Any]:
    """Give what is to be printed with rich."""
    rows = table(found.target, "trials", "req/s", "law req/s", "mean service ms", "clients busy")
    for i, p in enumerate(found.points):
        law = f"{found.fitted_per_s[i]:.0f}" if found.fitted_per_s else "n/a"
        busy = "n/a" if p.busy is None else f"{p.busy:.0%}"
        rows.add_row(
            f"{p.clients} clients",
            str(p.trials),
            f"{p.throughput_per_s:.0f}",
            law,
            f"{p.service_time_us / 1000:.3g}",
            busy,
        )
    lines: list[Any] = [rows]
    if found.lambda_per_s is None or found.sigma is None or found.kappa is None:
        return [*lines, f"{found.target}: no fit: {found.reason}"]
    lines.append(
        f"{found.target}: one client {_range(found.lambda_per_s, 0)} req/s, contention {_range(found.sigma, 3)}, "
        f"coherency {_range(found.kappa, 6)} (universal scalability law, 95 % by bootstrap over trials)"
    )
    most = found.best_clients
    if most is None:
        lines.append(f"{found.target}: no number of clients is the best: that coherency costs anything is not shown")
    else:
        lines.append(f"{found.target}: most throughput at {_range(most, 0)} clients; beyond, more make it slower")
    lines.append(f"{found.target}: most throughput for its waiting at {found.knee} clients (Kleinrock's power)")
    return lines


def _range(value: Interval, digits: int) -> str:
    low, high = value.low or 0.0, math.inf if value.high is None else value.high
    return f"{value.estimate:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def document(found: list[Scaling]) -> dict[str, Any]:
    """Give what --json prints; what is infinite is null."""
    from agents.records import to_plain

    plain = [to_plain(one) for one in found]
    for one in plain:
        most = one["best_clients"]
        if most is not None:
            one["best_clients"] = {k: None if v is None or math.isinf(v) else v for k, v in most.items()}
    return {"format": FORMAT, "scaling": plain}
