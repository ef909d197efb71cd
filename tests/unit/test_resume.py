"""Runs that can be resumed, and runs that are refused. No host is contacted."""

import json

import pytest
from typer.testing import CliRunner

from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.origin import changes, parts_of
from orchestrator.campaign.resume import resume
from orchestrator.campaign.trials import CampaignTrials
from orchestrator.errors import UsageError
from orchestrator.spec.load import load
from orchestrator.stored.documents import Origin, to_document
from orchestrator.stored.folder import RunStore


@pytest.fixture
def interrupted(tmp_path):
    """Return the campaign file and the folder of a run that was interrupted before its first trial."""
    file = tmp_path / "c.yaml"
    document = {
        "campaign": "c",
        "targets": {"a": {"url": "http://127.0.0.1:9/"}},
        "loads": {"burst": {"clients": 4, "requests": 100}},
        "repetitions": 2,
    }
    file.write_text(json.dumps(document))
    loaded = load(file)
    store = RunStore.create(tmp_path / "runs", "c")
    plan = CampaignTrials.planned(loaded, None, Hosts()).document(Origin(str(file)))
    store.write_json("plan.json", to_document(plan))
    store.close()
    return file, store.path


def refused(run):
    with pytest.raises(UsageError) as caught:
        resume(run, lambda event: None)
    return caught.value


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda d: d["loads"]["burst"].update(clients=5), "loads.burst.clients changed"),
        (lambda d: d["targets"].update(b={"url": "http://127.0.0.1:8/"}), "targets.b.url is new"),
        (lambda d: d.update(seed=7), "seed is new"),
        (lambda d: d.pop("repetitions"), "repetitions is gone"),
    ],
)
def test_a_changed_campaign_is_refused_with_what_changed(interrupted, change, problem):
    """A run must not mix the trials of two campaigns."""
    file, run = interrupted
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))

    error = refused(run)

    assert problem in error.message
    assert error.hint == "start a new run"


def test_a_run_that_is_being_written_is_refused(interrupted):
    """Two processes must not write into one folder."""
    _, run = interrupted
    store = RunStore.reopen(run)
    try:
        assert "is being written by another volley" in refused(run).message
    finally:
        store.close()


def test_a_run_from_a_command_line_cannot_be_resumed(interrupted):
    """`volley bench` has no campaign file, and its headers, which can be secrets, were never stored."""
    _, run = interrupted
    plan = json.loads((run / "plan.json").read_text())
    del plan["origin"]
    (run / "plan.json").write_text(json.dumps(plan))

    assert "does not record the command that started it" in refused(run).message


def test_a_folder_that_is_not_a_run(tmp_path):
    """The error names the missing file."""
    from orchestrator.cli.app import app

    done = CliRunner().invoke(app, ["resume", str(tmp_path)])

    assert done.exception is not None
    assert "plan.json" in str(done.exception)


def test_parts_hold_digests_and_no_secrets():
    """Equal content has equal digests, in any order of its keys."""
    parts = parts_of({"loads": {"l": {"headers": {"Authorization": "Bearer x"}, "clients": 1}}, "seed": 1})

    assert set(parts) == {"loads.l.clients", "loads.l.headers", "seed"}
    assert "Bearer" not in json.dumps(parts)
    assert (
        changes(parts, parts_of({"seed": 1, "loads": {"l": {"clients": 1, "headers": {"Authorization": "Bearer x"}}}}))
        == []
    )
