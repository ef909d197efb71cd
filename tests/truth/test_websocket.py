"""The generator websocket over real sockets: its loops, its connections, and each failure as a row with its reason."""

import asyncio
import base64
import gc
import hashlib
import itertools
import ssl
import subprocess
import time
import weakref
from collections import Counter
from dataclasses import replace
from http import HTTPStatus
from unittest.mock import Mock

import numpy as np
import pytest
import uvloop

from agents.generators.contract import Failure, TaskData, Wanted
from agents.generators.handshakes import Handshakes
from agents.generators.websocket_connection import WebSocketConnection
from agents.generators.websocket_message import handshake, prepare_message
from agents.probe import Expect, Request, check
from agents.records import ServerState
from agents.tls import UNTRUSTED
from tests.truth.paced_world import serving as serving_bytes
from tests.truth.paced_world import unused_port
from tests.truth.websocket_world import (
    carry_out,
    closed_task,
    closes_on,
    echoes,
    echoes_after,
    echoes_twice,
    fragments,
    never_echoes,
    open_task,
    pings_first,
    request,
    serving,
)

# Needs no quiet machine: only what happened is checked, or times with wide bounds.
pytestmark = pytest.mark.process
FORBIDDEN = HTTPStatus.FORBIDDEN


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def counted(outcome):
    return Counter(outcome.rows.status.tolist())


# The loops.


@pytest.mark.parametrize("clients", [1, 7])
def test_service_times_are_those_of_the_servers_own_record(log, clients):
    """Rank by rank no answer is faster than the server held its message, and the median is not much slower."""
    with serving(echoes_after(0.002, 0.004, 0.006, 0.03)) as server:
        outcome = carry_out(closed_task(server.url, clients, count=149), log)
    own, seen = np.sort(server.held_us), np.sort(outcome.rows.service_us)
    assert counted(outcome) == {200: 149}
    assert len(server.messages) == outcome.summary.sent == 149
    assert (seen >= own).all()
    assert np.median(seen) < np.median(own) + 10_000
    assert outcome.summary.connects == outcome.summary.handshakes.opened == clients
    assert outcome.summary.most_connections == clients


