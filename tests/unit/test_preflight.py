"""`hosts check` takes the steps that `up` takes: what fails there is reported, with its fix, before."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agents import preflight as remote
from orchestrator.fleet import care, raynode
from orchestrator.spec.load import load_inventory
from tests.mini_hosts import free_port

pytestmark = pytest.mark.process


@pytest.fixture
def first_port():
    """The first of a range of ports that nothing uses: 40 below the ephemeral ones."""
    # Tests that run beside each other must not choose the same.
    for first in range(20100 + 40 * (os.getpid() % 100), 32000, 40):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", first))
                other.bind(("127.0.0.1", first + 1))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports")


STEPS = {
    "target folder",
    "temporary folder",
    "ports",
    "way to the coordinator",
    "way from the coordinator",
    "load address",
}


def checked(mini_hosts, trusted, first_port, *, coordinator="127.0.0.1", load_address=None, **host):
    """Check one host; return its checks that are not ok, of the steps, by name."""
    made = mini_hosts.start("web", **host)
    trusted(made.known())
    entry = {"address": made.address, "port": made.port, "load_address": load_address}
    path = mini_hosts.inventory({"h": entry}, ports=first_port, coordinator={"address": coordinator})
    (report,) = care.check(load_inventory(path), path.parent)
    assert report.error is None, report.error
    steps = {check.name: check for check in report.survey.checks if check.name in STEPS}
    assert len(steps) >= 4
    assert list(made.home.glob(".cache/volley/*")) == []
    return {name: (check.found, check.fix) for name, check in steps.items() if check.state == "failure"}


def test_a_host_where_all_steps_work(mini_hosts, trusted, first_port):
    """No problem, both ways tried, and nothing left behind."""
    assert checked(mini_hosts, trusted, first_port) == {}


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ("noexec,size=400m", ["programs cannot be executed", "noexec", "home folder"]),
        ("ro", ["cannot write to", "Read-only file system"]),
        ("size=1m", ["no room for 300 MiB", "No space left"]),
    ],
)
def test_a_home_that_cannot_hold_the_environment(mini_hosts, trusted, first_port, mount, words):
    """Mounted noexec or read-only, or full: the same error as a quota."""
    problems = checked(mini_hosts, trusted, first_port, mount=mount)

    (found,) = [" ".join(problem) for name, problem in problems.items() if name == "target folder"]
    for word in words:
        assert word in found


def test_a_long_temporary_folder(mini_hosts, trusted, first_port, tmp_path):
    """Ray's sockets have no room in their paths."""
    long = tmp_path / ("x" * 60)
    long.mkdir()
    problems = checked(mini_hosts, trusted, first_port, settings=f"SetEnv TMPDIR={long}")

    found, fix = problems["temporary folder"]
    assert f"{long} is too long a path for a node's sockets" in found
    assert "TMPDIR" in fix
    assert list(long.iterdir()) == []


def test_a_coordinator_that_the_host_cannot_find(mini_hosts, trusted, first_port):
    """Its name is unknown there, or another machine has its address."""
    found, fix = checked(mini_hosts, trusted, first_port, coordinator="coordinator.invalid")["way to the coordinator"]

    assert "this machine cannot resolve coordinator.invalid" in found
    assert "coordinator.address" in fix


@pytest.mark.parametrize(("address", "problem"), [("127.0.0.9", ""), ("198.18.255.9", "not an address of the host")])
def test_the_load_address_must_be_the_hosts_own(mini_hosts, trusted, first_port, address, problem):
    """Another one would send the load to another machine, or nowhere."""
    problems = checked(mini_hosts, trusted, first_port, load_address=address)

    assert set(problems) == ({"load address"} if problem else set())
    for found, fix in problems.values():
        assert problem in found
        assert "'load_address' in the inventory" in fix


def test_ports_that_are_taken(mini_hosts, trusted, first_port):
    """On the host by a program, on the coordinator by another run."""
    ports = raynode.pinned(first_port)
    with socket.socket() as there, socket.socket() as here:
        there.bind(("127.0.0.1", ports.first_worker))
        there.listen()
        here.bind(("127.0.0.1", ports.gcs))
        here.listen()
        problems = checked(mini_hosts, trusted, first_port)

    assert problems["ports"][0] == f"in use: {ports.first_worker}"
    assert "ports" in problems["ports"][1]
    assert problems["way to the coordinator"][0] == (
        f"port {ports.gcs} of the coordinator is in use, by another run or program"
    )


def test_the_steps_run_from_their_text_alone(tmp_path):
    """As on a host without any of our files; what was created is removed."""
    order = {"folder": [str(tmp_path / "a" / "b"), 1 << 20], "sockets": [], "ports": [[free_port()], []],
             "reach": ["127.0.0.1", free_port()], "listen": ["127.0.0.1", free_port()]}  # fmt: skip
    source = Path(remote.__file__).read_text()

    done = subprocess.run([sys.executable, "-I", "-c", source, json.dumps(order)], capture_output=True, text=True,
                          timeout=60, stdin=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]})  # fmt: skip

    assert json.loads(done.stdout) == {"folder": None, "sockets": None, "ports": None, "listen": None,
                                       "reach": "Connection refused"}  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_is_the_coordinator(mini_hosts, trusted, first_port):
    """Their nodes would need the same ports: said by check as by up, not by Ray."""
    host = mini_hosts.start("web")
    trusted(host.known())
    path = mini_hosts.inventory({"h": {"address": host.address, "port": host.port}}, ports=first_port)

    (report,) = care.check(load_inventory(path), path.parent)

    assert not report.ready
    (problem,) = [check for check in report.survey.checks if check.name == "address"]
    assert problem.found == "127.0.0.1 is this machine, which coordinates"
    assert "another machine" in problem.fix
