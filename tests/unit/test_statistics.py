"""Uncertainty and conclusions, against oracles and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from orchestrator.analyse.compare import decide
from orchestrator.analyse.statistics import geometric_mean, paired_ratio, sign_flip_p
from orchestrator.result import Interval


def test_interval_is_scipys_on_logarithms():
    """A t-interval on logs, back on the scale of the values."""
    values = [900.0, 1000.0, 1100.0, 950.0, 1020.0]
    low, high = stats.t.interval(0.95, 4, np.mean(np.log(values)), stats.sem(np.log(values)))

    found = geometric_mean(values)

    assert found.estimate == pytest.approx(stats.gmean(values))
    assert (found.low, found.high) == (pytest.approx(math.exp(low)), pytest.approx(math.exp(high)))


def test_one_trial_has_no_interval_and_nothing_has_no_mean():
    """Never an interval from inside one trial."""
    assert geometric_mean([5.0]) == Interval(pytest.approx(5.0), None, None)
    assert geometric_mean([]) is None
    assert geometric_mean([1.0, 0.0]) is None


def test_sign_flip_is_exact_for_few_pairs():
    """Five pairs that all point one way: two patterns of thirty-two are as extreme."""
    assert sign_flip_p([0.1, 0.2, 0.3, 0.1, 0.4]) == 2 / 32
    assert sign_flip_p([0.1, -0.1]) == 1.0


def test_sign_flip_of_many_pairs_agrees_with_the_t_test():
    """Monte-Carlo above 16 pairs: close to the parametric p on normal differences."""
    differences = np.random.default_rng(4).normal(0.02, 0.05, 30)

    assert sign_flip_p(differences.tolist()) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.02)


def test_interval_of_the_ratio_covers_the_truth_at_its_rate():
    """Simulated trials with 5 % spread and shared drift: 93 to 97 % of the 95 % intervals hold the true ratio."""
    draw, covered, rounds = np.random.default_rng(12), 0, 2000
    for _ in range(rounds):
        drift = draw.normal(0, 0.05, 6)
        old = np.exp(7 + drift + draw.normal(0, 0.05, 6))
        new = np.exp(7 + math.log(1.1) + drift + draw.normal(0, 0.05, 6))
        ratio, _ = paired_ratio(old.tolist(), new.tolist())
        covered += ratio.low <= 1.1 <= ratio.high

    assert 0.93 <= covered / rounds <= 0.97


def test_identical_targets_are_seldom_told_apart():
    """A/A: 'faster' or 'slower' in at most 5 % of 1000 simulated comparisons."""
    draw, wrong, rounds = np.random.default_rng(13), 0, 1000
    for _ in range(rounds):
        old, new = np.exp(draw.normal(7, 0.05, 6)), np.exp(draw.normal(7, 0.05, 6))
        ratio, _ = paired_ratio(old.tolist(), new.tolist())
        wrong += decide(ratio, 0.03, True) in ("faster", "slower")

    assert wrong / rounds <= 0.05


@pytest.mark.parametrize(
    ("low", "high", "more_is_better", "conclusion"),
    [
        (1.04, 1.2, True, "faster"),
        (1.04, 1.2, False, "slower"),
        (0.8, 0.95, True, "slower"),
        (0.8, 0.95, False, "faster"),
        (0.98, 1.02, True, "equivalent"),
        (1.01, 1.2, True, "inconclusive"),
        (0.5, 2.0, True, "inconclusive"),
    ],
)
def test_decision_by_where_the_whole_interval_lies(low, high, more_is_better, conclusion):
    """Beyond the smallest effect, within it, or neither."""
    assert decide(Interval(1.0, low, high), 0.03, more_is_better) == conclusion
