"""The guard as a process: the orders it takes, the events it reports, and that nothing outlives it."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from agents import ending, lease
from agents.orders import RUN_VARIABLE
from orchestrator.fleet import raynode

pytestmark = pytest.mark.process

READY = "the node is up"


class Guarded:
    """A guard around a shell that stands in for a node."""

    def __init__(self, run, script, **more):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agents.guard"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        order = {"run": run, "command": ["/bin/sh", "-c", script], "environment": {"FOLDER": "{folder}"},
                 "token": "s3cret", "ready": READY}  # fmt: skip
        self.send(json.dumps(order | more))

    def send(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def event(self):
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        return [json.loads(line) for line in self.process.stdout], self.process.wait(timeout=30)


@pytest.fixture
def run():
    return f"guard-test-{os.getpid()}-{time.monotonic_ns()}"


def test_the_end_of_standard_input_ends_everything_of_the_run(run):
    """Including children that left the process group, the folder and scratch files; nothing that the lease does not list."""
    decoys = [Path("/dev/shm") / f"volley-{run}-decoy", Path(tempfile.gettempdir()) / f"volley-{run}-results"]
    for decoy in decoys:
        decoy.mkdir()
    guarded = Guarded(run, f"setsid sleep 300 & echo {READY}; exec sleep 300")
    started, ready = guarded.event(), guarded.event()
    token = f"{started['folder']}/token"
    assert (started["event"], ready["event"]) == ("started", "ready")
    with open(token) as file:
        assert file.read() == "s3cret"
    assert os.stat(token).st_mode & 0o777 == 0o600
    scratch = lease.made_folder(run, f"volley-{run}-", Path("/dev/shm"))
    deadline = time.monotonic() + 10
    while len(ending.processes_of([run])) != 2:
        assert time.monotonic() < deadline

    (cleaned,), status = guarded.end()

    assert status == 0
    assert (cleaned["event"], cleaned["run"]) == ("cleaned", run)
    assert cleaned["removed"] == {"processes": 2, "containers": 0, "files": 2}
    assert ending.processes_of([run]) == []
    assert not os.path.exists(started["folder"])
    assert not scratch.exists()
    for decoy in decoys:
        decoy.rmdir()


def test_a_node_that_will_never_be_up_is_reported_while_it_keeps_trying(run):
    """By what it prints. Once the node is up, the same message is about another node."""
    refused = Guarded(run, "echo REFUSED; exec sleep 300", hopeless=["REFUSED"])
    up = Guarded(f"{run}-b", f"echo {READY}; sleep 1; echo REFUSED; exec sleep 300", hopeless=["REFUSED"])

    reported = [refused.event() for _ in range(2)]
    events = [up.event() for _ in range(2)]
    log = Path(events[0]["folder"]) / "node.log"
    deadline = time.monotonic() + 10
    while "REFUSED" not in log.read_text():
        assert time.monotonic() < deadline
    # The guard handles requests between looks at the node: it has looked once more when this is answered.
    for _ in range(2):
        up.send(json.dumps({"request": "end", "run": f"{run}-c"}))
        assert up.event()["event"] == "run-ended"
    rest, _ = up.end()

    assert [event["event"] for event in reported] == ["started", "ended"]
    assert (reported[1]["status"], "REFUSED" in reported[1]["log"]) == (None, True)
    assert [event["event"] for event in events + rest] == ["started", "ready", "cleaned"]
    assert refused.end()[1] == 0


def test_a_run_without_a_node(run):
    """Hosts that are processes of the coordinator: marked by the run, or before it had a name. No folder is made."""
    marks = [run, f"{run}-ahead", f"{run}-other"]
    processes = [subprocess.Popen(["sleep", "300"], env={**os.environ, RUN_VARIABLE: mark}) for mark in marks]
    guarded = Guarded(run, "", command=[], marks=[f"{run}-ahead"], containers=False)

    (started, cleaned), status = guarded.end()
    processes[2].kill()

    assert (started["event"], started["folder"], status) == ("started", "", 0)
    assert (cleaned["event"], cleaned["removed"]["processes"]) == ("cleaned", 2)
    assert [process.wait(timeout=5) for process in processes] == [-9, -9, -9]


def test_a_coordinator_that_falls_silent_is_gone(run):
    """The lease: standard input is open, but nothing arrives."""
    guarded = Guarded(run, f"echo {READY}; exec sleep 300", lease_s=0.5)
    guarded.event()
    guarded.event()

    cleaned = guarded.event()

    assert cleaned["event"] == "cleaned"
    assert guarded.process.wait(timeout=10) == 0
    assert ending.processes_of([run]) == []


def test_a_lease_that_is_renewed_holds(run):
    """Empty lines are enough."""
    guarded = Guarded(run, f"echo {READY}; exec sleep 300", lease_s=2.0)
    guarded.event()
    guarded.event()
    until = time.monotonic() + 4
    while time.monotonic() < until:
        guarded.send("")
        time.sleep(0.1)  # the interval of a heartbeat; nothing is waited for

    assert len(ending.processes_of([run])) == 1
    guarded.end()


def test_a_node_that_exits_by_itself_is_reported_with_its_output(run):
    """And the guard stays until the coordinator closes its input."""
    guarded = Guarded(run, "echo it hurts; exit 3")

    started, ended = guarded.event(), guarded.event()

    assert (ended["event"], ended["status"]) == ("ended", 3)
    assert "it hurts" in ended["log"]
    assert os.path.isdir(started["folder"])
    guarded.end()


def test_a_command_that_is_not_there(run):
    """Reported like a node that exited."""
    guarded = Guarded(run, "", command=["/no/such/program"])

    assert guarded.event()["event"] == "ended"
    guarded.process.wait(timeout=10)


def test_one_run_can_be_stopped_while_the_node_stays_up(run, tmp_path):
    """For a fleet that outlives its runs."""
    guarded = Guarded(run, f"echo {READY}; exec sleep 300")
    guarded.event()
    guarded.event()
    other = subprocess.Popen(["sleep", "300"], env={**os.environ, RUN_VARIABLE: run + "-b"})

    guarded.send(json.dumps({"request": "begin", "run": run + "-b", "name": "b", "owner": "anna@laptop"}))
    begun = guarded.event()
    scratch = [lease.made_folder(mark, "volley-", tmp_path) for mark in (run + "-b", run)]
    guarded.send(json.dumps({"request": "end", "run": run + "-b"}))
    ended = guarded.event()

    assert (begun["event"], begun["run"]) == ("run-begun", run + "-b")
    assert [folder.exists() for folder in scratch] == [False, True]
    assert (ended["event"], ended["run"], ended["removed"]["processes"]) == ("run-ended", run + "-b", 1)
    assert other.wait(timeout=5) == -9
    assert len(ending.processes_of([run])) == 1
    guarded.end()


def test_signals_do_not_stop_it(run):
    """A Ctrl-C for the process group is for the coordinator to handle."""
    guarded = Guarded(run, f"echo {READY}; exec sleep 300")
    guarded.event()
    guarded.event()

    for number in (2, 15, 1):
        os.kill(guarded.process.pid, number)
    guarded.send("")

    assert guarded.process.poll() is None
    _, status = guarded.end()
    assert status == 0


def standby_of(run):
    """The process id of the standby of a run's guard."""
    (seen,) = [seen for seen in lease.leases() if run in seen.holder.marks]
    return seen.holder.standby


