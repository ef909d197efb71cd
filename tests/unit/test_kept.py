"""A trial that was measured is kept when its folder cannot be written, and taken in later. On disks that really are full."""

import errno
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from orchestrator.analyse.cases import judge
from orchestrator.errors import EXIT_UNREACHABLE, NotStored, StoredRunError, UsageError
from orchestrator.stored import disk, folder, kept
from orchestrator.stored.folder import RunStore
from orchestrator.stored.reading import read_trial
from tests.unit.facts import case, result, trial_facts
from tests.unit.test_room import MIB, fill, mounted  # noqa: F401

NAME = "0001-flask-burst"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where trials are kept."""
    folder = tmp_path / "spill"
    folder.mkdir()
    monkeypatch.setenv(kept.VARIABLE, str(folder))
    return folder


def measured():
    facts = trial_facts()
    agents = [result(agent, [1_000, 3_000] * 250) for agent in facts.agents]
    return judge(facts, agents), agents


def add(store, name=NAME):
    trial, agents = measured()
    return store.add(name, trial, agents, b"log")


def kept_in(place):
    return [path for path in place.glob("volley-kept-*/*") if path.is_dir()]


@pytest.mark.process
def test_a_trial_that_finds_no_room_is_kept_and_taken_in(place, mounted):  # noqa: F811
    """Nothing of it is in the run's folder, whose last room a part would take. What comes back is what was measured."""
    small = mounted("small", MIB)
    store = RunStore.create(small, "c")
    fill(small)
    with pytest.raises(NotStored) as caught:
        add(store)

    (where,) = kept_in(place)
    assert caught.value.message == (
        f"trial {NAME} cannot be written to {store.path}: No space left on device (0 MiB free). It is kept in {where}"
    )
    assert caught.value.hint == f"free some space there, then: volley resume {store.path}"
    assert caught.value.exit_code == EXIT_UNREACHABLE
    assert list((store.path / "trials").iterdir()) == []

    with pytest.raises(NotStored, match="cannot be written"):
        store.take_in()
    assert kept_in(place) == [where]
    (small / "fill").unlink()
    assert store.take_in() == [NAME]
    facts, merged = read_trial(store.path / "trials" / NAME)
    assert (facts, merged.service["ok"].n) == (measured()[0].facts, 1_000)
    assert list(place.iterdir()) == []
    assert store.take_in() == []


