"""The generator paced over real sockets: each failure is a row with its reason."""

import asyncio
import itertools
import socket
from collections import Counter
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import uvloop

from agents.generators.contract import Failure, TaskRequest
from agents.generators.paced_connection import Connection
from tests.truth.paced_world import (
    OK,
    all_answered,
    answers,
    carry_out,
    closed_task,
    closes_on_the_second,
    never_answers,
    open_task,
    serving,
    unused_port,
)

# Needs no quiet machine: only what happened is checked, or times with wide bounds.
pytestmark = pytest.mark.process


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.mark.parametrize("model", ["open", "closed"])
def test_a_kept_alive_connection_that_closes_is_retried_once(log, model):
    """GETs whose reused connection ends before the answer are sent again on a fresh one, and all are answered."""
    with serving(closes_on_the_second) as server:
        task = all_answered(server.url, 100, 40) if model == "open" else closed_task(server.url, 2, count=40)
        outcome = carry_out(task, log)
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
        outcome = carry_out(all_answered(server.url, 200, 200), log)
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
        # The last one is due at 0.38 s, and has the time to leave.
        task = open_task(server.url, 50, 0.8, count=20) if model == "open" else closed_task(server.url, 6)
        outcome = carry_out(replace(task, duration_us=800_000), log)
    end_us = outcome.t0_ns // 1000 + 800_000
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


def test_a_free_connection_that_the_server_has_closed_is_not_used():
    """The kernel knows of the close before the event loop has come to it: a request sent then would end in a reset."""

    async def closed_behind_the_loop(listener):
        loop = asyncio.get_running_loop()
        connection = Connection(Mock())
        await loop.create_connection(lambda: connection, *listener.getsockname())
        peer, _ = listener.accept()
        before = connection.ended_by_server()
        peer.close()
        # Nothing is awaited in between: the loop has not seen the end yet.
        seen = (before, connection.ended_by_server(), connection.owner.lost.called)  # type: ignore[attr-defined]
        connection.close()
        return seen

    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert uvloop.run(closed_behind_the_loop(listener)) == (False, True, False)
