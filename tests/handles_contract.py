"""What every transport has to keep to: each function takes the handles of one run, on this machine, and asserts.

The unit tests run them over child processes and the fake h2load, the integration tests over Ray and the real one.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agents import clock
from agents.container import Health, ServerSpec
from agents.images import Build
from agents.probe import Expect, Request
from agents.records import Assignment, HostRole, ServerState
from agents.service import ServiceSpec
from orchestrator.errors import HostError
from orchestrator.fleet.handles import CommandHandle, LoadHandle, ServerHandle, ServiceHandle
from orchestrator.fleet.hosts import HostLost

REQUESTS = 100
DEADLINE_S = 30.0


@dataclass(frozen=True)
class Hosts:
    """One host in each role, all of them this machine; folder: for the test's files."""

    run: str
    load: LoadHandle
    server: ServerHandle
    command: CommandHandle
    folder: Path


def wait_for(condition: Callable[[], bool], within_s: float = DEADLINE_S) -> None:
    """Wait until a condition holds; fail after within_s."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assignment(hosts: Hosts, url: str, **changes) -> Assignment:
    plain = {"agent": "here/0", "run": hosts.run, "url": url, "clients": 4, "give_up_us": 20_000_000}
    return Assignment(**(plain | {"count": REQUESTS} | changes))


def a_command_has_variables_a_status_and_an_output(hosts: Hosts) -> None:
    """On every host; one that takes too long is ended and has no status."""
    for host in (hosts.command, hosts.load, hosts.server):
        done = host.run_command('echo "$A $VOLLEY_RUN"; exit 3', {"A": "ä b"}, hosts.run, 10.0)
        assert (done.status, done.output) == (3, f"ä b {hosts.run}\n")
        assert done.lasted_us > 0
    assert hosts.command.run_command("sleep 60", {}, hosts.run, 0.2).status is None


def a_host_describes_its_role(hosts: Hosts) -> None:
    """As a record; its clock can be compared at the port that it names."""
    description = hosts.load.describe()

    assert (description.host, description.role) == (hosts.load.host, HostRole.LOAD)
    assert description.h2load is not None
    assert description.cores
    assert hosts.load.clock_port() == description.clock_port
    for host in (hosts.load, hosts.server):
        assert clock.probe(host.address, host.clock_port()).round_trip_ns > 0


def a_load_is_armed_released_followed_and_collected(hosts: Hosts) -> None:
    """Records in, records out; a call under way is not done before it is."""
    port = hosts.load.serve_trivial(0, True)
    try:
        url = f"http://{hosts.load.address}:{port}/"
        checked = hosts.load.check(Request(url), Expect(body="ok"), 10.0)
        (armed,) = hosts.load.arm([assignment(hosts, url)])
        t0_ns = time.time_ns() + 500_000_000
        hosts.load.release_at(t0_ns)
        waiting = hosts.load.wait(DEADLINE_S)
        assert not waiting.done(0.0)
        assert waiting.result(DEADLINE_S + 10)
        progress = hosts.load.progress()
        (result,) = hosts.load.collect()
        use = hosts.load.use()
    finally:
        hosts.load.end_trivial()

    assert (checked.state, checked.body_bytes) == (ServerState.READY, 2)
    assert (armed.agent, armed.gate) == ("here/0", result.facts.gate)
    assert armed.pid == result.facts.pid
    assert not alive(armed.pid)
    assert (progress.rows, progress.running) == ({"here/0": REQUESTS}, False)
    assert (progress.counts["here/0"].answered, progress.counts["here/0"].failed) == (REQUESTS, 0)
    assert progress.times is not None
    assert sum(progress.times.counts.values()) == REQUESTS
    busy = hosts.server.busy_share()
    assert busy is None or 0 <= busy <= 1
    assert (result.facts.rows, result.service["ok"].n) == (REQUESTS, REQUESTS)
    assert result.facts.first_start_us >= t0_ns // 1000
    assert use is None or use.host == hosts.load.host


def control_calls_are_answered_during_a_long_call(hosts: Hosts) -> None:
    """The command ends only after the control call was answered."""
    for host, control in ((hosts.load, hosts.load.progress), (hosts.server, hosts.server.waiting_for)):
        began, go = hosts.folder / f"began-{control.__name__}", hosts.folder / f"go-{control.__name__}"
        script = f"touch {began}; until [ -e {go} ]; do sleep 0.02; done"
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(host.run_command, script, {}, hosts.run, DEADLINE_S)
            wait_for(began.exists)
            control()
            assert not call.done()
            go.touch()
            assert call.result().status == 0
    assert hosts.server.images.output(10**6) == []


def armed_agents_are_discarded(hosts: Hosts) -> None:
    """A trial that is given up leaves no generator."""
    (armed,) = hosts.load.arm([assignment(hosts, "http://127.0.0.1:9/")])
    assert alive(armed.pid)
    hosts.load.cancel()
    hosts.load.discard(10.0)

    wait_for(lambda: not alive(armed.pid))


def what_goes_wrong_on_a_host_is_an_error_that_names_it(hosts: Hosts) -> None:
    """With the fix where it is known; the host goes on working."""
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        url = f"http://127.0.0.1:{port}/"
        spec = ServerSpec("t", "no-such-image", port, Request(url, body=b"\xff"), Expect())
        with pytest.raises(HostError, match=f"host {hosts.server.host}: port {port} is in use") as known:
            hosts.server.start(spec, "trial").result(20.0)
        with pytest.raises(HostError, match=f"host {hosts.load.host}: serve_trivial failed: TrivialServerFailed"):
            hosts.load.serve_trivial(port, False)
    assert "ss -ltnp" in known.value.hint
    assert not isinstance(known.value, HostLost)
    with pytest.raises(HostError, match="feed_image failed: AssertionError"):
        hosts.server.images.feed(b"x" * (3 << 20)).result(10.0)
    assert hosts.server.log() == b""
    assert hosts.server.finish().state == ServerState.NONE


def no_answer_in_time_is_a_lost_host(hosts: Hosts) -> None:
    """Although it works: who waits does not know that."""
    hosts.load.arm([assignment(hosts, "http://127.0.0.1:9/")])
    hosts.load.release_at(time.time_ns() + 1_500_000_000)
    waiting = hosts.load.wait(DEADLINE_S)
    with pytest.raises(HostLost, match=f"host {hosts.load.host}: no answer to wait within 0.1 s"):
        waiting.result(0.1)
    hosts.load.cancel()
    assert waiting.result(DEADLINE_S)
    hosts.load.discard(10.0)


def a_host_whose_process_is_killed_is_lost(hosts: Hosts) -> None:
    """What is under way fails, and so does what follows."""
    pid = int(hosts.command.run_command("echo $PPID", {}, hosts.run, 10.0).output)
    lost: list[HostError] = []

    def long_call() -> None:
        try:
            hosts.command.run_command(f"touch {hosts.folder / 'long'}; sleep 60", {}, hosts.run, 60.0)
        except HostError as error:
            lost.append(error)

    thread = threading.Thread(target=long_call)
    thread.start()
    wait_for((hosts.folder / "long").exists)
    os.kill(pid, signal.SIGKILL)
    thread.join(DEADLINE_S)

    assert [type(error) for error in lost] == [HostLost]
    assert f"host {hosts.command.host}: its actor is gone (run_command)" in lost[0].message
    with pytest.raises(HostLost):
        hosts.command.run_command("true", {}, hosts.run, 1.0)


# The last one leaves a host fewer.
CONTRACT = [
    a_command_has_variables_a_status_and_an_output,
    a_host_describes_its_role,
    a_load_is_armed_released_followed_and_collected,
    control_calls_are_answered_during_a_long_call,
    armed_agents_are_discarded,
    what_goes_wrong_on_a_host_is_an_error_that_names_it,
    no_answer_in_time_is_a_lost_host,
    a_host_whose_process_is_killed_is_lost,
]


def a_container_is_started_metered_and_removed(hosts: Hosts, image: str, env: dict[str, str], port: int) -> None:
    """With the real engine: an image that is found, readiness, counters at the edges, the log, nothing left."""
    description = hosts.server.describe()
    request = Request(f"http://127.0.0.1:{port}/")
    spec = ServerSpec("t", image, port, request, Expect(), env=env, memory_bytes=64 << 20, cpus=1.0)
    starting = hosts.server.start(spec, "0001-t")
    seen = set()
    while not starting.done(0.02):
        seen.add(hosts.server.waiting_for())
    facts = starting.result(60.0)
    hosts.server.meter(time.time_ns(), None)
    assert hosts.load.check(request, Expect(), 10.0).state == ServerState.READY
    finished, log = hosts.server.finish(), hosts.server.log()
    hosts.server.stop(30.0)

    assert (description.role, bool(description.docker)) == (HostRole.SERVER, True)
    assert (facts.state, facts.image) == (ServerState.READY, hosts.server.images.inspect(image, 60.0).id)
    # A wait that is long has its time behind it.
    begin = ("starting t", "waiting for t to answer", "waiting for t to settle", "comparing a response of t")
    assert all(not text or text.startswith(begin) for text in seen), seen
    assert "waiting for t to settle" in seen
    assert finished.running
    assert finished.opening.cpu_us <= finished.closing.cpu_us
    assert finished.last.memory_limit_bytes == 64 << 20
    assert log
    assert hosts.server.finish().state == ServerState.NONE
    assert hosts.server.images.missing([image, "volley/none:no"]) == ["volley/none:no"]
    assert hosts.server.images.find(Build("none", "0")) == ""


def a_service_is_started_prepared_metered_and_removed(services: ServiceHandle, image: str) -> None:
    """With the real engine: two at once, a command in one, a call that is answered meanwhile, an error with its reason."""
    waiting = ServiceSpec("db", image, command=["sleep", "600"], health=Health(["test", "-e", "/tmp/healthy"]))
    starting = services.start_all([ServiceSpec("cache", image, command=["sh", "-c", "echo up; sleep 600"]), waiting])
    wait_for(lambda: services.waiting_for() == "waiting for db")
    services.abort()
    aborted = starting.result(DEADLINE_S)
    db, more = services.start_all(
        [replace(waiting, health=None), ServiceSpec("more", image, command=["sleep", "600"])]
    ).result(DEADLINE_S)
    services.meter(time.time_ns(), None)
    said = services.prepare("db", ["sh", "-c", "echo ready; exit 3"], 10.0).result(DEADLINE_S)
    finished, log = services.finish(), services.log("cache")
    with pytest.raises(HostError, match="the Docker engine refuses the container of bad"):
        services.start(ServiceSpec("bad", image, command=["no-such-program"])).result(DEADLINE_S)
    services.stop(["cache", "db", "more", "bad"], DEADLINE_S)

    assert [(facts.name, facts.state) for facts in aborted] == [
        ("cache", ServerState.READY),
        ("db", ServerState.NOT_READY),
    ]
    assert (db.name, db.state, more.name) == ("db", ServerState.READY, "more")
    assert (said.status, said.output) == (3, "ready\n")
    assert [facts.name for facts in finished] == ["cache", "db", "more"]
    assert all(facts.running and facts.opening is not None for facts in finished)
    assert b"up" in log
    assert services.look() == []
    assert services.describe().role is HostRole.SERVICE
    assert services.images.inspect(image, 60.0).id == db.image
