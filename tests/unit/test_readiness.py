"""When a server that was started is ready, and when it is given up: against a real socket, without a container."""

import gzip
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from agents import readiness
from agents.cgroup import Counters
from agents.container import ContainerState, ServerSpec
from agents.probe import Expect, Request, check
from agents.readiness import THRASH_S, MemoryWatch, Readiness
from agents.records import ServerState

SLOW_S = 6.0
LIMIT = 64 << 20
IDLE = Counters()
RUNNING = ContainerState(running=True)


@contextmanager
def served(handler):
    """Serve with a handler; yield the URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def serving():
    """Serve with a handler until the test is over; return the URL."""
    with ExitStack() as stack:
        yield lambda handler: stack.enter_context(served(handler))


@contextmanager
def answering(*statuses):
    """A server that gives these statuses one after the other, and the last one for ever; yield its URL."""
    left = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *arguments):
            """Print nothing."""

    with served(Handler) as url:
        yield url


def outcome(url, expect=None, counters=lambda: IDLE, state=lambda: RUNNING, abort=None, **changes):
    settings = {"request": Request(url), "ready_timeout_s": 10.0} | changes
    spec = ServerSpec("t", "i", 80, expect=expect or Expect(), **settings)
    readiness = Readiness(spec, counters, state, abort or threading.Event())
    return readiness.outcome(), readiness.waiting_for


@pytest.mark.process
def test_ready_once_it_answers_without_a_server_error_and_is_idle():
    """503 is an answer of a server that still starts; every body must then be as long as this one."""
    with answering(503, 503, 200) as url:
        checked, stage = outcome(url, Expect(body="ok"))

    assert (checked.state, checked.detail, checked.body_bytes) == (ServerState.READY, "", 2)
    assert stage == "comparing a response of t"


class Slow(BaseHTTPRequestHandler):
    """Six seconds for an answer; /up answers at once."""

    def do_GET(self):
        if self.path != "/up":
            time.sleep(SLOW_S)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *arguments):
        """Print nothing."""


@pytest.mark.process
def test_a_server_that_takes_six_seconds_for_an_answer_is_ready(serving):
    """While it starts, and for the response that is compared: the campaign's time is the only limit."""
    slow = Request(serving(Slow))
    up = Request(slow.url + "up")
    with ThreadPoolExecutor(2) as threads:
        starting = threads.submit(outcome, "", request=up, ready=slow, ready_timeout_s=30.0)
        compared, _ = outcome("", Expect(body="ok"), request=slow, ready=up)
        started, _ = starting.result()

    assert (started.state, compared.state) == (ServerState.READY, ServerState.READY)
    assert compared.answer_us >= SLOW_S * 1e6


@pytest.mark.process
def test_the_time_that_a_health_check_took_is_part_of_the_time_to_become_ready():
    """Both waits together have `ready.timeout`; the host's caller waits no longer."""
    with answering(503) as url:
        spec = ServerSpec("t", "i", 80, Request(url), Expect(), ready_timeout_s=30.0)
        waiting = Readiness(spec, lambda: IDLE, lambda: RUNNING, threading.Event())
        began = time.monotonic()
        checked = waiting.outcome(waited_s=29.8)

    assert checked.state == ServerState.NOT_READY
    assert time.monotonic() - began < 10


def test_how_long_it_waits_is_shown_once_it_is_long(monkeypatch):
    """A person sees that nothing hangs."""
    clock = iter([0.0, 1.0, 7.5])
    monkeypatch.setattr(readiness.time, "monotonic", lambda: next(clock))  # type: ignore[attr-defined]
    waiting = Readiness(ServerSpec("t", "i", 80, Request("http://h/"), Expect()), None, None, threading.Event())

    assert waiting.waiting_for == "starting t"
    assert waiting.waiting_for == "starting t: 7 s of at most 60 s"


@pytest.mark.process
@pytest.mark.parametrize(("expect", "state"), [(Expect([500]), ServerState.READY), (Expect(), ServerState.NOT_READY)])
def test_a_status_that_is_expected_shows_that_a_server_is_ready(expect, state):
    """Whatever it is: errors can be what is measured."""
    with answering(500) as url:
        checked, _ = outcome(url, expect, ready_timeout_s=0.4)

    assert checked.state == state


def test_the_last_line_of_a_container_that_exits_is_kept():
    """Why it exited mostly stands there."""
    spec = ServerSpec("t", "i", 80, Request("http://h/"), Expect())
    gone = ContainerState(exit_code=3)
    waiting = Readiness(spec, lambda: IDLE, lambda: gone, threading.Event(), lambda: "no such table")

    assert waiting._exited(gone) == "the container ended with exit code 3; its last line was 'no such table'"


@pytest.mark.process
def test_a_wrong_response_is_a_mismatch():
    """With what is wrong with it."""
    with answering(200) as url:
        checked, _ = outcome(url, Expect(status=[201]))

    assert (checked.state, checked.detail) == (ServerState.MISMATCH, "status 200 where 201 was expected")