def until(condition, within_s=15.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("first", ["guard", "standby"])
def test_a_guard_that_is_killed_leaves_nothing(run, tmp_path, first):
    """Its standby ends the node and a run on it. A standby that is killed is replaced."""
    guarded = Guarded(run, f"setsid sleep 300 & echo {READY}; exec sleep 300")
    started = guarded.event()
    guarded.event()
    guarded.send(json.dumps({"request": "begin", "run": f"{run}-b", "name": "b", "owner": "anna@laptop"}))
    guarded.event()
    other = subprocess.Popen(["sleep", "300"], env={**os.environ, RUN_VARIABLE: f"{run}-b"})
    scratch = [lease.made_folder(mark, "volley-", tmp_path) for mark in (f"{run}-b", run)]
    if first == "standby":
        killed = standby_of(run)
        os.kill(killed, 9)
        until(lambda: standby_of(run) != killed)

    os.kill(guarded.process.pid, 9)
    rest, status = guarded.end()
    until(lambda: not [seen for seen in lease.leases() if {run, f"{run}-b"} & {*seen.holder.marks}])

    assert (rest, status) == ([], -9)
    assert ending.processes_of([run, f"{run}-b"]) == []
    assert other.wait(timeout=5) == -9
    assert not any(path.exists() for path in [*scratch, Path(started["folder"])])


def test_a_guard_that_has_cleaned_up_dismisses_its_standby(run):
    """It does not outlive the guard."""
    guarded = Guarded(run, f"echo {READY}; exec sleep 300")
    guarded.event()
    guarded.event()
    pid = standby_of(run)
    assert ending.is_alive(pid)

    guarded.end()

    assert not ending.is_alive(pid)


def test_a_child_that_hides_its_environment_is_found_by_its_parent():
    """As one that writes its title over it: such agents once kept a stopped fleet's ports."""
    nested = (
        f"import subprocess, sys; subprocess.run([{sys.executable!r}, '-c', 'import time; time.sleep(60)'], env={{}})"
    )
    process = subprocess.Popen([sys.executable, "-c", nested], env={**os.environ, RUN_VARIABLE: "hidden"})
    try:
        deadline = time.monotonic() + 20
        while len(found := ending.processes_of(["hidden"])) < 2:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)

        assert ending.end_processes(["hidden"]) == 2
        assert not any(ending.is_alive(pid) for pid in found)
    finally:
        process.kill()
        process.wait()


def test_a_title_of_ray_hides_no_mark():
    """A process of a node is found by itself: the raylet that was its parent may be gone."""
    titled = (
        "import sys, time, ray._raylet; ray._raylet.setproctitle('ray::DashboardAgent'); "
        "print(open('/proc/self/cmdline').read(), flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", titled],
        env={**os.environ, **raynode.environment(loopback=True), RUN_VARIABLE: "titled"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline().startswith("ray::DashboardAgent")
        assert ending.processes_of(["titled"]) == [process.pid]
    finally:
        process.kill()
        process.communicate()
