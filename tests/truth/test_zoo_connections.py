"""The zoo's connections: who ended them and when, HTTP as it may come, and the record that is read meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import numpy as np
import pytest

from tests.truth import zoo
from tests.truth.zoo import Outcome, Server, ZooError, serve
from tests.truth.zoo_client import DEADLINE_S, ENDED, REQUEST, RESET, Client, load, until

# Needs no quiet machine: only what happened is checked, or times with wide bounds.
pytestmark = pytest.mark.process

# Connections


def test_every_nth_request_is_reset():
    with serve("reset-every", reset_every=10) as server:
        seen = load(server, 100, 3)
        record = server.record()
    assert np.flatnonzero(record.status == Outcome.RESET).tolist() == list(range(9, 100, 10))
    assert Counter(one.status for one in seen) == {200: 90, RESET: 10}
    assert record.connections.reset_by_server == record.connections.closed_by_server == 10


@pytest.mark.parametrize("announce", [True, False])
def test_a_connection_ends_after_n_answers(announce):
    async def main(server: Server) -> None:
        client = await Client.open(server)
        for n in range(3):
            assert (await client.ask()).status == 200
            assert (b"Connection: close\r\n" in client.head) == (announce and n == 2)
        assert await client.end() == ENDED
        client.close()

    with serve("close-after", close_after=3, announce=announce) as server:
        for _ in range(4):
            asyncio.run(main(server))
        record = server.record()
    assert record.connection.tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert record.connections == zoo.Connections(4, 4, 0, 0, 1, 0)


@pytest.mark.parametrize("http10", [True, False])
def test_every_connection_ends_after_one_answer(http10):
    with serve("close-each", http10=http10) as server:

        async def main() -> None:
            client = await Client.open(server)
            client.writer.write(REQUEST)
            head, _, body = (await client.reader.read()).partition(b"\r\n\r\n")
            assert body == b"ok\n"
            assert head.startswith(b"HTTP/1.0 200 OK" if http10 else b"HTTP/1.1 200 OK")
            assert (b"Content-Length" in head) != http10
            client.close()

        asyncio.run(main())
        load(server, 9, 3)
        record = server.record()
    assert record.counts() == {200: 10}
    assert record.connections.closed_by_server == 10


def test_an_idle_connection_is_closed_and_a_busy_one_is_not():
    async def main(server: Server) -> None:
        used, unused = await Client.open(server), await Client.open(server)
        one = await used.ask()
        assert one.status == 200
        assert await used.end() == await unused.end() == ENDED
        assert time.time_ns() - one.end_ns > 190_000_000

    with serve("idle-close", idle_us=200_000, service_us=400_000) as server:
        asyncio.run(main(server))
        connections = server.record().connections
    assert (connections.closed_by_server, connections.reset_by_server, connections.open) == (2, 0, 0)


@pytest.mark.parametrize("which", [{"hang_connection": 2}, {"hang_every": 2}])
def test_a_connection_never_answers_again(which):
    async def main(server: Server) -> list[int]:
        clients = [await Client.open(server) for _ in range(4)]
        for client in clients:
            assert (await client.ask()).status == 200
        waiting = [asyncio.create_task(client.ask()) for client in clients]
        hung = 1 if "hang_connection" in which else 2
        await until(lambda: server.record().counts() == {200: 8 - hung, Outcome.NEVER_ANSWERED: hung})
        await until(lambda: sum(task.done() for task in waiting) == 4 - hung)
        left = [n for n, task in enumerate(waiting, 1) if not task.done()]
        for client in clients:
            client.close()
        await asyncio.gather(*waiting)
        return left

    with serve("hang", hang_after=1, **which) as server:
        assert asyncio.run(main(server)) == ([2] if "hang_connection" in which else [2, 4])
        record = server.stop()
    assert (record.answered_ns[record.status == Outcome.NEVER_ANSWERED] == 0).all()


def test_two_busy_connections_are_reset_once():
    with serve("reset-at", reset_at_us=100_000, service_us=400_000) as server:
        seen = load(server, 4, 4)
        record = server.record()
    assert Counter(one.status for one in seen) == {200: 2, RESET: 2}
    assert sorted(record.connection[record.status == Outcome.RESET].tolist()) == [1, 2]
    assert ((record.answered_ns - record.origin_ns)[record.status == Outcome.RESET] >= 100_000_000).all()


def test_when_none_is_busy_then_the_next_two_requests_are_reset():
    with serve("reset-at", reset_at_us=20_000) as server:
        seen = load(server, 100, 1, pace_s=0.001)
        record = server.record()
    assert Counter(one.status for one in seen) == {200: 98, RESET: 2}
    reset = np.flatnonzero(record.status == Outcome.RESET)
    assert reset[1] == reset[0] + 1
    assert record.arrived_ns[reset[0]] - record.origin_ns >= 20_000_000


def test_idle_connections_are_reset():
    async def main(server: Server) -> Counter:
        clients = [await Client.open(server) for _ in range(4)]
        assert (await clients[3].ask()).status == 200
        await until(lambda: server.record().connections.reset_by_server == 3)
        ends = Counter([await client.end() for client in clients[:3]])
        assert (await clients[3].ask()).status == 200
        clients[3].close()
        return ends

    with serve("reset-at", reset_at_us=50_000, reset_which="idle", reset_connections=3) as server:
        assert asyncio.run(main(server)) == {RESET: 3}
        assert server.record().counts() == {200: 2}


def test_an_endless_body():
    async def main(server: Server) -> None:
        client = await Client.open(server)
        client.writer.write(REQUEST)
        assert await client.answer() == 200
        assert b"Transfer-Encoding: chunked" in client.head
        for _ in range(30):
            assert await client.reader.readuntil(b"\r\n") == b"3e8\r\n"
            assert await client.reader.readexactly(1002) == b"x" * 1000 + b"\r\n"
        client.close()

    with serve("endless", chunk_bytes=1000, chunk_every_us=2000) as server:
        asyncio.run(asyncio.wait_for(main(server), DEADLINE_S))
        asyncio.run(until(lambda: server.record().connections.closed_by_client == 1))
        record = server.record()
    assert record.counts() == {Outcome.NEVER_ANSWERED: 1}
    assert record.bytes_sent > 30_000


# HTTP, and what the record knows of clients


def test_connections_are_counted_without_those_that_read_the_record():
    async def main(server: Server) -> None:
        clients = [await Client.open(server) for _ in range(7)]
        await until(lambda: server.record().connections == zoo.Connections(7, 0, 0, 0, 7, 7))
        for client in clients[:3]:
            client.close()
        await until(lambda: server.record().connections == zoo.Connections(7, 0, 0, 3, 7, 4))
        one = await Client.open(server)
        assert (await one.ask()).status == 200
        assert server.record().connections == zoo.Connections(8, 0, 0, 3, 7, 5)
        assert server.record().connection.tolist() == [8]

    with serve("fixed", service_us=0) as server:
        asyncio.run(main(server))


def test_a_client_that_leaves_is_recorded_and_its_work_is_done_all_the_same():
    async def main(server: Server) -> None:
        leaving, staying = await Client.open(server), await Client.open(server)
        leaving.writer.write(REQUEST)
        await until(lambda: len(server.record()) == 1)
        leaving.close()
        assert (await staying.ask()).status == 200

    with serve("one-at-a-time", service_us=200_000) as server:
        asyncio.run(main(server))
        record = server.record()
    assert record.status.tolist() == [Outcome.CLIENT_LEFT, 200]
    assert record.begun_ns[1] == record.planned_ns[0]
    assert record.connections.closed_by_client >= 1


@pytest.mark.parametrize("at_once", [True, False])
def test_pipelining_is_refused(at_once):
    async def main(server: Server) -> int:
        client = await Client.open(server)
        client.writer.write(REQUEST * 2 if at_once else REQUEST)
        if not at_once:
            await until(lambda: len(server.record()) == 1)
            client.writer.write(REQUEST)
        return await client.end()

    with serve("fixed", service_us=5_000_000) as server:
        assert asyncio.run(main(server)) == RESET
        record = server.record()
    assert record.counts() == {Outcome.PIPELINED: 1}
    assert record.pipelined == 1


def test_a_request_in_pieces_has_arrived_with_its_last_byte():
    async def main(server: Server) -> int:
        client = await Client.open(server)
        last_ns = 0
        for piece in (b"POST /a?b HTTP/1.1\r", b"\ncontent-length:  5\r\n\r", b"\n12", b"345"):
            last_ns = time.time_ns()
            client.writer.write(piece)
            # Served after the piece was read, so that each piece is read on its own.
            assert len(server.record()) == (piece == b"345")
        assert await client.answer() == 200
        client.close()
        return last_ns

    with serve("fixed", service_us=0) as server:
        last_ns = asyncio.run(main(server))
        load(server, 2)
        record = server.record()
    assert record.arrived_ns[0] >= last_ns - 100_000 - abs(record.clock_step_ns)
    assert (len(record.of_path("/a")), len(record.of_path("/")), len(record.of_path("/b"))) == (1, 2, 0)


def test_head_http10_and_large_bodies():
    async def main(server: Server) -> None:
        client = await Client.open(server)
        assert (await client.ask(b"HEAD / HTTP/1.1\r\n\r\n")).status == 200
        assert b"Content-Length: 1000000\r\n" in client.head
        assert (await client.ask()).status == 200
        assert client.body == b"x" * 1_000_000
        assert (await client.ask(b"GET / HTTP/1.0\r\n\r\n")).status == 200
        assert b"Connection: close" in client.head
        assert await client.end() == ENDED

    with serve("fixed", service_us=0, body_bytes=1_000_000) as server:
        asyncio.run(asyncio.wait_for(main(server), DEADLINE_S))
        assert server.record().counts() == {200: 3}


@pytest.mark.parametrize("request_", [b"nonsense\r\n\r\n", b"GET /" + b"x" * 9000, b"GET / HTTP/1.1\r\n\0\r\n\r\n"])
def test_what_is_not_a_request_is_refused(request_):
    async def main(server: Server) -> int:
        client = await Client.open(server)
        return (await client.ask(request_)).status

    with serve("fixed", service_us=0) as server:
        assert asyncio.run(main(server)) in {400, RESET}
        record = server.record()
    assert (len(record), record.malformed) == (0, 1)


# Reading, starting, stopping


def test_helpers_of_a_record():
    with serve("mix", fail_share=0.5, service_us=1000) as server:
        load(server, 50, 2)
        record = server.record()
    assert record.gaps_us().tolist() == (np.diff(record.arrived_ns) / 1000).tolist()
    assert record.sojourn_us().size == 50
    assert sum(record.counts().values()) == 50
    middle = int(record.arrived_ns[20])
    early, late = record.between(0, middle), record.between(middle, middle + 10**12)
    assert np.concatenate([early.arrived_ns, late.arrived_ns]).tolist() == record.arrived_ns.tolist()


def test_the_record_can_be_read_while_it_runs_and_after_its_end():
    with serve("fixed", service_us=0) as server:
        load(server, 10)
        assert len(server.record()) == 10
        load(server, 10)
    assert len(server.record()) == 20


def test_it_listens_on_ipv6():
    with serve("fixed", address="::1", service_us=0) as server:
        assert server.url == f"http://[::1]:{server.port}/"
        load(server, 3)
        assert server.record().counts() == {200: 3}


def test_it_ends_with_its_standard_input():
    with serve("fixed", service_us=0) as server:
        assert server._process.stdin is not None
        server._process.stdin.close()
        assert server._process.wait(timeout=DEADLINE_S) == 0
        assert len(server.stop()) == 0


@pytest.mark.parametrize(
    ("behaviour", "parameters", "message"),
    [
        ("lion", {}, "no such behaviour: lion"),
        ("fixed", {"service_ms": 1}, "no such parameter: service_ms=1"),
        ("fixed", {}, "fixed: service_us"),
        ("hang", {"hang_after": 1}, "hang_every|hang_connection"),
        ("fixed", {"service_us": "1ms"}, "service_us=1ms"),
        ("fixed", {"service_us": -1}, "service_us=-1"),
        ("fixed", {"service_us": 1, "origin": "noon"}, "origin=noon"),
        ("shed", {"queue": 3}, "needs workers"),
        ("endless", {"http10": 1}, "endless"),
    ],
)
def test_wrong_parameters_are_refused(behaviour, parameters, message):
    with pytest.raises(ZooError) as error, serve(behaviour, **parameters):
        pass
    assert message in str(error.value)


@pytest.fixture
def other_sources(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(zoo, "SOURCES", tmp_path)
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")


def test_it_is_built_once_for_each_source(other_sources, tmp_path):
    first = zoo.build()
    made = first.stat().st_mtime_ns
    assert zoo.build() == first
    assert first.stat().st_mtime_ns == made
    (tmp_path / "main.c").write_text("int main(void) { return 1; }\n")
    assert zoo.build() != first


def test_a_compiler_error_is_shown(other_sources, tmp_path):
    (tmp_path / "main.c").write_text("int main(void) { return nothing; }\n")
    with pytest.raises(ZooError, match="nothing"):
        zoo.build()


def test_what_is_not_a_record_is_refused(tmp_path):
    path = tmp_path / "record"
    for content in (b"", b"x" * 200):
        path.write_bytes(content)
        with pytest.raises(ZooError, match="not a record"):
            zoo.read_record(path)
