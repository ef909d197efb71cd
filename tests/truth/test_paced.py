"""The generator paced as a program, over its pipes and real sockets, against servers whose every byte is known."""

import asyncio
import itertools
import os
import signal
import socket
import ssl
import subprocess
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.generators import due
from agents.generators.contract import Arrivals, Failure, Protocol, TaskRequest, format_task
from tests.truth.paced_world import (
    OK,
    answers,
    answers_after,
    answers_ok,
    carry_out,
    check_summary,
    closed_task,
    never_answers,
    open_task,
    paced,
    server_process,
    serving,
    unused_port,
)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


# The schedule.


@pytest.mark.parametrize("rate", [497, 997, 1000])
def test_even_due_times_are_exact(log, rate):
    """Request k is due at T0 + first_due_ns + k / rate, and its row says so to the microsecond."""
    with serving(answers_ok) as server:
        outcome = carry_out(open_task(server.url, rate, 1.0, first_due_ns=123_457), log)
    offsets = itertools.takewhile(lambda at: at < 1_000_000_000, (123_457 + int(k * 1e9 / rate) for k in range(2_000)))
    assert outcome.rows.by_due().due_us.tolist() == [(outcome.t0_ns + at) // 1000 for at in offsets]
    assert outcome.summary.planned == len(outcome.rows)


def test_poisson_due_times_follow_from_the_seed(log):
    """The due times of 701/s are those of the seed's exponential gaps, whatever was sent late."""
    with serving(answers_ok) as server:
        outcome = carry_out(open_task(server.url, 701, 1.0, arrivals=Arrivals.POISSON, seed=5), log)
    offsets = itertools.takewhile(lambda at: at < 1_000_000_000, due.poisson(701, 5))
    assert outcome.rows.by_due().due_us.tolist() == [(outcome.t0_ns + at) // 1000 for at in offsets]


def test_nothing_is_sent_before_it_is_due(log):
    """Every request that was sent has its start at or after its due time, and was received after T0."""
    with serving(answers_ok) as server:
        outcome = carry_out(open_task(server.url, 300, 1.0), log)
    assert outcome.statuses() == {200}
    assert (outcome.rows.start_us >= outcome.rows.due_us).all()


def test_a_count_bounds_an_open_loop(log):
    """With a count and no duration the load ends when that many requests have ended."""
    with serving(answers_ok) as server:
        outcome = carry_out(open_task(server.url, 500, 1, duration_us=None, count=101), log)
    assert len(server.requests) == len(outcome.rows) == outcome.summary.planned == 101


# Connections of the open loop.


def test_the_connection_used_last_is_used_next(log):
    """A server that is never busy sees almost every request on one connection, although others are open."""
    with serving(answers_ok) as server:
        outcome = carry_out(open_task(server.url, 100, 1.0), log)
    used = Counter(number for number, _ in server.requests)
    assert outcome.summary.most_connections > 1
    assert used.most_common(1)[0][1] >= 90, used


def test_connections_are_opened_as_needed(log):
    """Answers after 0.3 s at 100/s need 30 connections; none of the requests waits for a slot."""
    with serving(answers_after(0.3)) as server:
        outcome = carry_out(open_task(server.url, 100, 1.5), log)
    assert outcome.statuses() <= {200, Failure.UNANSWERED}
    assert outcome.summary.waited_for_slot == 0
    assert 30 <= outcome.summary.most_connections < 100
    assert np.median(outcome.rows.start_us - outcome.rows.due_us) < 50_000


def test_without_a_free_slot_requests_wait_in_order(log):
    """Two slots and answers after 0.1 s: the requests wait, oldest first, and what was never sent has a row."""
    with serving(answers_after(0.1)) as server:
        outcome = carry_out(open_task(server.url, 100, 1.0, clients=2), log)
    rows = outcome.rows.by_due()
    assert outcome.summary.most_connections == 2
    assert outcome.summary.planned == len(rows) == 100
    assert outcome.summary.waited_for_slot >= 90
    sent = rows.start_us > 0
    assert 0 < sent.sum() <= 22
    assert sent[: sent.sum()].all(), "a younger request overtook an older one"
    assert (np.diff(rows.start_us[sent]) >= 0).all()
    assert set(rows.status[~sent].tolist()) == {Failure.UNSENT}
    # Each is given up when the run ends, at its age.
    assert (rows.due_us + rows.service_us >= outcome.t0_ns // 1000 + 1_000_000 - 1)[~sent].all()


def test_idle_connections_that_the_server_closes_are_replaced(log):
    """A server that closes connections after 50 ms without a request loses nobody at 10 requests per second."""

    async def impatient(talk):
        while True:
            try:
                if not await asyncio.wait_for(talk.request(), 0.05):
                    return
            except TimeoutError:
                return
            await talk.write(OK)

    with serving(impatient) as server:
        outcome = carry_out(open_task(server.url, 10, 2.0), log)
    assert outcome.rows.status.tolist() == [200] * 20


def test_a_server_that_closes_at_once_is_not_flooded(log):
    """Spare connections that come to nothing are opened ever more slowly."""

    async def slams(talk):
        return

    with serving(slams) as server:
        outcome = carry_out(open_task(server.url, 2, 2.0), log)
    assert outcome.statuses() == {Failure.RESET}
    assert server.connections < 150


def test_a_worker_that_reads_one_connection_at_a_time_is_not_starved(log):
    """A sync server accepts, reads, answers and closes, one connection after the other: spare ones must not block it."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    if connection.recv(65536):
                        connection.sendall(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

        thread = threading.Thread(target=serve)
        thread.start()
        outcome = carry_out(open_task(f"http://127.0.0.1:{listener.getsockname()[1]}/", 50, 1.0), log)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    assert outcome.rows.status.tolist() == [200] * 50


def test_the_queue_is_bounded(log):
    """Of 150,000 requests for one slot that hangs at most 100,000 wait: the oldest of the others are given up."""
    with serving(never_answers) as server:
        outcome = carry_out(open_task(server.url, 150_000, 1.0, clients=1), log)
    rows = outcome.rows.by_due()
    assert len(rows) == outcome.summary.planned == 150_000
    assert Counter(rows.status.tolist()) == {Failure.UNANSWERED: 1, Failure.UNSENT: 149_999}
    given_up_us = rows.due_us + rows.service_us
    early = given_up_us < outcome.t0_ns // 1000 + 1_000_000 - 1
    # What comes due while the run ends is not queued any more.
    assert 30_000 < early.sum() <= 49_999
    assert early[1 : early.sum() + 1].all()


# Failures, each a row with its reason.


async def closes_on_the_second(talk):
    """Answer one request, read another and close in order."""
    await talk.request()
    await talk.write(OK)
    await talk.request()


@pytest.mark.parametrize("model", ["open", "closed"])
def test_a_kept_alive_connection_that_closes_is_retried_once(log, model):
    """GETs whose reused connection ends before the answer are sent again on a fresh one, and all are answered."""
    with serving(closes_on_the_second) as server:
        task = open_task(server.url, 100, 0.5, count=40) if model == "open" else closed_task(server.url, 2, count=40)
        outcome = carry_out(replace(task, duration_us=None), log)
    assert outcome.rows.status.tolist() == [200] * 40
    assert outcome.summary.retried > 0
    assert len(server.requests) == 40 + outcome.summary.retried
    assert outcome.summary.sent == 40


def test_what_may_not_be_repeated_is_not_retried(log):
    """A POST whose reused connection ends before the answer is a reset."""
    with serving(closes_on_the_second) as server:
        post = (TaskRequest(server.url, method="POST"),)
        outcome = carry_out(closed_task(server.url, 1, count=20, requests=post), log)
    assert Counter(outcome.rows.status.tolist()) == {200: 10, Failure.RESET: 10}
    assert outcome.summary.retried == 0
    assert len(server.requests) == 20


def test_a_request_is_retried_only_once(log):
    """A server that closes on every request but each connection's first, and on every fresh one after the first ones."""
    fresh = itertools.count()

    async def script(talk):
        await talk.request()
        if next(fresh) == 0:
            await talk.write(OK)
            await talk.request()

    with serving(script) as server:
        outcome = carry_out(closed_task(server.url, 1, count=5), log)
    assert outcome.rows.status.tolist() == [200] + [Failure.RESET] * 4
    assert outcome.summary.retried == 1
    assert len(server.requests) == 6


def test_a_reset_is_a_failure_and_not_retried(log):
    """Every tenth request is reset: exactly those rows say so, and the others are answered."""
    seen = itertools.count(1)

    async def script(talk):
        while await talk.request():
            if next(seen) % 10 == 0:
                talk.reset()
                return
            await talk.write(OK)

    with serving(script) as server:
        outcome = carry_out(open_task(server.url, 200, 1.0), log)
    assert Counter(outcome.rows.status.tolist()) == {200: 180, Failure.RESET: 20}
    assert outcome.summary.retried == 0


@pytest.mark.parametrize("model", ["open", "closed"])
def test_refused_connections(log, model):
    """Where nothing listens each request is refused, and was never sent."""
    url = f"http://127.0.0.1:{unused_port()}/"
    task = open_task(url, 100, 0.5) if model == "open" else closed_task(url, 4, count=10)
    outcome = carry_out(task, log)
    assert outcome.statuses() == {Failure.REFUSED}
    if model == "open":
        assert outcome.rows.start_us.tolist() == [0] * len(outcome.rows)
    else:  # it starts when its slot begins to open the connection
        assert (outcome.rows.start_us >= outcome.t0_ns // 1000).all()
    assert outcome.summary.sent == 0
    assert len(outcome.rows) == outcome.summary.planned == (50 if model == "open" else 10)
    assert outcome.summary.connects == 0


def test_a_closed_loop_does_not_spin_on_refused_connections(log):
    """Four slots that rest between attempts make at most about ten a second each."""
    outcome = carry_out(closed_task(f"http://127.0.0.1:{unused_port()}/", 4, duration_us=1_000_000), log)
    assert 4 <= len(outcome.rows) <= 48


@pytest.mark.parametrize("model", ["open", "closed"])
def test_a_timeout_has_its_row_and_closes_the_connection(log, model):
    """A server that never answers: every request ends after the timeout, and its connection with it."""
    with serving(never_answers) as server:
        task = (
            open_task(server.url, 50, 1, count=20)
            if model == "open"
            else closed_task(server.url, 5, duration_us=1, count=20)
        )
        outcome = carry_out(replace(task, duration_us=None, timeout_us=150_000), log)
        assert outcome.rows.status.tolist() == [Failure.TIMEOUT] * 20
        assert (outcome.rows.service_us >= 150_000).all()
        assert np.median(outcome.rows.service_us) < 300_000
        assert outcome.summary.connects >= 20


def test_a_request_that_waits_too_long_is_never_sent(log):
    """One slot, held by a request without an answer: the others are given up unsent, at the timeout after their due time."""
    with serving(never_answers) as server:
        outcome = carry_out(open_task(server.url, 100, 0.6, clients=1, timeout_us=200_000), log)
    unsent = outcome.rows.status == Failure.UNSENT
    assert outcome.statuses() <= {Failure.TIMEOUT, Failure.UNSENT, Failure.UNANSWERED}
    assert unsent.sum() >= 40
    assert (outcome.rows.start_us[unsent] == 0).all()
    expired = unsent & (outcome.rows.due_us < outcome.t0_ns // 1000 + 300_000)
    assert expired.any()
    assert (outcome.rows.service_us[expired] >= 200_000).all()
    assert 2 <= len(server.requests) <= 4


@pytest.mark.parametrize("model", ["open", "closed"])
def test_what_has_no_answer_at_the_end_has_a_row_at_its_age(log, model):
    """Hung requests are unanswered: start + service time is the end of the run."""
    with serving(never_answers) as server:
        task = open_task(server.url, 50, 0.4) if model == "open" else closed_task(server.url, 6, duration_us=400_000)
        outcome = carry_out(task, log)
    end_us = outcome.t0_ns // 1000 + 400_000
    assert outcome.rows.status.tolist() == [Failure.UNANSWERED] * (20 if model == "open" else 6)
    assert (outcome.rows.start_us + outcome.rows.service_us >= end_us - 2).all()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"garbage\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "no length"),
        (OK + b"more", "bytes after the answer"),
        (OK + OK, "two answers"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "no chunk"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "another protocol"),
    ],
)
def test_what_http_does_not_allow_is_a_protocol_error(log, answer, why):
    """Garbage, or bytes after the answer: the request has failed and its connection is closed."""
    with serving(answers(answer)) as server:
        outcome = carry_out(closed_task(server.url, 1, count=5), log)
    assert outcome.rows.status.tolist() == [Failure.PROTOCOL] * 5, why
    assert server.connections >= 5


def test_a_server_that_speaks_first(log):
    """A banner before any request: nothing is answered, and connections are not opened without end."""

    async def banner(talk):
        await talk.write(b"220 ready\r\n")
        await talk.read_to_end()

    with serving(banner) as server:
        outcome = carry_out(open_task(server.url, 10, 1.0), log)
    assert outcome.statuses() <= {Failure.PROTOCOL, Failure.UNSENT}
    assert len(outcome.rows) == 10
    assert server.connections < 200


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_an_answer_that_is_cut_off_is_a_reset(log, answer):
    """The connection ends in order, and before the whole answer."""

    async def script(talk):
        await talk.request()
        await talk.write(answer)

    with serving(script) as server:
        outcome = carry_out(closed_task(server.url, 1, count=3), log)
    assert outcome.rows.status.tolist() == [Failure.RESET] * 3


# Answers of every kind.

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


@pytest.fixture
def tls(tmp_path):
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=t",
            "-keyout",
            "key",
            "-out",
            "certificate",
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_tls(log, tls, host):
    """HTTPS to a server with a certificate of its own; a name is sent as SNI, an address is not."""
    names = []
    tls.sni_callback = lambda _, name, __: names.append(name)
    with serving(answers_ok, context=tls) as server:
        outcome = carry_out(open_task(f"https://{host}:{server.port}/", 100, 0.5), log)
    assert outcome.rows.status.tolist() == [200] * 50
    assert set(names) == {"localhost" if host == "localhost" else None}


@pytest.mark.parametrize("model", ["open", "closed"])
def test_tls_with_a_server_that_closes(log, tls, model):
    """Connections that end after one answer, and ones that end before it, are told apart under TLS, too."""
    with serving(closes_on_the_second, context=tls) as server:
        task = open_task(server.url, 100, 1, count=20) if model == "open" else closed_task(server.url, 2, count=20)
        outcome = carry_out(replace(task, duration_us=None), log)
    assert outcome.rows.status.tolist() == [200] * 20
    assert outcome.summary.retried > 0


def test_no_tls_where_tls_is_expected(log):
    """A handshake that fails is a connection that could not be opened."""
    with serving(answers(b"HTTP/1.1 400 x\r\n\r\n")) as server:
        outcome = carry_out(open_task(server.url.replace("http:", "https:"), 20, 0.5), log)
    assert outcome.statuses() <= {Failure.REFUSED, Failure.UNSENT}
    assert len(outcome.rows) == 10


# The closed loop.


def test_a_closed_loop_with_a_count(log):
    """Exactly that many requests, over as many connections as there are clients, with no due time."""
    with serving(answers_ok) as server:
        outcome = carry_out(closed_task(server.url, 8, count=201), log)
    assert outcome.rows.status.tolist() == [200] * 201
    assert outcome.rows.due_us.tolist() == [0] * 201
    assert len(server.requests) == 201
    assert {number for number, _ in server.requests} == set(range(1, 9))


def test_fewer_requests_than_clients(log):
    """No connection is opened that would have nothing to send."""
    with serving(answers_ok) as server:
        outcome = carry_out(closed_task(server.url, 50, count=3), log)
    assert outcome.rows.status.tolist() == [200] * 3
    assert outcome.summary.connects == server.connections == 3


def test_each_slot_waits_for_its_answer(log):
    """Answers after 50 ms: three clients have three requests under way, never more, for the whole time."""
    with serving(answers_after(0.05)) as server:
        outcome = carry_out(closed_task(server.url, 3, duration_us=1_000_000), log)
    answered = outcome.rows.status == 200
    assert (outcome.rows.service_us[answered] >= 50_000).all()
    assert 20 <= answered.sum() <= 60
    assert (~answered).sum() <= 3
    starts, ends = outcome.rows.start_us, outcome.rows.start_us + outcome.rows.service_us
    assert max((starts <= at).sum() - (ends <= at).sum() for at in starts) <= 3


def test_connecting_is_no_part_of_the_service_time(log, tls):
    """A server that closes every connection is reconnected to; the handshake's time is in no row."""

    async def slow_greeting(talk):
        await talk.request()
        await talk.write(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    with serving(slow_greeting, context=tls) as server:
        outcome = carry_out(closed_task(server.url, 2, count=30), log)
    assert outcome.rows.status.tolist() == [200] * 30
    assert outcome.summary.connects == 30
    starts, ends = np.sort(outcome.rows.start_us), np.sort(outcome.rows.start_us + outcome.rows.service_us)
    assert starts[-1] - starts[0] > outcome.rows.service_us.sum() / 2, (starts, ends)


# How it is started and ended.


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "end of input"])
@pytest.mark.parametrize("model", ["open", "closed"])
def test_it_can_be_stopped(log, how, model):
    """Stopped in the middle: outstanding rows are written, the summary is right, and it is over in 2 s."""
    with serving(answers_after(0.2)) as server, paced(log) as program:
        long = open_task(server.url, 100, 600) if model == "open" else closed_task(server.url, 10, duration_us=10**9)
        program.write(format_task(replace(long, log=str(log))))
        program.wait_ready()
        program.go()
        program.wait_for_rows(30)
        if how == "end of input":
            program.close_input()
        else:
            program.process.send_signal(getattr(signal, how))
        outcome = program.finish(within_s=2)
    assert outcome.exit_status == 0
    check_summary(outcome)
    assert outcome.statuses() == {200, Failure.UNANSWERED}


def test_rows_are_written_while_it_runs(log):
    """Rows of a slow load are in the log within a second, not only at the end."""
    with serving(answers_ok) as server, paced(log) as program:
        program.write(format_task(replace(open_task(server.url, 20, 600), log=str(log))))
        program.wait_ready()
        program.go()
        program.wait_for_rows(5)
        assert program.process.poll() is None


def test_no_request_before_go(log):
    """Connections are opened before `ready`, requests are sent after `go`; an end of input instead of `go` is the end."""
    with serving(answers_ok) as server, paced(log) as program:
        program.write(format_task(replace(open_task(server.url, 100, 1), log=str(log))))
        program.wait_ready()
        assert server.connections > 0
        program.close_input()
        outcome = program.finish()
    assert (outcome.exit_status, outcome.summary, len(outcome.rows), server.requests) == (0, None, 0, [])


def test_no_input_at_all(log):
    """An end of input instead of a task is the end, without a word."""
    with paced(log) as program:
        program.close_input()
        outcome = program.finish()
    assert (outcome.exit_status, outcome.stderr) == (0, "")


def refused_tasks():
    ok = open_task("http://127.0.0.1:1/", 10, 1)
    yield "not JSON", "{", "paced: the task is not one line of JSON"
    yield "HTTP/2", replace(ok, protocol=Protocol.HTTP2), "paced: this generator speaks HTTP/1.1 only"
    two = (TaskRequest("http://127.0.0.1:1/"), TaskRequest("http://127.0.0.1:2/"))
    yield "two servers", replace(ok, requests=two), "paced: requests go to both 127.0.0.1:1 and 127.0.0.1:2"
    yield "no URL", replace(ok, requests=(TaskRequest("ftp://x/"),)), "paced: 'ftp://x/' is not an http or https URL"
    unknown = replace(ok, requests=(TaskRequest("http://name.invalid/"),))
    yield "no such host", unknown, "paced: 'name.invalid' cannot be resolved: "
    header = replace(ok, requests=(TaskRequest("http://x/", headers=(("A", "s3cret\r\nB: x"),)),))
    yield "header", header, "paced: the value of the header 'A' contains a line break"
    yield "too many", replace(ok, clients=1 << 30), "paced: 1073741888 open files are needed"
    yield "log", replace(ok, log="/nonexistent/log"), "paced: No such file or directory: /nonexistent/log"


@pytest.mark.parametrize(("task", "message"), [pytest.param(t, m, id=name) for name, t, m in refused_tasks()])
def test_a_task_that_cannot_be_done(log, task, message):
    """One sentence on stderr, status 1, nothing on stdout; no secret."""
    with paced(log) as program:
        program.write(task if isinstance(task, str) else format_task(replace(task, log=task.log or str(log))))
        outcome = program.finish()
    assert outcome.exit_status == 1
    assert outcome.stderr.startswith(message)
    assert outcome.stderr.count("\n") == 1
    assert "s3cret" not in outcome.stderr
    assert outcome.summary is None


def test_a_wrong_go_line(log):
    """What is neither `go` nor the end of the input ends the program with a sentence."""
    with serving(answers_ok) as server, paced(log) as program:
        program.write(format_task(replace(open_task(server.url, 10, 1), log=str(log))))
        program.wait_ready()
        program.write("gone")
        outcome = program.finish()
    assert outcome.exit_status == 1
    assert outcome.stderr.startswith("paced: the second line of the input is not 'go <T0>'")


def test_secrets_are_not_in_the_process_list(log):
    """Headers come by the input: neither arguments nor environment show them."""
    with serving(answers_ok) as server, paced(log) as program:
        secret = (TaskRequest(server.url, headers=(("Authorization", "s3cret"),)),)
        program.write(format_task(replace(open_task(server.url, 50, 600, requests=secret), log=str(log))))
        program.wait_ready()
        program.go()
        program.wait_for_rows(3)
        folder = Path(f"/proc/{program.process.pid}")
        assert b"s3cret" not in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        assert b"s3cret" in server.requests[0][1]
        program.process.terminate()
        assert program.finish().stderr == ""


# Memory.


def resident_kib(pid):
    """Memory of a process that is not shared with files, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@pytest.mark.parametrize("kind", ["kept alive", "closes every connection", "resets", "retries", "head", "refused"])
def test_memory_does_not_grow_with_the_number_of_requests(log, kind):
    """With the garbage collector off, nothing is left behind by requests, connections or failures."""
    options = {
        "closes every connection": {"close": True},
        "resets": {"reset_every": 2},
        "retries": {"close_after": 2},
    }.get(kind, {})
    with server_process(**options) as url, paced(log) as program:
        url = f"http://127.0.0.1:{unused_port()}/" if kind == "refused" else url
        requests = (TaskRequest(url, method="HEAD" if kind == "head" else "GET"),)
        task = open_task(url, 2_000, 600, requests=requests, clients=50, timeout_us=10**7)
        program.write(format_task(replace(task, log=str(log))))
        program.wait_ready()
        program.go()
        program.wait_for_rows(3_000)
        before = resident_kib(program.process.pid)
        program.wait_for_rows(9_000)
        grown = resident_kib(program.process.pid) - before
        program.process.send_signal(signal.SIGTERM)
        check_summary(program.finish())
    # A leak of one connection or request of 200 bytes would show as 1,200 KiB.
    assert grown < 1_000, f"{grown} KiB"


def test_sockets_are_closed(log):
    """Connections that have ended hold no file descriptor."""
    with server_process(close=True) as url, paced(log) as program:
        program.write(format_task(replace(closed_task(url, 4, duration_us=10**9), log=str(log))))
        program.wait_ready()
        program.go()
        program.wait_for_rows(500)
        assert len(os.listdir(f"/proc/{program.process.pid}/fd")) < 50
        program.process.terminate()
        program.finish()
