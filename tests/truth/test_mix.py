"""Loads of several requests against a server that records every one: counts, rows of a data file, answers, timeouts."""

import asyncio
import json
import random
from collections import Counter

import numpy as np
import pytest

from agents.generators import due
from agents.generators.contract import LONG_COLUMNS, DataOrder, TaskData, TaskRequest, format_task
from tests.truth.harness import codes, explain, run
from tests.truth.paced_world import OK, closed_task, paced, serving

pytestmark = [pytest.mark.counted, pytest.mark.usefixtures("scratch_is_clean")]
AGENTS, COUNT, ROWS = 4, 2_000, 10
WEIGHTS = (6, 3, 1)
MIX = [
    {"path": "/users/${row.id}", "weight": 6, "expect": {"json": {"id": 1}}},
    {"name": "order", "path": "/orders", "json": {"user": "${row.id}"}, "weight": 3, "expect": {"status": 201, "size": "7B"}},
    {"path": "/missing", "expect": {"status": 404, "body": "nothing"}},
]  # fmt: skip


def reply(status, body):
    return f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Shop:
    """Records (method, path, body) of every request. wrong_after: another body from that request on."""

    def __init__(self, wrong_after=10**9):
        self.seen, self.wrong_after = [], wrong_after

    async def script(self, talk):
        while head := await talk.request():
            method, path, _ = head.decode().split("\r\n")[0].split(" ")
            lengths = [
                line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
            ]
            body = await talk._reader.readexactly(int(lengths[0])) if lengths else b""
            self.seen.append((method, path, body))
            if path == "/slow":
                await asyncio.sleep(0.5)
            if path.startswith("/users/"):
                await talk.write(reply(200, '{"id": 1}' if len(self.seen) < self.wrong_after else "sorry"))
            else:
                await talk.write({"/orders": reply(201, "created"), "/missing": reply(404, "nothing")}.get(path, OK))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work beside a data file of ten users."""
    (tmp_path / "users.csv").write_text("id\n" + "".join(f"{k}\n" for k in range(ROWS)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_weighted_mix_over_four_agents(here):
    """GET and POST with rows of a file: what each agent drew is what the server saw, request by request and row by row."""
    shop = Shop()
    with serving(shop.script) as server:
        trial, output = run(server.url, AGENTS, clients=8, count=COUNT, requests=MIX, data={"file": "users.csv"})
    # Each was sent once before the load, the first once more after it.
    kinds = Counter(f"{method} /{path.split('/')[1]}" for method, path, _ in shop.seen)
    kinds.subtract({"GET /users": 2, "POST /orders": 1, "GET /missing": 1})
    users = Counter(path.split("/")[2] if method == "GET" else json.loads(body)["user"]
                    for method, path, body in shop.seen if path != "/missing")  # fmt: skip
    users.subtract({"0": 3})
    drawn, rows = Counter(), Counter()
    for agent in range(AGENTS):
        choose = due.mix(WEIGHTS, random.Random(f"1/1/{agent}").getrandbits(31))
        own = Counter(choose() for _ in range(COUNT // AGENTS))
        drawn.update(own)
        rows.update(str((agent + k * AGENTS) % ROWS) for k in range(own[0] + own[1]))

    assert [kinds[name] for name in ("GET /users", "POST /orders", "GET /missing")] == [drawn[k] for k in range(3)]
    assert +users == rows
    for k, weight in enumerate(WEIGHTS):
        share = weight / sum(WEIGHTS)
        assert abs(drawn[k] - COUNT * share) < 4 * (COUNT * share * (1 - share)) ** 0.5
    statuses = Counter()
    for agent in trial.facts.agents:
        statuses.update(agent.statuses)  # type: ignore[attr-defined]
    assert statuses == {200: drawn[0], 201: drawn[1], 404: drawn[2]}, explain(trial)
    assert sum(agent.checked for agent in trial.facts.agents) >= 3 * AGENTS
    assert not any(agent.unexpected for agent in trial.facts.agents), explain(trial)
    assert "response-mismatch" not in codes(trial)
    assert [each.name for each in output.facts.case.mix] == ["GET /users/${row.id}", "order", "GET /missing"]


def test_agents_take_the_rows_of_a_file_in_turn(here):
    """Four agents of an open loop: no row twice before the file's end, and none left out."""
    (here / "many.csv").write_text("id\n" + "".join(f"{k}\n" for k in range(1_000)))
    shop = Shop()
    times = {"duration": "400ms", "warm_up": "100ms", "tail": "100ms"}
    with serving(shop.script) as server:
        url = f"{server.url}users/${{row.id}}"
        run(url, AGENTS, model="open", rate="500/s", clients=40, data={"file": "many.csv"}, **times)
    taken = [int(path.split("/")[2]) for _, path, _ in shop.seen[1:-1]]

    assert len(taken) >= 290
    assert sorted(taken) == list(range(len(taken)))


