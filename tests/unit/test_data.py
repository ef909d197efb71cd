"""The Python API: what a run looks like in Python, and that its documents are true."""

import re
import subprocess
import sys
from dataclasses import replace

import nbformat
import numpy as np
import pandas as pd
import pytest

import orchestrator as volley
from agents.histogram import HdrCounts
from agents.recorder import OK
from orchestrator.data.figures import KINDS
from orchestrator.data.histogram import Histogram
from orchestrator.result import Time, Verdict
from orchestrator.stored.evaluate import evaluate_run
from orchestrator.stored.reading import read_trials
from tests.conftest import ROOT
from tests.made_runs import shop_run
from tests.unit.test_stored_format import BENCH, SEARCH

PAGE = ROOT / "docs" / "reference" / "python-api.md"
NOTEBOOK = ROOT / "docs" / "how-to" / "analyse-in-a-notebook.ipynb"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A run of two targets."""
    return volley.open_run(shop_run(tmp_path, monkeypatch))


@pytest.mark.process
def test_importing_the_package_is_instant_and_has_all_names():
    """Nothing heavy is loaded before it is used; completion lists the API."""
    code = (
        "import sys, orchestrator\n"
        "heavy = {'numpy', 'pandas', 'plotly', 'scipy', 'pyarrow', 'agents'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert {'open_run', 'compare', 'Run', 'VolleyError', '__version__'} <= set(dir(orchestrator))\n"
        "orchestrator.open_run\n"
        "heavy = {'pandas', 'plotly', 'ray', 'docker', 'asyncssh', 'httpx', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)

    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'opem_run'"):
        _ = volley.opem_run  # type: ignore[attr-defined]


def test_the_stub_has_the_names_of_the_package():
    """Type checkers read __init__.pyi; it must not drift."""
    stub = (ROOT / "orchestrator" / "__init__.pyi").read_text()

    assert sorted(re.findall(r"import (\w+) as \1$", stub, re.MULTILINE)) == sorted(volley.__all__)  # type: ignore[attr-defined]
    assert all(getattr(volley, name) is not None for name in volley.__all__)  # type: ignore[attr-defined]


def test_frames_equal_the_files(shop):
    """The same columns, rows and numbers as trials.csv, cases.csv and trials.parquet."""
    for name in ("trials", "cases", "comparisons"):
        file = pd.read_csv(shop.path / f"{name}.csv", keep_default_na=True)
        frame = getattr(shop, name)
        assert frame.columns.tolist() == file.columns.tolist()
        numbers = frame.select_dtypes("number").columns
        pd.testing.assert_frame_equal(frame[numbers], file[numbers], check_dtype=False)
    assert pd.read_parquet(shop.path / "trials.parquet")["case"].tolist() == shop.trials["case"].tolist()
    assert shop.trials["trial"].dtype == "int64"
    assert shop.trials["python_version"].tolist() == ["3.11.7"] * 6


def test_the_series_adds_up_to_the_trials(shop):
    """Per interval, over all trials."""
    assert shop.series.groupby("trial")["ok"].sum().tolist() == shop.trials["ok"].tolist()
    assert shop.series["second"].tolist() == [0, 1, 2, 3, 4] * 6
    assert set(shop.series["interval_s"]) == {1}


def test_a_histogram_is_the_exact_sum_of_its_trials(shop):
    """Not an average of percentiles; the same as pooling all requests."""
    pooled = HdrCounts()
    for facts, merged in read_trials(shop.path):
        if facts.case.name == "flask/steady":
            pooled += merged.service[OK]
    histogram = shop.histogram("flask/steady")
    frame = histogram.to_frame()

    assert histogram.trials == [1, 3, 5]
    assert (histogram.requests, histogram.max_us, histogram.mean_us) == (75_000, pooled.maximum_us, pooled.mean_us())
    for q in (0.5, 0.9, 0.999):
        assert histogram.quantile_us(q) == pooled.quantile_us(q)
    assert frame["count"].sum() == 75_000
    assert (frame["lowest_us"] <= frame["highest_us"]).all()
    assert (frame["lowest_us"].iloc[1:].to_numpy() > frame["highest_us"].iloc[:-1].to_numpy()).all()
    assert frame["cumulative_share"].iloc[-1] == 1
    both = histogram + shop.histogram("fastapi/steady")
    assert (both.requests, both.case) == (150_000, "flask/steady + fastapi/steady")


def test_trials_that_are_invalid_are_not_in_a_histogram(shop, monkeypatch):
    """They are behind no number of the case either."""
    judged = shop._judged
    judged[0] = replace(judged[0], verdict=Verdict.INVALID)

    assert shop.histogram("flask/steady").trials == [3, 5]


def histogram_of(values_us, time=Time.SERVICE):
    counts = HdrCounts()
    counts.record(np.array(values_us, dtype=np.int64))
    return Histogram("a/b", time, [1], Verdict.VALID, counts)


def test_percentiles_with_too_few_requests_are_withheld():
    """Ten must be beyond, as on every page; few=True returns them all the same."""
    histogram = histogram_of(range(1, 101))

    assert (histogram.quantile_us(0.9), histogram.quantile_us(0.91)) == (90, None)
    assert histogram.quantile_us(0.99, few=True) == 99
    assert histogram.quantile_us(1) == 100
    assert histogram.quantiles_us([0.5, 0.99]).isna().tolist() == [False, True]
    assert histogram.spectrum()["quantile"].max() <= 0.9
    assert histogram.spectrum()["time_us"].is_monotonic_increasing
    assert "p90 0.09 ms" in repr(histogram)
    assert "p99" not in repr(histogram)


def test_an_empty_histogram_has_no_numbers():
    """None, not an exception and not 0."""
    empty = histogram_of([])

    assert [empty.min_us, empty.max_us, empty.mean_us, empty.standard_deviation_us, empty.quantile_us(0.5)] == [
        None
    ] * 5
    assert empty.to_frame().empty
    assert empty.spectrum().empty
    assert "0 requests" in empty._repr_html_()


def test_times_of_two_kinds_do_not_add_up():
    """Service time and response time are of different things."""
    with pytest.raises(volley.UsageError, match="do not add up"):
        histogram_of([1]) + histogram_of([1], Time.RESPONSE)


@pytest.mark.parametrize(
    ("use", "message", "hint"),
    [
        (lambda run: run.histogram("django/steady"), "no case 'django/steady'", "flask/steady, fastapi/steady"),
        (lambda run: run.histogram(), "has 2 cases", "name one of: flask/steady"),
        (lambda run: run.histogram("flask/steady", "latency"), "'latency' is not a time", "'service time'"),
        (lambda run: run.histogram("flask/steady", "response time"), "no response time", "service time"),
        (lambda run: run.histogram("flask/steady").quantile_us(99), "99 is not a quantile", "p99 as 0.99"),
        (lambda run: run.plot("pie"), "'pie' is not a kind of figure", "spectrum"),
        (lambda run: run.plot("capacity"), "has no data", "another kind"),
        (lambda run: volley.compare(run, baseline="django"), "no target 'django'", "flask, fastapi"),
        (lambda run: volley.compare(run, allow=["image"]), "two runs", "omit allow"),
        (lambda run: volley.compare(run, run, allow=["colour"]), "'colour'", "image, limits"),
        (lambda run: volley.compare(run, run, baseline="flask"), "a single run", "omit it"),
        (lambda run: volley.compare(run, smallest_effect=5000), "is not a share", "0.03"),
        (lambda run: volley.compare(run, fail_on="p42>1%"), "fail_on: ", ""),
        (lambda run: volley.open_run(run.path / "trials"), "is not a run folder", "volley run"),
    ],
)
def test_mistakes_are_one_error_with_a_hint(shop, use, message, hint):
    """Of Volley's own kind."""
    with pytest.raises(volley.VolleyError) as caught:
        use(shop)

    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "capacity"])