def test_due_times_of_an_open_loop_are_exact(log):
    """Message k is due at T0 + k / rate, and the response time of a slow server counts from there."""
    with serving(echoes_after(0.02)) as server:
        outcome = carry_out(open_task(server.url, 199, 1.0, duration_us=1_000_000), log)
    offsets = itertools.takewhile(lambda at: at < 1_000_000_000, (int(k * 1e9 / 199) for k in range(300)))
    assert outcome.rows.by_due().due_us.tolist() == [(outcome.t0_ns + at) // 1000 for at in offsets]
    answered = outcome.rows.status == 200
    assert answered.sum() >= 150
    assert (outcome.rows.service_us[answered] >= 18_000).all()
    assert outcome.summary.most_connections > 4  # each carries one message at a time
    assert set(outcome.statuses()) <= {200, Failure.UNANSWERED, Failure.UNSENT}


def test_messages_that_find_no_free_connection_wait(log):
    """Two connections to a server of 50 ms answer 40 a second: the rest waits, and the response time shows it."""
    with serving(echoes_after(0.05)) as server:
        outcome = carry_out(open_task(server.url, 100, 0.5, clients=2), log)
    assert outcome.summary.most_connections == 2
    assert outcome.summary.waited_for_slot > 30
    assert counted(outcome)[200] <= 20


def test_each_message_takes_a_row_of_the_data(log):
    """Placeholders of a message are filled row by row."""
    data = TaskData(("id",), (("one",), ("two",), ("three",)))
    with serving() as server:
        task = closed_task(server.url, 1, count=5, message=b'{"id": "${row.id}"}', data=data)
        outcome = carry_out(task, log)
    assert server.messages == [f'{{"id": "{word}"}}' for word in ("one", "two", "three", "one", "two")]
    assert outcome.summary.rows_taken == 5


# What is on the wire.


@pytest.mark.parametrize("binary", [False, True])
def test_a_large_message(log, binary):
    """One megabyte comes back whole, as the kind that was sent."""
    message = b"x" * 1_000_000
    with serving() as server:
        task = closed_task(server.url, 2, count=6)
        outcome = carry_out(replace(task, requests=(request(server.url, message, binary=binary),)), log)
    assert counted(outcome) == {200: 6}
    assert outcome.summary.bytes_body == 6_000_000
    assert {type(each) for each in server.messages} == {bytes if binary else str}


def test_pings_are_answered_and_are_no_answers(log):
    """A server that pings before each answer gets its pongs."""
    with serving(pings_first) as server:
        outcome = carry_out(closed_task(server.url, 3, count=30), log)
    assert counted(outcome) == {200: 30}
    assert server.pongs == 30


def test_an_answer_in_fragments_is_one_answer(log):
    """Three frames are one message."""
    with serving(fragments) as server:
        outcome = carry_out(closed_task(server.url, 2, count=20), log)
    assert counted(outcome) == {200: 20}
    assert outcome.summary.bytes_body == 20 * len("a message")


def test_headers_and_subprotocols_of_the_handshake(log):
    """The server sees the user's headers once each, and agrees to a subprotocol that was offered."""
    headers = (("Authorization", "Bearer x"), ("User-Agent", "me"), ("Sec-WebSocket-Protocol", "v1, v2"))
    with serving(subprotocols=["v2"]) as server:
        task = closed_task(server.url, 1, count=1)
        outcome = carry_out(replace(task, requests=(request(server.url + "?room=a b", headers=headers),)), log)
    (seen,) = server.requests
    assert counted(outcome) == {200: 1}
    assert seen.path == "/ws?room=a%20b"
    assert seen.headers.get_all("User-Agent") == ["me"]
    assert seen.headers["Authorization"] == "Bearer x"
    assert seen.headers["Sec-WebSocket-Protocol"] == "v1, v2"
    assert "Sec-WebSocket-Extensions" not in seen.headers


@pytest.mark.parametrize("verify", [False, True])
def test_over_tls(log, verify, certificate):
    """A certificate that is not trusted is accepted, or refuses every connection where it is checked."""
    with serving(context=certificate) as server:
        outcome = carry_out(closed_task(server.url, 2, count=6, verify=verify), log)
    assert counted(outcome) == ({Failure.REFUSED: 6} if verify else {200: 6})
    assert outcome.summary.handshakes.refused.get(0, 0) >= (6 if verify else 0)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=t -keyout key -out certificate"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate", folder / "key")
    return context


@pytest.mark.parametrize("verify", [False, True])
def test_the_check_before_a_load_over_tls(certificate, verify):
    """It accepts any certificate, or says that this one is not trusted."""
    with serving(context=certificate) as server:
        checked = check(Request(server.url, body=b"x", websocket=True, verify=verify), Expect(), 2, repeat=False)
    assert checked.state == (ServerState.NOT_READY if verify else ServerState.READY)
    assert (UNTRUSTED in checked.detail) is verify


def test_connections_are_closed_in_order(log):
    """At the end the server gets a close frame on every connection."""
    with serving() as server:
        carry_out(closed_task(server.url, 5, count=20), log)
        deadline = time.monotonic() + 10
        while sum(server.ended.values()) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert server.ended == {1001: 5}


# Failures.


@pytest.mark.parametrize(("code", "key"), [(1011, 1011), (None, 0)])
def test_a_server_that_closes_after_some_messages(log, code, key):
    """Each connection answers four and closes on the fifth: a fifth of the rows says so, and the code is counted."""
    with serving(closes_on(5, code)) as server:
        outcome = carry_out(closed_task(server.url, 1, count=50), log)
    assert counted(outcome) == {200: 40, Failure.RESET: 10}
    assert outcome.summary.handshakes.closed == {key: 10}
    assert outcome.summary.retried == 0  # a message may have had its effect
    assert len(server.messages) == 50


def test_a_server_that_refuses_a_share_of_the_handshakes(log):
    """Every third handshake is answered by 403: rows and summary count as many as the server."""
    with serving(closes_on(2, 1000), refuses=lambda number: FORBIDDEN if number % 3 == 0 else None) as server:
        outcome = carry_out(closed_task(server.url, 1, count=40), log)
    rows = counted(outcome)
    assert outcome.summary.handshakes.refused == {403: server.refused}
    # The last one may be refused when nothing is left to send.
    assert server.refused - 1 <= rows[Failure.REFUSED] <= server.refused
    assert rows[200] == rows[Failure.RESET] == server.handshakes - server.refused
    assert outcome.summary.connects == server.handshakes - server.refused


