"""Documents of format 1: those of an earlier version stay readable, and everything else is refused with its place.

The runs under tests/fixtures/format1/ were made by the version before plan.json and environment.json were records.
"""

import json
import shutil

import pytest
from typer.testing import CliRunner

from agents.records import BadRecord, HostRole
from orchestrator.cli.app import app
from orchestrator.errors import StoredRunError, UsageError
from orchestrator.report.summary import to_document as summary_document
from orchestrator.result import Verdict
from orchestrator.stored.compare import compare_stored, compare_targets
from orchestrator.stored.documents import (
    CampaignPlan,
    Origin,
    SearchPlan,
    environment_of,
    plan_of,
    summary_of,
    to_document,
)
from orchestrator.stored.evaluate import evaluate_run
from orchestrator.stored.listing import list_runs
from orchestrator.stored.reading import read_environment, read_plan, read_summary, read_trials
from tests.conftest import ROOT

RUNS = ROOT / "tests" / "fixtures" / "format1"
BENCH, SEARCH = RUNS / "bench-20261126T005555Z", RUNS / "saturate-saturation-20261126T005609Z"
# Not numbers: what people read may be reworded, and findings may be added.
NUMBERS = ("throughput_per_s", "service_time_us", "response_time_us", "requests", "server", "trials", "used", "verdict")


def document(run, name):
    return json.loads((run / name).read_text())


def test_the_plan_of_an_earlier_campaign():
    """`volley bench` recorded no command: the run cannot be resumed, and can be evaluated."""
    plan = read_plan(BENCH)

    assert isinstance(plan, CampaignPlan)
    assert [(trial.number, trial.block, trial.folder) for trial in plan.trials] == [
        (1, 0, "0001-url-load"), (2, 1, "0002-url-load"),
    ]  # fmt: skip
    assert (plan.origin, plan.parts, plan.required_trials, plan.slo) == (None, {}, 2, {"url/load": []})


def test_the_plan_of_an_earlier_search():
    """Its command and its objective are records; a whole limit in JSON is a number like any other."""
    plan = read_plan(SEARCH)

    assert isinstance(plan, SearchPlan)
    assert plan.origin == Origin("campaign.yaml")
    assert [(term.metric, term.limit) for term in plan.saturation.terms] == [("p50", 50_000.0)]
    assert plan.saturation.highest == 300.0


def test_hosts_without_a_role_get_theirs_when_they_are_read():
    """Only load hosts reported a version of h2load; servers reported their engine."""
    server = {"host": "web1", "docker": "20.10", "cores": [0], "memory_bytes": 1 << 30, "cgroup": "2"}
    stored = document(BENCH, "environment.json")
    stored["hosts"].append(server | {"kernel": "6.1.0", "clock_port": 20_000})

    assert [(host.host, host.role) for host in read_environment(BENCH).hosts] == [("local", HostRole.LOAD)]
    assert [host.role for host in environment_of(stored).hosts] == [HostRole.LOAD, HostRole.SERVER]


@pytest.mark.parametrize("run", [BENCH, SEARCH], ids=["bench", "search"])
def test_an_earlier_run_evaluates_to_the_numbers_that_it_had(run):
    """The summary that the earlier version stored, and the one made now from facts and counters."""
    before, now = document(run, "summary.json"), summary_document(evaluate_run(run).summary)
    plain = json.loads(json.dumps(now))

    assert (plain["verdict"], plain["outcome"]) == (before["verdict"], before["outcome"])
    assert len(plain["cases"]) == len(before["cases"])
    for old, new in zip(before["cases"], plain["cases"], strict=True):
        assert {name: new[name] for name in NUMBERS} == {name: old[name] for name in NUMBERS}
    for old, new in zip(before["saturation"], plain["saturation"], strict=True):
        assert {name: new[name] for name in ("ending", "held_per_s", "probes", "start_per_s", "capacity_per_s")} == {
            name: old[name] for name in ("ending", "held_per_s", "probes", "start_per_s", "capacity_per_s")
        }
        assert [probe["rate_per_s"] for probe in new["curve"]] == [probe["rate_per_s"] for probe in old["curve"]]


@pytest.mark.parametrize(
    ("run", "text"),
    [(BENCH, "answers 29,800 requests per second"), (SEARCH, "holds at least 300 requests")],
    ids=["bench", "search"],
)
def test_an_earlier_run_is_reported_and_listed(run, text, tmp_path):
    """With the verbs about stored runs; `report` adds the page that earlier versions did not write."""
    copy = shutil.copytree(run, tmp_path / run.name)
    reported = CliRunner().invoke(app, ["report", str(copy)])
    listed = CliRunner().invoke(app, ["runs", str(RUNS)])

    assert reported.exit_code == 0
    assert text in reported.stdout
    assert (copy / "report.html").stat().st_size < 5_000_000
    assert run.name.partition("-")[0] in listed.stdout


