"""Which version of HTTP does a server speak? Asked only when a request of the version that is wanted has failed.

Over TLS the server chooses one in the handshake (ALPN). On plain TCP the first bytes of its answer show it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from agents import destinations
from agents.destinations import NotPermitted, Permitted
from agents.tls import PLAIN, Tls, client_context

HTTP1, HTTP2 = "HTTP/1.1", "HTTP/2"
WITHIN_S = 2.0
_ALPN = {HTTP1: "http/1.1", HTTP2: "h2"}
# How HTTP/2 begins without an upgrade, and an empty SETTINGS frame (RFC 9113, 3.4).
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
_SETTINGS, _GOAWAY = 4, 7


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is. socket: the path of its unix socket, '' for TCP. permitted: as that of a Request."""

    url: str
    socket: str = ""
    tls: Tls = PLAIN
    permitted: Permitted | None = None


def other_than(wanted: str, place: Place) -> str | None:
    """Return the version that a server speaks instead of the one that is wanted; None where that cannot be shown."""
    with contextlib.suppress(OSError, ValueError, NotPermitted):
        if urlsplit(place.url).scheme == "https":
            return _over_tls(wanted, place)
        other = HTTP1 if wanted == HTTP2 else HTTP2
        if _answers(wanted, place) is not wanted and _answers(other, place) is other:
            return other
    return None


def _over_tls(wanted: str, place: Place) -> str | None:
    """Return HTTP/1.1 for a server that does not choose HTTP/2, and HTTP/2 for one that chooses nothing else."""
    if wanted == HTTP2:
        return HTTP1 if _chosen([_ALPN[HTTP2]], place) is None and _chosen([_ALPN[HTTP1]], place) != "" else None
    return HTTP2 if _chosen([_ALPN[HTTP1]], place) is None and _chosen([_ALPN[HTTP2]], place) == "h2" else None


def _chosen(offered: list[str], place: Place) -> str | None:
    """Return the protocol that the server chooses; None where it wants none of them; '' where TLS fails otherwise."""
    context = client_context(False, place.tls)
    context.set_alpn_protocols(offered)
    name = place.tls.server_name or urlsplit(place.url).hostname
    try:
        with _connected(place) as plain, context.wrap_socket(plain, server_hostname=name) as secure:
            return secure.selected_alpn_protocol()
    except ssl.SSLError as error:
        return None if "NO_APPLICATION_PROTOCOL" in str(error).upper().replace(" ", "_") else ""


def _answers(version: str, place: Place) -> str | None:
    """Ask in one version; return the version of the answer, None where its first bytes are neither."""
    authority = urlsplit(place.url).netloc
    # Of all requests the one with the fewest effects.
    asked = _PREFACE if version == HTTP2 else f"OPTIONS * HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
    with _connected(place) as connection:
        connection.sendall(asked)
        answer = b""
        # A server that speaks another version may wait for more instead of answering.
        with contextlib.suppress(TimeoutError):
            while len(answer) < len(b"HTTP/1.1 "):
                if not (more := connection.recv(4096)):
                    break
                answer += more
    if answer.startswith(b"HTTP/1."):
        return HTTP1
    is_frame = len(answer) >= 9 and answer[0] == 0 and answer[3] in (_SETTINGS, _GOAWAY)
    return HTTP2 if is_frame else None


def _connected(place: Place) -> socket.socket:
    if place.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(WITHIN_S)
        connection.connect(place.socket)
        return connection
    return destinations.connect(*destinations.host_and_port(place.url), WITHIN_S, place.permitted)
