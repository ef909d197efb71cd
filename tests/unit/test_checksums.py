"""Checksums of stored trials: what a disk or a copy changed is refused, and so is a trial of another run."""

import json
import random
import shutil

import pytest

from orchestrator.errors import StoredRunError
from orchestrator.stored.evaluate import evaluate_run
from orchestrator.stored.folder import RunStore
from orchestrator.stored.reading import read_trial, stored_trials
from tests.unit.test_run_folder import stored

FLIPS = 200


@pytest.fixture
def run(tmp_path):
    return stored(tmp_path)


@pytest.mark.parametrize("name", ["trial.json", "agents.msgpack"])
def test_no_single_bit_can_change(run, name):
    """Flips at places drawn at random, each of which would otherwise read as a number, a name or nothing."""
    path = run / "trials" / "0001-flask-burst" / name
    whole = path.read_bytes()
    draw = random.Random(name)
    for _ in range(FLIPS):
        changed = bytearray(whole)
        changed[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(StoredRunError, match="is not what was written: its checksum differs"):
            read_trial(path.parent)
    path.write_bytes(whole)
    read_trial(path.parent)


def test_a_trial_under_the_name_of_another(run):
    """Two folders of one run were exchanged: each says which it is."""
    first, second = run / "trials" / "0001-flask-burst", run / "trials" / "0003-flask-burst"
    assert {first, second} <= set(stored_trials(run))
    first.rename(run / "trials" / "kept")
    second.rename(first)

    with pytest.raises(StoredRunError, match="holds trial 0003-flask-burst, and not the one in its name"):
        evaluate_run(run)


def test_a_trial_of_another_run(run, tmp_path):
    """Same campaign, same name of the folder, and a run of its own: refused by both names."""
    other = stored(tmp_path / "other")
    theirs = other / "trials" / "0002-fastapi-burst"
    sums = json.loads((theirs / "checksums.json").read_text()) | {"run": "demo-20200101T000000Z"}
    shutil.rmtree(run / "trials" / "0002-fastapi-burst")
    shutil.copytree(theirs, run / "trials" / "0002-fastapi-burst")
    (run / "trials" / "0002-fastapi-burst" / "checksums.json").write_text(json.dumps(sums))

    with pytest.raises(StoredRunError, match=r"0002-fastapi-burst belongs to run demo-20200101T000000Z"):
        evaluate_run(run)


def test_a_run_whose_folder_was_renamed(run):
    """People name the run that they compare with 'baseline': it stays readable."""
    renamed = run.rename(run.parent / "baseline")

    assert len(evaluate_run(renamed).trials) == 4


def test_a_run_of_a_version_without_checksums(run):
    """Nothing is known, so nothing is refused."""
    for folder in stored_trials(run):
        (folder / "checksums.json").unlink()

    assert len(evaluate_run(run).trials) == 4


@pytest.mark.parametrize("content", ["", "[]", '{"run": 1, "trial": "0001-flask-burst", "files": {}}', "{"])
def test_checksums_that_are_no_checksums(run, content):
    """A sentence with the file, and what to do."""
    path = run / "trials" / "0001-flask-burst" / "checksums.json"
    path.write_text(content)

    with pytest.raises(StoredRunError, match=r"checksums\.json (cannot be read|was not written by Volley)") as error:
        read_trial(path.parent)
    assert "delete that trial's folder" in error.value.hint


def test_an_attempt_that_does_not_count_has_checksums_too(run):
    """Its reason is read when a run is resumed."""
    with RunStore.reopen(run) as store:
        trial = evaluate_run(run).trials[0]
        path = store.add_try("0001-flask-burst", trial, [], b"")
        assert (path / "checksums.json").is_file()
        text = (path / "trial.json").read_text()
        (path / "trial.json").write_text(text.replace("flask", "flusk", 1))
        with pytest.raises(StoredRunError, match="is not what was written"):
            store.tries("0001-flask-burst")
