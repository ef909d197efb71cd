"""Tables of a run: every column is documented, typed and filled; other libraries read the files."""

import io
import re
from itertools import product

import pandas as pd
import polars as pl
import pyarrow.parquet
import pytest

from orchestrator.report.columns import TABLES, ColumnKind
from orchestrator.report.files import write_results
from orchestrator.report.tables import Table, as_csv, tables_of, write_parquet
from orchestrator.stored.evaluate import evaluate_run
from orchestrator.stored.reading import read_environment
from tests.conftest import ROOT
from tests.unit.test_stored_format import BENCH, SEARCH

ARROW = {
    ColumnKind.TEXT: "string", ColumnKind.WHOLE: "int64", ColumnKind.NUMBER: "double", ColumnKind.FLAG: "bool",
}  # fmt: skip


def expanded(name):
    """`a{,_b}` stands for a and a_b."""
    parts = re.split(r"\{([^}]*)\}", name)
    choices = [part.split(",") if position % 2 else [part] for position, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


def documented(table):
    text = (ROOT / "docs" / "reference" / "data.md").read_text()
    section = text.split(f"\n## {table}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`) \|", section, re.MULTILINE)
    return [column for row in rows for name in re.findall(r"`([^`]+)`", row) for column in expanded(name)]


def tables(run):
    finished = evaluate_run(run)
    return tables_of(finished.summary, finished.trials, read_environment(run))


@pytest.mark.parametrize("name", list(TABLES))
def test_every_column_is_documented(name):
    """docs/reference/data.md names exactly the columns that there are."""
    assert sorted(documented(name)) == sorted(TABLES[name])


@pytest.mark.parametrize("run", [BENCH, SEARCH], ids=["bench", "search"])
def test_rows_have_no_other_columns_than_the_tables(run):
    """And a number in a column of numbers."""
    for name, table in tables(run).items():
        assert table.columns is TABLES[name]
        for row in table.rows:
            assert row.keys() <= table.columns.keys(), name
            for column, value in row.items():
                text = table.columns[column] is ColumnKind.TEXT
                assert isinstance(value, str) if text else value is None or not isinstance(value, str), (name, column)


def test_trials_and_cases_show_how_the_load_was_driven():
    """URL, model, clients, generator, versions: enough to know what the number is about."""
    known = {
        "url": "http://127.0.0.1:45241/", "model": "closed", "protocol": "http1", "clients": 4, "streams": 1,
        "rate_per_s": None, "planned_requests": 200, "duration_s": None, "warm_up_s": 0.0, "agents": 2,
        "generator": "h2load", "generator_version": "1.52", "volley_version": "0.1.0", "python_version": "3.11.7",
    }  # fmt: skip
    made = tables(BENCH)

    assert [row.items() >= known.items() for row in made["trials"].rows] == [True, True]
    assert [row.items() >= known.items() for row in made["cases"].rows] == [True]
    opened = tables(SEARCH)["trials"].rows[-1]
    assert (opened["model"], opened["rate_per_s"], opened["duration_s"]) == ("open", 300.0, 1.0)


@pytest.mark.parametrize("run", [BENCH, SEARCH], ids=["bench", "search"])
@pytest.mark.parametrize("name", list(TABLES))
def test_parquet_is_read_by_pandas_and_polars(run, name):
    """With the types of the columns, also where a table has no row."""
    table = tables(run)[name]
    file = io.BytesIO()
    write_parquet(table, file)

    schema = pyarrow.parquet.read_schema(io.BytesIO(file.getvalue()))
    assert {field.name: str(field.type) for field in schema} == {
        column: ARROW[kind] for column, kind in table.columns.items()
    }
    frame = pd.read_parquet(io.BytesIO(file.getvalue()))
    assert frame.columns.tolist() == list(table.columns)
    assert len(frame) == len(table.rows) == len(pl.read_parquet(io.BytesIO(file.getvalue())))
    for column, kind in table.columns.items():
        if kind is ColumnKind.TEXT:
            assert frame[column].tolist() == [row.get(column) or "" for row in table.rows]


def test_the_files_of_a_run_hold_the_versions(tmp_path):
    """What write_results() writes is read by pandas, versions included."""
    finished = evaluate_run(BENCH)
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("environment.json", "plan.json"):
        (copy / name).write_text((BENCH / name).read_text())
    write_results(copy, finished.summary, finished.trials)

    for frame in (pd.read_parquet(copy / "trials.parquet"), pd.read_csv(copy / "trials.csv")):
        assert frame["volley_version"].tolist() == ["0.1.0", "0.1.0"]
        assert frame["service_time_p50_us"].tolist() == [87.0, 100.0]


def test_text_that_needs_quotes_survives():
    """Lines, quotes and commas in a reason."""
    columns = {"reason": ColumnKind.TEXT, "n": ColumnKind.WHOLE}
    table = Table(columns, [{"reason": 'a "b",\nc', "n": None}, {"reason": "", "n": 2}])
    file = io.BytesIO()
    write_parquet(table, file)

    assert pd.read_parquet(file)["reason"].tolist() == ['a "b",\nc', ""]
    assert as_csv(table) == 'reason,n\n"a ""b"",\nc",\n,2\n'
