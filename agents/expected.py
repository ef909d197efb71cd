"""What one request before a load is, what its answer must be, and how an answer differs from that. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from agents.answers import MOST_BYTES, Answer, unended
from agents.destinations import Permitted
from agents.records import ServerState
from agents.tls import PLAIN, Tls

# Statuses of 500 and above that a server gives while it runs: not implemented, version not supported.
UP_ALL_THE_SAME = (501, 505)


@dataclass(frozen=True, slots=True)
class Expect:
    """The response that a server must give: every part that is set must hold.

    status: those that are allowed; empty: any below 400. json_text: the body as a JSON document, compared by value;
    body: compared byte for byte after stripping blank ends, and after decoding. size: the length of the body in bytes.
    """

    status: list[int] = field(default_factory=list)
    body: str | None = None
    json_text: str | None = None
    size: int | None = None

    def allows(self, status: int) -> bool:
        """Return whether a response may have this status."""
        return status in self.status if self.status else status < 400

    @property
    def body_bytes(self) -> int:
        """How many bytes of a body are needed to compare it; 0: none."""
        needed = [4 * len(text) for text in (self.body, self.json_text) if text is not None]
        needed += [] if self.size is None else [self.size + 1]
        return max(MOST_BYTES, *needed) if needed else 0


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the one that the load will send, or the one that shows that a server is ready.

    verify: check the server's certificate. socket: the path of the server's unix socket; '' for the address of the URL.
    websocket: the body is a message, sent after a handshake; binary: of that kind. permitted: where it may go; None: to a
    server that Volley started itself.
    """

    url: str
    http2: bool = False
    method: str = "GET"
    headers: list[list[str]] = field(default_factory=list)
    body: bytes = field(default=b"", repr=False)
    verify: bool = False
    tls: Tls = PLAIN
    socket: str = ""
    websocket: bool = False
    binary: bool = False
    permitted: Permitted | None = None

    @property
    def asked(self) -> str:
        """Method and path, for a person: 'POST /orders'. Without the query, which can hold a secret."""
        return f"{'WebSocket' if self.websocket else self.method} {urlsplit(self.url).path or '/'}"


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether a server answers as it should. state: READY, MISMATCH, NOT_READY or EXITED; the rest as in ServerFacts.

    status: of its answer; None without one.
    """

    state: ServerState
    detail: str = ""
    closes: bool = False
    body_bytes: int | None = None
    status: int | None = None
    asked: str = ""
    until_close: bool = False
    location: str = ""
    endless: bool = False
    answer_us: int = 0


def difference(expect: Expect, answer: Answer) -> str | None:
    """Return how a response differs from what is expected, for a person; None when it does not."""
    if answer.wrong:
        return answer.wrong
    status, body = answer.status, answer.body
    if not expect.allows(status):
        allowed = " or ".join(map(str, expect.status)) or "one below 400"
        return f"status {status} where {allowed} was expected"
    if not expect.body_bytes:
        return None
    if answer.unreadable:
        return f"its body cannot be compared: {answer.unreadable}"
    if not answer.ended:
        return f"its body cannot be compared: {unended(answer)}"
    shown = _shown(body)
    if expect.size is not None and len(body) != expect.size:
        return f"a body of {len(body):,} bytes where {expect.size:,} were expected"
    if expect.body is not None and body.strip() != expect.body.strip().encode():
        return f"body {shown} where {_shown(expect.body.encode())} was expected"
    if expect.json_text is not None:
        wanted: Any = json.loads(expect.json_text)
        try:
            got = json.loads(body)
        except ValueError:
            return f"body {shown} is not JSON"
        if got != wanted:
            return f"JSON {shown} where {_shown(expect.json_text.encode())} was expected"
    return None


def same_length(expect: Expect, answer: Answer) -> int | None:
    """Return the length in bytes that every body must have; None where bodies may differ."""
    compared = expect.body is not None or expect.json_text is not None or expect.size is not None
    return answer.received if compared else None


def compare(request: Request, expect: Expect, answer: Answer) -> Checked:
    """Compare the response to a request with what is expected."""
    wrong = difference(expect, answer)
    return Checked(
        ServerState.MISMATCH if wrong else ServerState.READY,
        wrong or "",
        answer.closes,
        same_length(expect, answer),
        answer.status,
        request.asked,
        answer.until_close,
        # Its query can hold a secret.
        answer.location.partition("?")[0][:200],
        not answer.ended and not answer.sized,
        answer.took_us,
    )


def shows_ready(status: int) -> bool:
    """Return whether an answer of this status comes from a server that is up, whatever it thinks of the request."""
    return status < 500 or status in UP_ALL_THE_SAME


def _shown(body: bytes) -> str:
    text = body.decode(errors="replace")
    return repr(text if len(text) <= 80 else text[:77] + "...")
