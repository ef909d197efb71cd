"""Handshakes that fail: each is counted once, by why it failed, however the server says no or says nothing at all."""

import asyncio
import base64
import hashlib
import socketserver
import threading
from collections import Counter

import pytest
import uvloop

from agents.generators.contract import Failure
from agents.generators.handshakes import MISSING, TOO_LATE
from agents.generators.paced_pool import CONNECT_WITHIN_NS, Address, Pool
from agents.generators.rowlog import RowLog
from agents.generators.websocket_load import ClosedMessages
from agents.generators.websocket_message import origin_of_messages, prepare_message
from agents.probe import Expect, Request, check
from agents.records import ServerState
from tests.truth.harness import run
from tests.truth.paced_world import serving as serving_bytes
from tests.truth.websocket_world import NEVER, carry_out, closed_task, closes_on, open_task, serving

# Needs no quiet machine: only what happened is checked.
pytestmark = pytest.mark.process
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def counted(outcome):
    return Counter(outcome.rows.status.tolist())


def says_nothing():
    """Return a script that reads a handshake and never answers."""

    async def script(talk):
        await talk.request()
        await talk.read_to_end()

    return script


def answers(*lines, ends="close"):
    """Return a script that answers a handshake with these lines, and closes, resets or waits."""

    async def script(talk):
        head = await talk.request()
        key = next(
            (
                line.split(b": ")[1]
                for line in (head or b"").split(b"\r\n")
                if line.lower().startswith(b"sec-websocket-key")
            ),
            b"",
        )
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        if lines:
            await talk.write(b"\r\n".join([*(line.replace(b"ACCEPT", accept) for line in lines), b"", b""]))
        if ends == "reset":
            talk.reset()
        elif ends == "wait":
            await talk.read_to_end()

    return script


def url_of(server):
    return server.url.replace("http", "ws", 1)


def test_handshakes_that_are_never_answered_in_a_closed_loop(log):
    """Each slot that waits at the end is a failed handshake and a message that was never sent."""
    with serving_bytes(says_nothing()) as server:
        outcome = carry_out(closed_task(url_of(server), 3, duration_us=1_100_000), log)
    # The first connection, by which an address is chosen, is given up before T0.
    assert outcome.summary.handshakes.refused == {TOO_LATE: 1, MISSING: 3}
    assert counted(outcome) == {Failure.UNSENT: 3}
    assert server.connections == 4
    assert outcome.summary.connects == outcome.summary.handshakes.opened == 0


def test_handshakes_that_are_never_answered_in_an_open_loop(log):
    """Every message that was due has a row, and every connection that waits long enough is counted."""
    with serving_bytes(says_nothing()) as server:
        outcome = carry_out(open_task(url_of(server), 20, 0.5), log)
    refused = outcome.summary.handshakes.refused
    assert counted(outcome) == {Failure.UNSENT: 10}
    assert set(refused) == {TOO_LATE, MISSING}
    assert 4 <= refused[MISSING] <= server.connections - 1


def test_a_handshake_that_is_answered_after_the_end(log):
    """The load does not wait for it: it has failed, and its slot is not lost without a trace."""
    with serving(closes_on(1, 1000), takes_s=lambda number: 1.0 if number > 1 else 0) as server:
        outcome = carry_out(closed_task(server.url, 1, duration_us=600_000), log)
    assert server.handshakes == 2
    assert outcome.summary.handshakes.opened == 1
    assert outcome.summary.handshakes.refused == {MISSING: 1}
    assert counted(outcome) == {Failure.RESET: 1}


def test_slow_handshakes_that_succeed_have_not_failed(log):
    """A server that needs 80 ms for each: none is counted, at the end neither."""
    with serving(closes_on(2, 1000), takes_s=lambda number: 0.08) as server:
        outcome = carry_out(closed_task(server.url, 4, duration_us=700_000), log)
    assert outcome.summary.handshakes.refused == {}
    assert outcome.summary.handshakes.opened > 8


