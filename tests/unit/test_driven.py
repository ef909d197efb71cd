"""A fleet behind a driver process: what crosses the channel, and that the driver may die at any moment."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agents.channel import Answer
from orchestrator.errors import HostError, Several, Shortage
from orchestrator.fleet import driven, driver
from orchestrator.fleet.claims import Claim
from orchestrator.fleet.driven import DrivenFleet
from orchestrator.fleet.hosts import HostLost
from orchestrator.fleet.place import Machine, Placement
from orchestrator.spec.inventory import Inventory
from tests.conftest import ROOT
from tests.handles_contract import alive, wait_for

HOST = Machine("db", "127.0.0.1", False, 0, {"zone": "a"}, cores=[0, 1])


def fleet_in(folder):
    return DrivenFleet(Claim("run-mark", "run"), None, folder, [HOST], [], [HOST.name])


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(driven, "MODULE", "tests.fakes.driver")


@pytest.fixture
def fleet(fake, tmp_path):
    with fleet_in(tmp_path) as fleet:
        fleet.up(lambda text: None)
        yield fleet


@pytest.mark.parametrize(
    "error",
    [
        HostError("no engine", "start it"),
        HostLost("host a: gone", "check it", "a"),
        Shortage("too small", "use less"),
        Several([HostLost("a", "b", "c"), HostError("d", "e")]),
    ],
)
def test_an_error_keeps_its_kind_and_words(error):
    """As the answer to a call."""
    found = driver.error_of(driver.failure(3, error))

    assert type(found) is type(error)
    assert [(type(e), e.message, e.hint, getattr(e, "host", None)) for e in getattr(found, "errors", [found])] == [
        (type(e), e.message, e.hint, getattr(e, "host", None)) for e in getattr(error, "errors", [error])
    ]
    assert str(found) == str(error)


def test_a_bug_of_the_driver_is_no_fault_of_a_host():
    """It keeps its traceback."""
    error = driver.error_of(Answer(1, failed=[driver.BUG], text="Traceback: it hurts"))

    assert not isinstance(error, HostError)
    assert "it hurts" in str(error)


@pytest.mark.parametrize(
    "plain",
    [
        {"hosts": {"a": {"roles": ["load"], "cores": [1, 2]}, "b": {"roles": ["server"]}}, "ports": 21000},
        {"ray": {"address": "10.0.0.1:6379", "load": {"zone": "a"}, "server": "docker"}},
        {"ray": {}, "images": "send"},
    ],
)
def test_an_inventory_crosses_unchanged(plain):
    """A default that is written out would count as set, and some settings exclude each other."""
    inventory = Inventory.model_validate(plain)

    assert Inventory.model_validate(inventory.model_dump(mode="json", exclude_unset=True)) == inventory


@pytest.mark.process
def test_progress_comes_in_order_and_calls_are_answered(fake, tmp_path, monkeypatch):
    """Both during a long call and after it, in this process's folder; hosts have the addresses that the driver found."""
    told = []
    monkeypatch.chdir(tmp_path)
    with fleet_in(tmp_path) as fleet:
        fleet.up(told.append)
        host = fleet.actors.others["db"]
        go = tmp_path / "go"
        waiting = threading.Thread(
            target=lambda: host.run_command(f"until [ -e {go} ]; do sleep 0.02; done", {}, "run", 30.0)
        )
        waiting.start()
        done = host.run_command('echo "$A ä"; pwd; exit 3', {"A": "b"}, "run", 30.0)
        go.touch()
        waiting.join(30)

        assert told == ["first", "second"]
        assert (fleet.accepted_keys, fleet.hosts) == (["new-key"], ["db"])
        assert (host.host, host.address, host.load_address) == ("db", "127.0.0.1", "127.0.0.1")
        assert (done.status, done.output) == (3, f"b ä\n{tmp_path}\n")
        assert not waiting.is_alive()
        driver_pid = fleet._link.pid
    assert (tmp_path / "left").exists()
    assert not alive(driver_pid)


