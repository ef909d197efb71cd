"""A plain asyncio client for the tests of the zoo: one request at a time on a connection, and what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.truth.zoo import Server

REQUEST = b"GET / HTTP/1.1\r\nHost: zoo\r\n\r\n"
DEADLINE_S = 10
RESET, ENDED = -3, -1  # what the client saw: RST, or the end of the connection


@dataclass(frozen=True)
class Seen:
    """One request as the client saw it."""

    start_ns: int
    end_ns: int
    status: int  # HTTP status, RESET or ENDED

    @property
    def took_us(self) -> float:
        return (self.end_ns - self.start_ns) / 1e3


class Client:
    """One connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.head, self.body = reader, writer, b"", b""

    @classmethod
    async def open(cls, server: Server) -> Client:
        return cls(*await asyncio.open_connection(server.address, server.port))

    async def ask(self, request: bytes = REQUEST) -> Seen:
        start_ns = time.time_ns()
        try:
            self.writer.write(request)
            status = await self.answer(has_body=not request.startswith(b"HEAD"))
        except (ConnectionResetError, BrokenPipeError):
            status = RESET
        except asyncio.IncompleteReadError:
            status = ENDED
        return Seen(start_ns, time.time_ns(), status)

    async def answer(self, has_body: bool = True) -> int:
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        length = [line for line in self.head.split(b"\r\n") if line.startswith(b"Content-Length: ")]
        if has_body and length:
            self.body = await self.reader.readexactly(int(length[0].split()[1]))
        return int(self.head.split()[1])

    async def end(self) -> int:
        """Return how the connection ended: RESET or ENDED."""
        try:
            rest = await asyncio.wait_for(self.reader.read(), DEADLINE_S)
        except ConnectionResetError:
            return RESET
        assert rest == b""
        return ENDED

    def close(self) -> None:
        self.writer.close()


async def drive(server: Server, requests: int, connections: int = 1, pace_s: float = 0) -> list[Seen]:
    """Send this many requests as fast as answers come, `pace_s` apart on each connection; reopen what ends."""
    left, seen = iter(range(requests)), []

    async def slot() -> None:
        client = await Client.open(server)
        for _ in left:
            seen.append(await client.ask())
            if seen[-1].status < 0 or b"Connection: close" in client.head or client.head.startswith(b"HTTP/1.0"):
                client.close()
                client = await Client.open(server)
            await asyncio.sleep(pace_s)
        client.close()

    await asyncio.gather(*(slot() for _ in range(connections)))
    return seen


def load(server: Server, requests: int, connections: int = 1, pace_s: float = 0) -> list[Seen]:
    return asyncio.run(asyncio.wait_for(drive(server, requests, connections, pace_s), DEADLINE_S))


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)
