"""The generator paced over real sockets: answers of every kind, and what it sends."""

import asyncio
from collections import Counter

import pytest

from agents.generators import due
from agents.generators.contract import Failure, TaskRequest
from tests.truth.paced_world import (
    OK,
    answers,
    answers_ok,
    carry_out,
    closed_task,
    open_task,
    serving,
)

# Needs no quiet machine: only what happened is checked, or times with wide bounds.
pytestmark = pytest.mark.process


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


HEADS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
KINDS = {
    "interim": (HEADS + b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, 3, True),
    "chunked": (b"HTTP/1.1 201 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 201, 5, True),
    "empty": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, 0, True),
    "not modified": (b"HTTP/1.1 304 x\r\nContent-Length: 99\r\n\r\n", 304, 0, True),
    "error": (b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", 503, 0, True),
    "redirect": (b"HTTP/1.1 302 x\r\nLocation: /a\r\nContent-Length: 1\r\n\r\n.", 302, 1, True),
    "close": (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, 2, False),
    "old": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, 2, False),
    "old, kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200, 2, True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_answers_of_every_kind(log, kind):
    """Status, bytes of the bodies and reuse of the connection are right; the bytes come in one piece."""
    answer, status, size, kept = KINDS[kind]
    with serving(answers(answer)) as server:
        outcome = carry_out(closed_task(server.url, 1, count=6), log)
    assert outcome.rows.status.tolist() == [status] * 6
    assert outcome.summary.bytes_body == 6 * size
    assert len({number for number, _ in server.requests}) == (1 if kept else 6)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_in_small_pieces(log, kind):
    """The same, byte by byte."""
    answer, status, size, kept = KINDS[kind]

    async def script(talk):
        while await talk.request():
            for k in range(len(answer)):
                await talk.write(answer[k : k + 1])
                await asyncio.sleep(0.0005)

    with serving(script) as server:
        outcome = carry_out(closed_task(server.url, 1, count=3), log)
    assert outcome.rows.status.tolist() == [status] * 3
    assert outcome.summary.bytes_body == 3 * size
    assert len({number for number, _ in server.requests}) == (1 if kept else 3)


@pytest.mark.parametrize("head", [b"", HEADS])
@pytest.mark.parametrize("coding", [b"", b"Transfer-Encoding: gzip\r\n"])
def test_an_answer_that_lasts_until_the_connection_ends(log, head, coding):
    """Without a length the end of the connection is the end of the answer, and no failure."""

    async def script(talk):
        await talk.request()
        await talk.write(head + b"HTTP/1.1 200 OK\r\n" + coding + b"\r\nfirst")
        await asyncio.sleep(0.02)
        await talk.write(b" second")

    with serving(script) as server:
        outcome = carry_out(closed_task(server.url, 2, count=6), log)
    assert outcome.rows.status.tolist() == [200] * 6
    assert outcome.summary.bytes_body == 6 * len(b"first second")
    assert (outcome.rows.service_us >= 20_000).all()


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (HEADS + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n", False),
    ],
)
def test_an_answer_to_head_has_no_body(log, answer, kept):
    """Whatever length it announces, the answer to HEAD ends with its head; GETs between are not disturbed."""

    async def script(talk):
        while head := await talk.request():
            await talk.write(answer if head.startswith(b"HEAD") else OK)

    with serving(script) as server:
        requests = (TaskRequest(server.url, method="HEAD"), TaskRequest(server.url))
        outcome = carry_out(closed_task(server.url, 1, count=20, requests=requests, seed=1), log)
    assert outcome.rows.status.tolist() == [200] * 20
    heads = int((outcome.rows.request == 0).sum())
    assert 0 < heads < 20
    assert outcome.summary.bytes_body == 3 * (20 - heads)
    assert (len({number for number, _ in server.requests}) == 1) is kept


@pytest.mark.parametrize("length", [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_a_body_after_the_head_is_a_protocol_error(log, length):
    """A server that sends a body in answer to HEAD breaks the protocol."""
    with serving(answers(b"HTTP/1.1 200 OK\r\n" + length + b"\r\nabc")) as server:
        requests = (TaskRequest(server.url, method="HEAD"),)
        outcome = carry_out(closed_task(server.url, 1, count=3, requests=requests), log)
    assert outcome.rows.status.tolist() == [Failure.PROTOCOL] * 3


# What is sent.


def test_requests_are_sent_as_asked(log):
    """Method, path with query, Host, own headers and the body reach the server as they were given."""
    bodies = []

    async def script(talk):
        while await talk.request():
            bodies.append(await talk._reader.readexactly(5))
            await talk.write(OK)

    with serving(script) as server:
        post = TaskRequest(
            f"{server.url}a/b?c=d%20e&f=g h",
            method="POST",
            headers=(("X-Secret", "s3cret"), ("User-Agent", "mine")),
            body=b"\x00\xff\r\n!",
        )
        carry_out(closed_task(server.url, 1, count=2, requests=(post,)), log)
    lines = server.requests[0][1].decode().split("\r\n")
    assert lines[0] == "POST /a/b?c=d%20e&f=g%20h HTTP/1.1"
    fields = dict(line.lower().split(": ") for line in lines[1:] if line)
    expected = {"host": f"127.0.0.1:{server.port}", "x-secret": "s3cret", "user-agent": "mine", "content-length": "5"}
    assert fields == {"accept": "*/*", **expected}
    assert bodies == [b"\x00\xff\r\n!"] * 2


def test_a_request_that_asks_to_close(log):
    """After 'Connection: close' in a request the connection is not used again, even if the server would allow it."""
    with serving(answers_ok) as server:
        closing = (TaskRequest(server.url, headers=(("Connection", "close"),)),)
        outcome = carry_out(closed_task(server.url, 1, count=5, requests=closing), log)
    assert outcome.rows.status.tolist() == [200] * 5
    assert [number for number, _ in server.requests] == [1, 2, 3, 4, 5]


def test_a_mix_follows_its_seed(log):
    """Which request is sent when follows from weights and seed, and the row names it."""
    with serving(answers_ok) as server:
        requests = tuple(TaskRequest(f"{server.url}{i}", weight=w) for i, w in enumerate((5, 1, 4)))
        outcome = carry_out(open_task(server.url, 300, 1.0, requests=requests, seed=11), log)
    choose = due.mix([5, 1, 4], 11)
    assert outcome.rows.by_due().request.tolist() == [choose() for _ in range(300)]
    paths = Counter(int(head.split()[1][1:]) for _, head in server.requests)
    assert paths == Counter(outcome.rows.request.tolist())


def test_an_ipv6_literal(log):
    """An address in brackets is connected to, and stands in brackets in the Host header."""
    with serving(answers_ok, host="::1") as server:
        outcome = carry_out(closed_task(server.url, 2, count=10), log)
    assert outcome.statuses() == {200}
    assert f"\r\nhost: [::1]:{server.port}\r\n".encode() in server.requests[0][1]


def test_a_name_with_several_addresses(log):
    """A name is resolved once, and an address that refuses is passed over."""
    with serving(answers_ok, host="127.0.0.1") as server:
        outcome = carry_out(closed_task(f"http://localhost:{server.port}/", 2, count=10), log)
    assert outcome.statuses() == {200}
    assert f"\r\nhost: localhost:{server.port}\r\n".encode() in server.requests[0][1]
