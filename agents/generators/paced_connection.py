"""One connection of the generator paced: sends one request at a time and recognises the end of its answer."""

from __future__ import annotations

import asyncio
import ctypes
import select
import socket
from time import monotonic_ns
from typing import TYPE_CHECKING, Protocol, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpResponseParser

from agents.generators.answer import HeadAnswer, ends_with_connection
from agents.generators.body import MOST_BYTES
from agents.generators.contract import Failure

if TYPE_CHECKING:
    from agents.generators.request import Prepared

# A head that is longer is taken for garbage.
HEAD_BYTES = 1 << 20
SWITCHING_PROTOCOLS = 101
_libc = ctypes.CDLL(None)


class Owner(Protocol):
    """What a connection reports to. Each report but `made` ends what the connection was doing."""

    bytes_body: int

    def made(self, connection: Connection) -> None:
        """Use a connection that has just been opened."""

    def answered(self, connection: Connection) -> None:
        """Take an answer: status, end_ns and keep of the connection describe it."""

    def failed(self, connection: Connection, failure: Failure) -> None:
        """Take the failure of the request under way. The connection cannot be used again."""

    def unanswered_close(self, connection: Connection) -> None:
        """Handle an orderly close before the first byte of an answer."""

    def lost(self, connection: Connection) -> None:
        """Forget a connection that ended, or that the server wrote to, while it had no request."""


