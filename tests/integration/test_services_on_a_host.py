"""Services of one host, with a real engine: up, prepared, metered, killed, and nothing left on any way out."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agents.container import Health, Mount
from agents.records import HostRole, ServerState, ServiceFacts
from agents.service import ServiceSpec
from orchestrator.errors import HostError
from orchestrator.fleet.child_process import Children
from orchestrator.fleet.handles import ServiceHandle
from tests.mini_hosts import free_port

IMAGE = "python:3.13-slim"
SLEEP = ["sleep", "600"]
DEADLINE_S = 30.0
GIVE_UP_S = 5.0
HOG = "hoard = []\nwhile True: hoard.append(bytearray(open('/dev/urandom', 'rb').read(1 << 20)))"
LISTEN = "import socket, time\ntime.sleep(0.3)\ns = socket.create_server(('', {port}))\ntime.sleep(600)"


@pytest.fixture
def run() -> str:
    return f"services-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def host(run: str) -> Iterator[ServiceHandle]:
    with Children(run) as children:
        yield children.services("here", "127.0.0.1")
    assert labelled(run) == ([], [])


def labelled(run: str) -> tuple[list[str], list[str]]:
    """Return the containers and the volumes of a run."""
    kinds = (["ps", "--all"], ["volume", "ls"])
    label = f"label=volley.run={run}"
    lists = [subprocess.check_output(["docker", *kind, "--quiet", "--filter", label], text=True) for kind in kinds]
    return lists[0].split(), lists[1].split()


def started(host: ServiceHandle, name: str, **more: object) -> ServiceFacts:
    return host.start(ServiceSpec(name, IMAGE, **({"command": SLEEP} | more))).result(DEADLINE_S)


def inspected(facts: ServiceFacts) -> dict:
    return json.loads(subprocess.check_output(["docker", "inspect", facts.container]))[0]


def test_services_are_started_together_prepared_metered_and_removed(host, run, port):
    """One with a health check, one with a port; facts in order, logs by name, no container after stop()."""
    db = ServiceSpec(
        "db",
        IMAGE,
        entrypoint=["sh", "-c", "echo up; sleep 0.3; touch /tmp/healthy; exec sleep 600"],
        hosts={"cache": "198.18.0.9"},
        env={"GREETING": "hello"},
        memory_bytes=64 << 20,
        cpus=0.5,
        health=Health(["test", "-e", "/tmp/healthy"], interval_s=0.05),
        trial="0001-t",
    )
    cache = ServiceSpec("cache", IMAGE, port, command=["python3", "-c", LISTEN.format(port=port)])
    both = host.start_all([db, cache]).result(DEADLINE_S)
    host.meter(time.time_ns(), None)
    prepared = host.prepare("db", ["sh", "-c", 'getent hosts cache; echo "$GREETING"'], 10.0).result(DEADLINE_S)
    failed = host.prepare("db", ["sh", "-c", "echo no such table >&2; exit 3"], 10.0).result(DEADLINE_S)
    missing = host.prepare("db", ["no-such-program"], 10.0).result(DEADLINE_S)
    endless = host.prepare("db", ["sleep", "599"], 0.2).result(DEADLINE_S)
    running = (
        host.prepare("db", ["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"], 10.0).result(DEADLINE_S).output
    )
    finished = host.finish()

    assert [(facts.name, facts.state, facts.running) for facts in both] == [
        ("db", ServerState.READY, True),
        ("cache", ServerState.READY, True),
    ]
    assert all(facts.ready_after_us >= 300_000 for facts in both)
    assert (prepared.status, prepared.output.split()) == (0, ["198.18.0.9", "cache", "hello"])
    assert (failed.status, failed.output) == (3, "no such table\n")
    assert missing.status in (126, 127), missing
    assert "no-such-program" in missing.output
    assert endless.status is None
    assert "sleep 600" in running
    assert "sleep 599" not in running
    assert [facts.state for facts in finished] == [ServerState.READY] * 2
    assert finished[0].opening.cpu_us <= finished[0].closing.cpu_us
    assert (finished[0].last.memory_limit_bytes, finished[0].memory_bytes, finished[0].cpus) == (
        64 << 20,
        64 << 20,
        0.5,
    )
    assert b"up" in host.log("db")
    assert host.describe().role is HostRole.SERVICE
    host.stop(["db", "none"], DEADLINE_S)
    assert [facts.name for facts in host.finish()] == ["cache"]
    assert len(labelled(run)[0]) == 1


def test_a_service_that_does_not_come_up_says_why(host, port):
    """An exit code with the last line of the log; a check with its own last words; a port; a limit of memory."""
    failing = Health(["sh", "-c", "echo still loading >&2; exit 1"], interval_s=0.01, retries=3)
    specs = [
        ServiceSpec("gone", IMAGE, command=["sh", "-c", "echo no configuration; exit 4"], port=port),
        ServiceSpec("sick", IMAGE, command=SLEEP, health=failing),
        ServiceSpec("deaf", IMAGE, port, command=SLEEP, ready_timeout_s=0.3),
        ServiceSpec("slow", IMAGE, command=SLEEP, health=Health(SLEEP, timeout_s=0.2), ready_timeout_s=0.3),
        ServiceSpec("big", IMAGE, port, command=["python3", "-c", HOG], memory_bytes=32 << 20),
    ]
    gone, sick, deaf, slow, big = host.start_all(specs).result(DEADLINE_S)

    said = "the container ended with exit code 4; the last line of its log: no configuration"
    assert (gone.state, gone.exit_code, gone.detail) == (ServerState.EXITED, 4, said)
    assert gone.exited_after_us is not None
    # Of a process that has ended before it was metered: never the counters of the whole host.
    assert gone.last is None or gone.last.memory_peak_bytes < 100 << 20
    assert sick.state is deaf.state is slow.state is ServerState.NOT_READY
    assert sick.detail == "unhealthy after 3 failed checks: its health check has exit status 1: still loading"
    assert deaf.detail == f"not up within 0.3 s: nothing listens on port {port}"
    assert slow.detail == "not up within 0.3 s: its health check takes longer than 0.2 s"
    for _ in range(2):
        if not big.oom_killed:  # the engine can miss the kernel's notice of a container that ends at once
            (big,) = host.start_all(specs[-1:]).result(DEADLINE_S)
    assert (big.state, big.exit_code, big.oom_killed) == (ServerState.EXITED, 137, True)
    assert "killed for memory" in big.detail


def test_a_service_that_is_killed_during_the_load_is_found(host):
    """With its exit code and how long it lived; its counters are those that were read last."""
    facts = started(host, "db", command=["sh", "-c", "echo working; exec sleep 600"])
    host.meter(time.time_ns(), None)
    subprocess.run(["docker", "kill", facts.container], check=True, capture_output=True)
    (seen,) = host.look()
    (finished,) = host.finish()

    assert (seen.state, seen.running, seen.exit_code) == (ServerState.EXITED, False, 137)
    assert finished.detail == "the container ended: exit code 137; the last line of its log: working"
    assert finished.exited_after_us > 0
    assert finished.opening is not None


def test_a_container_has_what_the_campaign_says_and_few_privileges(host, run, tmp_path):
    """Read back from the engine and from inside the container."""
    (tmp_path / "app.conf").write_text("x=1\n")
    facts = started(
        host,
        "db",
        mounts=[Mount("data", "/data"), Mount(str(tmp_path / "app.conf"), "/app.conf", bind=True, read_only=True)],
        tmpfs={"/scratch": "size=1m"},
        ulimits={"nofile": [100, 200]},
        shm_bytes=8 << 20,
        user="1000:1000",
        working_dir="/scratch",
        network="bridge",
        sysctls={"net.core.somaxconn": "77"},
        cap_drop=["CHOWN"],
        cap_add=["SYS_NICE"],
    )
    asked = (
        "id -u; pwd; ulimit -Sn; ulimit -Hn; cat /app.conf /proc/sys/net/core/somaxconn; grep NoNew /proc/self/status"
    )
    seen = host.prepare("db", ["sh", "-c", asked], 10.0).result(DEADLINE_S).output.split()
    refused = host.prepare("db", ["sh", "-c", "echo > /app.conf"], 10.0).result(DEADLINE_S)
    config = inspected(facts)["HostConfig"]

    assert seen == ["1000", "/scratch", "100", "200", "x=1", "77", "NoNewPrivs:", "1"]
    assert refused.status != 0
    assert config["PidsLimit"] == 16_384
    assert config["ShmSize"] == 8 << 20
    assert config["CapDrop"] == ["ALL"]
    assert sorted(name.removeprefix("CAP_") for name in config["CapAdd"]) == [
        "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID", "SYS_NICE",
    ]  # fmt: skip
    assert labelled(run)[1] == [f"volley-{run}-data"]


def test_a_container_that_cannot_be_made_is_an_error_with_the_reason(host):
    """It names the host, and says what the engine or Volley does not accept."""
    for more, words in (
        ({"mounts": [Mount("/var/run", "/x", bind=True)]}, "control of the Docker engine"),
        ({"mounts": [Mount("/no/such/path", "/x", bind=True)]}, "there is no /no/such/path to mount"),
        ({"command": ["no-such-program"]}, "the Docker engine refuses the container of db"),
        ({"user": "nobody-here"}, "nobody-here"),
    ):
        with pytest.raises(HostError) as caught:
            started(host, "db", **more)
        assert words in str(caught.value)
        assert str(caught.value).startswith("host here: ")
        assert "the container" in caught.value.hint


def test_a_port_in_use_is_an_error_with_the_service(host):
    """And with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(HostError) as caught:
            started(host, "db", port=taken)

    assert f"service db: port {taken} is in use" in str(caught.value)
    assert "change the port in the campaign" in caught.value.hint