def test_figures_of_a_campaign(shop, kind):
    """Every kind has a line for each case; axes have titles."""
    figure = shop.plot(kind)

    assert {"flask/steady", "fastapi/steady"} <= {line.name.split(",")[0].removesuffix(" p50") for line in figure.data}
    assert figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text
    assert "SUSPECT" in figure.layout.title.text


def test_the_figure_of_a_search_is_its_curve():
    """By default."""
    figure = volley.open_run(SEARCH).plot()

    assert figure.layout.xaxis.title.text == "requests due per second"
    assert list(figure.data[0].x) == [300.0, 300.0]


def test_a_notebook_shows_answer_and_verdict_and_escapes_text(shop):
    """Names come from files and servers."""
    cases = [replace(shop.summary.cases[0], case="<script>/steady", target="<b>")]
    shop.summary = replace(shop.summary, cases=cases, comparisons=[])
    page = shop._repr_html_()

    assert "<script>" not in page
    assert "<b> answers" not in page
    assert "&lt;b&gt; answers 5,000 requests per second" in page
    assert "SUSPECT" in page
    assert "service time p99, ms" in page


def test_open_loops_have_response_times():
    """Of the search's probes; by default it is what they are judged by."""
    run = volley.open_run(SEARCH)

    assert run.histogram("url/probe").time is Time.RESPONSE
    assert run.histogram("url/probe", "service time").time is Time.SERVICE
    assert run.histogram("url/probe").requests == 600
    assert run.histogram("url/estimate").time is Time.SERVICE


def test_a_run_of_one_case_needs_no_name():
    """And its numbers are those of `report`."""
    run = volley.open_run(str(BENCH))

    assert run.histogram().case == "url/load"
    assert run.summary == evaluate_run(BENCH).summary
    assert run.environment.volley == "0.1.0"
    assert repr(run).startswith(f"<Run {BENCH.name}: VALID.")


def test_every_block_of_the_page_runs(tmp_path, monkeypatch, capsys):
    """docs/reference/python-api.md, block after block, as a reader would."""
    shop_run(tmp_path, monkeypatch)
    shop_run(tmp_path, monkeypatch, "20261126T183000Z")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out

    assert len(blocks) >= 7
    assert (tmp_path / "spectrum.html").stat().st_size > 10_000
    assert "that 'volley run' made" in printed
    assert "<Histogram of flask/steady: service time of 75,000 requests: p50" in printed
    assert "PASS" in printed


@pytest.mark.process
def test_the_notebook_runs(tmp_path, monkeypatch):
    """docs/how-to/analyse-in-a-notebook.ipynb, in a kernel of its own: every cell shows something."""
    from nbclient import NotebookClient

    shop_run(tmp_path, monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in cells)
    shown = [output.data.keys() for cell in cells for output in cell.outputs if "data" in output]
    assert sum("application/vnd.plotly.v1+json" in data for data in shown) == 3
    assert "fastapi and flask have the same throughput" in cells[0].outputs[-1].data["text/html"]
