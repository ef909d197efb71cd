"""Requests as bytes, made once before T0, and the server that they go to."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, urlsplit

from agents.generators.contract import TaskRequest

PORTS = {"http": 80, "https": 443}
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
    """One request of the mix, ready to be written. closes: it asks for the connection to be closed after the answer."""

    data: bytes = field(repr=False)
    head: bool
    idempotent: bool
    closes: bool


def origin_of(url: str) -> Origin:
    """Return where a URL leads. Raise BadRequest when it is not an http or https URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadRequest(f"'{_shown(url)}' is not a valid URL: {error}") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise BadRequest(f"'{_shown(url)}' is not an http or https URL")
    if "@" in parts.netloc:
        raise BadRequest(f"'{_shown(url)}' contains a user name: send an Authorization header instead")
    return Origin(parts.scheme == "https", _ascii_host(parts.hostname), PORTS[parts.scheme] if port is None else port)


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


def common_origin(requests: tuple[TaskRequest, ...]) -> Origin:
    """Return the origin of all requests. Raise BadRequest when they go to different servers."""
    origins = [origin_of(request.url) for request in requests]
    for other in origins[1:]:
        if other != origins[0]:
            raise BadRequest(
                f"requests go to both {origins[0].authority} and {other.authority}: "
                "use the same scheme, host and port in every request"
            )
    return origins[0]


def prepare(request: TaskRequest) -> Prepared:
    """Return a request as the bytes of HTTP/1.1. Raise BadRequest when it cannot be expressed."""
    method = request.method
    if not _TOKEN.fullmatch(method) or method.upper() == "CONNECT":
        raise BadRequest(f"the method '{method}' cannot be sent")
    headers = _headers(request)
    lines = [f"{method} {_target(urlsplit(request.url))} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return Prepared(
        data="\r\n".join([*lines, "", ""]).encode() + (request.body or b""),
        head=method == "HEAD",
        idempotent=method in IDEMPOTENT,
        closes=any(name.lower() == "connection" and "close" in value.lower() for name, value in headers),
    )


def _target(parts: SplitResult) -> str:
    """Return path and query, with everything escaped that may not stand in a request line."""
    query = f"?{quote(parts.query, safe=_TARGET_SAFE)}" if parts.query else ""
    return quote(parts.path or "/", safe=_TARGET_SAFE) + query


def _headers(request: TaskRequest) -> list[tuple[str, str]]:
    """Return the headers to send: the user's own, and what HTTP needs where the user did not set it."""
    for name, value in request.headers:
        if not _TOKEN.fullmatch(name):
            raise BadRequest(f"'{name[:40]!a}' is not a header name")
        if _UNSAFE_VALUE.search(value):
            raise BadRequest(f"the value of the header '{name}' contains a line break or a NUL")
    own = {name.lower() for name, _ in request.headers}
    added = [("host", origin_of(request.url).authority), *DEFAULT_HEADERS]
    if "transfer-encoding" not in own and (request.body is not None or request.method in WITH_BODY):
        added.append(("content-length", str(len(request.body or b""))))
    return [(name, value) for name, value in added if name not in own] + list(request.headers)
