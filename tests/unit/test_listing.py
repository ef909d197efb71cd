"""`volley runs`: what is read, what is shown, and that a folder of thousands of runs is listed at once."""

import json
import shutil
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.report.listing import what
from orchestrator.report.when import when
from orchestrator.stored import listing
from orchestrator.stored.listing import ListedRun, list_runs
from tests.conftest import ROOT

BENCH = ROOT / "tests" / "fixtures" / "format1" / "bench-20261126T005555Z"
TOKYO = timezone(timedelta(hours=9))


@pytest.mark.parametrize(
    ("instant", "shown"),
    [
        (datetime(2026, 11, 26, 13, 56, tzinfo=UTC), "today 22:56"),
        (datetime(2026, 11, 25, 14, 59, tzinfo=UTC), "yesterday 23:59"),
        (datetime(2026, 11, 25, 15, 0, tzinfo=UTC), "today 00:00"),
        (datetime(2026, 11, 23, 0, 10, tzinfo=UTC), "23 Nov 09:10"),
        (datetime(2025, 12, 31, 15, 0, tzinfo=UTC), "1 Jan 00:00"),
        (datetime(2025, 12, 31, 14, 0, tzinfo=UTC), "31 Dec 2025"),
        (None, ""),
    ],
)
def test_an_instant_is_shown_in_the_time_of_this_machine(instant, shown):
    """Here that of Tokyo."""
    assert when(instant, datetime(2026, 11, 26, 23, 30, tzinfo=TOKYO)) == shown


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"campaign": "bench", "kind": "bench", "urls": ["http://127.0.0.1:8000/"]}, "bench 127.0.0.1:8000"),
        ({"campaign": "bench", "kind": "bench", "urls": ["https://me:word@a.example/x"]}, "bench https://a.example/x"),
        ({"campaign": "bench", "kind": "bench"}, "bench"),
        ({"campaign": "saturate", "kind": "saturate", "urls": ["http://a:80/"]}, "saturate a:80"),
        ({"campaign": "api", "kind": "saturate"}, "api (saturate)"),
        ({"campaign": "api", "kind": "run", "urls": ["http://a:80/"]}, "api"),
        ({}, "api-20260101T000000Z"),
    ],
)
def test_what_was_measured(facts, shown):
    """A URL for a verb that has no campaign file, without what can be a secret; else the campaign."""
    assert what(ListedRun(path=ROOT / "api-20260101T000000Z", started=None, **facts)) == shown


def test_a_document_of_runs(tmp_path):
    """Everything a program needs to choose a run; --last limits it to the newest."""
    for name in ("a-20260101T000000Z", "b-20260102T000000Z", "c-20260103T000000Z"):
        shutil.copytree(BENCH, tmp_path / name)
    summary = tmp_path / "c-20260103T000000Z" / "summary.json"
    plain = json.loads(summary.read_text()) | {
        "answer": ["It answers."],
        "result": "1 req/s, p99 1 ms",
        "outcome": "FAIL",
    }
    plain["cases"][0] |= {"planned": {"external": True}, "urls": ["http://127.0.0.1:8000/"]}
    summary.write_text(json.dumps(plain))
    (tmp_path / "b-20260102T000000Z" / "summary.json").unlink()

    runs = json.loads(CliRunner().invoke(app, ["runs", str(tmp_path), "--json", "--last", "2"]).stdout)["runs"]

    assert runs[0] == {
        "path": str(tmp_path / "c-20260103T000000Z"), "date": "2026-01-03T00:00:00+00:00", "state": "VALID",
        "kind": "bench", "campaign": "bench", "urls": ["http://127.0.0.1:8000/"], "verdict": "VALID", "outcome": "FAIL",
        "answer": ["It answers."], "result": "1 req/s, p99 1 ms", "done": None, "planned": None, "problem": None,
    }  # fmt: skip
    assert [(run["state"], run["done"], run["planned"]) for run in runs[1:]] == [("unfinished", 2, 2)]


def test_a_folder_without_runs(tmp_path):
    """Says how to make one; no error."""
    done = CliRunner().invoke(app, ["runs", str(tmp_path)])

    assert (done.exit_code, done.stdout) == (0, "")
    assert "-> make one: volley bench URL" in done.stderr


def test_two_thousand_runs_are_listed_by_their_summaries(tmp_path, monkeypatch):
    """No plan and no trial of a finished run is read, and one run costs far less than evaluating it."""
    summary = (BENCH / "summary.json").read_bytes()
    began = datetime(2026, 1, 1, tzinfo=UTC)
    for i in range(2000):
        run = tmp_path / f"bench-{began + timedelta(minutes=i):%Y%m%dT%H%M%SZ}"
        run.mkdir()
        (run / "plan.json").symlink_to(BENCH / "plan.json")
        (run / "summary.json").symlink_to(BENCH / "summary.json")
    monkeypatch.setattr(listing, "read_plan", lambda run: pytest.fail("a plan was read"))
    monkeypatch.setattr(listing, "trial_folders", lambda run: pytest.fail("trials were counted"))

    began_s = time.process_time()
    runs = list_runs(tmp_path)
    took_s = time.process_time() - began_s
    began_s = time.process_time()
    for _ in range(2000):
        json.loads(summary)
    parsing_s = time.process_time() - began_s

    assert len(runs) == 2000
    assert runs[0].path.name > runs[-1].path.name
    assert took_s < 20 * parsing_s + 0.5
