"""One message over WebSocket from this host, before any load: does the server agree to the handshake, and answer?"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents import destinations
from agents.answers import NO_WEBSOCKET
from agents.destinations import Permitted
from agents.generators.contract import TaskRequest
from agents.tls import PLAIN, Tls, client_context, explained

if TYPE_CHECKING:
    from agents.generators.request import Origin
    from agents.generators.websocket_message import Handshake

ANSWERED, SWITCHED, BELOW_ERRORS = 200, 101, 400
# How long to wait for a message that no message asked for: it would be taken for an answer.
LISTEN_S = 0.1
READ_BYTES = 1 << 16
NORMAL = 1000
SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What a server did. status: 200 when it answered, 101 when it agreed to the handshake and did not answer, else that
    of its response to the handshake. wrong: why it cannot be loaded, for a person; '' when it can. message: its answer.
    """

    status: int
    message: bytes = b""
    wrong: str = ""


class NoHandshake(RuntimeError):
    """There was no response to the handshake; the message says why."""


def exchange(
    request: TaskRequest,
    verify: bool,
    timeout_s: float,
    opened: Callable[[socket.socket], None] | None = None,
    tls: Tls = PLAIN,
    path: str = "",
    permitted: Permitted | None = None,
) -> Exchanged:
    """Open a connection, send the message of a request and wait for its answer, up to timeout_s in all.

    path: of the server's unix socket; '' for the address of the URL. permitted: as that of a Request.
    opened: called with the socket, which may be shut down to end the exchange. Raises NoHandshake, NotPermitted.
    """
    # The library is read only where there is a message.
    from agents.generators.request import BadRequest
    from agents.generators.websocket_message import handshake, origin_of_messages

    deadline = time.monotonic() + timeout_s
    try:
        origin, shake = origin_of_messages((request,)), handshake((request,))
        with _connected(origin, verify, deadline, tls, path, permitted) as connection:
            if opened is not None:
                opened(connection)
            talk = _Talk(connection, shake, deadline, timeout_s)
            done = talk.exchange(request)
            talk.close()
            return done
    except BadRequest as error:
        raise NoHandshake(str(error)) from None
    except TimeoutError:
        raise NoHandshake(f"no response to the handshake within {timeout_s:.3g} s") from None
    except OSError as error:
        raise NoHandshake(explained(str(error)) or error.strerror or str(error)) from None


def _connected(
    origin: Origin, verify: bool, deadline: float, tls: Tls, path: str, permitted: Permitted | None
) -> socket.socket:
    left_s = max(0.05, deadline - time.monotonic())
    if path:
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(left_s)
        plain.connect(path)
    else:
        plain = destinations.connect(origin.host, origin.port, left_s, permitted)
    if not origin.tls:
        return plain
    try:
        context = client_context(verify, tls)
        context.set_alpn_protocols(["http/1.1"])
        return context.wrap_socket(plain, server_hostname=tls.server_name or origin.server_name)
    except BaseException:
        plain.close()
        raise


class _Talk:
    """One connection, and what has come of messages on it."""

    def __init__(self, connection: socket.socket, shake: Handshake, deadline: float, timeout_s: float) -> None:
        self._connection, self._deadline, self._timeout_s = connection, deadline, timeout_s
        self._protocol = shake.begin()
        self._messages: list[bytes] = []
        self._part = b""
        self._ended = False

    def exchange(self, request: TaskRequest) -> Exchanged:
        """Shake hands, send the message, wait for its answer and for what should not follow it."""
        if (refused := self._shake_hands()) is not None:
            return refused
        with contextlib.suppress(TimeoutError):
            self._read_until(lambda: bool(self._messages), min(self._deadline, time.monotonic() + LISTEN_S))
        if self._messages:
            return self._wrong("sends a message before it gets one")
        if self._over:
            return self._wrong(f"closed the connection{self._why()} after the handshake")
        (self._protocol.send_binary if request.binary else self._protocol.send_text)(request.body or b"")
        self._write()
        try:
            self._read_until(lambda: bool(self._messages), self._deadline)
        except TimeoutError:
            return self._wrong(f"sent no message back within {self._timeout_s:.3g} s")
        if not self._messages:
            return self._wrong(f"closed the connection{self._why()} instead of answering the message")
        with contextlib.suppress(TimeoutError):
            self._read_until(lambda: len(self._messages) > 1, min(self._deadline, time.monotonic() + LISTEN_S))
        if len(self._messages) > 1:
            return self._wrong("answers one message with several")
        return Exchanged(ANSWERED, self._messages[0])

    def close(self) -> None:
        """Send a close frame, where the server still listens."""
        from websockets.protocol import State

        if self._protocol.state is State.OPEN:
            self._protocol.send_close(NORMAL)
            self._write()

    def _wrong(self, what: str) -> Exchanged:
        return Exchanged(SWITCHED, wrong=f"it {what}")

    def _shake_hands(self) -> Exchanged | None:
        """Return why the server does not agree to the handshake; None when it does."""
        from websockets.http11 import Response

        self._write()
        answer = None
        while answer is None and self._protocol.handshake_exc is None:
            self._read(self._deadline)
            for event in self._protocol.events_received():
                if isinstance(event, Response):
                    answer = event
                else:
                    self._note(event)
        if answer is None:
            raise NoHandshake("it does not speak HTTP/1.1" if not self._ended else "it closed the connection")
        status = answer.status_code
        if self._protocol.handshake_exc is None:
            return None
        if status == SWITCHED:
            return Exchanged(status, wrong=f"its response to the handshake is wrong: {self._protocol.handshake_exc}")
        if status < BELOW_ERRORS:
            return Exchanged(status, wrong=f"{NO_WEBSOCKET} {status}: there is no WebSocket here")
        return Exchanged(status, wrong=f"it refused the handshake with status {status}")

    @property
    def _over(self) -> bool:
        protocol = self._protocol
        return self._ended or protocol.close_rcvd is not None or protocol.parser_exc is not None

    def _why(self) -> str:
        """Return how the server closed, to follow 'closed the connection'."""
        close = self._protocol.close_rcvd
        if close is None:
            return " without a close frame"
        reason = close.reason[:SHOWN_CHARACTERS]
        return f" with code {int(close.code)}" + (f" ({reason!r})" if reason else "")

    def _read_until(self, enough: Callable[[], bool], deadline: float) -> None:
        """Read until there is enough or the connection is over. Raise TimeoutError at the deadline."""
        while not enough() and not self._over:
            self._read(deadline)
            for event in self._protocol.events_received():
                self._note(event)

    def _read(self, deadline: float) -> None:
        """Read once. Raise TimeoutError at the deadline."""
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
        try:
            data = self._connection.recv(READ_BYTES)
        except ConnectionError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._ended = True
            self._protocol.receive_eof()
        self._write()

    def _write(self) -> None:
        self._connection.settimeout(max(0.05, self._deadline - time.monotonic()))
        for data in self._protocol.data_to_send():
            if data and not self._ended:
                try:
                    self._connection.sendall(data)
                except ConnectionError:
                    self._ended = True

    def _note(self, event: object) -> None:
        """Keep a message."""
        from websockets.frames import DATA_OPCODES, Frame

        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            self._part += bytes(event.data)
            if event.fin:
                self._messages.append(self._part)
                self._part = b""
