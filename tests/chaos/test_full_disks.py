"""Disks that fill up under a run: of its folder, and of the request logs. Small file systems in memory that are really full."""

import json
import os
import subprocess
import time

import pytest

from tests.integration.machine import ROOT, VOLLEY, measured, only_run, volley
from tests.truth.harness import server
from tests.unit.test_room import MIB, fill, mounted  # noqa: F401


@pytest.fixture(scope="module")
def url():
    """A server of known behaviour that keeps connections open."""
    with server("http1", delay_us=[1_000]) as found:
        yield found


def campaign(folder, url, repetitions=2, **load):
    document = {
        "campaign": "full",
        "targets": {"t": {"url": url}},
        "loads": {"l": {"clients": 4, "duration": "1s", "warm_up": "100ms", "tail": "100ms"} | load},
        "agents": 1,
        "repetitions": repetitions,
    }
    path = folder / "full.yaml"
    path.write_text(json.dumps(document))
    return str(path)


def start(*arguments, **environment):
    return subprocess.Popen(
        [*VOLLEY, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


def trials_begin(runs):
    """Wait until the hosts of the only run are up, which is just before its first trial; return the run."""
    deadline = time.monotonic() + 60
    while not (found := list(runs.glob("*/environment.json"))):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found[0].parent


def stored(run, number):
    """Wait until so many trials are stored."""
    deadline = time.monotonic() + 60
    while len(list((run / "trials").glob("[0-9]*"))) < number:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("done", [0, pytest.param(1, marks=pytest.mark.full)])
def test_a_run_whose_disk_fills_up_keeps_its_trial_and_is_resumed(url, tmp_path, mounted, done):  # noqa: F811
    """From the first trial, and between two: exit code 4, one sentence with the space and the places; then it is whole."""
    small, spill = mounted("small", 16 * MIB), tmp_path / "spill"
    spill.mkdir()
    process = start("run", campaign(tmp_path, url), "--out", str(small / "runs"), VOLLEY_SPILL=str(spill))
    run = trials_begin(small / "runs")
    stored(run, done)
    fill(small)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 4, said
    assert "Traceback" not in said
    assert f"cannot be written to {run}: No space left on device (0 MiB free). It is kept in {spill}/" in said
    assert f"-> free some space there, then: volley resume {run}" in said
    assert [path.name[:4] for path in (run / "trials").iterdir()] == ["0001"][:done]

    refused = volley("resume", str(run), env={**os.environ, "VOLLEY_SPILL": str(spill)})
    assert refused.returncode == 4, refused.stderr
    (small / "fill").unlink()
    resumed = volley("resume", str(run), env={**os.environ, "VOLLEY_SPILL": str(spill)})

    assert measured(resumed.returncode, run), resumed.stderr
    assert "was kept elsewhere and is now in" in resumed.stderr
    assert f"{done + 1} of 2 trials are done" in resumed.stderr
    assert sorted(path.name[:4] for path in (run / "trials").iterdir()) == ["0001", "0002"]
    assert list(spill.iterdir()) == []
    kinds = [json.loads(line)["kind"] for line in (run / "journal.jsonl").read_text().splitlines()]
    assert (kinds.count("judged"), kinds.count("kept")) == (1, 1)


def test_a_disk_that_is_too_small_is_refused_before_the_run(url, tmp_path, mounted):  # noqa: F811
    """With what is free and what is needed; nothing is left there."""
    small = mounted("small", MIB)
    done = volley("run", campaign(tmp_path, url), "--out", str(small / "runs"))

    assert done.returncode == 4
    assert "MiB free, and this run needs about" in done.stderr
    assert "-> free some space there, or choose another folder with --out" in done.stderr
    assert list((small / "runs").iterdir()) == []


def test_results_that_find_no_room(url, tmp_path, mounted):  # noqa: F811
    """All trials are there; the results are written by resume."""
    small = mounted("small", 16 * MIB)
    process = start("run", campaign(tmp_path, url, repetitions=1), "--out", str(small / "runs"))
    run = trials_begin(small / "runs")
    stored(run, 1)
    fill(small)
    _, said = process.communicate(timeout=60)
    (small / "fill").unlink()

    assert "Traceback" not in said
    # The results may have been faster than the disk was full.
    if process.returncode == 4:
        assert f"-> free some space there, then: volley resume {run}" in said
    assert measured(volley("resume", str(run)).returncode, run)
    assert json.loads((run / "summary.json").read_text())["cases"][0]["trials"] == 1


# A small /dev/shm of the run's own, and a filler that fills it when the file "now" appears. Nothing is left of either.
_IN_A_SMALL_MEMORY = """
mount -t tmpfs -o size=$SIZE volley-test /dev/shm || exit 9
(for k in $(seq 1 300); do [ -e "$MARK" ] && { cat /dev/zero >/dev/shm/fill; exit; }; sleep 0.05; done) \
  </dev/null >/dev/null 2>&1 &
exec "$@"
"""


def in_a_small_memory(tmp_path, size, *arguments, **environment):
    mark = tmp_path / "now"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _IN_A_SMALL_MEMORY, "sh"]
    return mark, subprocess.Popen(
        [*command, *VOLLEY, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "SIZE": str(size), "MARK": str(mark), **environment},
    )  # fmt: skip


@pytest.mark.provokes("no-space")
@pytest.mark.parametrize("load", [{}, {"model": "open", "rate": "500/s", "clients": 40}], ids=["h2load", "paced"])
def test_memory_that_fills_up_in_the_window_is_named_and_the_trial_is_repeated(url, tmp_path, load):
    """On the disk this time, which a finding says."""
    path = campaign(tmp_path, url, 1, duration="3s", **load)
    mark, process = in_a_small_memory(tmp_path, 20 * MIB, "run", path, "--out", str(tmp_path / "runs"))
    trials_begin(tmp_path / "runs")
    time.sleep(1.5)  # into the window; what was found there is checked below
    mark.touch()
    _, said = process.communicate(timeout=90)
    run = only_run(tmp_path / "runs")
    (trial,) = (run / "trials").glob("*/trial.json")
    (attempt,) = (run / "tries").glob("*/trial.json")
    tried, result = json.loads(attempt.read_text()), json.loads(trial.read_text())

    assert "no-space (" in said
    first = tried["findings"][0]
    assert (first["code"], first["severity"], first["facts"]["free_bytes"]) == ("no-space", "invalid", 0)
    assert "/dev/shm on host" in first["sentence"]
    assert not {"counts-mismatch", "agent-lost", "requests-lost"} & {f["code"] for f in tried["findings"]}
    moved = [f for f in result["findings"] if f["code"] == "no-space"]
    assert [f["severity"] for f in moved] == ["information"]
    assert "were in its temporary folder" in moved[0]["sentence"]


def test_memory_and_temporary_folder_that_are_too_small_at_the_start(url, tmp_path, mounted):  # noqa: F811
    """No load is sent; the error has the folder and the numbers."""
    # Python would pass over a temporary folder that is full.
    tiny = mounted("tmp", MIB)
    path = campaign(tmp_path, url, 1, duration="3s")
    _, process = in_a_small_memory(tmp_path, MIB, "run", path, "--out", str(tmp_path / "runs"), TMPDIR=str(tiny))
    _, said = process.communicate(timeout=90)

    assert process.returncode == 4, said
    assert "Traceback" not in said
    assert "/dev/shm has" in said
    assert "the request logs need" in said
    assert "-> free some space there" in said
