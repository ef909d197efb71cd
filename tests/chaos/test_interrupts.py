"""However a run is ended, nothing of it stays on the machine."""

import json
import os
import signal
import subprocess
import time

import psutil
import pytest

from tests.integration.machine import ROOT, VOLLEY, left_behind, nothing_left, only_run, tiny_campaign


def start(tmp_path, port):
    """Start a run of a minute, and wait until its load is under way."""
    path = tiny_campaign(tmp_path, port, loads={"long": {"clients": 4, "duration": "60s", "warm_up": "1s"}})
    process = subprocess.Popen(
        [*VOLLEY, "run", path, "--out", str(tmp_path / "runs")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 90
    while sum("h2load" in name for name in left_behind()["processes"]) < 2:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert left_behind()["containers"]
    return process


@pytest.mark.parametrize(
    ("number", "group", "code"),
    [
        (signal.SIGINT, True, 130),  # Ctrl-C in a terminal
        (signal.SIGTERM, False, 143),  # CI, systemd
        (signal.SIGTERM, True, 143),
        (signal.SIGKILL, False, -9),  # the guard's turn
    ],
)
def test_nothing_is_left_after_a_signal(tmp_path, number, group, code):
    """Ctrl-C, TERM to one or to all, KILL: no container, no h2load, no Ray process, no scratch file, within 15 s."""
    process = start(tmp_path, 18321)

    os.killpg(process.pid, number) if group else os.kill(process.pid, number)
    output, _ = process.communicate(timeout=60)
    nothing_left(within_s=15)

    assert process.returncode == code, output
    if code > 0:
        assert "interrupted: cleaning up" in output
        assert "Traceback" not in output
    assert json.loads((only_run(tmp_path / "runs") / "plan.json").read_text())["campaign"] == "tiny-ok"


def test_a_second_signal_leaves_at_once(tmp_path):
    """The impatient: the process is gone, and the guard still cleans up."""
    process = start(tmp_path, 18322)

    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.3)  # between the two signals; nothing is measured here
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    nothing_left(within_s=15)

    assert process.returncode == 130


@pytest.mark.provokes("agent-lost")
def test_an_agent_that_is_killed_is_a_result_and_not_a_hang(tmp_path):
    """One of two h2load processes dies in mid-trial: the trial is stored, INVALID, and says which agent was lost."""
    process = start(tmp_path, 18323)
    victims = [p for p in psutil.process_iter(["name"]) if p.info["name"] == "h2load" and "VOLLEY_RUN" in p.environ()]

    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    summary = json.loads((only_run(tmp_path / "runs") / "summary.json").read_text())

    assert process.returncode == 3, output
    assert "agent-lost" in [f["code"] for f in summary["cases"][0]["findings"]]
    assert summary["cases"][0]["verdict"] == "INVALID"
