"""One request before a load: bounded in time and in size, ended at once, and patient with what is slow or limited."""

import email.utils
import gzip
import threading
import time
import tracemalloc
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from agents.answers import Answer, Body, in_words, pause_s
from agents.expected import difference
from agents.probe import BODY_S, Asking, Expect, Request, Unanswered, ask, check
from agents.records import ServerState
from tests.mini_hosts import until

BOMB = gzip.compress(bytes(64 << 20))
# What a test that is not about waiting allows; a wrong answer must not wait for it.
AMPLE_S = 30.0


class Handler(BaseHTTPRequestHandler):
    """A server of several habits, by path. until: answers of /later are 429 before."""

    protocol_version = "HTTP/1.1"
    left: ClassVar[dict[str, list[tuple[int, str]]]] = {}
    over: ClassVar[threading.Event] = threading.Event()

    def do_GET(self):
        with suppress(ConnectionError):
            getattr(self, self.path[1:].partition("?")[0].replace("-", "_"))()

    def head(self, status=200, **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def endless(self):
        self.head(Content_Type="text/event-stream")
        while not self.over.wait(0.05):
            self.wfile.write(b"data: x\n\n")
        self.close_connection = True

    def flood(self):
        self.head(Content_Type="text/event-stream")
        while not self.over.is_set():
            self.wfile.write(bytes(1 << 16))
        self.close_connection = True

    def drip(self):
        self.head(Content_Length="1000")
        while not self.over.wait(0.1):
            self.wfile.write(b"x")

    def silent(self):
        self.over.wait(AMPLE_S)

    def slow(self):
        self.over.wait(0.5)
        self.head(Content_Length="0")

    def zipped(self):
        body = gzip.compress(b"hello") + gzip.compress(b" world")
        self.head(Content_Encoding="gzip", Content_Length=str(len(body)))
        self.wfile.write(body)

    def bomb(self):
        self.head(Content_Encoding="gzip", Content_Length=str(len(BOMB)))
        self.wfile.write(BOMB)

    def brotli(self):
        self.head(Content_Encoding="br", Content_Length="2")
        self.wfile.write(b"??")

    def elsewhere(self):
        self.head(302, Location="/login?token=s3cret", Content_Length="0")

    def short(self):
        self.head(Content_Length="100")
        self.wfile.write(b"0123456789")
        self.close_connection = True

    def until_close(self):
        self.head()
        self.wfile.write(b"hello")
        self.close_connection = True

    def limited(self):
        status, later = self.left["answers"].pop(0)
        self.head(status, Content_Length="0", **({"Retry_After": later} if later else {}))

    def log_message(self, *arguments):
        """Print nothing."""


@pytest.fixture(scope="module")
def base():
    """The address of the server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Handler.over.set()
        server.shutdown()
        thread.join()


def asked(url, expect=None, timeout_s=AMPLE_S, **how):
    """What a check of a URL finds, and how long it took."""
    began = time.monotonic()
    checked = check(Request(url), expect or Expect(), timeout_s, **{"repeat": False} | how)
    return checked, time.monotonic() - began


@pytest.mark.process
def test_a_stream_does_not_keep_the_check(base):
    """Its head is what can be compared; that it did not end is kept."""
    checked, took_s = asked(base + "/endless")

    assert (checked.state, checked.endless, checked.status) == (ServerState.READY, True, 200)
    assert BODY_S <= took_s < AMPLE_S / 2


@pytest.mark.process
def test_a_body_that_we_ended_has_not_ended(base):
    """However soon the thread that reads it notices the end of its connection."""
    asking = Asking(Request(base + "/endless"), AMPLE_S)
    until(lambda: asking.wait(0.1), lambda: "it was not given up")
    # The thread has ended, too.
    assert asking.wait(AMPLE_S)

    assert asking.answer().ended is False


@pytest.mark.process
def test_an_endless_body_is_not_what_a_body_can_be_compared_with(base):
    """Within the time allowed, in total, although it sends all the time."""
    checked, _ = asked(base + "/endless", Expect(body="x"), timeout_s=0.5)

    assert checked.state == ServerState.MISMATCH
    assert checked.detail.startswith("its body cannot be compared: it had not ended after 0.")


@pytest.mark.process
@pytest.mark.parametrize("expect", [Expect(), Expect(body="x")])
def test_a_flood_is_read_no_further_than_needed(base, expect):
    """One that never stopped once took all memory."""
    tracemalloc.start()
    checked, _ = asked(base + "/flood", expect)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert checked.endless
    assert most < 16 << 20
    assert (checked.detail == "its body cannot be compared: it is longer than 1 MiB") == bool(expect.body)


@pytest.mark.process
def test_a_request_has_its_time_in_total(base):
    """Each read is answered at once, the whole is not."""
    checked, took_s = asked(base + "/drip", Expect(body="x" * 1000), timeout_s=0.5)

    assert checked.state == ServerState.MISMATCH
    assert 0.5 <= took_s < 5


@pytest.mark.process
def test_no_answer_is_said_with_the_time_allowed(base):
    """In a person's words."""
    checked, _ = asked(base + "/silent", timeout_s=0.3)

    assert (checked.state, checked.detail) == (ServerState.NOT_READY, "no answer within 0.3 s")


@pytest.mark.process
@pytest.mark.parametrize("path", ["/silent", "/endless", "/limited"])
def test_a_check_ends_within_a_second_of_being_aborted(base, path):
    """Ctrl-C once took 31 s."""
    Handler.left["answers"] = [(429, "20")]
    abort = threading.Event()
    threading.Timer(0.2, abort.set).start()
    _, took_s = asked(base + path, Expect(body="x"), abort=abort, repeat=True)

    assert took_s < 1.2


@pytest.mark.process
def test_a_slow_answer_is_waited_for_and_timed(base):
    """There is no limit but the one that the campaign sets."""
    checked, _ = asked(base + "/slow")

    assert checked.state == ServerState.READY
    assert 500_000 <= checked.answer_us < 5_000_000


@pytest.mark.process
def test_gzip_is_compared_after_decoding(base):
    """Of several parts, too; the length is that on the wire."""
    checked, _ = asked(base + "/zipped", Expect(body="hello world"))

    assert (checked.state, checked.body_bytes) == (ServerState.READY, len(gzip.compress(b"hello")) * 2 + 1)


@pytest.mark.process
def test_a_bomb_is_not_decoded_beyond_the_limit(base):
    """64 MiB in 64 KiB."""
    tracemalloc.start()
    checked, _ = asked(base + "/bomb", Expect(body="x"))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert checked.detail == "its body cannot be compared: it is longer than 1 MiB"
    assert most < 16 << 20


@pytest.mark.process
@pytest.mark.parametrize(
    ("path", "expect", "state", "detail"),
    [
        ("/brotli", Expect(body="x"), "mismatch", "it is encoded with 'br', which Volley cannot decode"),
        ("/brotli", Expect(), "ready", ""),
        ("/short", Expect(), "not-ready", "the connection ended in the body, after 10 of 100 bytes"),
    ],
)
def test_what_cannot_be_compared_is_said(base, path, expect, state, detail):
    """A coding without a decoder matters only to a body that is compared."""
    checked, _ = asked(base + path, expect)

    assert checked.state == state
    assert checked.detail.endswith(detail)


@pytest.mark.process
def test_where_a_redirect_leads_is_kept_without_its_query(base):
    """It can hold a secret."""
    checked, _ = asked(base + "/elsewhere")

    assert (checked.state, checked.status, checked.location) == (ServerState.READY, 302, "/login")


@pytest.mark.process
def test_an_answer_that_ends_with_the_connection_is_recognised(base):
    """h2load never sees its end; 'Connection: close' is not said."""
    checked, _ = asked(base + "/until-close", Expect(body="hello"))

    assert (checked.state, checked.until_close, checked.closes) == (ServerState.READY, True, True)


@pytest.mark.process
@pytest.mark.parametrize(
    ("answers", "expect", "state"),
    [
        ([(429, "0"), (503, "0"), (200, "")], Expect(), ServerState.READY),
        ([(429, "0"), (429, "0")], Expect([429]), ServerState.READY),
        ([(503, ""), (200, "")], Expect(), ServerState.MISMATCH),
        ([(429, "99"), (200, "")], Expect(), ServerState.MISMATCH),
    ],
    ids=["comes back", "is expected", "does not ask for it", "too late"],
)
def test_a_server_that_asks_to_come_back_is_asked_again(base, answers, expect, state):
    """Within the time allowed. Otherwise what it asks for is said."""
    Handler.left["answers"] = list(answers)
    checked, _ = asked(base + "/limited", expect)

    assert checked.state == state
    assert ("it asks to wait 99 s, and 30 s are allowed in all" in checked.detail) == (answers[0][1] == "99")


def test_how_long_to_wait_is_a_number_or_a_date():
    """Of HTTP, with whole seconds; nonsense counts as a second."""
    then = email.utils.formatdate(time.time() + 60, usegmt=True)

    def wait_s(status, after):
        return pause_s(Answer(status, b"", False, retry_after=after))

    assert 55 < wait_s(429, then) <= 60
    assert (wait_s(429, "7"), wait_s(503, "7"), wait_s(503, ""), wait_s(200, "7")) == (7, 7, None, None)
    assert (wait_s(429, ""), wait_s(429, "soon"), wait_s(429, "-5")) == (1, 1, 0.1)


@pytest.mark.parametrize(
    ("allowed", "status", "detail"),
    [
        ([], 399, None),
        ([], 400, "status 400 where one below 400 was expected"),
        ([404], 404, None),
        ([200, 204], 404, "status 404 where 200 or 204 was expected"),
    ],
)
def test_a_status_is_one_of_those_that_are_allowed(allowed, status, detail):
    """Any below 400 where the campaign names none."""
    assert difference(Expect(allowed), Answer(status, b"", False)) == detail


@pytest.mark.parametrize("coding", ["deflate", "raw deflate"])
def test_deflate_comes_in_two_forms(coding):
    """Some servers leave out the header of zlib."""
    import zlib

    packed = zlib.compress(b"hello")
    body = Body("deflate", keep=100, most=100)
    body.add(packed if coding == "deflate" else packed[2:-4])

    assert (bytes(body.data), body.unreadable) == (b"hello", "")


def test_a_body_that_is_not_what_its_header_announces():
    """It is not compared as if it were."""
    body = Body("gzip", keep=100, most=100)
    body.add(b"plain text")

    assert body.unreadable == "it is not the gzip that its header announces"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("Server disconnected without sending a response.", "the server closed the connection without an answer"),
        ("illegal status line: bytearray(b'HELLO')", "its answer is not HTTP: it begins with 'HELLO'"),
        ("[Errno 111] Connection refused", "Connection refused"),
        ("peer closed connection without sending complete message body (incomplete chunked read)",
         "the connection ended in the body"),
    ],
)  # fmt: skip
def test_errors_of_the_client_are_for_a_person(error, words):
    """Neither its classes nor the kernel's numbers."""
    assert in_words(error) == words


def test_a_name_without_an_address_is_named():
    """The resolver's own words do not say which name."""
    with pytest.raises(Unanswered, match=r"^the host name no-such-host\.invalid has no address: "):
        ask(Request("http://no-such-host.invalid/"), AMPLE_S)


@pytest.mark.process
def test_a_request_that_is_given_up_ends_its_thread(base):
    """Its connection, too: a server that waits for it must not wait for ever."""
    asking = Asking(Request(base + "/silent"), AMPLE_S)
    while asking._socket is None:
        assert not asking.wait(0.01)
    asking.give_up()

    assert asking.wait(5.0)
    with pytest.raises(Unanswered):
        asking.answer()
