"""Leases: who has a host, in which order runs get it, and that only what a dead lease lists is ever removed."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agents import lease, sweep
from agents.lease import Holder, Item, Kind, State
from agents.orders import RUN_VARIABLE
from orchestrator.fleet import doctor
from tests import sessions
from tests.conftest import ROOT

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def _own_leases(tmp_path, monkeypatch):
    """Runs of other tests clean the machine meanwhile, and are cleaned by what is tested here."""
    monkeypatch.setenv(lease.FOLDER_VARIABLE, str(tmp_path / "leases"))


@pytest.fixture(autouse=True)
def _leases(tmp_path, monkeypatch):
    monkeypatch.setenv(lease.FOLDER_VARIABLE, str(tmp_path / "leases"))


def holder(run, **changes):
    return Holder("anna@laptop", run, [f"{run}-mark"], state=State.WAITING, alone=True, **changes)


def names(holders):
    return [each.run for each in holders]


def another(run, code="sys.stdin.read()", **changes):
    """A process that holds a lease and then does something; its lease is there when this returns."""
    given = json.dumps({"owner": "bert@desk", "run": run, "marks": [f"{run}-mark"], "alone": True, **changes})
    script = (
        "import json, os, sys; from agents import lease; from agents.lease import Holder, Item, State, Kind\n"
        f"held = lease.create(Holder(**json.loads({given!r}))); held.take()\n"
        f"print('here', flush=True)\n{code}"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "here\n"
    return process


def test_a_host_is_taken_by_one_run_at_a_time_in_the_order_of_asking():
    """The place in the queue is the time of asking, whoever looks first."""
    first, third, second = (lease.create(holder(run, stamp_ns=n)) for run, n in (("a", 1), ("c", 3), ("b", 2)))

    assert names(third.take()) == ["a", "b"]
    assert first.take() == []
    assert names(second.take()) == ["a"]
    assert names(third.take()) == ["a", "b"]
    first.remove()
    assert names(third.take()) == ["b"]
    assert second.take() == []
    second.become(State.ENDING)
    assert [each.state for each in third.take()] == [State.ENDING]
    second.remove()
    assert third.take() == []
    third.remove()
    assert lease.leases() == []


def test_a_run_that_shares_waits_for_no_other_run_and_others_wait_for_it():
    """It is in the results of both: others_here."""
    held = lease.create(holder("a"))
    assert held.take() == []
    shared = lease.create(holder("b", share=True))

    assert shared.take() == []
    assert names(lease.create(holder("c")).take()) == ["a", "b"]


def test_a_lease_that_is_not_for_the_host_alone_is_blocks_no_other_run():
    """A coordinator that only coordinates."""
    lease.create(replace(holder("a"), alone=False, state=State.HELD))

    assert lease.create(holder("b")).take() == []


def test_a_holder_that_is_killed_frees_the_host_and_its_lease_is_dead():
    """However it dies; also when it waited."""
    process = another("gone")
    mine = lease.create(holder("mine"))
    assert names(mine.take()) == ["gone"]

    process.kill()
    process.wait()

    assert mine.take() == []
    assert [(seen.holder.run, seen.live, seen.ours) for seen in lease.leases()] == [
        ("gone", False, True),
        ("mine", True, True),
    ]


def test_a_lock_that_is_inherited_outlives_the_one_who_made_it():
    """As the guard's does: it holds the host until everything is removed."""
    held = lease.create(holder("a"))
    held.take()
    guard = subprocess.Popen(["sleep", "60"], pass_fds=[held.descriptor])
    held.close()
    mine = lease.create(holder("mine"))
    assert names(mine.take()) == ["a"]

    guard.kill()
    guard.wait()

    assert mine.take() == []


def test_others_here_are_the_runs_that_use_the_host_beside_this_one(monkeypatch):
    """None for a process that belongs to no run."""
    process = another("theirs", share=True)
    lease.create(holder("waiting", stamp_ns=1))
    monkeypatch.delenv(RUN_VARIABLE, raising=False)
    assert lease.others_here() == []
    monkeypatch.setenv(RUN_VARIABLE, "mine-mark")
    assert lease.others_here() == ["theirs of bert@desk"]
    monkeypatch.setenv(RUN_VARIABLE, "theirs-mark")
    assert lease.others_here() == []
    process.kill()
    process.wait()


