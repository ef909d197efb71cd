"""Loads over WebSocket: what they send, and which keys of a load they cannot have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from orchestrator.slo import shown

if TYPE_CHECKING:
    from orchestrator.spec.loads import Load

WEBSOCKET = "websocket"
# Sent where a load says nothing about its message.
DEFAULT_MESSAGE = "hello"
SUBPROTOCOL_HEADER = "Sec-WebSocket-Protocol"
# Keys of a load that only WebSocket has.
OWN_KEYS = ("message", "message_file", "binary", "subprotocols")
# Keys that belong to HTTP requests, with what to write instead.
OTHERS_KEYS = {
    "method": "remove it, a handshake is a GET",
    "body": "write 'message'",
    "body_file": "write 'message_file'",
    "paths": "set the path of the target, or use one load for each path",
    "streams": "remove it, a connection has one message at a time",
}
# Header fields that a handshake is made of.
HANDSHAKE_HEADERS = {
    "connection", "upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions",
}  # fmt: skip
_SCHEMES = {"http": "ws", "https": "wss"}


def refuse_wrong_keys(load: Load) -> None:
    """Raise ValueError for keys that contradict the protocol of a load."""
    if load.protocol != WEBSOCKET:
        for key in OWN_KEYS:
            if key in load.model_fields_set:
                raise ValueError(f"'{key}' belongs to WebSocket: add protocol: websocket")
        if load.generator == WEBSOCKET:
            raise ValueError("the generator websocket sends messages only: add protocol: websocket")
        return
    for key, hint in OTHERS_KEYS.items():
        if key in load.model_fields_set and not (key == "streams" and load.streams == 1):
            raise ValueError(f"'{key}' belongs to HTTP requests: {hint}")
    if load.listed_key is not None:
        raise ValueError("a list of requests belongs to HTTP: write 'message', which every connection sends")
    if load.generator in ("h2load", "paced"):
        raise ValueError(f"the generator {load.generator} speaks HTTP only: omit 'generator'")
    given = [key for key, is_given in _messages(load).items() if is_given]
    if len(given) > 1:
        raise ValueError(f"{', '.join(given)} are set together: set at most one of message, json and message_file")
    if load.binary and load.message_file is None:
        raise ValueError("a binary message comes from a file: add message_file, or remove 'binary'")
    for name in load.headers:
        if name.lower() in HANDSHAKE_HEADERS:
            raise ValueError(f"the header {shown(name)} is part of the handshake, which Volley makes: remove it")
        if name.lower() == SUBPROTOCOL_HEADER.lower():
            raise ValueError(f"the header {shown(name)} offers subprotocols: write 'subprotocols'")


def _messages(load: Load) -> dict[str, bool]:
    given = {"message": load.message is not None, "json": load.has_json}
    return given | {"message_file": load.message_file is not None}


def websocket_url(url: str) -> str:
    """Return a URL with the scheme of WebSocket."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(scheme=_SCHEMES.get(parts.scheme, parts.scheme)))


def is_websocket_url(url: Any) -> bool:
    """Return whether a URL as it was written is one of WebSocket."""
    return isinstance(url, str) and url.strip().lower().startswith(("ws://", "wss://"))
