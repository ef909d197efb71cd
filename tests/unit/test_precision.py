"""When an adaptive campaign stops: seeded numbers, no host."""

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.analyse.cases import judge, summarise
from orchestrator.analyse.precision import Precision, Progress, width
from orchestrator.result import Interval
from orchestrator.slo import THROUGHPUT, Metric
from tests.unit.facts import case, result, trial_facts

WANTED = Precision(THROUGHPUT, 0.10, at_least=4, at_most=50)


def trial(value, name="flask/burst", number=1, lasted_us=1_000_000):
    """A valid trial with a throughput of our choice."""
    facts = trial_facts(case=case(name=name), number=number, stages_us={"load": lasted_us})
    judged = judge(facts, [result(agent, [1_000] * 500) for agent in facts.agents])
    return replace(judged, metrics=replace(judged.metrics, throughput_per_s=value))


def blocks_until_it_ends(progress, names, draw, spread):
    for block in range(1, 100):
        for name in names:
            progress.add(trial(1000 * np.exp(draw.normal(0, spread)), name))
        if why := progress.enough(block):
            return block, why
    raise AssertionError("it never ends")


def test_noise_decides_how_often_it_is_repeated():
    """Never below the least; three times the noise, more repetitions; both end precise enough."""
    ends = {}
    for spread in (0.001, 0.05, 0.15):
        progress = Progress(WANTED, ["a/x", "b/x"])
        ends[spread], why = blocks_until_it_ends(progress, ["a/x", "b/x"], np.random.default_rng(7), spread)
        assert "precise enough" in why
        assert progress.too_wide() == {}

    assert ends[0.001] == 4
    assert 4 < ends[0.05] < ends[0.15] <= 50


def test_the_noisiest_case_is_waited_for():
    """Whole blocks: one case that is still wide has all of them repeated, so that drift hits all alike."""
    progress = Progress(WANTED, ["a/x", "b/x"])
    for value in (1000, 1001, 1002, 1000):
        progress.add(trial(value, "a/x"))
        progress.add(trial(value * (2 if value == 1001 else 1), "b/x"))

    assert progress.enough(4) is None
    assert list(progress.too_wide()) == ["b/x"]


@pytest.mark.parametrize(
    ("changes", "ends_after", "why"),
    [
        ({"at_most": 6}, 6, "stopped at the limit of 6 repetitions, not precise enough"),
        ({"budget_us": 10_500_000}, 5, "stopped at the time budget"),
    ],
)
def test_it_ends_without_precision_when_blocks_or_time_run_out(changes, ends_after, why):
    """Two seconds a block: a sixth would not end within 10.5 s."""
    progress = Progress(replace(WANTED, **changes), ["a/x", "b/x"])

    ended, said = blocks_until_it_ends(progress, ["a/x", "b/x"], np.random.default_rng(7), 0.8)

    assert ended == ends_after
    assert why in said
    assert "a/x" in said


def test_what_more_trials_cannot_fix_is_not_waited_for():
    """A percentile that is withheld in one trial is so in the next; a case that is INVALID throughout has no number."""
    progress = Progress(replace(WANTED, metric=Metric.P999), ["a/x", "b/x"])
    for _ in range(4):
        progress.add(trial(1000, "a/x"))  # 1000 requests are too few for p99.9; b/x never fired
        progress.add(replace(trial(1000, "b/x"), metrics=None))

    assert "precise enough" in progress.enough(4)


@pytest.mark.table
@pytest.mark.provokes("not-precise")
def test_a_case_that_is_not_precise_says_so():
    """Information: the interval is shown, and it is wider than what was asked for."""
    trials = [trial(value, number=i) for i, value in enumerate((500, 1000, 2000), 1)]

    summary = summarise("c", [case()], trials, 2, None, 0.0, precision=WANTED)
    found = {f.code: f for f in summary.cases[0].findings}["not-precise"]

    assert found.severity == "information"
    assert found.facts["reached"] == pytest.approx(width(summary.cases[0].throughput_per_s), rel=1e-3)
    assert found.facts["asked"] == 0.10


@pytest.mark.table
@pytest.mark.silent("not-precise")
def test_a_case_that_is_precise_says_nothing():
    """Nor does one of which no precision was asked."""
    trials = [trial(value, number=i) for i, value in enumerate((1000, 1001, 1002), 1)]

    for precision in (WANTED, None):
        summary = summarise("c", [case()], trials, 2, None, 0.0, precision=precision)
        assert "not-precise" not in {f.code for f in summary.cases[0].findings}


def test_the_width_is_that_of_the_whole_interval():
    """As a share of the estimate."""
    assert width(Interval(100.0, 95.0, 106.0)) == pytest.approx(0.11)
    assert width(Interval(100.0, None, None)) is None
    assert width(None) is None
