"""Servers of the conformance check. What each request gets is decided beforehand, and every request is recorded."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic_ns
from typing import cast

NEVER_NS = 1 << 62
HEAD_END = b"\r\n\r\n"
BODY = b"ok\n"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Deed(Enum):
    """What the server does to a request."""

    ANSWER = "answer"
    RESET = "reset the connection"
    CUT = "close the connection in the middle of the answer"
    HANG = "never answer"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request gets; status: of an answer."""

    deed: Deed = Deed.ANSWER
    status: int = 200


OK = Reply()
HANG = Reply(Deed.HANG)


@dataclass(slots=True)
class Receipt:
    """A request that came. Instants on the monotonic clock; ended_ns: answered, or its connection ended."""

    connection: int
    arrived_ns: int
    head: str = field(repr=False)
    body: bytes = field(repr=False)
    reply: Reply
    ended_ns: int = NEVER_NS

    @property
    def method(self) -> str:
        """Return the method of the request line."""
        return self.head.split(" ", 1)[0]

    @property
    def target(self) -> str:
        """Return path and query of the request line; empty where it has none."""
        return [*self.head.split("\r\n", 1)[0].split(" "), ""][1]

    @property
    def headers(self) -> set[tuple[str, str]]:
        """Return names in lower case with their values."""
        pairs = (line.partition(":") for line in self.head.split("\r\n")[1:])
        return {(name.strip().lower(), value.strip()) for name, _, value in pairs}


class Server:
    """One server and its record. most_open: most connections open at once."""

    def __init__(self, replies: Sequence[Reply], delay_s: float) -> None:
        """Let request n, from 0, get replies[n % len(replies)] after delay_s."""
        self.replies, self.delay_s = replies, delay_s
        self.receipts: list[Receipt] = []
        self.connections = self.most_open = 0
        self.open: set[_Connection] = set()


class _Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server, self._buffer = server, bytearray()
        self._under_way: list[Receipt] = []
        self._number = 0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._server
        self.transport = cast(asyncio.Transport, transport)
        self._number = server.connections
        server.connections += 1
        server.open.add(self)
        server.most_open = max(server.most_open, len(server.open))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (message := take_message(self._buffer)) is not None:
            server = self._server
            reply = server.replies[len(server.receipts) % len(server.replies)]
            receipt = Receipt(self._number, monotonic_ns(), *message, reply)
            server.receipts.append(receipt)
            self._under_way.append(receipt)
            if server.delay_s:
                asyncio.get_running_loop().call_later(server.delay_s, self._act, receipt)
            else:
                self._act(receipt)

    def _act(self, receipt: Receipt) -> None:
        deed = receipt.reply.deed
        if deed is Deed.HANG or self.transport.is_closing():
            return
        receipt.ended_ns = monotonic_ns()
        if deed is Deed.ANSWER:
            body = b"" if receipt.method == "HEAD" else BODY
            self.transport.write(_head(receipt.reply.status, len(BODY)) + body)
        elif deed is Deed.CUT:
            self.transport.write(_head(200, 1000) + BODY)
            self.transport.close()
        else:
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._server.open.discard(self)
        for receipt in self._under_way:
            receipt.ended_ns = min(receipt.ended_ns, monotonic_ns())


def _head(status: int, length: int) -> bytes:
    return b"HTTP/1.1 %d status\r\nContent-Length: %d\r\n\r\n" % (status, length)


def take_message(buffer: bytearray) -> tuple[str, bytes] | None:
    """Take a whole request from the front of a buffer; return its head and body, None while it is incomplete."""
    begin = buffer.find(HEAD_END)
    if begin < 0:
        return None
    head, begin = buffer[:begin].decode("latin-1"), begin + len(HEAD_END)
    fields = dict(line.lower().split(":", 1) for line in head.split("\r\n")[1:] if ":" in line)
    if "chunked" in fields.get("transfer-encoding", ""):
        body, end = _chunks(bytes(buffer[begin:]))
        end += begin
    else:
        end = begin + int(fields.get("content-length", "0"))
        body = bytes(buffer[begin:end])
    if end < begin or end > len(buffer):
        return None
    del buffer[:end]
    return head, body


def _chunks(data: bytes) -> tuple[bytes, int]:
    """Return a chunked body and where it ends; an end below zero while it is incomplete."""
    body, at = b"", 0
    while (line_end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line_end].split(b";")[0], 16)
        begin = line_end + 2
        if len(data) < begin + size + 2:
            break
        body, at = body + data[begin : begin + size], begin + size + 2
        if size == 0:
            return body, at
    return b"", -len(data) - 1


@contextmanager
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop for servers in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="conformance-servers")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def serving(loop: asyncio.AbstractEventLoop, server: Server) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1; yield the URL, without a path."""

    async def start() -> asyncio.Server:
        return await loop.create_server(lambda: _Connection(server), "127.0.0.1", 0, backlog=1024)

    async def stop() -> None:
        listener.close()
        for connection in list(server.open):
            connection.transport.abort()
        await asyncio.sleep(0)

    listener = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()


@contextmanager
def nothing_listens() -> Iterator[str]:
    """Yield the URL of a port that refuses every connection and stays ours meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