@pytest.mark.process
@pytest.mark.parametrize(("server", "kind"), [("small", Shortage), ("gone", HostLost), ("bug", RuntimeError)])
def test_what_a_reservation_raises_is_raised_here(fleet, server, kind):
    """And the fleet goes on working."""
    with pytest.raises(kind), fleet.reserve(Placement(server, {})):
        pass
    with fleet.reserve(Placement(None, {})) as placed:
        assert placed.loads == []


@pytest.mark.process
def test_a_driver_that_is_killed_is_a_lost_host(fleet):
    """For calls under way, for later ones, and for reservations; leaving the fleet is quick and raises nothing."""
    call = fleet.actors.others["db"]
    failed = []

    def wait():
        with pytest.raises(HostLost) as raised:
            call.run_command("sleep 8", {}, "run", 60.0)
        failed.append(str(raised.value))

    waiting = threading.Thread(target=wait)
    waiting.start()
    os.kill(fleet._link.pid, signal.SIGKILL)
    waiting.join(30)

    assert len(failed) == 1
    assert "driver process ended (killed by signal 9)" in failed[0]
    with pytest.raises(HostLost, match="driver process ended"):
        call.run_command("true", {}, "run", 10.0)
    with pytest.raises(HostLost, match="driver process ended"), fleet.reserve(Placement(None, {})):
        pass
    began = time.monotonic()
    fleet.__exit__(None, None, None)
    assert time.monotonic() - began < 15


@pytest.mark.process
def test_a_node_that_dies_fails_all_calls_at_once(fleet, tmp_path):
    """Ray would let them wait. The driver lives, and is left in an orderly way."""
    call = fleet.actors.others["db"]
    waiting = call.transport.begin(driver_method(), "sleep 8", {}, "run", 60.0)
    (tmp_path / "lost").touch()

    with pytest.raises(HostLost, match=r"lost this machine's Ray node: it died"):
        waiting.result(30.0)
    fleet.__exit__(None, None, None)

    assert (tmp_path / "left").exists()


def driver_method():
    from agents.shells import CommandShell

    return CommandShell.run_command


@pytest.mark.process
def test_a_fleet_that_cannot_be_cleaned_up_is_an_error(fake, tmp_path):
    """Unless another error ended the run, which matters more."""
    (tmp_path / "broken").touch()
    with pytest.raises(HostError, match="could not be cleaned up"), fleet_in(tmp_path) as fleet:
        fleet.up(lambda text: None)

    def fail():
        with fleet_in(tmp_path) as fleet:
            fleet.up(lambda text: None)
            raise KeyError

    with pytest.raises(KeyError):
        fail()


@pytest.mark.process
def test_leaving_interrupts_what_is_under_way(fake, tmp_path):
    """Ctrl-C while hosts come up: the driver is interrupted once, and then cleans up."""
    (tmp_path / "hang").touch()

    def interrupt(text):
        if text == "second":
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), fleet_in(tmp_path) as fleet:
        fleet.up(interrupt)

    assert time.monotonic() - began < 30
    assert (tmp_path / "left").exists()


COORDINATOR = """
import sys, time
from pathlib import Path
from orchestrator.fleet import driven
from tests.unit.test_driven import fleet_in
driven.MODULE = "tests.fakes.driver"
with fleet_in(Path(sys.argv[1])) as fleet:
    fleet.up(lambda text: None)
    print(fleet._link.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.process
def test_a_driver_ends_with_its_coordinator(tmp_path):
    """kill -9: it does not leave in an orderly way, because its guards do all that is needed."""
    process = subprocess.Popen(
        [sys.executable, "-c", COORDINATOR, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    pid = int(process.stdout.readline())
    assert alive(pid)

    process.kill()
    process.communicate()

    wait_for(lambda: not alive(pid))
    assert not Path(tmp_path / "left").exists()
