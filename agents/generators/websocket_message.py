"""What the generator websocket sends: the handshake and the messages of a task, prepared before T0. Pure."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from agents.generators.contract import TaskRequest
from agents.generators.request import (
    WEBSOCKET,
    BadRequest,
    Origin,
    Prepared,
    check_headers,
    common_origin,
    target_of,
)
from agents.generators.template import Rows, UnknownColumn, cut, has_placeholder

if TYPE_CHECKING:
    from websockets.datastructures import Headers

USER_AGENT = "volley-websocket"
PROTOCOL_HEADER = "sec-websocket-protocol"
# Header fields that a handshake is made of.
OWN_HEADERS = frozenset(
    {
        "connection",
        "upgrade",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
        "content-length",
    }
)
# A longer message ends the connection with 1009: it would fill the memory of the load host.
MOST_BYTES = 1 << 26
# Nothing of a message or a header goes into a log.
_QUIET = logging.getLogger("volley.websocket")
_QUIET.disabled = True


@dataclass(frozen=True, slots=True)
class Message(Prepared):
    """One message, ready to be sent. data: its text in UTF-8, or its bytes."""

    binary: bool = False

    def for_next_row(self) -> Prepared:
        """Return the message with the values of the next row."""
        return self if self.fill is None else replace(self, data=self.fill(), fill=None)


@dataclass(frozen=True, slots=True)
class Handshake:
    """What opens a connection. headers: the user's own; subprotocols: those that are offered, the preferred one first."""

    uri: WebSocketURI = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    subprotocols: tuple[str, ...] = ()

    def begin(self) -> ClientProtocol:
        """Return the protocol of a new connection, with its request for a handshake ready to be sent.

        No extension is offered: a compressed message would measure the client's compression as well.
        """
        offered = [Subprotocol(name) for name in self.subprotocols] or None
        protocol = ClientProtocol(self.uri, subprotocols=offered, max_size=MOST_BYTES, logger=_QUIET)
        request = protocol.connect()
        add_headers(request.headers, self.headers)
        protocol.send_request(request)
        return protocol


def add_headers(headers: Headers, own: tuple[tuple[str, str], ...]) -> None:
    """Add a user's headers to those of a handshake; they replace those of the same name."""
    headers.setdefault("User-Agent", USER_AGENT)
    for name in {name for name, _ in own}:
        if name in headers:
            del headers[name]
    for name, value in own:
        headers[name] = value


def origin_of_messages(requests: tuple[TaskRequest, ...]) -> Origin:
    """Return the server of all messages. Raise BadRequest when they go to different servers, or over HTTP."""
    return common_origin(requests, WEBSOCKET)


def handshake(requests: tuple[TaskRequest, ...]) -> Handshake:
    """Return the handshake of all messages. Raise BadRequest when they need different ones, or one that cannot be sent."""
    first, origin = requests[0], origin_of_messages(requests)
    if any((other.url, other.headers) != (first.url, first.headers) for other in requests):
        raise BadRequest("messages have different URLs or headers: all of them are sent over the same connections")
    check_headers(first)
    for name, _ in first.headers:
        if name.lower() in OWN_HEADERS:
            raise BadRequest(f"the header '{name}' is set by this generator: omit it")
    offered = [value for name, value in first.headers if name.lower() == PROTOCOL_HEADER]
    target, _, query = target_of(urlsplit(first.url)).partition("?")
    return Handshake(
        WebSocketURI(origin.tls, origin.server_name, origin.port, target, query),
        tuple((name, value) for name, value in first.headers if name.lower() != PROTOCOL_HEADER),
        tuple(name.strip() for value in offered for name in value.split(",") if name.strip()),
    )


def prepare_message(request: TaskRequest, rows: Rows | None = None) -> Message:
    """Return a message as it is sent. Raise BadRequest when it cannot be. rows: the values for placeholders."""
    if request.method != "GET":
        raise BadRequest(f"a handshake is a GET, and the task has the method '{request.method}'")
    data, fill = request.body or b"", None
    if not request.binary:
        try:
            data.decode()
        except UnicodeDecodeError:
            raise BadRequest("a message is not UTF-8 text: send it as binary") from None
    if rows is not None and has_placeholder(request):
        if has_placeholder(replace(request, body=None)):
            raise BadRequest("only a message can hold placeholders: all messages share the URL and the headers")
        try:
            text = cut(data, rows.columns)
        except UnknownColumn as error:
            raise BadRequest(f"the data has no column '{error}'") from None
        fill = lambda: text.filled(rows.take())  # noqa: E731
    return Message(data, head=False, idempotent=False, closes=False, fill=fill, binary=request.binary)