def test_a_server_that_is_no_websocket(log):
    """A server that answers the handshake with 200 is counted as that."""
    with serving(refuses=lambda number: HTTPStatus.OK) as server:
        outcome = carry_out(open_task(server.url, 50, 0.3), log)
    assert counted(outcome)[Failure.REFUSED] > 0
    assert outcome.statuses() <= {Failure.REFUSED, Failure.UNSENT}
    assert set(outcome.summary.handshakes.refused) == {200}


def test_refused_connections(log):
    """Where nothing listens each message is refused, and was never sent."""
    outcome = carry_out(closed_task(f"ws://127.0.0.1:{unused_port()}/", 4, count=8), log)
    assert counted(outcome) == {Failure.REFUSED: 8}
    assert outcome.summary.connects == 0
    assert set(outcome.summary.handshakes.refused) == {0}


@pytest.mark.parametrize("timeout_us", [100_000, None])
def test_a_server_that_never_answers(log, timeout_us):
    """Messages time out, or are unanswered at the end."""
    with serving(never_echoes) as server:
        outcome = carry_out(closed_task(server.url, 2, duration_us=350_000, timeout_us=timeout_us), log)
    rows = counted(outcome)
    assert set(rows) <= {Failure.TIMEOUT, Failure.UNANSWERED}
    assert rows[Failure.TIMEOUT] == (0 if timeout_us is None else 6)
    assert len(server.messages) == len(outcome.rows)


def test_two_answers_to_one_message(log):
    """A second answer makes the match of answers and messages uncertain: the message fails."""
    with serving(echoes_twice) as server:
        outcome = carry_out(closed_task(server.url, 1, count=10), log)
    assert counted(outcome) == {Failure.PROTOCOL: 10}
    assert outcome.summary.handshakes.unasked == 10
    assert server.handshakes >= 10


def test_garbage_after_the_handshake(log):
    """Bytes that are no frame are a protocol failure."""

    async def script(talk):
        head = await talk.request()
        key = next(
            line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        lines = [b"HTTP/1.1 101 x", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + accept]
        await talk.write(b"\r\n".join([*lines, b"", b""]))
        await talk._reader.read(100)
        await talk.write(b"\xff\xff\xff\xff")
        await talk.read_to_end()

    with serving_bytes(script) as server:
        outcome = carry_out(closed_task(server.url.replace("http", "ws"), 1, count=5), log)
    assert counted(outcome) == {Failure.PROTOCOL: 5}


def test_bodies_are_compared_on_a_sample(log):
    """An answer other than the one that is wanted is counted, with an example."""
    with serving(echoes) as server:
        task = closed_task(server.url, 1, count=20)
        outcome = carry_out(replace(task, requests=(request(server.url, wanted=Wanted(body="other")),)), log)
    assert outcome.summary.checked >= 1
    assert outcome.summary.unexpected == {0: outcome.summary.checked}
    assert "'a message' is not the expected one" in outcome.summary.examples[0]


def test_closed_connections_are_freed_without_the_collector():
    """Nothing that a connection leaves behind forms a cycle: the collector is off while a load runs."""

    async def go(url):
        loop, owner = asyncio.get_running_loop(), Mock(bytes_body=0)
        connection = WebSocketConnection(owner, handshake((request(url),)), Handshakes())
        await loop.create_connection(lambda: connection, "127.0.0.1", int(url.split(":")[2].split("/")[0]))
        await connection.agreed
        answered = loop.create_future()
        owner.answered.side_effect = lambda _: answered.set_result(None)
        connection.send(prepare_message(request(url)), 0, 0)
        await answered
        protocol = weakref.ref(connection._protocol)
        connection.close()
        owner.reset_mock(side_effect=True)
        del connection._protocol
        return protocol

    gc.disable()
    try:
        with serving() as server:
            protocol = uvloop.run(go(server.url))
        assert protocol() is None
    finally:
        gc.enable()
