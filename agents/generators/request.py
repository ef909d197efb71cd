"""Requests as bytes, made once before T0, and the server that they go to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, urlsplit

from agents.generators.contract import PLACEHOLDER, TaskRequest
from agents.generators.template import Rows, UnknownColumn, cut, has_placeholder

PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
HTTP, WEBSOCKET = ("http", "https"), ("ws", "wss")
# Methods that may be sent twice (RFC 9110, 9.2.2).
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
# Methods for which a server expects a length even when there is no body (RFC 9110, 8.6).
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
DEFAULT_HEADERS = (("user-agent", "volley-paced"), ("accept", "*/*"))
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSAFE_VALUE = re.compile(r"[\x00\r\n]")
# What a path or query may hold as it is, including escapes that are already there.
_TARGET_SAFE = "%/:=&?~#+!$,;'@()*[]"


class BadRequest(ValueError):
    """A request cannot be sent over HTTP/1.1. The message never contains a header's value."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a server. host: a name in ASCII or an address without brackets."""

    tls: bool
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Return the value of a Host header: an IPv6 address in brackets, a default port left out."""
        host = f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host
        return host if self.port == PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"

    @property
    def server_name(self) -> str:
        """Return the name for TLS; the ssl module sends no SNI for an address, as RFC 6066 demands."""
        return self.host.partition("%")[0]


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request of the mix, ready to be written. closes: it asks for the connection to be closed after the answer.

    fill: what makes its bytes for a row of the task's data; None for a request without placeholders.
    """

    data: bytes = field(repr=False)
    head: bool
    idempotent: bool
    closes: bool
    fill: Callable[[], bytes] | None = field(default=None, repr=False)

    def for_next_row(self) -> Prepared:
        """Return the request with the values of the next row."""
        return self if self.fill is None else Prepared(self.fill(), self.head, self.idempotent, self.closes)


def origin_of(url: str, schemes: tuple[str, str] = HTTP) -> Origin:
    """Return where a URL leads. Raise BadRequest when it has none of the schemes: plain, and TLS."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadRequest(f"'{_shown(url)}' is not a valid URL: {error}") from None
    if parts.scheme not in schemes or not parts.hostname:
        raise BadRequest(f"'{_shown(url)}' is not an {' or '.join(schemes)} URL".replace(" an ws", " a ws"))
    if "@" in parts.netloc:
        raise BadRequest(f"'{_shown(url)}' contains a user name: send an Authorization header instead")
    return Origin(
        parts.scheme == schemes[1], _ascii_host(parts.hostname), PORTS[parts.scheme] if port is None else port
    )


def _shown(url: str) -> str:
    """Return a URL without what could be a secret in it: user information and query."""
    return re.sub(r"//[^/@]*@", "//", url.partition("?")[0])


def _ascii_host(host: str) -> str:
    try:
        ipaddress.ip_address(host)
        return host
    except ValueError:
        pass
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        raise BadRequest(f"'{host}' is not a valid host name") from None


def common_origin(requests: tuple[TaskRequest, ...], schemes: tuple[str, str] = HTTP) -> Origin:
    """Return the origin of all requests. Raise BadRequest when they go to different servers."""
    origins = [origin_of(request.url, schemes) for request in requests]
    for other in origins[1:]:
        if other != origins[0]:
            raise BadRequest(
                f"requests go to both {origins[0].authority} and {other.authority}: "
                "use the same scheme, host and port in every request"
            )
    return origins[0]


def prepare(request: TaskRequest, rows: Rows | None = None) -> Prepared:
    """Return a request as the bytes of HTTP/1.1. Raise BadRequest when it cannot be expressed.

    rows: the values for placeholders; without them a placeholder is text like any other.
    """
    method = request.method
    if not _TOKEN.fullmatch(method) or method.upper() == "CONNECT":
        raise BadRequest(f"the method '{method}' cannot be sent")
    fills = rows is not None and has_placeholder(request)
    headers = _headers(request)
    target = target_of(urlsplit(request.url), keep_placeholders=fills)
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    head, body = "\r\n".join([*lines, "", ""]).encode(), request.body or b""
    return Prepared(
        data=head + body,
        head=method == "HEAD",
        idempotent=method in IDEMPOTENT,
        closes=any(name.lower() == "connection" and "close" in value.lower() for name, value in headers),
        fill=_filled(head, body, rows) if rows is not None and fills else None,
    )


def _filled(head: bytes, body: bytes, rows: Rows) -> Callable[[], bytes]:
    """Return what makes the bytes of a request for the next row."""
    try:
        cut_head, cut_body = cut(head, rows.columns), cut(body, rows.columns)
    except UnknownColumn as error:
        raise BadRequest(f"the data has no column '{error}'") from None
    length = f"content-length: {len(body)}\r\n".encode()
    before, announced, after = head.partition(length)
    varies = len(cut_body.parts) > 1 or not isinstance(next(iter(cut_body.parts), b""), bytes)
    if varies and not announced:
        raise BadRequest("a body with placeholders needs the Content-Length that this generator sets: omit the header")
    if not varies:
        return lambda: cut_head.filled(rows.take()) + body
    cut_before, cut_after = cut(before, rows.columns), cut(after, rows.columns)

    def fill() -> bytes:
        row = rows.take()
        filled = cut_body.filled(row)
        head = b"%bcontent-length: %d\r\n%b" % (cut_before.filled(row), len(filled), cut_after.filled(row))
        return head + filled

    return fill


def target_of(parts: SplitResult, keep_placeholders: bool = False) -> str:
    """Return path and query, with everything escaped that may not stand in a request line."""
    query = f"?{_quoted(parts.query, keep_placeholders)}" if parts.query else ""
    return _quoted(parts.path or "/", keep_placeholders) + query


def _quoted(text: str, keep_placeholders: bool) -> str:
    if not keep_placeholders:
        return quote(text, safe=_TARGET_SAFE)
    pieces = PLACEHOLDER.split(text)
    return "".join(f"${{row.{piece}}}" if k % 2 else quote(piece, safe=_TARGET_SAFE) for k, piece in enumerate(pieces))


def check_headers(request: TaskRequest) -> None:
    """Raise BadRequest for a header that HTTP forbids."""
    for name, value in request.headers:
        if not _TOKEN.fullmatch(name):
            raise BadRequest(f"'{name[:40]!a}' is not a header name")
        if _UNSAFE_VALUE.search(value):
            raise BadRequest(f"the value of the header '{name}' contains a line break or a NUL")


def _headers(request: TaskRequest) -> list[tuple[str, str]]:
    """Return the headers to send: the user's own, and what HTTP needs where the user did not set it."""
    check_headers(request)
    own = {name.lower() for name, _ in request.headers}
    added = [("host", origin_of(request.url).authority), *DEFAULT_HEADERS]
    if "transfer-encoding" not in own and (request.body is not None or request.method in WITH_BODY):
        added.append(("content-length", str(len(request.body or b""))))
    return [(name, value) for name, value in added if name not in own] + list(request.headers)