def test_earlier_runs_in_a_list():
    """The newest first, each with the verb that made it; the result of one that did not store it in words."""
    listed = list_runs(RUNS)

    assert [(run.path, run.kind, run.verdict) for run in listed] == [
        (SEARCH, "saturate", "SUSPECT"), (BENCH, "bench", "VALID"),
    ]  # fmt: skip
    assert listed[1].result == "29,800 req/s"
    assert [case.name for case in read_summary(BENCH).cases] == ["url/load"]


def test_an_earlier_run_is_compared_and_has_one_target():
    """With itself: nothing differs. Inside the run there is nothing to compare, and in a search there is no case."""
    compared = compare_stored(BENCH, BENCH, None, frozenset(), [])

    assert {difference.kind for c in compared.comparisons for difference in c.differences} == set()
    with pytest.raises(UsageError, match="one target only"):
        compare_targets(BENCH, None, None, [])
    with pytest.raises(UsageError, match="is a search for capacity"):
        compare_targets(SEARCH, None, None, [])


def test_documents_are_read_back_as_they_were_written():
    """Plans and environments, from today's form too."""
    for record, read in (
        (read_plan(BENCH), plan_of),
        (read_plan(SEARCH), plan_of),
        (read_environment(BENCH), environment_of),
    ):
        assert read(json.loads(json.dumps(to_document(record)))) == record


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda plan: plan.pop("digest"), "field 'digest' is missing"),
        (lambda plan: plan.update(colour="red"), "unknown field 'colour'"),
        (lambda plan: plan.update(required_trials="2"), "plan.required_trials: str '2'"),
        (lambda plan: plan["cases"][0].update(model="ajar"), "cases[0].model: 'ajar'"),
        (lambda plan: plan.update(format=2), "it has format 2; this Volley reads format 1"),
        (lambda plan: plan.update(saturation={}), "plan: unknown field 'baseline'"),
    ],
)
def test_a_plan_that_is_not_ours_is_refused_with_its_place(tmp_path, change, problem):
    """As strictly as a trial: the file, the field, what to do."""
    plan = document(BENCH, "plan.json")
    change(plan)
    (tmp_path / "plan.json").write_text(json.dumps(plan))

    with pytest.raises(StoredRunError) as caught:
        evaluate_run(tmp_path)
    assert str(tmp_path / "plan.json") in caught.value.message
    assert problem in caught.value.message
    assert caught.value.hint == "name a folder that 'volley run' made"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda plain: plain.pop("verdict"), "verdict"),
        (lambda plain: plain.update(verdict="GOOD"), "GOOD"),
        (lambda plain: plain.update(cases={}), "'cases' must be a list"),
        (lambda plain: plain["cases"][0].update(service_time_us=[1]), "not a table"),
        (lambda plain: plain["cases"][0].update(throughput_per_s={"estimate": "fast"}), "estimate"),
    ],
)
def test_a_summary_that_is_not_ours_is_refused(change, problem):
    """What is read of it is checked; what is not read, such as a newer version's fields, is not."""
    plain = document(BENCH, "summary.json")
    assert summary_of(plain | {"added_later": 1}).verdict is Verdict.VALID
    change(plain)

    with pytest.raises(BadRecord, match=problem):
        summary_of(plain)


def test_the_output_of_a_generator_is_read_back_with_its_trial():
    """trial.json leaves it to the agents' own file; findings that quote it need it."""
    for facts, merged in read_trials(BENCH):
        assert [agent.output for agent in facts.agents] == [part.facts.output for part in merged.parts]
        assert all("starting benchmark" in agent.output for agent in facts.agents)


def test_a_run_that_cannot_be_read_does_not_hide_the_others(tmp_path):
    """A list shows it with what is wrong."""
    for name in ("a-20260101T000000Z", "b-20260102T000000Z"):
        shutil.copytree(BENCH, tmp_path / name)
    (tmp_path / "a-20260101T000000Z" / "plan.json").write_text('{"format": 2}')

    (tmp_path / "a-20260101T000000Z" / "summary.json").unlink()
    (tmp_path / "b-20260102T000000Z" / "summary.json").write_text('{"format": 1, "verdict": "GOOD"}')
    shutil.copytree(BENCH, tmp_path / "c-20260103T000000Z")

    sound, bad_summary, bad_plan = list_runs(tmp_path)

    assert "has format 2" in bad_plan.problem
    assert "GOOD" in bad_summary.problem
    assert (bad_plan.state, bad_summary.state, sound.state) == ("unreadable", "unreadable", "VALID")
