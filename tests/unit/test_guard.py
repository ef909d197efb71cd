"""The guard, as a process: what it is told, what it tells, and that nothing outlives it."""

import json
import os
import subprocess
import sys
import time

import pytest

from agents import guard

READY = "the node is up"


class Guarded:
    """A guard around a shell that stands for a node."""

    def __init__(self, run, script, **more):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agents.guard"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        order = {"run": run, "command": ["/bin/sh", "-c", script], "environment": {"FOLDER": "{folder}"},
                 "token": "s3cret", "ready": READY}  # fmt: skip
        self.say(json.dumps(order | more))

    def say(self, line):
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
    """Children that left the process group as well; the folder and scratch files too."""
    scratch = f"/dev/shm/volley-{run}-x"
    os.mkdir(scratch)
    guarded = Guarded(run, f"setsid sleep 300 & echo {READY}; exec sleep 300")
    started, ready = guarded.event(), guarded.event()
    token = f"{started['folder']}/token"
    assert (started["event"], ready["event"]) == ("started", "ready")
    with open(token) as file:
        assert file.read() == "s3cret"
    assert os.stat(token).st_mode & 0o777 == 0o600
    deadline = time.monotonic() + 10
    while len(guard.processes_of(run)) != 2:
        assert time.monotonic() < deadline

    (cleaned,), status = guarded.end()

    assert status == 0
    assert (cleaned["event"], cleaned["processes"], cleaned["files"]) == ("cleaned", 2, 1)
    assert guard.processes_of(run) == []
    assert not os.path.exists(started["folder"])
    assert not os.path.exists(scratch)


def test_a_node_that_will_never_be_up_is_told_while_it_goes_on_trying(run):
    """What is hopeless, in its own words; once it is up the same words are about somebody else."""
    refused = Guarded(run, "echo REFUSED; exec sleep 300", hopeless=["REFUSED"])
    up = Guarded(f"{run}-b", f"echo {READY}; sleep 1; echo REFUSED; exec sleep 300", hopeless=["REFUSED"])

    told = [refused.event() for _ in range(2)]
    well = [up.event() for _ in range(2)]
    time.sleep(1.5)  # what must not happen
    rest, _ = up.end()

    assert [event["event"] for event in told] == ["started", "ended"]
    assert (told[1]["status"], "REFUSED" in told[1]["log"]) == (None, True)
    assert [event["event"] for event in well + rest] == ["started", "ready", "cleaned"]
    assert refused.end()[1] == 0


def test_a_coordinator_that_falls_silent_is_gone(run):
    """The lease: standard input is open, and nothing comes."""
    guarded = Guarded(run, f"echo {READY}; exec sleep 300", lease_s=0.5)
    guarded.event()
    guarded.event()

    cleaned = guarded.event()

    assert cleaned["event"] == "cleaned"
    assert guarded.process.wait(timeout=10) == 0
    assert guard.processes_of(run) == []


def test_a_lease_that_is_renewed_holds(run):
    """Empty lines are enough."""
    guarded = Guarded(run, f"echo {READY}; exec sleep 300", lease_s=2.0)
    guarded.event()
    guarded.event()
    until = time.monotonic() + 4
    while time.monotonic() < until:
        guarded.say("")
        time.sleep(0.1)  # the rhythm of a heartbeat; nothing is waited for

    assert len(guard.processes_of(run)) == 1
    guarded.end()


def test_a_node_that_ends_by_itself_is_told_with_its_last_words(run):
    """And the guard stays until the coordinator has heard of it."""
    guarded = Guarded(run, "echo it hurts; exit 3")

    started, ended = guarded.event(), guarded.event()

    assert (ended["event"], ended["status"]) == ("ended", 3)
    assert "it hurts" in ended["log"]
    assert os.path.isdir(started["folder"])
    guarded.end()


def test_a_command_that_is_not_there(run):
    """Told like a node that ended."""
    guarded = Guarded(run, "", command=["/no/such/program"])

    assert guarded.event()["event"] == "ended"
    guarded.process.wait(timeout=10)


def test_one_run_can_be_ended_and_the_node_goes_on(run):
    """For a fleet that outlives its runs."""
    guarded = Guarded(run, f"echo {READY}; exec sleep 300")
    guarded.event()
    guarded.event()
    other = subprocess.Popen(["sleep", "300"], env={**os.environ, guard.RUN_VARIABLE: run + "-b"})

    guarded.say(json.dumps({"end": run + "-b"}))
    ended = guarded.event()

    assert (ended["event"], ended["run"], ended["processes"]) == ("run-ended", run + "-b", 1)
    assert other.wait(timeout=5) == -9
    assert len(guard.processes_of(run)) == 1
    guarded.end()


def test_signals_do_not_end_it(run):
    """A Ctrl-C for the group is the coordinator's to handle."""
    guarded = Guarded(run, f"echo {READY}; exec sleep 300")
    guarded.event()
    guarded.event()

    for number in (2, 15, 1):
        os.kill(guarded.process.pid, number)
    guarded.say("")

    assert guarded.process.poll() is None
    _, status = guarded.end()
    assert status == 0


def test_a_child_that_hides_its_environment_is_found_by_its_parent():
    """Ray's agents write their titles over their environment; they held a fleet's ports after it had been ended."""
    nested = (
        f"import subprocess, sys; subprocess.run([{sys.executable!r}, '-c', 'import time; time.sleep(60)'], env={{}})"
    )
    process = subprocess.Popen([sys.executable, "-c", nested], env={**os.environ, guard.RUN_VARIABLE: "hidden"})
    try:
        deadline = time.monotonic() + 20
        while len(found := guard.processes_of("hidden")) < 2:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)

        assert guard.end_processes("hidden") == 2
        assert not any(guard._alive(pid) for pid in found)
    finally:
        process.kill()
        process.wait()
