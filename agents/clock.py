"""Clocks: a UDP responder on each host, a proven bound on its offset, and a watch for wall clock steps."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass

PROBE = struct.Struct("!QQQ")  # token, t2, t3
EXCHANGES = 32
BIND_WITHIN_S = 5.0
AFTER_ERROR_S = 0.001  # so that a socket that only fails uses no core
MAX_SLEW = 500e-6  # NTP slews a clock by at most 500 ppm
APART_NS = 1_000_000_000  # the usual pause between samples of a clock


def _bind(channel: socket.socket, address: str, port: int) -> None:
    """Bind a port, waiting up to BIND_WITHIN_S for the previous run to release it. Raises OSError."""
    deadline = time.monotonic() + BIND_WITHIN_S
    while True:
        try:
            channel.bind((address, port))
            return
        except OSError:
            if port == 0 or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def family(address: str) -> int:
    """Return the family of an IP address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class ClockResponder:
    """Answers each datagram with its arrival time (t2) and the time of the answer (t3), ns of CLOCK_REALTIME."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self._socket = socket.socket(family(address), socket.SOCK_DGRAM)
        _bind(self._socket, address, port)
        self.port: int = self._socket.getsockname()[1]
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="clock-responder", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._closed:
            try:
                data, sender = self._socket.recvfrom(64)
                received = time.time_ns()
                # After close(), what arrived is the shutdown: an empty datagram.
                if len(data) == PROBE.size:
                    token, _, _ = PROBE.unpack(data)
                    self._socket.sendto(PROBE.pack(token, received, time.time_ns()), sender)
            except OSError:
                # A sender that cannot be answered, such as one with source port 0, or one whose host refused an answer.
                if not self._closed:
                    time.sleep(AFTER_ERROR_S)

    def close(self) -> None:
        """Stop answering."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@dataclass(frozen=True, slots=True)
class OffsetBound:
    """The host's wall clock minus ours lies in [low_ns, high_ns], whatever the delays. at_ns: our clock, midway."""

    low_ns: int
    high_ns: int
    round_trip_ns: int
    exchanges: int
    at_ns: int

    @property
    def offset_ns(self) -> int:
        """The middle of the bound: the estimate."""
        return (self.low_ns + self.high_ns) // 2

    @property
    def half_width_ns(self) -> int:
        """The largest possible error of the estimate."""
        return (self.high_ns - self.low_ns + 1) // 2

    def agrees_with(self, later: OffsetBound) -> bool:
        """Return whether one clock, slewed by at most MAX_SLEW, can have both bounds. If not, it was stepped."""
        slack = int(MAX_SLEW * abs(later.at_ns - self.at_ns))
        return later.low_ns <= self.high_ns + slack and later.high_ns >= self.low_ns - slack


class ClockUnreachable(RuntimeError):
    """Too few probes were answered to bound the offset."""


def bound_from(exchanges: list[tuple[int, int, int, int]]) -> OffsetBound:
    """Intersect t3 - t4 <= offset <= t2 - t1 over exchanges (t1 sent, t2 received, t3 answered, t4 back; ns).

    Delays are never negative, so this is a proof that does not assume symmetric delays.
    Raises ValueError without any exchange.
    """
    if not exchanges:
        raise ValueError("a bound needs at least one exchange")
    low = max(t3 - t4 for _, _, t3, t4 in exchanges)
    high = min(t2 - t1 for t1, t2, _, _ in exchanges)
    round_trip = min((t4 - t1) - (t3 - t2) for t1, t2, t3, t4 in exchanges)
    at = (exchanges[0][0] + exchanges[-1][3]) // 2
    return OffsetBound(min(low, high), max(low, high), round_trip, len(exchanges), at)


def probe(address: str, port: int, exchanges: int = EXCHANGES, timeout_s: float = 0.25) -> OffsetBound:
    """Return the bound on the offset of the host that answers at address:port, from back-to-back exchanges.

    Raises ClockUnreachable when fewer than half of the probes are answered.
    """
    done: list[tuple[int, int, int, int]] = []
    with socket.socket(family(address), socket.SOCK_DGRAM) as channel:
        channel.settimeout(timeout_s)
        channel.connect((address, port))
        for token in range(exchanges):
            sent = time.time_ns()
            try:
                channel.send(PROBE.pack(token, 0, 0))
                while True:
                    data = channel.recv(64)
                    back = time.time_ns()
                    if len(data) != PROBE.size:
                        continue
                    answered, received, replied = PROBE.unpack(data)
                    if answered == token:
                        done.append((sent, received, replied, back))
                        break
            except OSError:
                if token - len(done) > exchanges // 2:
                    break
    if len(done) < exchanges // 2:
        raise ClockUnreachable(f"{len(done)} of {exchanges} clock probes to {address}:{port} were answered")
    return bound_from(done)


def wall_minus_monotonic_ns() -> int:
    """Return CLOCK_REALTIME - CLOCK_MONOTONIC, which changes when the wall clock is stepped or slewed.

    The narrowest of five readings counts: a thread that loses its core between two clocks would see
    a false step.
    """
    best, difference = 1 << 62, 0
    for _ in range(5):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if after - before < best:
            best, difference = after - before, wall - (before + after) // 2
    return difference


class StepWatch:
    """Keeps the largest change of CLOCK_REALTIME - CLOCK_MONOTONIC between two samples.

    Samples are about a second apart. What a slewed clock can move in a longer pause is subtracted.
    """

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._sampled_at_ns = 0
        self.largest_ns = 0

    def sample(self) -> None:
        """Take a sample and compare it with the previous one."""
        difference, now_ns = wall_minus_monotonic_ns(), time.monotonic_ns()
        if self._last_ns is not None:
            slewed_ns = round(MAX_SLEW * max(0, now_ns - self._sampled_at_ns - APART_NS))
            self.largest_ns = max(self.largest_ns, abs(difference - self._last_ns) - slewed_ns)
        self._last_ns, self._sampled_at_ns = difference, now_ns
