"""One request from this host, before any load: does the server answer, and is its response the expected one?"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import httpcore
    import httpx

from agents import spoken, tls
from agents.answers import MOST_BYTES, Answer, Body, in_words, pause_s
from agents.destinations import NotPermitted, Permitted, checked
from agents.expected import Checked as Checked
from agents.expected import Expect as Expect
from agents.expected import Request as Request
from agents.expected import compare
from agents.expected import shows_ready as shows_ready
from agents.generators.contract import TaskRequest
from agents.records import ServerState

# How long a body may take that is not compared. One without end (server-sent events) must not keep the check.
BODY_S = 2.0
# How soon a request ends that is aborted, and how soon one that failed is repeated.
SLICE_S, AGAIN_S = 0.05, 0.1
# How long HTTP/2 may stay without an answer before Volley looks which version the server speaks.
DOUBT_S = 2.0
CANCELLED = "cancelled"
# How the reason begins where a server speaks another version of HTTP.
SPEAKS = "it speaks"


class Unanswered(RuntimeError):
    """Nothing answered; the message says why."""


class Hopeless(Unanswered):
    """Waiting does not change that nothing answers."""


class OtherProtocol(Hopeless):
    """The server speaks another version of HTTP."""


def client(request: Request, timeout_s: float) -> httpx.Client:
    """Return an HTTP client that behaves like h2load: one protocol, no proxies.

    It checks certificates only where the request asks for that.
    """
    import httpx  # only where a request is made

    transport = httpx.HTTPTransport(
        http1=not request.http2,
        http2=request.http2,
        # Not httpx's own list of authorities: the host decides what is trusted, as for the generator paced.
        verify=tls.client_context(request.verify, request.tls),
        trust_env=False,
        uds=request.socket or None,
    )
    if request.permitted is not None and not request.socket:
        # httpx has no option for it: the pool connects through this.
        transport._pool._network_backend = _allowing(request.permitted)
    made = httpx.Client(
        transport=transport,
        trust_env=False,
        timeout=timeout_s,
        follow_redirects=False,
    )
    # httpx's own, which the load does not send: a server may compress what it is not asked to compress under load.
    for name in ("accept-encoding", "connection"):
        del made.headers[name]
    return made


def _allowing(permitted: Permitted) -> httpcore.NetworkBackend:
    """Return what connects to the checked addresses of a host, and to no other."""
    import httpcore

    class Allowing(httpcore.SyncBackend):
        def connect_tcp(self, host: str, port: int, *more: Any, **named: Any) -> httpcore.NetworkStream:
            error: Exception = OSError(f"{host} has no address")
            for address in checked(host, port, permitted):
                try:
                    return super().connect_tcp(address, port, *more, **named)
                except (httpcore.ConnectError, httpcore.ConnectTimeout) as refused:
                    error = refused
            raise error

    return Allowing()


class Asking:
    """One request on a new connection, under way in a thread of its own: it can be given up at any time.

    keep: how many bytes of the decoded body are wanted; 0: the head, and whether the body ends soon.
    """

    def __init__(self, request: Request, timeout_s: float, keep: int = 0) -> None:
        self._request, self._timeout_s, self._keep = request, timeout_s, keep
        self._done = threading.Event()
        self._error: Exception | None = None
        self._socket: socket.socket | None = None
        self._head: Answer | None = None
        self._body = Body("", 0, 0)
        self._ended = self._given_up = self._doubted = False
        self._began, self._head_at = time.monotonic(), 0.0
        self._sent_at = self._last_at = self._began
        threading.Thread(target=self._ask, name="ask", daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """Wait up to timeout_s; return whether the request has ended, or has had all of its time."""
        if self._done.wait(timeout_s):
            return True
        now = time.monotonic()
        if self._is_doubtful(now):
            self._doubted = True
            threading.Thread(target=self._doubt, name="doubt", daemon=True).start()
        late = now - self._began >= self._timeout_s
        if late or (self._head is not None and not self._keep and now - self._head_at >= BODY_S):
            self.give_up()
            return True
        return False

    def _is_doubtful(self, now: float) -> bool:
        """Return whether HTTP/2 has no answer for so long that the server may speak HTTP/1.1 and ignore it."""
        silent = self._request.http2 and self._socket is not None and self._head is None
        return silent and not self._doubted and now - self._began >= min(DOUBT_S, self._timeout_s / 2)

    def _doubt(self) -> None:
        """End the request where the server speaks another version of HTTP, which waiting does not change."""
        other = _other_protocol(self._request)
        if other is not None and self._head is None and not self._done.is_set():
            self._error = other
            self._done.set()
            self._end()

    def give_up(self) -> None:
        """End the request."""
        self._given_up = True
        self._end()

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            if self._socket is not None:
                # Not SSLSocket.shutdown, which takes away what the thread reads from.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def answer(self) -> Answer:
        """Return the answer, as far as it has come. Raises Unanswered."""
        given_up, error = self._given_up, self._error
        if error is not None and not given_up:
            raise error
        if self._head is None:
            what = "connection" if self._socket is None else "answer"
            raise Unanswered(f"no {what} within {self._timeout_s:.3g} s")
        return self._head._replace(
            body=bytes(self._body.data),
            received=self._body.received,
            ended=self._ended,
            unreadable=self._body.unreadable,
            took_us=round((self._last_at - self._sent_at) * 1e6),
        )

    def _ask(self) -> None:
        import httpx

        try:
            self._read()
        except NotPermitted as error:
            self._error = Hopeless(str(error))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            self._error = self._error or _unanswered(self._request, error)
        except Exception as error:
            self._error = self._error or error
        self._done.set()

    def _read(self) -> None:
        request, self._sent_at = self._request, time.monotonic()
        # The one who waits ends the request in time; this only ends a thread that was given up.
        with (
            client(request, self._timeout_s + 1) as http,
            http.stream(
                request.method,
                request.url,
                # As bytes: httpx would refuse text that is not ASCII, and generators send UTF-8.
                headers=[(name.encode(), value.encode()) for name, value in request.headers],
                content=request.body or None,
                extensions={"trace": self._trace}
                | ({"sni_hostname": request.tls.server_name} if request.tls.server_name else {}),
            ) as response,
        ):
            self._body = Body(response.headers.get("content-encoding", ""), self._keep, max(self._keep, MOST_BYTES))
            self._head = _head_of(request, response)
            self._head_at = self._last_at = time.monotonic()
            for piece in response.iter_raw():
                more = self._body.add(piece)
                self._last_at = time.monotonic()
                if not more or self._given_up:
                    return
            # Ended by us, a body without a length looks as if it were complete.
            self._ended = not self._given_up

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        """Note the connection as soon as there is one."""
        if event.endswith((".connect_tcp.complete", ".connect_unix_socket.complete", ".start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")


def _unanswered(request: Request, error: Exception) -> Unanswered:
    """Return why a request has no answer, in words where the cause is known."""
    import httpx

    text = str(error)
    if _is_unresolved(error):
        return Unanswered(f"the host name {urlsplit(request.url).hostname} has no address: {in_words(text)}")
    if request.socket and isinstance(error, httpx.ConnectError):
        return Unanswered(f"its socket {request.socket} cannot be used: {in_words(text)}")
    if (why := tls.explained(text)) is not None:
        return Unanswered(why)
    # A server that is not there, or slow, speaks no other protocol.
    if not isinstance(error, httpx.ConnectError | httpx.TimeoutException) or "SSL" in text:
        other = _other_protocol(request)
        if other is not None:
            return other
    return Unanswered(in_words(text) or type(error).__name__)


def _is_unresolved(error: BaseException | None) -> bool:
    """Return whether an error of the HTTP client began as a name without an address."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False


