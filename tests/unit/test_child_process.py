"""Hosts as child processes: the contract of the handles, and that nothing is left on any way out."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agents import lease
from agents.child import Lane
from agents.records import HostRole
from orchestrator.errors import HostError
from orchestrator.fleet import guard_here
from orchestrator.fleet.child_process import Child, Children
from orchestrator.fleet.hosts import HostLost
from orchestrator.fleet.remote import RemoteLoad
from tests.conftest import FAKE_H2LOAD, ROOT
from tests.handles_contract import CONTRACT, Hosts, alive, assignment, wait_for

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("scratch_is_clean")]
RUN = f"child-test-{os.getpid()}"
NOWHERE = "http://127.0.0.1:9/"


@pytest.fixture(autouse=True)
def _fake_h2load(tmp_path, monkeypatch):
    """The children find the fake first on their PATH, and no engine."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "h2load").symlink_to(FAKE_H2LOAD)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("FAKE_H2LOAD", json.dumps({}))


def armed(child):
    """A load host's generator that waits at its gate, and its trivial server; their process ids."""
    load = RemoteLoad(child)
    (agent,) = load.arm([assignment(Hosts(RUN, load, None, None, Path()), NOWHERE)])
    load.serve_trivial(0, False)
    listed = subprocess.run(["pgrep", "-P", str(child.pid)], capture_output=True, text=True, check=True)
    pids = [int(pid) for pid in listed.stdout.split()]
    assert agent.pid in pids
    assert len(pids) >= 2
    return pids


@pytest.mark.parametrize("keeps_to", CONTRACT, ids=lambda function: function.__name__)
def test_a_child_keeps_to_the_contract(keeps_to, tmp_path):
    """The same functions as over Ray."""
    with Children(RUN) as children:
        hosts = Hosts(
            RUN,
            children.load("here", "127.0.0.1"),
            children.server("web", "127.0.0.1"),
            children.command("db", "127.0.0.1"),
            tmp_path,
        )
        keeps_to(hosts)


def test_no_engine_is_an_error_with_its_fix():
    """Of the host, and not of the transport."""
    with Children(RUN) as children:
        server = children.server("web", "127.0.0.1")
        with pytest.raises(
            HostError,
            match=r"host web: the Docker engine at unix:.*none\.sock does not answer: No such file or directory",
        ) as caught:
            server.describe()
    assert "systemctl start docker" in caught.value.hint


@pytest.mark.parametrize("way", ["close", "SIGTERM", "during a call"])
def test_a_child_that_ends_takes_everything_with_it(way, tmp_path):
    """Its input ends, it is told to end, or it ends in the middle of a command: generators and servers are gone."""
    child = Child(HostRole.LOAD, "here", RUN, "127.0.0.1")
    pids = armed(child)
    call = None
    if way == "during a call":
        from agents.shells import LoadShell

        script = f"echo $$ > {tmp_path}/pid.part; mv {tmp_path}/pid.part {tmp_path}/pid; sleep 60"
        call = child.begin(LoadShell.run_command, script, {}, RUN, 60.0)
        wait_for((tmp_path / "pid").exists)
        pids.append(int((tmp_path / "pid").read_text()))
    if way == "SIGTERM":
        os.kill(child.pid, signal.SIGTERM)
        wait_for(lambda: not alive(child.pid))
    began = time.monotonic()
    cleaned = child.close()

    assert time.monotonic() - began < 20
    assert cleaned == (way != "SIGTERM")
    assert not any(alive(pid) for pid in [child.pid, *pids])
    assert call is None or call.result(1.0)["status"] == -signal.SIGKILL


def test_what_a_killed_child_leaves_is_removed_by_the_guard():
    """It had no chance to end its generator."""
    with Children(RUN) as children:
        load = children.load("here", "127.0.0.1")
        (agent,) = load.arm([assignment(Hosts(RUN, load, None, None, Path()), NOWHERE)])
        os.kill(int(load.run_command("echo $PPID", {}, RUN, 10.0).output), signal.SIGKILL)
        with pytest.raises(HostLost):
            load.wait(5.0).result(10.0)
        assert alive(agent.pid)

    assert not alive(agent.pid)


@pytest.mark.parametrize("ahead", [True, False])
def test_the_guard_removes_what_a_coordinator_and_its_child_leave(ahead):
    """Both die at once, by kill -9: only the guard is left to end the generator. Also where the child was started ahead."""
    code = FLEET.replace("AHEAD", "spawn.start_ahead()" if ahead else "")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    child, *pids = (int(pid) for pid in process.stdout.readline().split())
    assert all(alive(pid) for pid in [child, *pids])

    os.kill(child, signal.SIGSTOP)  # it cannot end anything by itself
    process.kill()
    process.communicate()

    wait_for(lambda: not any(alive(pid) for pid in [child, *pids]))
    wait_for(lambda: not list(Path("/dev/shm").glob(f"volley-child-test-{process.pid}-*")))


