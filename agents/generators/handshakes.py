"""What a generator saw of its connections besides answers: part of the summary of the generator contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.generators.contract_fields import BadMessage, Plain, whole

# Refused with this status: there was no valid response. Closed with it: there was no close frame.
NO_RESPONSE = NO_CLOSE_FRAME = 0
# Refused with one of these, the statuses of rows: the response took too long, or was missing when the load ended.
TOO_LATE, MISSING = -2, -6
_WITHOUT_STATUS = ("0", str(TOO_LATE), str(MISSING))


@dataclass(slots=True)
class Handshakes:
    """Connections of one agent, from before T0 to the end.

    connect_us: how long connecting took, TLS and handshake included, by how many connections. refused: handshakes that
    failed, by the status of the HTTP response, or one of the codes above. closed: connections that the server closed
    instead of answering, by close code. unasked: messages that came when none was waited for.
    """

    connect_us: dict[int, int] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)
    closed: dict[int, int] = field(default_factory=dict)
    unasked: int = 0

    def __add__(self, other: Handshakes) -> Handshakes:
        """Return the connections of two agents together."""
        return Handshakes(
            _sum(self.connect_us, other.connect_us),
            _sum(self.refused, other.refused),
            _sum(self.closed, other.closed),
            self.unasked + other.unasked,
        )

    def count_connect(self, time_ns: int) -> None:
        """Count a connection that was opened. Times keep three significant digits, so that those that differ are few."""
        _count(self.connect_us, int(float(f"{time_ns / 1000:.3g}")))

    def count_refused(self, status: int) -> None:
        """Count a handshake that failed."""
        _count(self.refused, status)

    def count_closed(self, code: int) -> None:
        """Count a connection that the server closed instead of answering."""
        _count(self.closed, code)

    @property
    def opened(self) -> int:
        """Return how many connections were opened."""
        return sum(self.connect_us.values())

    def connect_quantile_us(self, q: float) -> int:
        """Return a percentile of the time to connect, by nearest rank; at least one connection was opened."""
        rank = max(1, -(-round(q * 1e9) * self.opened // 10**9))
        seen = 0
        for time_us in sorted(self.connect_us):
            seen += self.connect_us[time_us]
            if seen >= rank:
                return time_us
        raise ValueError("no connection was opened")


def _count(counter: dict[int, int], key: int) -> None:
    counter[key] = counter.get(key, 0) + 1


def _sum(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}


def plain_handshakes(handshakes: Handshakes) -> dict[str, object]:
    """Return them for a summary."""
    counters = {"connect_us": handshakes.connect_us, "refused": handshakes.refused, "closed": handshakes.closed}
    plain: dict[str, object] = {
        name: {str(key): count for key, count in sorted(counted.items())} for name, counted in counters.items()
    }
    return plain | {"unasked": handshakes.unasked}


def parse_handshakes(plain: object) -> Handshakes:
    """Read them from a summary. Raise BadMessage for anything wrong in them."""
    if not isinstance(plain, dict):
        raise BadMessage("'handshakes' is not an object")
    return Handshakes(
        _counter(plain, "connect_us"),
        _counter(plain, "refused", _WITHOUT_STATUS),
        _counter(plain, "closed"),
        whole(plain, "unasked", 0, 0, "handshakes"),
    )


def _counter(plain: Plain, name: str, codes: tuple[str, ...] = ()) -> dict[int, int]:
    """Return a counter. codes: keys that it may have besides whole numbers of at least 0."""
    counted = plain.get(name, {})
    where = f"handshakes.{name}"
    if not isinstance(counted, dict) or not all((key.isascii() and key.isdigit()) or key in codes for key in counted):
        raise BadMessage(f"'{where}' is not an object of counts by whole numbers")
    return {int(key): whole(counted, key, 0, None, where) for key in counted}
