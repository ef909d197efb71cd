"""A load host dies in mid-load and the trial continues: the counts of the others are those of the server's own record."""

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from orchestrator.analyse.cases import judge
from orchestrator.fleet.child_process import Child, Children
from orchestrator.fleet.hosts import Placed
from orchestrator.plan import make_plan
from orchestrator.result import Verdict
from orchestrator.run.loop import RunContext
from orchestrator.run.trial import run_trial
from orchestrator.spec.load import from_plain
from tests import sessions

pytestmark = pytest.mark.process
EACH, HOSTS = 150, ("first", "second", "third")
ANSWER_S = 0.01


class Record:
    """How many requests the server has read, by path."""

    def __init__(self):
        self.read = Counter()
        self.lock = threading.Lock()

    def add(self, path):
        with self.lock:
            self.read[path] += 1


@contextmanager
def recording() -> Iterator[tuple[int, Record]]:
    """Run a server that answers after ANSWER_S and counts what it has read; yield its port and its record."""
    record = Record()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def do_GET(self):
            record.add(self.path)
            time.sleep(ANSWER_S)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *arguments):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            """Be silent about clients that are killed while they wait for an answer."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], record
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def killed_at(record: Record, path: str, requests: int, pid: int) -> threading.Thread:
    """Kill a process once the server has read so many requests to a path."""

    def watch():
        deadline = time.monotonic() + 30
        while record.read[path] < requests and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.provokes("degraded")
@pytest.mark.parametrize("lost", [0, 1])
def test_the_counts_of_the_others_are_those_of_the_servers_record(lost, tmp_path):
    """Of as many rows as agents each agent has one, its path: so the server's record has the requests of each."""
    run, paths = f"degraded-{os.getpid()}", [f"/{host}" for host in HOSTS]
    with recording() as (port, record), Children(run, containers=False) as children:
        plain = {
            "campaign": "degraded",
            "targets": {"t": {"url": f"http://127.0.0.1:{port}/${{row.host}}"}},
            "loads": {"l": {"clients": 6, "requests": EACH * len(HOSTS), "data": {"file": "hosts.csv"}}},
            "agents": len(HOSTS),
            "repetitions": 1,
            "on_agent_loss": "degrade",
        }
        (tmp_path / "hosts.csv").write_text("\n".join(["host", *HOSTS]) + "\n")
        campaign = from_plain(plain, tmp_path).campaign
        loads = [children.load(host, "127.0.0.1") for host in HOSTS]
        context = RunContext(campaign, tmp_path, run, {}, lambda case: None)
        (victim,) = (child for child in children._children if child.host == HOSTS[lost])
        assert isinstance(victim, Child)
        killer = killed_at(record, paths[lost], EACH // 3, victim.pid)
        output = run_trial(
            context.input(make_plan(campaign).trials[0]), Placed(None, loads, [[None]] * 3), lambda e: None
        )
        killer.join()
        left = [index for index in range(len(HOSTS)) if index != lost]
        facts, trial = output.facts, judge(output.facts, output.agents)
        # The generator of the lost host dies with it: from then on the server reads nothing more from it.
        read = dict(record.read)

    assert not [name for name in sessions.scratch() if run in name]
    assert facts.error is None
    # The first row was asked for before the load, and after it once more.
    asked = {path: 2 * (path == paths[0]) for path in paths}
    assert [(agent.agent, agent.rows) for agent in facts.agents] == [(f"{HOSTS[i]}/0", EACH) for i in left]
    assert {path: count - asked[path] for path, count in read.items() if path != paths[lost]} == {
        paths[i]: EACH for i in left
    }
    assert EACH // 3 - 1 <= read[paths[lost]] - asked[paths[lost]] < EACH
    assert trial.metrics is not None
    assert trial.metrics.requests.ok == EACH * len(left)
    assert (facts.case.agents, facts.case.clients, facts.case.requests) == (2, 4, EACH * 2)
    assert facts.degraded is not None
    assert facts.degraded.share == pytest.approx(1 / 3)
    assert facts.degraded.after_us is not None
    assert trial.verdict is Verdict.SUSPECT
    assert output.lost is not None
    assert output.lost.host == HOSTS[lost]