def test_a_guard_that_is_killed_is_replaced():
    """Beside a live coordinator nothing is disturbed: the host answers, the lease holds. The new guard does its work."""
    children = Children(RUN, containers=False)
    load = children.load("here", "127.0.0.1")
    killed = children._guard.pid
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: children._guard.pid != killed)
    (agent,) = load.arm([assignment(Hosts(RUN, load, None, None, Path()), NOWHERE)])
    os.kill(int(load.run_command("echo $PPID", {}, RUN, 10.0).output), signal.SIGKILL)
    assert alive(agent.pid)

    assert children.close()

    assert not alive(agent.pid)
    assert [seen for seen in lease.leases() if RUN in seen.holder.marks] == []


def test_without_a_guard_the_coordinator_cleans_up(monkeypatch):
    """Where none can be started again."""
    monkeypatch.setattr(guard_here, "MOST_STARTS", 0)
    children = Children(RUN, containers=False)
    load = children.load("here", "127.0.0.1")
    (agent,) = load.arm([assignment(Hosts(RUN, load, None, None, Path()), NOWHERE)])
    os.kill(int(load.run_command("echo $PPID", {}, RUN, 10.0).output), signal.SIGKILL)
    os.kill(children._guard.pid, signal.SIGKILL)

    assert children.close()

    assert not alive(agent.pid)
    assert [seen for seen in lease.leases() if RUN in seen.holder.marks] == []


FLEET = """
import time
from orchestrator.fleet import spawn
import tests.conftest  # which names the folder of leases
AHEAD
from orchestrator.fleet.child_process import Children
from tests.unit.test_child_process import RUN, armed
with Children(RUN, containers=False) as children:
    children.load("here", "127.0.0.1")
    (child,) = children._children
    print(child.pid, *armed(child), flush=True)
    time.sleep(60)
"""
COORDINATOR = """
import sys, time
from pathlib import Path
from agents.child import Lane
from agents.records import HostRole
from orchestrator.fleet.child_process import Child
from tests.unit.test_child_process import RUN, armed
child = Child(HostRole.LOAD, "here", RUN, "127.0.0.1")
print(child.pid, *armed(child), flush=True)
time.sleep(60)
"""


def test_a_coordinator_that_is_killed_leaves_nothing():
    """The end of a pipe is certain, however the other side dies."""
    process = subprocess.Popen([sys.executable, "-c", COORDINATOR], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) >= 3
    assert all(alive(pid) for pid in pids)

    process.kill()
    process.communicate()

    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_a_child_that_cannot_start_says_why():
    """An address that is not this machine's."""
    with pytest.raises(HostError, match=r"host far: start failed: OSError: .*assign requested address"):
        Child(HostRole.LOAD, "far", RUN, "203.0.113.1")


def test_a_child_that_dies_at_its_start_says_its_last_words(monkeypatch):
    """An import that fails is in its standard error."""
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")

    with pytest.raises(HostError, match=r"its process did not start: .+"):
        Child(HostRole.COMMAND, "here", RUN, "127.0.0.1")


def test_a_folder_of_the_users_with_agents_in_it_is_not_ours(tmp_path, monkeypatch):
    """The child imports our package, and works in the folder that Volley was started in."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path)
    with Children(RUN) as children:
        command = children.command("here", "127.0.0.1")

        assert command.run_command("pwd", {}, RUN, 10.0).output == f"{tmp_path}\n"


def test_closing_twice_is_closing_once():
    """On the way out of an error it happens."""
    child = Child(HostRole.COMMAND, "here", RUN, "127.0.0.1")

    assert child.close()
    assert child.close()


def test_a_lane_drops_what_waits_and_aborts_what_has_begun():
    """Again and again: a call that has only just begun may forget the first abort."""
    lane, begun, aborts, ended, dropped = Lane(1), threading.Event(), threading.Semaphore(0), [], []

    def call():
        begun.set()
        for _ in range(3):
            aborts.acquire()
        ended.append("call")

    lane.add(call)
    lane.add(lambda: dropped.append("next"))
    assert begun.wait(10)

    assert lane.close(aborts.release, 20.0)
    assert (ended, dropped) == (["call"], [])


def test_a_lane_does_not_wait_for_ever():
    """A call that cannot be aborted, such as the pull of an image, must not hold the process up."""
    lane, begun, over = Lane(1), threading.Event(), threading.Event()
    lane.add(lambda: (begun.set(), over.wait(30)))
    assert begun.wait(10)

    assert not lane.close(lambda: None, 0.2)
    over.set()