MAKES = """
made = lease.made_folder('gone-mark', 'volley-', __import__('pathlib').Path(sys.argv[1] if sys.argv[1:] else PARENT))
# Popen returns once the process runs its program; before that it would still hold our lock.
__import__('subprocess').Popen(['sleep', '300'], env={**os.environ, 'VOLLEY_RUN': 'gone-mark'})
print(made, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def dead(tmp_path):
    """A run that was killed with its guard: its folder and its process are left."""
    parent = tmp_path / "scratch"
    parent.mkdir()
    process = another("gone", MAKES.replace("PARENT", repr(str(parent))))
    folder = Path(process.stdout.readline().strip())
    process.kill()
    process.wait()
    assert folder.is_dir()
    return folder


def test_what_a_dead_lease_lists_is_removed_and_nothing_else(dead):
    """Not by name: folders and processes that look like those of a run may belong to a user."""
    decoys = [
        Path(tempfile.gettempdir()) / sessions.DECOYS[1],
        sessions.SHARED_MEMORY / sessions.DECOYS[1],
        dead.parent / "volley-x",
    ]
    for decoy in decoys:
        decoy.mkdir()
    stranger = subprocess.Popen(["sleep", "300"], env={**os.environ, RUN_VARIABLE: "gone"})
    live = another("live")
    try:
        cleaned = sweep.clean_host(None, force=False)

        assert (cleaned.removed.processes, cleaned.removed.containers, cleaned.removed.files) == (1, 0, 1)
        assert [(each.owner, each.run) for each in cleaned.left] == [("bert@desk", "live")]
        assert not dead.exists()
        assert all(decoy.is_dir() for decoy in decoys)
        assert stranger.poll() is None
        assert live.poll() is None
        assert names(seen.holder for seen in lease.leases()) == ["live"]
    finally:
        for process in (stranger, live):
            process.kill()
            process.wait()
        for decoy in decoys:
            decoy.rmdir()


def test_a_new_run_removes_what_dead_ones_have_left(dead):
    """Such as the container of an engine that was down when the run ended."""
    assert sweep.sweep().files == 1
    assert not dead.exists()
    assert lease.leases() == []


def test_doctor_removes_what_dead_runs_have_left_and_reports_it(dead):
    """In words, and only once."""
    told = []
    check = doctor._leases(told.append)

    assert told == ["removed what dead runs had left: 1 process, 1 file"]
    assert not dead.exists()
    assert (check.state, check.found) == ("ok", "no run uses this machine")
    doctor._leases(told.append)
    assert len(told) == 1


def test_one_run_is_cleaned_up_by_its_name_or_its_mark(dead):
    """An empty name is the name of no run."""
    for other in ("", "gon", "gone-marks"):
        assert sweep.clean_host(other, force=False).removed.files == 0
    assert sweep.clean_host("gone", force=False).removed.files == 1


def test_force_ends_a_live_run():
    """Asked to at first; what does not listen is killed."""
    listens, deaf = (
        another("listens"),
        another("deaf", "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); sys.stdin.read()"),
    )
    deaf.stdout.readline()

    cleaned = sweep.clean_host("listens", force=True)
    assert (cleaned.left, listens.wait(timeout=5)) == ([], -signal.SIGTERM)
    assert deaf.poll() is None
    sweep.TERMINATED_WITHIN_S, before = 0.2, sweep.TERMINATED_WITHIN_S
    try:
        assert sweep.clean_host(None, force=True).left == []
    finally:
        sweep.TERMINATED_WITHIN_S = before
    assert deaf.wait(timeout=5) == -signal.SIGKILL
    assert lease.leases() == []


def test_a_folder_of_another_user_is_never_removed(tmp_path, monkeypatch):
    """Even if a lease lists it."""
    held = lease.create(holder("a"))
    lease.register(Item("a-mark", folder=str(tmp_path / "theirs")))
    (tmp_path / "theirs").mkdir()
    monkeypatch.setattr(sweep.os, "geteuid", lambda: os.getuid() + 1)  # type: ignore[attr-defined]
    monkeypatch.setattr(lease, "items", lambda held: [Item("a-mark", folder=str(tmp_path / "theirs"))])

    assert sweep.clean(held)[0].files == 0
    assert (tmp_path / "theirs").is_dir()


def test_what_is_no_lease_is_passed_over():
    """Other users can write to the folder: damaged files, links, words for a terminal."""
    folder = lease.folder()
    (folder / "broken.lease").write_text("{")
    (folder / "list.lease").write_text("[1]")
    (folder / "link.lease").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.lease")
    shown = lease.create(Holder("\x1b[31manna", "run\nrun", ["m"], Kind.RUN, State.HELD, alone=True))

    (seen,) = lease.leases()
    assert (seen.holder.owner, seen.holder.run) == ("?[31manna", "run?run")
    shown.remove()


def test_a_folder_that_cannot_be_used_is_an_error(tmp_path, monkeypatch):
    """With the reason."""
    (tmp_path / "file").write_text("")
    for path, reason in ((tmp_path / "file", "is not a folder"), (tmp_path / "file" / "x", "cannot be created")):
        monkeypatch.setenv(lease.FOLDER_VARIABLE, str(path))
        with pytest.raises(lease.LeaseError, match=reason):
            lease.create(holder("a"))


def test_a_registered_folder_is_that_of_the_run_whose_name_begins_alike():
    """Run X and run X-1 started in the same second: ending one leaves the other alone."""
    one, two = (lease.create(Holder("anna@laptop", "x", [mark])) for mark in ("x", "x-1"))
    parent = Path(tempfile.gettempdir())
    first, second = (lease.made_folder(mark, f"volley-{mark}-", parent) for mark in ("x", "x-1"))

    sweep.clean(one)
    assert (first.exists(), second.exists()) == (False, True)
    sweep.clean(two)
    assert not second.exists()


def test_the_mutex_gives_up(monkeypatch):
    """A process that keeps it is named by the file."""
    monkeypatch.setattr(lease, "MUTEX_WITHIN_S", 0.05)
    began = time.monotonic()
    with lease.mutex(), pytest.raises(lease.LeaseError, match="is locked"), lease.mutex():
        pass
    assert time.monotonic() - began < 5
