"""The generator paced over real sockets: its schedule, its connections and its closed loop."""

import asyncio
import itertools
import socket
import threading
from collections import Counter

import numpy as np
import pytest

from agents.generators import due
from agents.generators.contract import Arrivals, Failure
from tests.truth.paced_world import (
    OK,
    all_answered,
    answers_after,
    answers_ok,
    carry_out,
    closed_task,
    never_answers,
    open_task,
    serving,
)

# Needs no quiet machine: only what happened is checked, or times with wide bounds.
pytestmark = pytest.mark.process


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
        outcome = carry_out(all_answered(server.url, 300, 300), log)
    assert outcome.statuses() == {200}
    assert (outcome.rows.start_us >= outcome.rows.due_us).all()


def test_a_count_bounds_an_open_loop(log):
    """With a count and no duration the load ends when that many requests have ended."""
    with serving(answers_ok) as server:
        outcome = carry_out(all_answered(server.url, 500, 101), log)
    assert len(server.requests) == len(outcome.rows) == outcome.summary.planned == 101


# Connections of the open loop.


def test_the_connection_used_last_is_used_next(log):
    """A server that is never busy sees almost every request on one connection, although others are open."""
    with serving(answers_ok) as server:
        outcome = carry_out(open_task(server.url, 100, 1.0), log)
    used = [number for number, _ in server.requests]
    assert outcome.summary.most_connections > 1
    # An answer that is late may move the load to another connection, where it stays. Taking turns, 99 of 100 would change.
    assert sum(one != other for one, other in itertools.pairwise(used)) <= 20, used


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
    assert (rows.due_us + rows.service_us >= outcome.t0_ns // 1000 + 1_000_000 - 2)[~sent].all()


def test_idle_connections_that_the_server_closes_are_replaced(log):
    """A server that closes connections after 50 ms without a request loses no request at 10 requests per second."""

    async def impatient(talk):
        while True:
            try:
                if not await asyncio.wait_for(talk.request(), 0.05):
                    return
            except TimeoutError:
                return
            await talk.write(OK)

    with serving(impatient) as server:
        outcome = carry_out(all_answered(server.url, 10, 20), log)
    assert outcome.rows.status.tolist() == [200] * 20


def test_a_server_that_closes_at_once_is_not_flooded(log):
    """Spare connections that come to nothing are opened ever more slowly."""

    async def slams(talk):
        return

    with serving(slams) as server:
        outcome = carry_out(all_answered(server.url, 2, 4), log)
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
        outcome = carry_out(all_answered(f"http://127.0.0.1:{listener.getsockname()[1]}/", 50, 50), log)
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
    # The age of the one that was sent counts from its start.
    early = (given_up_us < outcome.t0_ns // 1000 + 1_000_000 - 2) & (rows.status == Failure.UNSENT)
    # What comes due while the run ends is not queued any more.
    assert 30_000 < early.sum() <= 49_999
    assert early[1 : early.sum() + 1].all()


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
