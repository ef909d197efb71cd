"""One connection of the generator websocket: a handshake, then one message at a time, each answered by one message."""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING, cast

from websockets.frames import DATA_OPCODES, Frame
from websockets.http11 import Response
from websockets.protocol import State

from agents.generators.body import MOST_BYTES as COMPARED_BYTES
from agents.generators.contract import Failure
from agents.generators.handshakes import NO_CLOSE_FRAME, NO_RESPONSE, Handshakes
from agents.generators.paced_connection import Connection, Owner
from agents.generators.websocket_message import Handshake, Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from websockets.client import ClientProtocol

    from agents.generators.request import Prepared

ANSWERED = 200
GOING_AWAY = 1001
# More that waits to be written is not only a close frame: the server does not read.
CLOSE_FRAME_BYTES = 256


class HandshakeRefused(OSError):
    """The server did not agree to speak WebSocket."""


class WebSocketConnection(Connection):
    """A connection; made() is reported after its handshake. agreed: done when the handshake is over; None once awaited."""

    __slots__ = ("_handshake", "_protocol", "agreed", "refusal", "tally")
    _protocol: ClientProtocol

    def __init__(self, owner: Owner, handshake: Handshake, tally: Handshakes) -> None:
        super().__init__(owner)
        self._handshake, self.tally = handshake, tally
        self.agreed: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        self.refusal = NO_RESPONSE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the handshake."""
        self.watch(transport)
        self._protocol = self._handshake.begin()
        self._write()

    def _write(self) -> None:
        for data in self._protocol.data_to_send():
            # Empty: the protocol wants the end of the connection, which whoever gets the report takes care of.
            if data:
                self.transport.write(data)

    def send(self, request: Prepared, index: int, due_ns: int) -> None:
        """Send a message now."""
        self.request, self.index, self.due_ns = request, index, due_ns
        self.end_ns = self.first_ns = self.body_bytes = 0
        self.kept = None
        self.retried = False
        protocol = self._protocol
        if cast(Message, request).binary:
            protocol.send_binary(request.data)
        else:
            protocol.send_text(request.data)
        frames = protocol.data_to_send()
        self.start_ns = monotonic_ns()
        for frame in frames:
            self.transport.write(frame)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and answer pings."""
        if self.transport.is_closing():
            return
        self._protocol.receive_data(data)
        self._write()
        self._take(cast("list[Response | Frame]", self._protocol.events_received()))

    def _take(self, events: list[Response | Frame]) -> None:
        """Deal with what the protocol has made of what came."""
        if not self.open:
            self._shake_hands(events)
            return
        complete, received = self._count(cast("list[Frame]", events))
        protocol = self._protocol
        over = protocol.close_rcvd is not None or protocol.parser_exc is not None
        if not self.start_ns:
            self.tally.unasked += complete
            if complete or received or over:
                self.owner.lost(self)
        elif complete > 1:
            self.tally.unasked += complete - 1
            self.owner.failed(self, Failure.PROTOCOL)
        elif complete:
            self.end_ns = monotonic_ns()
            self.status, self.keep = ANSWERED, not over
            self.owner.answered(self)
        elif protocol.parser_exc is not None:
            self.owner.failed(self, Failure.PROTOCOL)
        elif protocol.close_rcvd is not None:
            self.tally.count_closed(protocol.close_rcvd.code)
            self.owner.failed(self, Failure.RESET)

    def _count(self, frames: Sequence[Frame]) -> tuple[int, int]:
        """Return how many messages are complete and how many bytes of messages came. Control frames are not counted."""
        complete = received = 0
        for frame in frames:
            if frame.opcode in DATA_OPCODES:
                received += len(frame.data)
                complete += frame.fin
                if self.kept is not None and len(self.kept) < COMPARED_BYTES:
                    self.kept += frame.data
        # Without any frame there is the beginning of one.
        if not self.first_ns and (received or complete or not frames):
            self.first_ns = monotonic_ns()
        self.body_bytes += received
        self.owner.bytes_body += received
        return complete, received

    def _shake_hands(self, events: list[Response | Frame]) -> None:
        """Report the connection as open when the handshake has succeeded."""
        protocol = self._protocol
        answer = events[0] if events else None
        if protocol.state is State.OPEN:
            # What came with the response cannot be an answer.
            self.tally.unasked += self._count(cast("list[Frame]", events[1:]))[0] if events[1:] else 0
            self.open = True
            if self.agreed is not None and not self.agreed.done():
                self.agreed.set_result(None)
            self.owner.made(self)
        elif protocol.handshake_exc is not None or answer is not None:
            self._refuse(answer.status_code if isinstance(answer, Response) else NO_RESPONSE)

    def _refuse(self, status: int) -> None:
        if self.agreed is not None and not self.agreed.done():
            self.refusal = status
            self.agreed.set_exception(HandshakeRefused())

    def eof_received(self) -> None:
        """Handle an orderly close by the server."""
        if not self.transport.is_closing() and not self.open:
            self._protocol.receive_eof()
            self._take(cast("list[Response | Frame]", self._protocol.events_received()))
        super().eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """Handle a connection that has ended without an orderly close before."""
        self._refuse(NO_RESPONSE)
        super().connection_lost(error)

    def _ended(self, orderly: bool) -> None:
        if self.start_ns:
            self.tally.count_closed(NO_CLOSE_FRAME)
            self.owner.failed(self, Failure.RESET)
        else:
            self.owner.lost(self)

    def close(self) -> None:
        """Close at once and report nothing any more. A close frame is sent where that does not have to wait."""
        self.open = False
        self.start_ns = 0
        transport, protocol = self.transport, self._protocol
        if transport.is_closing():
            return
        if protocol.state is State.OPEN and transport.get_write_buffer_size() == 0:
            protocol.send_close(GOING_AWAY)
            self._write()
        if transport.get_write_buffer_size() <= CLOSE_FRAME_BYTES:
            transport.close()
        else:
            transport.abort()
        # The protocol refers to itself: without this it is never freed while the collector is off.
        vars(protocol).clear()

    def abandon(self) -> None:
        """Close a connection whose handshake has not succeeded."""
        self.transport.abort()
        vars(self._protocol).clear()