class PostOnly(BaseHTTPRequestHandler):
    """A service that only takes orders: http.server answers every other method with 501."""

    seen: ClassVar[list[tuple[str, str, bytes]]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.command, self.path, body))
        self.send_response(200 if body else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        """Print nothing."""


@pytest.mark.process
def test_a_server_that_only_takes_posts_is_asked_as_the_load_asks(serving):
    """Method, headers, body and query; nothing else is sent to it."""
    PostOnly.seen.clear()
    request = Request(serving(PostOnly) + "orders?x=1", method="POST", body=b"{}")
    checked, _ = outcome("", request=request, ready_timeout_s=60.0)

    assert checked.state == ServerState.READY
    assert set(PostOnly.seen) == {("POST", "/orders?x=1", b"{}")}


@pytest.mark.process
def test_a_server_that_does_not_know_the_method_is_a_mismatch_at_once(serving):
    """It is up: waiting does not help. What was asked is said."""
    began = time.monotonic()
    checked, _ = outcome("", request=Request(serving(PostOnly) + "orders?key=s3cret"), ready_timeout_s=60.0)

    assert (checked.state, checked.status, checked.asked) == (ServerState.MISMATCH, 501, "GET /orders")
    assert time.monotonic() - began < 30


class Compressing(BaseHTTPRequestHandler):
    """It compresses for clients that ask for it, and keeps the headers of every request."""

    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self):
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        body, coding = b"x" * 1000, self.headers.get("Accept-Encoding")
        self.send_response(200)
        if coding == "gzip":
            body = gzip.compress(body)
            self.send_header("Content-Encoding", coding)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Print nothing."""


@pytest.mark.process
@pytest.mark.parametrize(
    ("headers", "length"), [([], 1000), ([["Accept-Encoding", "gzip"]], len(gzip.compress(b"x" * 1000)))]
)
def test_the_request_has_the_loads_headers_and_the_length_is_that_on_the_wire(serving, headers, length):
    """The load is compared with it: no compression that the load does not ask for, and the bytes that it would count."""
    Compressing.seen.clear()
    request = Request(serving(Compressing), headers=headers)
    checked = check(request, Expect(body="x" * 1000), 10.0)

    assert (checked.state, checked.body_bytes) == (ServerState.READY, length)
    assert set(Compressing.seen[0]) == {"host", "accept", "user-agent", *(name.lower() for name, _ in headers)}


@pytest.mark.process
def test_a_path_of_its_own_shows_when_a_server_is_ready(serving):
    """Orders are sent once: to be compared."""
    PostOnly.seen.clear()
    url = serving(PostOnly)
    ready, request = Request(url + "up"), Request(url + "orders", method="POST", body=b"{}")
    checked, _ = outcome("", request=request, ready=ready)

    assert checked.state == ServerState.READY
    assert PostOnly.seen == [("POST", "/orders", b"{}")]


@pytest.mark.process
def test_a_server_that_stays_busy_is_measured_all_the_same():
    """After its time to settle."""
    used = iter(range(0, 100_000_000, 1_000_000))
    with answering(200) as url:
        checked, _ = outcome(url, counters=lambda: Counters(cpu_us=next(used)), settle_timeout_s=0.5)

    assert checked.state == ServerState.READY
    assert next(used) >= 3_000_000


@pytest.mark.process
def test_a_server_that_never_answers_is_not_ready():
    """Why the last request had no answer is said."""
    with answering(500) as url:
        checked, stage = outcome(url, ready_timeout_s=0.3)

    assert (checked.state, checked.detail) == (ServerState.NOT_READY, "GET /: only status 500 within 0.3 s")
    assert stage == "waiting for t to answer"


@pytest.mark.process
@pytest.mark.parametrize(
    ("seen", "state", "words"),
    [
        ({"state": lambda: ContainerState(exit_code=7)}, ServerState.EXITED, "exit code 7"),
        ({"counters": lambda: Counters(oom_kills=10)}, ServerState.NOT_READY, "10 processes were killed for memory"),
    ],
)
def test_a_server_without_a_chance_is_given_up_at_once(seen, state, words):
    """A container that has ended, or whose workers are killed again and again."""
    checked, _ = outcome("http://127.0.0.1:9/", ready_timeout_s=60.0, **seen)

    assert checked.state == state
    assert words in checked.detail


def test_a_wait_can_be_aborted():
    """The trial is given up while a server starts."""
    abort = threading.Event()
    abort.set()
    checked, _ = outcome("http://127.0.0.1:9/", abort=abort, ready_timeout_s=60.0)

    assert (checked.state, checked.detail) == (ServerState.NOT_READY, "cancelled")


def full(major_faults, share=1.0):
    return Counters(memory_bytes=int(share * LIMIT), memory_limit_bytes=LIMIT, major_faults=major_faults)


@pytest.mark.parametrize(
    ("readings", "hopeless"),
    [
        ([(0, full(0)), (THRASH_S - 1, full(10_000)), (THRASH_S, full(10_000))], True),
        ([(0, full(0)), (THRASH_S, full(10))], False),
        ([(0, full(0)), (5, full(5_000, share=0.5)), (THRASH_S, full(10_000))], False),
        ([(0, Counters(memory_bytes=LIMIT)), (THRASH_S, Counters(memory_bytes=LIMIT, major_faults=10_000))], False),
        ([(0, full(0)), (THRASH_S, full(10)), (2 * THRASH_S, full(10_000))], True),
    ],
    ids=["thrashes", "full and quiet", "recovered", "no limit", "quiet first"],
)
def test_only_a_server_that_keeps_paging_at_its_limit_thrashes(readings, hopeless):
    """For ten seconds without a break."""
    watch = MemoryWatch()
    *before, last = [watch.hopeless(counters, at_s) for at_s, counters in readings]

    assert before == [None] * len(before)
    assert (last is not None) == hopeless
    assert last is None or last.startswith("at its memory limit for 10 s, paging")
