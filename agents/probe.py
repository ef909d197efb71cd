"""One request from this host, before any load: does the server answer, and is its response the expected one?"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import httpx

from agents import tls
from agents.records import ServerState

TIMEOUT_S = 5.0
# Statuses of 500 and above that a server gives while it runs: not implemented, version not supported.
UP_ALL_THE_SAME = (501, 505)


@dataclass(frozen=True, slots=True)
class Expect:
    """The response that a server must give: every part that is set must hold.

    json_text: the body as a JSON document, compared by value; body: compared byte for byte after stripping blank ends.
    status None: any below 400. size: the length of the body in bytes.
    """

    status: int | None = None
    body: str | None = None
    json_text: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the one that the load will send, or the one that shows that a server is ready.

    verify: check the server's certificate.
    """

    url: str
    http2: bool = False
    method: str = "GET"
    headers: list[list[str]] = field(default_factory=list)
    body: bytes = field(default=b"", repr=False)
    verify: bool = False

    @property
    def asked(self) -> str:
        """Method and path, for a person: 'POST /orders'. Without the query, which can hold a secret."""
        return f"{self.method} {urlsplit(self.url).path or '/'}"


class Answer(NamedTuple):
    """One response; closes: the server ends the connection after it. received: the length of the body as it was sent."""

    status: int
    body: bytes
    closes: bool
    received: int = 0


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


class Unanswered(RuntimeError):
    """Nothing answered; the message says why."""


def client(request: Request, timeout_s: float = TIMEOUT_S) -> httpx.Client:
    """Return an HTTP client that behaves like h2load: one protocol, no proxies.

    It checks certificates only where the request asks for that.
    """
    import httpx  # only where a request is made

    made = httpx.Client(
        http1=not request.http2,
        http2=request.http2,
        # Not httpx's own list of authorities: the host decides what is trusted, as for the generator paced.
        verify=tls.client_context(request.verify),
        trust_env=False,
        timeout=timeout_s,
        follow_redirects=False,
    )
    # httpx's own, which the load does not send: a server may compress what it is not asked to compress under load.
    for name in ("accept-encoding", "connection"):
        del made.headers[name]
    return made


def ask(request: Request, timeout_s: float = TIMEOUT_S) -> Answer:
    """Send one request on a new connection and return the answer. Raises Unanswered."""
    import httpx

    try:
        with client(request, timeout_s) as http:
            response = http.request(
                request.method,
                request.url,
                headers=[(name, value) for name, value in request.headers],
                content=request.body or None,
            )
            said = response.headers.get("connection", "").lower()
            closes = "close" in said or (response.http_version == "HTTP/1.0" and "keep-alive" not in said)
            return Answer(response.status_code, response.content, closes, response.num_bytes_downloaded)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise Unanswered(tls.untrusted(str(error)) or f"{type(error).__name__}: {error}") from error


def difference(expect: Expect, answer: Answer) -> str | None:
    """Return how a response differs from what is expected, for a person; None when it does not."""
    status, body = answer.status, answer.body
    if expect.status is None and status >= 400:
        return f"status {status} where one below 400 was expected"
    if expect.status is not None and status != expect.status:
        return f"status {status} where {expect.status} was expected"
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


def check(request: Request, expect: Expect, timeout_s: float, repeat: bool = True) -> Checked:
    """Wait up to timeout_s for an answer and compare it with what is expected.

    repeat: ask again where a request fails, such as one that is refused; otherwise ask once.
    """
    try:
        answer = wait_for_answer(request, timeout_s) if repeat else ask(request, timeout_s)
    except Unanswered as error:
        return Checked(ServerState.NOT_READY, str(error), asked=request.asked)
    return compare(request, expect, answer)


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
    )


def shows_ready(status: int) -> bool:
    """Return whether an answer of this status comes from a server that is up, whatever it thinks of the request."""
    return status < 500 or status in UP_ALL_THE_SAME


def wait_for_answer(request: Request, timeout_s: float) -> Answer:
    """Repeat a request until it is answered. Raises Unanswered with the last reason after timeout_s."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return ask(request, max(0.2, min(TIMEOUT_S, deadline - time.monotonic())))
        except Unanswered:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.1)


def _shown(body: bytes) -> str:
    text = body.decode(errors="replace")
    return repr(text if len(text) <= 80 else text[:77] + "...")