def _other_protocol(request: Request) -> OtherProtocol | None:
    """Return that a server speaks another version of HTTP than a request has; None where that cannot be shown."""
    wanted = spoken.HTTP2 if request.http2 else spoken.HTTP1
    found = spoken.other_than(wanted, spoken.Place(request.url, request.socket, request.tls, request.permitted))
    return None if found is None else OtherProtocol(f"{SPEAKS} {found}, and the load is {wanted}")


def _head_of(request: Request, response: httpx.Response) -> Answer:
    """Return what the head of a response says."""
    fields, http1 = response.headers, response.http_version != "HTTP/2"
    said = fields.get("connection", "").lower()
    bodiless = request.method == "HEAD" or response.status_code in (204, 304)
    sized = bodiless or "content-length" in fields
    chunked = fields.get("transfer-encoding", "").lower().endswith("chunked")
    until_close = http1 and not sized and not chunked
    closes = "close" in said or until_close or (response.http_version == "HTTP/1.0" and "keep-alive" not in said)
    return Answer(
        response.status_code,
        b"",
        http1 and closes,
        sized=sized,
        until_close=until_close,
        location=fields.get("location", "") if 300 <= response.status_code < 400 else "",
        retry_after=fields.get("retry-after", ""),
    )


def ask(request: Request, timeout_s: float, keep: int = 0, abort: threading.Event | None = None) -> Answer:
    """Send one request on a new connection and return the answer. Raises Unanswered.

    timeout_s: for all of it. keep: how many bytes of the body are wanted. abort: ends it at once.
    """
    if request.websocket:
        return _exchange(request, timeout_s, abort)
    asking = Asking(request, timeout_s, keep)
    while not asking.wait(SLICE_S):
        if abort is not None and abort.is_set():
            asking.give_up()
            raise Unanswered(CANCELLED)
    return asking.answer()


