"""A run on disk: written, read back, evaluated and shown."""

import io
import json
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from orchestrator.analyse.cases import judge, summarise
from orchestrator.errors import StoredRunError, UsageError
from orchestrator.report.files import write_results
from orchestrator.report.summary import to_document as summary_document
from orchestrator.report.terminal import render
from orchestrator.stored.documents import CampaignPlan, to_document
from orchestrator.stored.evaluate import evaluate_run
from orchestrator.stored.folder import RunStore
from tests.unit.facts import agent_facts, case, result, server_facts, trial_facts


def trials():
    """Two blocks of two targets; the second target is killed for memory."""
    made = []
    for block in range(2):
        for offset, target in enumerate(("flask", "fastapi")):
            one = case(name=f"{target}/burst", target=target)
            killed = replace(server_facts().last, oom_kills=block + 1)
            server = server_facts(last=killed) if target == "fastapi" else server_facts()
            facts = trial_facts(number=2 * block + offset + 1, block=block, case=one, server=server)
            made.append((facts, [result(a, [1000 + 10 * block, 3000] * 250) for a in facts.agents]))
    return made


def stored(tmp_path):
    store = RunStore.create(tmp_path, "demo")
    cases = [trials()[0][0].case, trials()[1][0].case]
    plan = CampaignPlan(
        campaign="demo", cases=cases, digest="d", seed=1, trials=[], required_trials=2, baseline="flask",
        smallest_effect=0.03,
    )  # fmt: skip
    store.write_json("plan.json", to_document(plan))
    for facts, agents in trials():
        store.add(f"{facts.number:04d}-{facts.case.name.replace('/', '-')}", judge(facts, agents), agents, b"log")
    store.journal("end", "done", {"n": 4})
    store.close()
    return store.path


def test_a_stored_run_evaluates_to_the_same_result(tmp_path):
    """The folder alone gives the same summary as memory."""
    direct = [judge(facts, agents) for facts, agents in trials()]
    cases = [trials()[0][0].case, trials()[1][0].case]

    again = evaluate_run(stored(tmp_path))

    assert again.summary == summarise("demo", cases, direct, 2, "flask", 0.03)
    assert [t.metrics for t in again.trials] == [t.metrics for t in direct]


def test_trials_appear_whole_or_not_at_all(tmp_path):
    """A stored trial has all its files, and the draft of a killed run is not read."""
    run = stored(tmp_path)
    (run / "trials" / ".0005-flask-burst.part").mkdir()

    names = sorted(path.name for path in (run / "trials" / "0001-flask-burst").iterdir())

    assert names == [
        "agents.msgpack",
        "checksums.json",
        "h2load-local-0.txt",
        "h2load-local-1.txt",
        "server.json",
        "server.log",
        "trial.json",
    ]
    assert len(evaluate_run(run).trials) == 4
    assert json.loads((run / "journal.jsonl").read_text().splitlines()[-1])["kind"] == "end"


def test_summary_and_terminal_page(tmp_path, golden):
    """The exact text that programs and people read."""
    finished = evaluate_run(stored(tmp_path))
    console = Console(width=200, no_color=True, record=True, file=io.StringIO())
    for piece in render(finished.summary):
        console.print(piece, soft_wrap=True)

    golden("summary.json", json.dumps(summary_document(finished.summary), indent=2) + "\n")
    golden("terminal.txt", "\n".join(line.rstrip() for line in console.export_text().splitlines()) + "\n")


def test_tables_hold_one_row_each(tmp_path):
    """trials, cases and comparisons, as CSV and Parquet."""
    finished = evaluate_run(stored(tmp_path))
    write_results(finished.path, finished.summary, finished.trials)

    table = pd.read_csv(finished.path / "trials.csv")
    parquet = pd.read_parquet(finished.path / "trials.parquet")

    assert table["ok"].tolist() == [1000] * 4
    assert parquet["trial"].tolist() == [1, 2, 3, 4]
    assert parquet["verdict"].tolist() == ["VALID", "INVALID"] * 2
    assert parquet.columns.tolist() == table.columns.tolist()
    assert parquet["response_time_p50_us"].dtype == "float64"
    assert parquet["response_time_p50_us"].isna().all()
    # Numbers are the same in both; text that looks like none is not told apart by CSV.
    numbers = parquet.select_dtypes("number")
    assert (numbers.isna() == table[numbers.columns].isna()).all().all()
    assert (numbers.fillna(0.0) == table[numbers.columns].fillna(0.0)).all().all()
    assert pd.read_csv(finished.path / "cases.csv")["oom_kills"].tolist() == [0, 3]
    assert set(pd.read_csv(finished.path / "comparisons.csv")["conclusion"]) == {"incomparable"}


def test_trial_json_keeps_the_former_names_of_its_times(tmp_path):
    """Format 1 stays readable: what programs read before is there beside the present names."""
    metrics = json.loads((stored(tmp_path) / "trials" / "0001-flask-burst" / "trial.json").read_text())["metrics"]

    assert metrics["service_us"] == metrics["service_time_us"]
    assert (metrics["response_us"], metrics["lag_us"]) == (None, None)


def test_a_run_is_never_overwritten(tmp_path):
    """Two runs in one second have two folders."""
    first, second = RunStore.create(tmp_path, "demo"), RunStore.create(tmp_path, "demo")

    assert first.path != second.path


def test_where_nothing_can_be_stored(tmp_path):
    """A file in place of the folder is reported before anything starts."""
    (tmp_path / "runs").write_text("")

    with pytest.raises(UsageError, match="no run can be stored"):
        RunStore.create(tmp_path / "runs", "demo")


def test_folders_that_cannot_be_read(tmp_path):
    """A folder without a plan; a truncated trial; another format."""
    with pytest.raises(StoredRunError, match=r"is not a run folder: it has no plan\.json"):
        evaluate_run(tmp_path)
    run = stored(tmp_path)
    agents = run / "trials" / "0001-flask-burst" / "agents.msgpack"
    agents.write_bytes(agents.read_bytes()[:-3])
    with pytest.raises(StoredRunError, match="is not what was written"):
        evaluate_run(run)
    # As stored by a version without checksums.
    (agents.parent / "checksums.json").unlink()
    with pytest.raises(StoredRunError, match="truncated"):
        evaluate_run(run)
    trial = run / "trials" / "0001-flask-burst" / "trial.json"
    trial.write_text(trial.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(StoredRunError, match="has format 2"):
        evaluate_run(run)


def test_facts_survive_json(tmp_path):
    """Whole numbers as keys, absent values, nested records."""
    run = stored(tmp_path)

    again = evaluate_run(run).trials[0].facts

    assert again.agents[0].statuses == {200: 500}
    assert again.agents[0] == agent_facts()
