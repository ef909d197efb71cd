"""Hosts and coordinators that go away during a run: within 15 s the load ends and nothing is left."""

import contextlib
import json
import os
import signal
import subprocess
import time

import psutil
import pytest

from tests.integration.machine import ROOT, VOLLEY, measured, nothing_left, only_run, volley
from tests.lab import world


@pytest.fixture
def long_run(tmp_path, request):
    """A run over all hosts whose load has started; by default it lasts a minute and retries nothing."""
    changes = {"duration": "60s", "retries": 0} | getattr(request, "param", {})
    loads = {"long": {"clients": 9, "duration": changes["duration"], "warm_up": "1s"}}
    path = world.campaign(tmp_path, loads=loads, retries=changes["retries"])
    process = subprocess.Popen(
        [*VOLLEY, "run", path, "--hosts", world.inventory(tmp_path), "--out", str(tmp_path / "runs")],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while sorted(world.running("h2load").values()) != [world.FAR, world.WRONG_CLOCK, world.PLAIN]:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


def test_a_coordinator_that_is_killed(long_run):
    """After kill -9, no load, container, node or file is left on any host. tests/chaos covers orderly exits."""
    os.kill(long_run.pid, signal.SIGKILL)
    long_run.wait(timeout=40)

    world.nothing_left_on_hosts(within_s=15)
    nothing_left()


@pytest.mark.provokes("retried")
@pytest.mark.parametrize("long_run", [{"duration": "6s", "retries": 1}], indirect=True)
def test_a_cable_that_is_pulled_and_put_back(long_run, tmp_path):
    """The host soon stops its load. The attempt is kept, the fleet is restarted, and the trial gets its result."""
    world.lab("cut", world.WRONG_CLOCK)
    try:
        deadline = time.monotonic() + 15
        while world.WRONG_CLOCK in world.running("h2load").values():
            assert time.monotonic() < deadline, "the load continues without a coordinator"
            time.sleep(0.1)
    finally:
        world.lab("reconnect", world.WRONG_CLOCK)
    output, _ = long_run.communicate(timeout=150)

    run = only_run(tmp_path / "runs")
    assert measured(long_run.returncode, run), output
    (case,) = json.loads((run / "summary.json").read_text())["cases"]
    assert f"{world.WRONG_CLOCK}" in output
    assert "trial 1 is retried" in output
    assert "restarting the hosts" in output
    assert [path.name for path in (run / "tries").iterdir()] == ["0001-tiny-long-try1"]
    assert (case["trials"], case["used"]) == (1, case["verdict"] != "INVALID")
    assert "retried" in [f["code"] for f in case["findings"]]
    assert "Traceback" not in output
    world.nothing_left_on_hosts(within_s=15)


@pytest.mark.provokes("retried")
@pytest.mark.parametrize("long_run", [{"duration": "6s", "retries": 1}], indirect=True)
@pytest.mark.full
@pytest.mark.parametrize("killed", ["raylet", "agents.guard"])
def test_a_node_or_a_guard_that_is_killed(long_run, tmp_path, killed):
    """On a load host: nothing of the node is left there; the try is kept, the hosts are restarted, the trial repeated."""
    (victim,) = [p for p in processes_on(world.PLAIN) if killed in [p.name(), *p.cmdline()]]
    victim.send_signal(signal.SIGKILL)
    output, _ = long_run.communicate(timeout=150)

    run = only_run(tmp_path / "runs")
    assert measured(long_run.returncode, run), output
    (kept,) = (run / "tries").glob("*/trial.json")
    (case,) = json.loads((run / "summary.json").read_text())["cases"]
    assert f"host {world.PLAIN}" in output
    assert "restarting the hosts" in output
    assert json.loads(kept.read_text())["findings"][0]["code"] == "host-lost"
    assert (case["trials"], case["used"]) == (1, case["verdict"] != "INVALID")
    assert "Traceback" not in output
    world.nothing_left_on_hosts(within_s=15)


@pytest.mark.full
@pytest.mark.parametrize("long_run", [{"duration": "6s", "retries": 1}], indirect=True)
def test_a_head_node_that_dies(long_run, tmp_path):
    """The GCS on the coordinator: all hosts are started again."""
    (victim,) = [pid for pid, host in world.running("gcs_server").items() if host == world.HERE]
    os.kill(victim, signal.SIGKILL)
    output, _ = long_run.communicate(timeout=150)

    assert measured(long_run.returncode, only_run(tmp_path / "runs")), output
    assert "lost this machine's Ray node: its Ray node died" in output
    (kept,) = (only_run(tmp_path / "runs") / "tries").glob("*/trial.json")
    assert json.loads(kept.read_text())["findings"][0]["code"] == "host-lost"
    assert "gcs_rpc_client" not in output
    world.nothing_left_on_hosts(within_s=15)
    nothing_left()


def processes_on(host):
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error, OSError):
            if world.host_of(process) == host:
                yield process


def test_a_host_that_is_switched_off(long_run):
    """A load host dies: the run ends and names it; the other hosts are clean."""
    world.lab("kill", world.PLAIN)
    try:
        output, _ = long_run.communicate(timeout=90)
    finally:
        world.lab("start", world.PLAIN)

    assert long_run.returncode in (3, 4), output
    assert world.PLAIN in output
    assert "Traceback" not in output


def test_a_keeper_that_is_killed(tmp_path):
    """Its fleet stops with it; the next `up` works."""
    inventory = world.inventory(tmp_path, {world.SERVER: {}, world.PLAIN: {}})
    assert volley("hosts", "up", "--hosts", inventory).returncode == 0
    listed = subprocess.run(["pgrep", "-f", "orchestrator.fleet.keeper"], capture_output=True, text=True, check=True)

    os.kill(int(listed.stdout.split()[0]), signal.SIGKILL)
    world.nothing_left_on_hosts(within_s=15)
    nothing_left()

    again = volley("hosts", "up", "--hosts", inventory)
    down = volley("hosts", "down", "--hosts", inventory)
    assert (again.returncode, down.returncode) == (0, 0), again.stderr
