"""Two runs on one machine: one at a time, unless both are to run; and nothing foreign is touched."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from agents import lease
from tests import sessions
from tests.integration.machine import ROOT, VOLLEY, left_behind, measured, nothing_left, only_run, volley

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


def says_that_it_waits(process, name, within_s=60.0):
    """Read what a run says until it names the run it waits for; return that line."""
    deadline = threading.Timer(within_s, process.kill)
    deadline.start()
    line = next(
        (line for line in process.stdout if re.search(rf"waiting: this machine is in use by .*{name}", line)), ""
    )
    deadline.cancel()
    return line


def test_a_second_run_is_refused_by_name_and_three_wait_for_their_turn(url, tmp_path):
    """`clean` beside them ends nothing; afterwards nothing is left."""
    # The first has its machine until the others have said that they wait, however long they take to start.
    free = tmp_path / "free"
    document = {
        "campaign": "first",
        "targets": {"t": {"url": url}},
        "loads": {"l": {"model": "open", "clients": 4, "rate": 50, "duration": "8s"}},
        "agents": 1,
        "repetitions": 1,
        "after": [{"run": f"until test -e {free}; do sleep 0.1; done", "host": "local", "timeout": "120s"}],
    }
    (tmp_path / "first.yaml").write_text(json.dumps(document))
    first = start("run", str(tmp_path / "first.yaml"), "--out", str(tmp_path / "a"))
    (name,) = holding()
    loaded()

    refused = volley(*bench(url, tmp_path / "b"))
    cleaned, by_name = volley("hosts", "clean"), volley("hosts", "clean", "--run", name)
    queued = [start(*bench(url, tmp_path / str(n), "--wait")) for n in range(3)]
    waiting = [says_that_it_waits(process, name) for process in queued]
    free.touch()
    outputs = [process.communicate(timeout=120)[0] for process in (first, *queued)]

    assert refused.returncode == 4
    assert re.search(rf"error: this machine is in use by \S+@\S+: run {name}, for \d+ s\n  -> .*--wait", refused.stderr)
    assert cleaned.returncode == 0
    assert f"run {name}" in cleaned.stdout
    assert (by_name.returncode, "it is not dead" in by_name.stderr) == (4, True)
    for process, out in zip((first, *queued), "a012", strict=True):
        assert measured(process.returncode, only_run(tmp_path / out)), outputs
    assert all(waiting), outputs
    assert not any("other-run" in codes(tmp_path / out) for out in "a012")
    assert lease.leases() == []
    nothing_left()


@pytest.mark.provokes("other-run")
def test_two_runs_that_share_the_machine_name_each_other(url, tmp_path):
    """Both are SUSPECT."""
    runs = [start(*bench(url, tmp_path / out, duration="4s"), VOLLEY_SHARE_HOST="1") for out in "ab"]
    outputs = [process.communicate(timeout=120)[0] for process in runs]

    for process, out, text in zip(runs, "ab", outputs, strict=True):
        assert measured(process.returncode, only_run(tmp_path / out)), text
        assert "other-run" in codes(tmp_path / out)
        assert "Another run used host local during the load" in text


def test_a_coordinator_that_is_killed_frees_the_machine_and_leaves_what_is_not_its_own(url, tmp_path):
    """Folders that look like those of a run survive; a run that was started at the same second, too."""
    decoys = [folder / sessions.DECOYS[0] for folder in (Path(tempfile.gettempdir()), sessions.SHARED_MEMORY)]
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

        assert measured(other.returncode, only_run(tmp_path / "b")), outputs
        assert measured(waiting.returncode, only_run(tmp_path / "c")), outputs
        assert all(decoy.is_dir() for decoy in decoys)
    finally:
        for decoy in decoys:
            decoy.rmdir()
    assert lease.leases() == []
    nothing_left()