class Connection(asyncio.Protocol):
    """A connection; it is busy while start_ns is not 0.

    due_ns, start_ns, end_ns: monotonic clock. began_ns: when connecting began. served: it has carried an answer.
    first_ns: when the first byte of the answer came, 0 before. body_bytes: of the answer so far. kept: everything that came
    of an answer whose body is compared; None for the others. retried: its request was sent before, on another connection.
    keep: the answer allows another request.
    """

    __slots__ = (
        "_body_parser",
        "_extra",
        "_fd",
        "_head",
        "_lasts",
        "_watch",
        "began_ns",
        "body_bytes",
        "due_ns",
        "end_ns",
        "first_ns",
        "index",
        "keep",
        "kept",
        "open",
        "owner",
        "parser",
        "request",
        "retried",
        "served",
        "start_ns",
        "status",
        "transport",
    )
    transport: asyncio.Transport
    parser: HttpResponseParser
    _body_parser: HttpResponseParser
    request: Prepared

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.began_ns = monotonic_ns()
        self.due_ns = self.start_ns = self.end_ns = self.index = self.status = 0
        self.first_ns = self.body_bytes = 0
        self.kept: bytearray | None = None
        self.open = self.served = self.retried = self.keep = self._extra = False
        self._head = bytearray()
        self._lasts: bool | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Report the connection as open."""
        self.watch(transport)
        self.parser = self._body_parser = HttpResponseParser(self)
        self.open = True
        self.owner.made(self)

    def watch(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and prepare ended_by_server()."""
        self.transport = cast(asyncio.Transport, transport)
        self._fd = transport.get_extra_info("socket").fileno()
        self._watch = select.poll()
        self._watch.register(self._fd, select.POLLRDHUP)

    def ended_by_server(self) -> bool:
        """Return whether the server has closed a free connection, and the event loop has not come to it yet.

        A request sent now would be answered by a reset, which cannot be told from one that the server meant.
        """
        return bool(self._watch.poll(0))

    def send(self, request: Prepared, index: int, due_ns: int) -> None:
        """Send a request now."""
        self.request = request
        self.index = index
        self.due_ns = due_ns
        self.end_ns = self.first_ns = self.body_bytes = 0
        self.kept = None
        self.retried = self._extra = False
        self._lasts = None
        if self._head:
            self._head.clear()
        if request.head:
            self.parser = HttpResponseParser(HeadAnswer(self))
        self.start_ns = monotonic_ns()
        self.transport.write(request.data)

    def send_again(self, request: Prepared, index: int, due_ns: int, start_ns: int) -> None:
        """Send a request that another connection has sent at start_ns, which remains its start."""
        self.send(request, index, due_ns)
        self.start_ns = start_ns
        self.retried = True

    @property
    def first_byte_ns(self) -> int:
        """Return the time from sending to the first byte of the answer; -1 without one."""
        return self.first_ns - self.start_ns if self.first_ns else -1

    def close(self) -> None:
        """Close at once and report nothing any more."""
        self.open = False
        self.start_ns = 0
        # The event loop closes later. A server that waits for the end of the connection before it serves the next one
        # (gunicorn's sync workers do) would be slowed down by that.
        if not self.transport.is_closing():
            _libc.shutdown(self._fd, socket.SHUT_WR)
        self.transport.abort()
        # The parser refers to this object: without this neither is ever freed while the collector is off.
        del self.parser, self._body_parser

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        if not self.start_ns:
            if self.open:
                self.owner.lost(self)
            return
        if not self.first_ns:
            self.first_ns = monotonic_ns()
        if self.kept is not None and len(self.kept) < MOST_BYTES:
            self.kept += data
        try:
            self.parser.feed_data(data)
        except HttpParserCallbackError:
            raise
        except HttpParserError:
            if self.status != SWITCHING_PROTOCOLS or not self.end_ns:
                self.owner.failed(self, Failure.PROTOCOL)
                return
        if not self.end_ns:
            self._await_more(data)
        elif self._extra or (self.request.head and not self._head_ends(data)):
            self.owner.failed(self, Failure.PROTOCOL)
        else:
            self.owner.answered(self)

    def _await_more(self, data: bytes) -> None:
        """Find out what ends an answer of which this was not the end."""
        if self._lasts is None:
            self._head += data
            self._lasts = ends_with_connection(self._head)
            if len(self._head) > HEAD_BYTES and self._lasts is None:
                self.owner.failed(self, Failure.PROTOCOL)
            elif self._lasts is not None:
                self._head.clear()

    def _head_ends(self, data: bytes) -> bool:
        """Go back to the parser for answers with a body; return whether the head was the end of what has come."""
        self.parser = self._body_parser
        return data.endswith(b"\n")

    def on_message_begin(self) -> None:
        """Note bytes that follow a complete answer."""
        if self.end_ns:
            self._extra = True

    def on_body(self, data: bytes) -> None:
        """Count bytes of a body."""
        self.body_bytes += len(data)
        self.owner.bytes_body += len(data)

    def on_message_complete(self) -> None:
        """Note the end of the answer; an interim answer (1xx) is not one."""
        parser = self.parser
        status = parser.get_status_code()
        if (status < 200 and status != SWITCHING_PROTOCOLS) or self.end_ns:
            return
        self.end_ns = monotonic_ns()
        self.status = status
        self.keep = status >= 200 and parser.should_keep_alive()

    def head_answered(self, status: int, keep: bool) -> None:
        """Note the end of an answer to HEAD."""
        self.end_ns = monotonic_ns()
        self.status, self.keep = status, keep

    def received_more(self) -> None:
        """Note bytes that follow the answer to HEAD."""
        self._extra = True

    def eof_received(self) -> None:
        """Handle an orderly close by the server."""
        if self.open:
            self._ended(orderly=True)

    def connection_lost(self, error: Exception | None) -> None:
        """Handle a connection that has ended without an orderly close before."""
        if self.open:
            self._ended(orderly=error is None or isinstance(error, BrokenPipeError))

    def _ended(self, orderly: bool) -> None:
        if not self.start_ns:
            self.owner.lost(self)
        elif orderly and self._lasts:
            self.end_ns = monotonic_ns()
            self.status, self.keep = self.parser.get_status_code(), False
            self.owner.answered(self)
        elif orderly and not self.first_ns:
            self.owner.unanswered_close(self)
        else:
            self.owner.failed(self, Failure.RESET)
