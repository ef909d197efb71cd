"""What happened on the connections of a load over WebSocket, in words."""

from __future__ import annotations

from agents.generators.handshakes import NO_CLOSE_FRAME, Handshakes
from orchestrator.analyse.findings.handshakes import statuses_in_words
from orchestrator.analyse.people import count, digits, several


def connections(counted: Handshakes | None) -> list[str]:
    """Return what became of the connections, each as a field: '40 in 1.2 ms (median)'; no field where nothing is known."""
    if counted is None or not (counted.opened or counted.refused):
        return []
    parts = ["none"]
    if counted.opened:
        median, p99 = (digits(counted.connect_quantile_us(q) / 1e3) for q in (0.5, 0.99))
        parts = [f"{count(counted.opened)} in {median} ms (median; p99 {p99} ms)"]
    if failed := sum(counted.refused.values()):
        parts.append(f"{several(failed, 'handshake', 'handshakes')} failed ({statuses_in_words(counted)})")
    if closed := sum(counted.closed.values()):
        parts.append(f"the server closed {count(closed)} instead of answering ({closed_in_words(counted)})")
    return parts


def closed_in_words(counted: Handshakes) -> str:
    """Return how the server closed connections: 'code 1011: 5, no close frame: 2'."""
    names = {code: "no close frame" if code == NO_CLOSE_FRAME else f"code {code}" for code in counted.closed}
    return ", ".join(f"{names[code]}: {count(counted.closed[code])}" for code in sorted(counted.closed, reverse=True))