def test_a_handshake_fails_after_ten_seconds(tmp_path):
    """In the middle of a long load, too; the time is that of the pool's clock, so that the test need not wait."""

    async def go(server):
        url = url_of(server)
        task = closed_task(url, 1, duration_us=60_000_000, log=str(tmp_path / "log"))
        origin = origin_of_messages(task.requests)
        load = ClosedMessages(task, origin, [prepare_message(task.requests[0])], RowLog(task.log, task.columns))
        pool: Pool = load.pool
        pool.address = Address(2, origin.host, origin.port)
        load.begun = load.running = True
        load.t0_ns = 0
        pool.start()
        (attempt,) = pool.connecting
        tasks = list(pool.connecting.values())
        async with asyncio.timeout(10):
            while not server.requests:
                await asyncio.sleep(0.005)
        pool.give_up_old(attempt.began_ns + CONNECT_WITHIN_NS - 1)
        assert list(pool.connecting) == [attempt]
        pool.give_up_old(attempt.began_ns + CONNECT_WITHIN_NS)
        await asyncio.wait(tasks, timeout=10)
        load.stop()
        return load.summary()

    with serving_bytes(says_nothing()) as server:
        summary = uvloop.run(go(server))
    assert summary.handshakes.refused == {TOO_LATE: 1}
    assert summary.failed[Failure.REFUSED] == 1


SWITCHING = (b"HTTP/1.1 101 x", b"Upgrade: websocket", b"Connection: Upgrade")


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (answers(b"HTTP/1.1 403 Forbidden", b"Content-Length: 0"), 403),
        (answers(b"HTTP/1.1 403 Forbidden", b"Content-Length: 0", ends="wait"), 403),
        (answers(b"HTTP/1.1 302 Found", b"Location: /other", b"Content-Length: 0"), 302),
        (answers(*SWITCHING, b"Sec-WebSocket-Accept: bm90IHRoZSBkaWdlc3Q="), 101),
        (answers(*SWITCHING), 101),
        (answers(b"220 mail.example.org ESMTP"), 0),
        (answers(), 0),
        (answers(ends="reset"), 0),
    ],
    ids=["403", "403 kept open", "302", "wrong accept", "no accept", "not HTTP", "closed", "reset"],
)
def test_each_way_to_refuse(log, script, status):
    """By the status of the response, or 0 where there is none; each message that waited for it is refused."""
    with serving_bytes(script) as server:
        outcome = carry_out(closed_task(url_of(server), 2, count=6), log)
    failed = outcome.summary.handshakes.refused
    assert set(failed) == {status}
    # Those before T0 have no message that waits for them.
    assert 6 <= failed[status] <= server.connections
    assert counted(outcome) == {Failure.REFUSED: 6}


class Refuses(socketserver.StreamRequestHandler):
    """Reads a handshake and refuses it."""

    def handle(self):
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


def test_refused_over_a_unix_socket(log, tmp_path):
    """A refusal ends the attempt there as well, so that its slot is used again."""
    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "s"), Refuses) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            outcome = carry_out(closed_task("ws://host/", 2, count=6, socket=str(tmp_path / "s")), log)
        finally:
            server.shutdown()
    assert set(outcome.summary.handshakes.refused) == {403}
    assert counted(outcome) == {Failure.REFUSED: 6}


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (says_nothing(), "no response to the handshake within 0.3 s"),
        (answers(*SWITCHING, b"Sec-WebSocket-Accept: bm90IHRoZSBkaWdlc3Q="), "its response to the handshake is wrong"),
        (answers(b"220 mail.example.org ESMTP"), "it does not speak HTTP/1.1"),
        (answers(), "it closed the connection"),
    ],
    ids=["nothing", "wrong accept", "not HTTP", "closed"],
)
def test_the_check_before_a_load_says_why(script, words):
    """Within the time that it has."""
    with serving_bytes(script) as server:
        checked = check(Request(url_of(server), body=b"x", websocket=True), Expect(), 0.3, repeat=False)
    assert checked.state is not ServerState.READY
    assert words in checked.detail


@pytest.mark.provokes("handshakes-failed")
def test_a_trial_says_how_many_were_never_answered():
    """The server answers the checks and every other handshake; the finding counts the others in words."""
    with serving(takes_s=lambda number: NEVER if number > 1 and number % 2 == 0 else 0) as echo:
        trial, output = run(
            echo.url, 1, protocol="websocket", clients=4, duration="1200ms", warm_up="100ms", tail="100ms"
        )
    (agent,) = output.facts.agents
    (found,) = [finding for finding in trial.findings if finding.code == "handshakes-failed"]
    missing = agent.handshakes.refused[MISSING]
    assert missing >= 1
    assert sum(agent.handshakes.refused.values()) <= echo.slow
    assert f"no response before the end of the load: {missing}" in found.sentence
