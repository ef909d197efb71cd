"""A case over many runs: where it changed, and where it did not."""

import json
import math
import shutil
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from orchestrator.analyse import autoregression
from orchestrator.analyse.changes import change_points
from orchestrator.cli.app import app
from orchestrator.errors import UsageError
from orchestrator.stored.layout import runs_in
from orchestrator.stored.trend import trend
from tests.unit.test_compare import run

THREE = math.log1p(0.03)


def series(draw, *stretches, spread=0.03):
    """Logarithms: (level, runs) one after the other; 3 % from run to run, heavy tails."""
    noise = spread * math.sqrt(0.5)
    return [level + noise * draw.standard_t(4) for level, runs in stretches for _ in range(runs)]


def test_a_steady_series_has_no_change():
    """Of simulated series of 6, 30 and 100 runs a change is marked in at most 5 %, 400 each."""
    draw = np.random.default_rng(21)
    for runs in (6, 30, 100):
        marked = sum(bool(change_points(series(draw, (7.0, runs)), THREE)) for _ in range(400))
        assert marked <= 20, runs


@pytest.mark.parametrize(("runs", "step", "at_least"), [(7, 0.1, 60), (15, 0.1, 90), (7, 0.2, 95)])
def test_a_step_is_found_where_it_is(runs, step, at_least):
    """In 100 series, within one run of the truth; seldom a second one."""
    draw = np.random.default_rng(22)
    found = [change_points(series(draw, (7.0, runs), (7.0 - math.log1p(step), runs)), THREE) for _ in range(100)]

    assert sum(any(abs(at - runs) <= 1 for at in each) for each in found) >= at_least
    assert sum(len(each) > 1 for each in found) <= 10


def wandering(draw, runs, spread, correlation=0.8):
    """A steady series in which a run resembles the one before it: a first-order autoregression."""
    values = [7.0 + draw.normal(0, spread)]
    for _ in range(runs - 1):
        fresh = draw.normal(0, spread * math.sqrt(1 - correlation**2))
        values.append(7.0 + correlation * (values[-1] - 7.0) + fresh)
    return values


@pytest.mark.parametrize("spread", [0.03, 0.1])
@pytest.mark.parametrize("runs", [10, 30, 60])
def test_a_series_that_wanders_is_not_cut(runs, spread):
    """Correlation 0.8 from run to run: at most 10 % of 200 steady series. Optimal partitioning alone cuts most of them."""
    draw = np.random.default_rng(24)

    assert sum(bool(change_points(wandering(draw, runs, spread), THREE)) for _ in range(200)) <= 20


def test_a_step_of_a_fifth_is_found_in_a_series_that_wanders():
    """Correlation 0.8 and 3 % of spread."""
    draw, found = np.random.default_rng(25), 0
    for _ in range(50):
        values = wandering(draw, 20, 0.03)
        found += 10 in change_points([*values[:10], *(v - math.log(1.2) for v in values[10:])], THREE)

    assert found >= 45


def test_steps_that_are_removed_leave_the_fit_of_the_others():
    """One after the other, against least squares on the whitened series for every correlation."""
    draw = np.random.default_rng(26)
    values, cuts = wandering(draw, 80, 0.03), [3, 9, 20, 21, 44, 60, 79]
    levels = autoregression.Levels(values, cuts)
    for removed in (2, 0, 4, 1):
        levels.remove(removed)
        del cuts[removed]

        fits = []
        for y, one, extra, fixed in autoregression._whitened(values, autoregression.steps_at(cuts, 80)):
            weights, squares, *_ = np.linalg.lstsq(np.vstack([one, extra]).T, y, rcond=None)
            fits.append((80 * math.log(squares[0]) + fixed, y, np.vstack([one, extra]), weights))
        misfit, y, x, _ = min(fits, key=lambda fit: fit[0])
        without = [np.linalg.lstsq(np.delete(x, k + 1, axis=0).T, y, rcond=None)[1][0] for k in range(len(cuts))]
        assert levels.misfit == pytest.approx(misfit)
        assert levels.saved == pytest.approx(np.array(without) - np.linalg.lstsq(x.T, y, rcond=None)[1][0])