@pytest.mark.provokes("response-mismatch")
def test_a_body_that_changes_under_load_is_found(here):
    """The finding names the request and shows the beginning of one answer; the share is that of the compared ones."""
    shop = Shop(wrong_after=8)
    with serving(shop.script) as server:
        trial, _ = run(server.url, 2, clients=4, count=400, requests=MIX, data={"file": "users.csv"})
    (found, *_) = [each for each in trial.findings if each.code == "response-mismatch" and "share" in each.facts]

    assert found.facts["request"] == "GET /users/${row.id}", explain(trial)
    assert found.facts["example"] == "status 200, 5 bytes: body 'sorry' is not JSON"
    assert found.severity == "invalid"


@pytest.mark.provokes("response-mismatch")
@pytest.mark.parametrize("before", [["/"], []])
def test_every_request_of_a_mix_is_checked_before_the_load(here, before):
    """The one that differs is named, also where it is the first, and no load is sent."""
    shop = Shop()
    requests = [*before, {"path": "/missing", "name": "gone"}, "/last"]
    with serving(shop.script) as server:
        trial, _ = run(server.url, 2, clients=4, count=40, requests=requests)

    assert trial.metrics is None
    assert trial.facts.error == "gone: status 404 where one below 400 was expected"
    assert len(shop.seen) == len(before) + 1


@pytest.mark.provokes("redirected")
def test_a_redirect_of_one_request_is_named_with_where_it_leads(here):
    """That of the other is expected."""

    async def script(talk):
        while head := await talk.request():
            moved = b"HTTP/1.1 302 x\r\nLocation: /login?next=1\r\nContent-Length: 0\r\n\r\n"
            await talk.write(OK if head.startswith(b"GET / ") else moved)

    requests = ["/", {"path": "/moved", "expect": {"status": 302}}, "/cart"]
    with serving(script) as server:
        trial, _ = run(server.url, 1, clients=2, count=60, requests=requests)
    (found,) = [each for each in trial.findings if each.code == "redirected"]

    assert found.sentence.endswith("with status 302, all of them GET /cart, to /login."), explain(trial)
    assert found.facts["redirected"] == trial.metrics.mix[2].requests.ok


def test_each_request_has_its_own_timeout(here):
    """Half a second is too long for one of the two, and only for that."""
    shop = Shop()
    requests = [{"path": "/slow", "timeout": "20s"}, {"path": "/slow", "name": "hasty", "timeout": "60ms"}]
    with serving(shop.script) as server:
        trial, _ = run(server.url, 1, clients=8, count=24, requests=requests)
    choose = due.mix((1, 1), random.Random("1/1/0").getrandbits(31))
    drawn = Counter(choose() for _ in range(24))

    (agent,) = trial.facts.agents
    assert agent.statuses == {200: drawn[0], -2: drawn[1]}, explain(trial)


def test_rows_of_seven_columns_have_the_first_byte_and_the_length(tmp_path):
    """Where the task allows them; without an answer the first byte is -1."""

    async def script(talk):
        while head := await talk.request():
            await talk.write(b"HTTP/1.1 200 x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 400)
            await asyncio.sleep(0.05)
            if b"GET /cut" in head:
                return
            await talk.write(b"x" * 600)

    log = tmp_path / "log"
    with serving(script) as server:
        requests = (TaskRequest(server.url), TaskRequest(f"{server.url}cut"))
        task = closed_task(server.url, 2, log=str(log), requests=requests, count=40, columns=LONG_COLUMNS)
        with paced(log) as program:
            program.write(format_task(task))
            program.wait_ready()
            program.go()
            program.process.wait(30)
        rows = np.array([[int(word) for word in line.split()] for line in log.read_text().splitlines()])
    _, _, status, service_us, request, first_byte_us, received = rows.T

    assert set(status[request == 0]) == {200}
    assert set(status[request == 1]) == {-3}
    assert set(received[request == 0]) == {1000}
    assert set(received[request == 1]) == {400}
    assert (first_byte_us >= 0).all()
    assert (service_us[request == 0] >= 49_000).all()
    # A first byte that waits for a busy core is recorded late, never early.
    assert np.median(service_us[request == 0] - first_byte_us[request == 0]) >= 45_000


def test_a_request_that_is_sent_again_keeps_its_row(tmp_path):
    """A connection that the server closes as it is used: the same row goes out on the next one."""
    seen = []

    async def script(talk):
        while head := await talk.request():
            seen.append(head.split(b" ")[1])
            if len(seen) == 3:
                return
            await talk.write(OK)

    log = tmp_path / "log"
    data = TaskData(("id",), tuple((str(k),) for k in range(100)), DataOrder.CYCLE)
    with serving(script) as server, paced(log) as program:
        request = TaskRequest(f"{server.url}${{row.id}}")
        program.write(format_task(closed_task(server.url, 1, log=str(log), requests=(request,), count=6, data=data)))
        program.wait_ready()
        program.go()
        outcome = program.finish()

    assert outcome.summary.retried == 1
    assert outcome.summary.rows_taken == 6
    assert seen == [b"/0", b"/1", b"/2", b"/2", b"/3", b"/4", b"/5"]