@pytest.mark.process
def test_events_wait_until_the_disk_takes_them(place, mounted):  # noqa: F811
    """The journal of a run on a full disk is whole once there is room, with no line torn."""
    small = mounted("small", MIB)
    store = RunStore.create(small, "c")
    store.journal("first", "x", {})
    fill(small)
    for number in range(50):
        store.journal("later", "y" * 500, {"n": number})
    (small / "fill").unlink()
    store.close()

    lines = [json.loads(line) for line in (store.path / "journal.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["first"] + ["later"] * 50
    assert [line["facts"]["n"] for line in lines[1:]] == list(range(50))


@pytest.mark.process
def test_a_folder_that_became_read_only(place, mounted):  # noqa: F811
    """As a file system does after an error."""
    small = mounted("small", MIB)
    with RunStore.create(small, "c") as store:
        store.journal("first", "x", {})
    # The journal must be closed: a file that is open for writing keeps the file system writable.
    store = RunStore(store.path)
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    with pytest.raises(NotStored, match=r"Read-only file system\. It is kept in"):
        add(store)
    with pytest.raises(UsageError, match=r"no run can be stored in .*: Read-only file system"):
        RunStore.create(small, "c")
    with pytest.raises(UsageError, match="Read-only file system"):
        RunStore.reopen(store.path)

    assert len(kept_in(place)) == 1


def test_a_folder_that_was_removed(place, tmp_path):
    """The trial is kept all the same; there is nothing to resume."""
    store = RunStore.create(tmp_path / "runs", "c")
    shutil.rmtree(store.path)
    with pytest.raises(NotStored, match=r"the folder was removed\. It is kept in") as caught:
        add(store)

    assert caught.value.hint == "start the run again"
    assert len(kept_in(place)) == 1


@pytest.mark.parametrize(
    ("number", "words", "fix"),
    [
        (errno.EIO, "Input/output error. It is kept", "check the disk, then"),
        (errno.EDQUOT, "Disk quota exceeded (", "free some space there, or raise your quota, then"),
        (errno.ENOSPC, "No space left on device (", "free some space there, then"),
    ],
)
@pytest.mark.parametrize("at", [0, 1, 4])
def test_whichever_write_fails(place, tmp_path, monkeypatch, number, words, fix, at):
    """The first, a later one, the last: as an error that only fsync reports."""
    store, calls, fsync = RunStore.create(tmp_path / "runs", "c"), [], os.fsync

    def failing(descriptor):
        calls.append(descriptor)
        if len(calls) == at + 1:
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(NotStored) as caught:
        add(store)

    assert words in caught.value.message
    assert caught.value.hint.startswith(fix)
    assert list((store.path / "trials").iterdir()) == []
    assert store.take_in() == [NAME]


def test_an_attempt_that_does_not_count_is_kept_with_its_place(place, tmp_path, monkeypatch):
    """And taken in there."""
    store = RunStore.create(tmp_path / "runs", "c")
    trial, agents = measured()
    with monkeypatch.context() as patch:
        patch.setattr(
            folder,
            "_sync",
            lambda path: (_ for _ in ()).throw(OSError(errno.EIO, "x")) if "runs" in str(path) else None,
        )
        with pytest.raises(NotStored):
            store.add_try(NAME, trial, agents, b"")
    shutil.rmtree(store.path / "tries")

    assert store.take_in() == [f"{NAME}-try1"]
    assert [path.name for path in (store.path / "tries").iterdir()] == [f"{NAME}-try1"]


@pytest.mark.process
def test_memory_is_the_last_place_and_without_any_the_trial_is_lost(tmp_path, monkeypatch, mounted):  # noqa: F811
    """The error says both."""
    runs, temporary, memory = mounted("runs", MIB), mounted("tmp", MIB), mounted("shm", MIB)
    monkeypatch.delenv(kept.VARIABLE, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(kept, "MEMORY", memory)
    store = RunStore.create(runs, "c")
    fill(runs)
    fill(temporary)
    with pytest.raises(NotStored, match=rf"It is kept in {memory}/.* \(in memory, until this machine restarts\)"):
        add(store)
    fill(memory)
    with pytest.raises(NotStored, match=f"It is lost: {temporary} and {memory} could not hold it either"):
        add(store, "0002-flask-burst")

    assert list(temporary.glob("volley-kept-*")) == []
    (runs / "fill").unlink()
    assert store.take_in() == [NAME]


def test_only_trials_of_this_run_that_are_whole_are_taken_in(place, tmp_path, monkeypatch):
    """Not those of another run, and none that was changed; what others have put there is left alone."""
    store, other = RunStore.create(tmp_path / "a", "c"), RunStore.create(tmp_path / "b", "c")
    for each in (store, other):
        with monkeypatch.context() as patch:
            patch.setattr(RunStore, "_fill", failing_below(each.path, RunStore._fill))
            with pytest.raises(NotStored):
                add(each)
    (place / "volley-kept-stranger").mkdir()
    (place / "volley-kept-link").symlink_to(kept_in(place)[0].parent)
    of_store = next(
        p for p in kept_in(place) if json.loads((p.parent / "of.json").read_text())["run"] == str(store.path)
    )
    (of_store / "server.log").write_bytes(b"changed")

    with pytest.raises(StoredRunError, match="its checksum differs"):
        store.take_in()
    assert other.take_in() == [NAME]
    assert (place / "volley-kept-stranger").is_dir()
    assert of_store.is_dir()


def failing_below(path, fill_draft):
    """What fills a trial's folder, except below a path."""

    def filled(self, draft, *rest):
        if draft.is_relative_to(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        fill_draft(self, draft, *rest)

    return filled


def test_a_run_that_cannot_be_resumed_says_where_its_trial_belongs(place, tmp_path, monkeypatch):
    """volley bench."""
    store = RunStore.create(tmp_path / "runs", "bench")
    store.resumable = False
    monkeypatch.setattr(RunStore, "_fill", failing_below(store.path, RunStore._fill))
    with pytest.raises(NotStored) as caught:
        add(store)

    (where,) = kept_in(place)
    assert caught.value.hint.endswith(f"then: mv {where} {store.path}/trials/ && volley report {store.path}")


@pytest.mark.process
def test_a_run_asks_for_room_before_it_starts(mounted):  # noqa: F811
    """What the smallest such run takes: a long one with many agents takes more."""
    small = mounted("small", 4 * MIB)
    few, many = [case(agents=1)] * 2, [case(agents=50, duration_us=300_000_000)] * 10

    assert disk.needed_bytes(few) < 4 * MIB < disk.needed_bytes(many)
    disk.require_disk(small / "not" / "there", disk.needed_bytes(few))
    with pytest.raises(NotStored, match=r"small has 4 MiB free, and this run needs about 7\d\.\d MiB"):
        disk.require_disk(small, disk.needed_bytes(many))


def test_the_free_space_of_a_folder_that_is_not_there_yet():
    """Is that of the nearest one that is."""
    assert disk.free_bytes(Path("/no/such/folder")) == disk.free_bytes(Path("/"))
