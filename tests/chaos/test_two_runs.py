"""Two runs on one machine: one at a time, unless both are to run; and nothing foreign is touched."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from agents import lease
from tests.integration.machine import ROOT, VOLLEY, left_behind, nothing_left, only_run, volley

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def url():
    """A server that answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        cwd=Path(__file__).parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    yield f"http://127.0.0.1:{port}/"
    process.kill()
    process.wait()


def bench(url, out, *options, duration="2s"):
    return ["bench", url, "--rate", "50", "-d", duration, "--repeat", "1", "--agents", "1", "--out", str(out), *options]


def start(*arguments, **environment):
    return subprocess.Popen(
        [*VOLLEY, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


def holding(number=1, within_s=30.0):
    """Wait until so many runs hold this machine; return their names."""
    deadline = time.monotonic() + within_s
    while True:
        held = [s.holder.run for s in lease.leases() if s.live and s.holder.alone and s.holder.state == "held"]
        if len(held) == number:
            return held
        assert time.monotonic() < deadline, held
        time.sleep(0.05)


def loaded(within_s=30.0):
    """Wait until a generator runs."""
    deadline = time.monotonic() + within_s
    while not left_behind()["scratch"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def codes(out):
    (trial,) = (only_run(out) / "trials").glob("*/trial.json")
    return [finding["code"] for finding in json.loads(trial.read_text())["findings"]]


def test_a_second_run_is_refused_by_name_and_three_wait_for_their_turn(url, tmp_path):
    """`clean` beside them ends nothing; afterwards nothing is left."""
    first = start(*bench(url, tmp_path / "a", duration="8s"))
    (name,) = holding()

    refused = volley(*bench(url, tmp_path / "b"))
    cleaned, by_name = volley("hosts", "clean"), volley("hosts", "clean", "--run", name)
    queued = [start(*bench(url, tmp_path / str(n), "--wait")) for n in range(3)]
    outputs = [process.communicate(timeout=120)[0] for process in (first, *queued)]

    assert refused.returncode == 4
    assert re.search(rf"error: this machine is in use by \S+@\S+: run {name}, for \d+ s\n  -> .*--wait", refused.stderr)
    assert cleaned.returncode == 0
    assert f"run {name}" in cleaned.stdout
    assert (by_name.returncode, "it is not dead" in by_name.stderr) == (4, True)
    assert [process.returncode for process in (first, *queued)] == [0] * 4, outputs
    assert all(re.search(rf"waiting: this machine is in use by .*{name}", text) for text in outputs[1:]), outputs
    assert not any("other-run" in codes(tmp_path / out) for out in "a012")
    assert lease.leases() == []
    nothing_left()


@pytest.mark.provokes("other-run")
def test_two_runs_that_share_the_machine_name_each_other(url, tmp_path):
    """Both are SUSPECT."""
    runs = [start(*bench(url, tmp_path / out, duration="4s"), VOLLEY_SHARE_HOST="1") for out in "ab"]
    outputs = [process.communicate(timeout=120)[0] for process in runs]

    assert [process.returncode for process in runs] == [0, 0], outputs
    for out, text in zip("ab", outputs, strict=True):
        assert "other-run" in codes(tmp_path / out)
        assert "Another run used host local during the load" in text


def test_a_coordinator_that_is_killed_frees_the_machine_and_leaves_what_is_not_its_own(url, tmp_path):
    """Folders that look like those of a run survive; a run that was started at the same second, too."""
    decoys = [Path(tempfile.gettempdir()) / "volley-results", Path("/dev/shm/volley-results")]
    first = start(*bench(url, tmp_path / "a", duration="60s"), VOLLEY_SHARE_HOST="1")
    other = start(*bench(url, tmp_path / "b", duration="5s"), VOLLEY_SHARE_HOST="1")
    holding(2)
    loaded()
    for decoy in decoys:
        decoy.mkdir()
    try:
        waiting = start(*bench(url, tmp_path / "c", "--wait"))
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
        outputs = [process.communicate(timeout=120)[0] for process in (other, waiting)]

        assert (other.returncode, waiting.returncode) == (0, 0), outputs
        assert all(decoy.is_dir() for decoy in decoys)
    finally:
        for decoy in decoys:
            decoy.rmdir()
    assert lease.leases() == []
    nothing_left()