def _exchange(request: Request, timeout_s: float, abort: threading.Event | None) -> Answer:
    """Send one message over WebSocket and return what came back. Raises Unanswered.

    In a thread of its own, so that it can be given up at any time; it ends by itself after timeout_s.
    """
    done: list[Answer | Unanswered] = []
    asking = threading.Thread(target=lambda: done.append(_exchanged(request, timeout_s)), name="ask", daemon=True)
    asking.start()
    while asking.is_alive():
        asking.join(SLICE_S)
        if abort is not None and abort.is_set():
            raise Unanswered(CANCELLED)
    if isinstance(answer := done[0], Unanswered):
        raise answer
    return answer


def _exchanged(request: Request, timeout_s: float) -> Answer | Unanswered:
    from agents.websocket_probe import NoHandshake, exchange

    headers = tuple((name, value) for name, value in request.headers)
    message = TaskRequest(request.url, headers=headers, body=request.body, binary=request.binary)
    try:
        done = exchange(
            message, request.verify, timeout_s, tls=request.tls, path=request.socket, permitted=request.permitted
        )
    except NotPermitted as error:
        return Hopeless(str(error))
    except NoHandshake as error:
        return Unanswered(str(error))
    return Answer(done.status, done.message, False, len(done.message), wrong=done.wrong)


def check(
    request: Request, expect: Expect, timeout_s: float, repeat: bool = True, abort: threading.Event | None = None
) -> Checked:
    """Wait up to timeout_s, in total, for an answer and compare it with what is expected.

    repeat: ask again where a request fails, such as one that is refused; otherwise ask once. A server that asks to come
    back later (429, or 503 with Retry-After) is asked again then. abort: ends it at once.
    """
    deadline, abort = time.monotonic() + timeout_s, abort or threading.Event()
    while True:
        left_s = max(AGAIN_S, deadline - time.monotonic())
        try:
            answer = ask(request, left_s, expect.body_bytes, abort)
        except Unanswered as error:
            reason = str(error)
            if not repeat or isinstance(error, Hopeless) or abort.is_set() or time.monotonic() >= deadline:
                return Checked(ServerState.NOT_READY, reason, asked=request.asked)
            abort.wait(AGAIN_S)
            continue
        wait_s = None if expect.allows(answer.status) else pause_s(answer)
        if wait_s is None:
            return compare(request, expect, answer)
        if time.monotonic() + wait_s >= deadline:
            checked = compare(request, expect, answer)
            limits = f"; it asks to wait {wait_s:.3g} s, and {timeout_s:.3g} s are allowed in all"
            return replace(checked, detail=checked.detail + limits)
        abort.wait(wait_s)
