"""The connections of the generator paced: opens them, counts them, waits longer after each one that came to nothing."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns

from agents.generators.paced_connection import Connection, Owner
from agents.generators.request import Origin
from agents.tls import PLAIN, Tls, client_context

# More at once would overflow the backlog of some servers, and hold up the schedule.
AT_ONCE = 32
CONNECT_WITHIN_NS = 10_000_000_000
BACKOFF_FIRST_NS = 10_000_000
BACKOFF_MOST_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Address:
    """One resolved address of a server; host is the path of a unix socket, and port 0, in the family AF_UNIX."""

    family: socket.AddressFamily
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Way:
    """How a server is reached. verify: check its certificate. socket: the path of its unix socket; '' for TCP.

    addresses: those that it has, where its name is not to be resolved.
    """

    origin: Origin
    verify: bool = False
    tls: Tls = PLAIN
    socket: str = ""
    addresses: tuple[str, ...] = ()


async def addresses(way: Way) -> list[Address]:
    """Return the addresses of a server, the preferred one first. Raise OSError when its name cannot be resolved."""
    if way.socket:
        return [Address(socket.AF_UNIX, way.socket, 0)]
    origin = way.origin
    if way.addresses:
        families = [(socket.AF_INET6 if ":" in host else socket.AF_INET, host) for host in way.addresses]
        return [Address(family, host, origin.port) for family, host in families]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    # The scope of a link-local address is not part of its text.
    scopes = [(info[0], info[4]) for info in found]
    named = [(f, f"{a[0]}%{a[3]}" if len(a) == 4 and a[3] and "%" not in str(a[0]) else str(a[0])) for f, a in scopes]
    return [Address(family, host, origin.port) for family, host in dict.fromkeys(named)]


def tls_context(way: Way) -> ssl.SSLContext:
    """Return a client context for HTTP/1.1."""
    context = client_context(way.verify, way.tls)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Pool:
    """Opens connections to one address, at most `limit` at a time.

    connecting: attempts under way, oldest first. most: most connections open at once. connect_ns: how long connecting
    takes, smoothed. blocked_until_ns: no spare connection is opened before.
    """

    __slots__ = (
        "_backoff_ns",
        "_context",
        "_loop",
        "_on_failed",
        "_owner",
        "address",
        "blocked_until_ns",
        "connect_ns",
        "connecting",
        "connects",
        "limit",
        "most",
        "open",
        "way",
    )
    address: Address

    def __init__(self, way: Way, limit: int, owner: Owner, on_failed: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._owner, self._on_failed = owner, on_failed
        self._context = tls_context(way) if way.origin.tls else None
        self.way, self.limit = way, limit
        self.connecting: dict[Connection, asyncio.Task[None]] = {}
        self.open = self.most = self.connects = 0
        self.connect_ns = self.blocked_until_ns = self._backoff_ns = 0

    def room(self, reserved: int = 0) -> int:
        """Return how many attempts may be started now, when `reserved` slots are to stay empty."""
        under_way = len(self.connecting)
        return min(self.limit - reserved - self.open - under_way, AT_ONCE - under_way)

    @property
    def full(self) -> bool:
        """Return whether every slot is in use or being opened."""
        return self.open + len(self.connecting) >= self.limit

    def start(self) -> None:
        """Begin to open a connection. The owner's made() or on_failed() is called later."""
        connection = self.new_connection()
        self.connecting[connection] = self._loop.create_task(self._connect(connection))

    def new_connection(self) -> Connection:
        """Return what speaks on a new connection."""
        return Connection(self._owner)

    async def agree(self, connection: Connection) -> None:
        """Wait until a connection can be used, where more than connecting is needed. Raise OSError when it cannot."""

    async def _connect(self, connection: Connection) -> None:
        address, context = self.address, self._context
        name = (self.way.tls.server_name or self.way.origin.server_name) if context else None
        loop, made = self._loop, lambda: connection
        try:
            if address.family is socket.AF_UNIX:
                await loop.create_unix_connection(made, address.host, ssl=context, server_hostname=name)
            else:
                await loop.create_connection(
                    made, address.host, address.port, family=address.family, ssl=context, server_hostname=name
                )
            await self.agree(connection)
        except (OSError, asyncio.CancelledError):
            if self.connecting.pop(connection, None) is not None:
                self.slow_down()
                self._on_failed(connection)

    def opened(self, connection: Connection) -> bool:
        """Count a connection that has just been opened. Return False when its attempt was cancelled meanwhile."""
        if self.connecting.pop(connection, None) is None:
            return False
        took_ns = monotonic_ns() - connection.began_ns
        self.connect_ns += (took_ns - self.connect_ns) // 8 if self.connects else took_ns
        self.connects += 1
        self.open += 1
        self.most = max(self.most, self.open)
        return True

    def drop(self, connection: Connection) -> None:
        """Close an open connection. One that never carried an answer delays the next spare one."""
        self.open -= 1
        if not connection.served:
            self.slow_down()
        connection.close()

    def slow_down(self) -> None:
        """Double the delay before the next spare connection, one that no request waits for."""
        self._backoff_ns = min(max(2 * self._backoff_ns, BACKOFF_FIRST_NS), BACKOFF_MOST_NS)
        self.blocked_until_ns = monotonic_ns() + self._backoff_ns

    def proved(self) -> None:
        """End the delay: a new connection has carried its first answer."""
        self._backoff_ns = self.blocked_until_ns = 0

    def give_up_old(self, now_ns: int) -> None:
        """Cancel the attempts that have taken too long."""
        for connection, task in self.connecting.items():
            if now_ns - connection.began_ns < CONNECT_WITHIN_NS:
                return
            task.cancel()

    def cancel(self) -> None:
        """Cancel every attempt, without a report."""
        tasks = list(self.connecting.values())
        self.connecting.clear()
        for task in tasks:
            task.cancel()
