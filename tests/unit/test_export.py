"""`volley export`: every format, to stdout or to a file, read by the programs that it is for."""

import io
import json
import sys
from dataclasses import replace

import pandas as pd
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from orchestrator.cli.app import invoke
from orchestrator.metrics import stored
from orchestrator.report.tables import as_csv, tables_of
from orchestrator.result import ServerCost
from orchestrator.stored.evaluate import evaluate_run
from orchestrator.stored.reading import read_environment
from tests.unit.test_stored_format import BENCH, SEARCH


def samples(text):
    """Every sample by its name and its labels, read by the official parser."""
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def of(found, name, **labels):
    """The values of a sample with at least these labels."""
    return [value for (sample, has), value in found.items() if sample == name and labels.items() <= set(has)]


def test_openmetrics_of_a_campaign(capsys):
    """Requests, throughput, verdict and times of the case, as the result has them."""
    assert invoke(["export", str(BENCH), "--format", "openmetrics"]) == 0
    text = capsys.readouterr().out
    found, case = samples(text), evaluate_run(BENCH).summary.cases[0]
    labels = {"campaign": "bench", "case": "url/load", "target": "url", "load": "load"}

    assert text.endswith("# EOF\n")
    assert of(found, "volley_requests_total", outcome="ok", **labels) == [400]
    assert of(found, "volley_throughput_per_second", bound="estimate", **labels) == [case.throughput_per_s.estimate]
    assert of(found, "volley_verdict", volley_verdict="VALID", **labels) == [1]
    assert of(found, "volley_verdict", volley_verdict="INVALID", **labels) == [0]
    assert of(found, "volley_trials_total", verdict="VALID", **labels) == [2]
    assert of(found, "volley_service_time_seconds_count", **labels) == [400]
    assert of(found, "volley_service_time_seconds_bucket", le="+Inf", **labels) == [400]
    assert of(found, "volley_service_time_seconds_bucket", le="1e-05", **labels) == [0]
    # The p50 of both trials is 96 µs: half of the requests are up to 100 µs, and not up to 80 µs.
    assert of(found, "volley_service_time_seconds_bucket", le="8e-05", **labels)[0] < 200
    assert of(found, "volley_service_time_seconds_bucket", le="0.0001", **labels)[0] >= 200
    assert of(found, "volley_run_info", run=BENCH.name, volley_version="0.1.0", verdict="VALID") == [1]


def test_openmetrics_of_services(monkeypatch):
    """By service and case; what was not metered is not there, and nothing where no case has services."""
    finished = evaluate_run(BENCH)
    used = ServerCost(cpu_s=0.5, peak_memory_bytes=1 << 20, oom_kills=3, restarts=1)
    case = replace(finished.summary.cases[0], services={"db": used})
    without = stored.document(BENCH)
    changed = replace(finished, summary=replace(finished.summary, cases=[case]))
    monkeypatch.setattr(stored, "evaluate_run", lambda run: changed)
    found = samples(stored.document(BENCH))

    assert of(found, "volley_service_cpu_seconds", service="db", case="url/load") == [0.5]
    assert of(found, "volley_service_peak_memory_bytes", service="db") == [1 << 20]
    assert of(found, "volley_service_oom_kills_total", service="db") == [3]
    assert of(found, "volley_service_restarts_total", service="db") == [1]
    assert of(found, "volley_service_throttled_ratio") == []
    assert "volley_service_oom" not in without


def test_openmetrics_of_a_search(capsys):
    """Requests by kind of probe. Probes of different rates have no common histogram."""
    assert invoke(["export", str(SEARCH), "--format", "openmetrics"]) == 0
    found = samples(capsys.readouterr().out)

    assert of(found, "volley_requests_total", case="url/probe", outcome="ok") == [600]
    assert of(found, "volley_service_time_seconds_count") == []


@pytest.mark.parametrize("table", ["trials", "cases", "comparisons", "series", "saturation"])
def test_tables_go_to_stdout_or_to_a_file(capsys, tmp_path, table):
    """CSV as the folder has it; the same as Parquet."""
    finished = evaluate_run(SEARCH if table == "saturation" else BENCH)
    expected = as_csv(tables_of(finished.summary, finished.trials, read_environment(finished.path))[table])
    export = ["export", str(finished.path), "--table", table, "--format"]

    assert invoke([*export, "csv"]) == 0
    assert capsys.readouterr().out == expected
    assert invoke([*export, "csv", "-o", str(tmp_path / "t.csv")]) == 0
    assert (tmp_path / "t.csv").read_text() == expected
    assert invoke([*export, "parquet", "--out", str(tmp_path / "t.parquet")]) == 0
    assert len(pd.read_parquet(tmp_path / "t.parquet")) == len(pd.read_csv(io.StringIO(expected)))


def test_json_is_the_summary(capsys, tmp_path):
    """On stdout as in a file."""
    assert invoke(["export", str(BENCH), "--format", "json"]) == 0
    printed = capsys.readouterr().out
    assert invoke(["export", str(BENCH), "--format", "json", "-o", str(tmp_path / "s.json")]) == 0

    assert json.loads(printed)["campaign"] == "bench"
    assert (tmp_path / "s.json").read_text() == printed


def test_hlog_without_its_package_says_how_to_install_it(capsys, tmp_path, monkeypatch):
    """Before anything is written."""
    monkeypatch.setitem(sys.modules, "hdrh.histogram", None)

    assert invoke(["export", str(BENCH), "--format", "hlog", "-o", str(tmp_path / "logs")]) == 2
    assert capsys.readouterr().err == (
        "error: .hlog files need the package hdrhistogram, which is not installed\n"
        "  -> run: pip install 'volley-load[hlog]'\n"
    )
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "json", "--table", "cases"], "--table applies to csv and parquet, not to json"),
        (["--format", "csv", "-o", "/dev/null/x"], "/dev/null/x cannot be written: Not a directory"),
        (["--format", "hlog", "-o", "/dev/null/x"], "/dev/null/x cannot be written: Not a directory"),
    ],
)
def test_misuse_is_one_sentence_with_a_hint(capsys, arguments, message):
    """And exit code 2."""
    assert invoke(["export", str(BENCH), *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()

    assert lines[0] == f"error: {message}"
    assert lines[1].startswith("  -> ")


def test_parquet_is_not_shown_on_a_terminal(capsys, monkeypatch):
    """It is not text."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    assert invoke(["export", str(BENCH), "--format", "parquet"]) == 2
    assert "name a file: --out trials.parquet" in capsys.readouterr().err