def test_a_volume_lasts_from_one_container_to_the_next(host):
    """What a fresh container of the same name finds there."""
    mounts = [Mount("data", "/data")]
    first = started(host, "db", command=["sh", "-c", "touch /data/kept; exec sleep 600"], mounts=mounts)
    second = started(host, "db", mounts=mounts, health=Health(["test", "-e", "/data/kept"], retries=1))

    assert first.container != second.container
    assert second.state is ServerState.READY


def test_a_wait_is_aborted(host):
    """start() ends at once, and says that it was cancelled."""
    starting = host.start(ServiceSpec("db", IMAGE, command=SLEEP, health=Health(["false"], interval_s=0.05)))
    deadline = time.monotonic() + DEADLINE_S
    while host.waiting_for() != "waiting for db":
        assert time.monotonic() < deadline
    host.abort()

    assert (starting.result(GIVE_UP_S).detail or "").startswith("cancelled")


@pytest.mark.parametrize("victim", ["host", "coordinator"])
def test_nothing_is_left_after_kill_9(run, victim, tmp_path):
    """Of the process of the host, and of the coordinator with it."""
    program = (
        "import sys, time\n"
        "from tests.integration.test_services_on_a_host import Children, Mount, started\n"
        f"children = Children({run!r})\n"
        "host = children.services('here', '127.0.0.1')\n"
        "started(host, 'db', mounts=[Mount('data', '/data')])\n"
        "print(host._at.pid, flush=True)\n"
        "sys.stdin.read()\n"
        "children.close()\n"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        executable=os.sys.executable,  # type: ignore[attr-defined]
    )  # fmt: skip
    pid = int(process.stdout.readline())
    assert tuple(map(len, labelled(run))) == (1, 1)
    os.kill(process.pid if victim == "coordinator" else pid, signal.SIGKILL)
    process.communicate(timeout=DEADLINE_S)
    deadline = time.monotonic() + DEADLINE_S
    while labelled(run) != ([], []):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_published_port_counts_as_open_once_the_service_listens(host, port):
    """The engine's proxy accepts before that."""
    spec = ServiceSpec("db", IMAGE, port, network="bridge", ports={7000: port})
    facts = host.start(replace(spec, command=["python3", "-c", LISTEN.format(port=7000)])).result(DEADLINE_S)

    assert facts.state is ServerState.READY
    assert facts.ready_after_us >= 300_000
