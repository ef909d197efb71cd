"""Bound the clock offsets of many hosts at the same time, from one thread.

With a thread for each host, 1,000 threads would compete for the interpreter: the probes of 1,000 hosts then took 60 times
as long as those of 100, and what a reply waited for its thread was in the bound (docs/explanation/performance.md).
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from agents.clock import EXCHANGES, PROBE, ClockUnreachable, OffsetBound, bound_from, family

TIMEOUT_S = 0.25
# Between rounds. A port that is closed for a moment refuses all probes of a round at once.
PAUSE_S = 0.1


@dataclass(slots=True)
class _Host:
    """The probes of one host. token: of the probe under way; done: the exchanges, as bound_from() takes them."""

    address: str
    port: int
    channel: socket.socket
    token: int = -1
    sent_ns: int = 0
    done: list[tuple[int, int, int, int]] = field(default_factory=list)
    over: bool = False


def probe_all(
    places: Sequence[tuple[str, int]], exchanges: int = EXCHANGES, timeout_s: float = TIMEOUT_S
) -> list[OffsetBound | ClockUnreachable]:
    """Return, for each address and port, the bound on the offset of the host that answers there, or why there is none.

    As agents.clock.probe: the exchanges with a host follow each other; fewer than half that are answered are too few.
    """
    round_ = _Round(exchanges, timeout_s)
    try:
        hosts = [round_.begin(address, port) for address, port in places]
        round_.run()
    finally:
        round_.close()
    return [_result(host, exchanges) for host in hosts]


def probe_until(places: Sequence[tuple[str, int]], within_s: float) -> list[OffsetBound | ClockUnreachable]:
    """Return what probe_all() does, and probe hosts without a bound again until each has one, or within_s are over.

    A host, a network or the coordinator that stands still for some seconds loses a round. Each round starts from scratch:
    a bound never joins exchanges from before and after a pause. The last round may end up to a round later.
    """
    deadline = time.monotonic() + within_s
    found = probe_all(places)
    while True:
        left = [k for k, bound in enumerate(found) if isinstance(bound, ClockUnreachable)]
        if not left or time.monotonic() > deadline:
            return found
        time.sleep(PAUSE_S)
        for k, bound in zip(left, probe_all([places[k] for k in left]), strict=True):
            found[k] = bound


def _result(host: _Host, exchanges: int) -> OffsetBound | ClockUnreachable:
    if len(host.done) < exchanges // 2:
        answered = f"{len(host.done)} of {exchanges} clock probes to {host.address}:{host.port} were answered"
        return ClockUnreachable(answered)
    return bound_from(host.done)


class _Round:
    def __init__(self, exchanges: int, timeout_s: float) -> None:
        self._exchanges, self._timeout_s = exchanges, timeout_s
        self._selector = selectors.DefaultSelector()
        # All probes have the same time, so the first that was sent is the first that is late.
        self._late: deque[tuple[float, _Host, int]] = deque()
        self._open = 0
        self._hosts: list[_Host] = []

    def begin(self, address: str, port: int) -> _Host:
        channel = self._channel(address)
        host = _Host(address, port, channel)
        self._hosts.append(host)
        self._open += 1
        channel.setblocking(False)
        try:
            channel.connect((address, port))
        except OSError:
            self._finish(host)
            return host
        self._selector.register(channel, selectors.EVENT_READ, host)
        self._next(host)
        return host

    def _channel(self, address: str) -> socket.socket:
        """Return a new socket; where this process can have no more, once those before it are done."""
        try:
            return socket.socket(family(address), socket.SOCK_DGRAM)
        except OSError as error:
            if error.errno != errno.EMFILE or not self._open:
                raise
        self.run()
        return socket.socket(family(address), socket.SOCK_DGRAM)

    def run(self) -> None:
        while self._open:
            wait_s = max(0.0, self._late[0][0] - time.monotonic()) if self._late else self._timeout_s
            for key, _ in self._selector.select(wait_s):
                self._read(key.data)
            now_s = time.monotonic()
            while self._late and self._late[0][0] <= now_s:
                _, host, token = self._late.popleft()
                if host.token == token and not host.over:
                    self._next(host)

    def close(self) -> None:
        for host in self._hosts:
            host.channel.close()
        self._selector.close()

    def _read(self, host: _Host) -> None:
        try:
            data = host.channel.recv(64)
            back = time.time_ns()
        except BlockingIOError:
            return
        except OSError:  # such as a port that is closed
            self._next(host)
            return
        if len(data) != PROBE.size:
            return
        token, received, replied = PROBE.unpack(data)
        if token == host.token:
            host.done.append((host.sent_ns, received, replied, back))
            self._next(host)

    def _next(self, host: _Host) -> None:
        """Send the next probe of a host; none after the last one, or when too many had no answer."""
        while not host.over:
            host.token += 1
            if host.token >= self._exchanges or host.token - len(host.done) > self._exchanges // 2 + 1:
                self._finish(host)
                return
            host.sent_ns = time.time_ns()
            try:
                host.channel.send(PROBE.pack(host.token, 0, 0))
            except OSError:
                continue
            self._late.append((time.monotonic() + self._timeout_s, host, host.token))
            return

    def _finish(self, host: _Host) -> None:
        host.over = True
        self._open -= 1
        if host.channel in self._selector.get_map():
            self._selector.unregister(host.channel)
        host.channel.close()