def test_a_thousand_runs_that_wander_cost_little_more_than_those_that_do_not():
    """Removing more than a hundred cuts one by one took ten times as long as finding them."""
    draw = np.random.default_rng(27)
    took_s = []
    for correlation in (0.0, 0.95):
        values = wandering(draw, 1000, 0.1, correlation)
        rounds_s = []
        for _ in range(3):
            began_s = time.process_time()
            change_points(values, THREE)
            rounds_s.append(time.process_time() - began_s)
        took_s.append(min(rounds_s))

    assert took_s[1] < 6 * took_s[0]


def test_there_and_back_again():
    """Two changes, in their order."""
    found = change_points(series(np.random.default_rng(23), (7.0, 10), (6.7, 10), (7.0, 10)), THREE)

    assert found == [10, 20]


def test_one_outlier_is_not_a_change_and_a_small_change_is_ignored():
    """A lucky run in the middle; a certain step of 1 %; too few runs; no variation at all."""
    assert change_points([7.0, 7.01, 7.02, 8.0, 7.01, 7.0, 7.02, 7.01], THREE) == []
    assert change_points([7.0, 7.0001] * 10 + [7.01, 7.0101] * 10, THREE) == []
    assert change_points([7.0, 6.0], THREE) == []
    assert change_points([7.0] * 10, THREE) == []


@pytest.fixture
def history(tmp_path):
    """Six runs of one image, then five of another that takes half as long again, and one that is unfinished."""
    for i in range(11):
        new = i >= 6
        images = {"images": {"flask": f"volley/flask:{1 + new}"}}
        made = run(tmp_path / "made", str(i), scale=1.5 if new else 1.0, trials=2, environment=images, seed=i)
        made.rename(tmp_path / f"c-202611{i + 1:02d}T000000Z")
    (tmp_path / "made").rename(tmp_path / "not-a-run")
    unfinished = tmp_path / "c-20261130T000000Z"
    unfinished.mkdir()
    shutil.copy(tmp_path / "c-20261101T000000Z" / "plan.json", unfinished)
    return tmp_path


def test_a_change_is_marked_with_what_else_changed(history):
    """At the first run of the new image, by a third of the throughput."""
    points = trend(history, "flask/burst", "throughput", 0.03)
    changed = [i for i, point in enumerate(points) if point.change is not None]

    assert [p.run for p in points] == [f"c-202611{i:02d}T000000Z" for i in range(1, 12)]
    assert changed == [6]
    assert points[6].change == pytest.approx(1 / 1.5 - 1, abs=0.05)
    assert [(d.key, d.candidate) for d in points[6].differences] == [("image of flask", "volley/flask:2")]


def test_the_command_line(history):
    """A table for people, a document for programs; an unknown case or metric is reported with the known ones."""
    page = CliRunner().invoke(app, ["trend", "flask/burst", str(history), "--metric", "p50"])
    document = json.loads(CliRunner().invoke(app, ["trend", "flask/burst", str(history), "--json"]).stdout)
    listed = CliRunner().invoke(app, ["runs", str(history)]).stdout.splitlines()

    assert "service time p50 of flask/burst changed 1 time in 11 runs" in " ".join(page.stdout.split())
    assert "image of flask: volley/flask:1 → volley/flask:2" in page.stdout
    assert len(document["runs"]) == 11
    states = [word for line in listed[:13] for word in line.split() if word in ("VALID", "unfinished")]
    assert states == ["unfinished"] + ["VALID"] * 11
    with pytest.raises(UsageError, match="no run has the case") as error:
        trend(history, "flask/burts", "throughput", 0.03)
    assert "flask/burst" in error.value.hint
    with pytest.raises(UsageError, match="unknown metric 'p98'"):
        trend(history, "flask/burst", "p98", 0.03)


def test_runs_are_in_the_order_of_their_time(tmp_path):
    """Whatever they are called; the second of one second after the first."""
    names = ["z-20260101T000000Z", "a-20260102T000000Z-1", "a-20260102T000000Z", "b-20260103T000000Z", "odd"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.json").write_text("{}")

    assert [p.name for p in runs_in(tmp_path)] == ["odd", names[0], names[2], names[1], names[3]]
