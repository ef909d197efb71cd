"""Uncertainty and conclusions, against oracles and simulation."""

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from orchestrator.analyse.compare import decide
from orchestrator.analyse.effect import (
    AT_ONCE,
    Effect,
    between_runs,
    holm,
    paired,
    sign_flip_p,
    split_p,
    trials_needed,
    unpaired,
)
from orchestrator.analyse.history import Past, between
from orchestrator.analyse.statistics import geometric_mean
from orchestrator.result import ComparedMetric, Interval


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


@pytest.mark.parametrize("pairs", [15, 500])
def test_permutations_in_blocks_are_those_of_one_piece(monkeypatch, pairs):
    """The same p-values of both tests, exact and by Monte-Carlo, below 5 MB."""
    draw = np.random.default_rng(6)
    old, new = draw.normal(0, 1, pairs).tolist(), draw.normal(0.05, 1, pairs).tolist()
    found, most = [], []
    for numbers in (AT_ONCE, 1 << 40):
        monkeypatch.setattr("orchestrator.analyse.effect.AT_ONCE", numbers)
        tracemalloc.start()
        found.append((sign_flip_p(new), split_p(old, new)))
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert found[0] == found[1]
    assert most[0] < 5e6 < most[1]


def test_splits_are_counted_exactly_and_agree_with_scipy():
    """5 against 5 all apart: two of 252 splits. Above 65 536 splits Monte-Carlo, close to the parametric p."""
    draw = np.random.default_rng(5)
    old, new = draw.normal(0, 1, 5), draw.normal(0.8, 1, 6)
    exact = stats.permutation_test((new, old), lambda a, b, axis: a.mean(axis) - b.mean(axis), vectorized=True)

    assert split_p([1, 2, 3, 4, 5], [11, 12, 13, 14, 15]) == 2 / 252
    assert split_p([1, 2], [1, 2]) == 1.0
    assert split_p(old, new) == pytest.approx(exact.pvalue, abs=0.01)
    many = draw.normal(0, 1, 40), draw.normal(0.5, 1, 40)
    assert split_p(*many) == pytest.approx(stats.ttest_ind(*many).pvalue, abs=0.02)


def test_two_sides_without_an_order_are_welchs():
    """Estimate, interval and p are scipy's, with sides of other sizes and spreads."""
    draw = np.random.default_rng(6)
    old, new = draw.normal(0, 0.02, 5), draw.normal(0.1, 0.2, 9)
    oracle = stats.ttest_ind(new, old, equal_var=False)

    found = unpaired(old.tolist(), new.tolist())

    assert found.interval.estimate == pytest.approx(new.mean() - old.mean())
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(oracle.confidence_interval()))
    assert found.p_t == pytest.approx(oracle.pvalue)
    assert (found.trials, found.paired) == (5, False)
    assert unpaired([1.0], [1.0, 2.0]) is None


def test_sides_that_do_not_vary():
    """Equal and constant: certainly no difference. Constant and apart: as unlikely as their order, not impossible.

    Three of three pairs: p = 0.25. Six of six: 1/32.
    """
    for measure, few, many in ((paired, 0.25, 2 / 64), (unpaired, 2 / 20, 2 / 924)):
        assert measure([0.0] * 3, [0.0] * 3).p_t == 1.0
        assert measure([0.0] * 3, [0.5] * 3).p_t == few
        assert measure([6.9] * 6, [7.4] * 6).p_t == many
        same = measure([0.0] * 3, [0.5] * 3)
        assert decide(same, same.p_t, BORDER, True) == "inconclusive"
        needed = trials_needed(same, BORDER, family=1)
        settled = measure([0.0] * needed, [0.5] * needed)
        assert decide(settled, settled.p_t, BORDER, True) == "faster"


@pytest.mark.parametrize("past", [0, 12])
def test_two_runs_of_one_server_are_seldom_told_apart(past):
    """12 % from run to run: claimed in at most 5 % of 300 pairs, with a history and without; the trials alone claim many."""
    draw, named = np.random.default_rng(15), [ComparedMetric.THROUGHPUT, ComparedMetric.SERVICE_P50]
    claims, alone = 0, 0
    for _ in range(300):

        def run():
            level = draw.normal(0, 0.12)
            return [np.array(sign * level + draw.normal(0, 0.03, 4)) for sign in (1, -1)]

        history = [run() for _ in range(past)]
        found, judged = [unpaired(o.tolist(), n.tolist()) for o, n in zip(run(), run(), strict=True)], []
        for i, (name, effect) in enumerate(zip(named, found, strict=True)):
            known = between(name, [Past(h[i].mean(), h[i].std(ddof=1) / 2) for h in history])
            assert known.runs == past
            judged.append(between_runs(effect, known.deviation, known.degrees))
        alone += bool({"faster", "slower"} & set(conclusions(found)))
        claims += bool({"faster", "slower"} & set(conclusions(judged)))

    assert claims <= 15
    assert alone >= 150


def test_a_quiet_history_finds_a_real_fifth():
    """1 % from run to run over twelve runs: a difference of 20 % between two runs is claimed; without a history it is not."""
    draw = np.random.default_rng(16)
    old, new = (level + draw.normal(0, 0.01, 4) for level in (0.0, math.log(1.2)))
    effect = unpaired(old.tolist(), new.tolist())
    quiet = between(ComparedMetric.THROUGHPUT, [Past(v, 0.005) for v in draw.normal(0, 0.01, 12)])
    assumed = between(ComparedMetric.THROUGHPUT, [])

    assert (assumed.deviation, assumed.runs) == (0.10, 0)
    assert between_runs(effect, quiet.deviation, quiet.degrees).p_t < 0.01
    assert between_runs(effect, assumed.deviation, assumed.degrees).p_t > 0.05


def test_a_step_in_the_history_is_variation_unless_something_changed():
    """Six runs and six that are a third slower: of one image they vary by much; of two releases by 2 % each."""
    draw = np.random.default_rng(17)
    past = [Past(value, 0.0) for value in [*draw.normal(7, 0.02, 6), *draw.normal(6.6, 0.02, 6)]]
    released = between(ComparedMetric.THROUGHPUT, past, changed=[6])

    assert released.deviation < 0.05
    assert released.degrees == 10
    assert between(ComparedMetric.THROUGHPUT, past).deviation > 0.15


SPREAD, SHARED, TAILS = 0.05, 0.5, 4


def own(draw, trials, deviation):
    """Noise with heavy tails: Student's t with four degrees of freedom, scaled."""
    return deviation * draw.standard_t(TAILS, trials) / math.sqrt(TAILS / (TAILS - 2))


BORDER = math.log1p(0.03)


def campaign(draw, trials, effect=0.0, shared=SHARED, measure=paired):
    """Throughput, p50 and p99 of two targets: 5 % from run to run, a part of it the drift of the block that both have."""
    drift = draw.normal(0, SPREAD * math.sqrt(shared), trials)
    sides = []
    for faster in (0.0, math.log1p(effect)):
        if measure is unpaired:  # two runs have no block in common
            drift = draw.normal(0, SPREAD * math.sqrt(shared), trials)
        base = drift + own(draw, trials, SPREAD * math.sqrt(1 - shared))
        p50 = -0.8 * base + own(draw, trials, 0.02) - faster
        p99 = -1.2 * base + own(draw, trials, 0.05) - faster
        sides.append([7 + base + faster, 9 + p50, 10 + p99])
    return [measure(old.tolist(), new.tolist()) for old, new in zip(*sides, strict=True)]


def conclusions(found):
    adjusted, better = holm([each.p_t for each in found]), (True, False, False)[: len(found)]
    return [decide(each, p, BORDER, more) for each, p, more in zip(found, adjusted, better, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize(("measure", "trials"), [(paired, 6), (unpaired, 6)])
def test_the_interval_of_the_ratio_covers_the_truth_at_its_rate(measure, trials):
    """93 to 97 % of the 95 % intervals hold the true ratio, heavy tails and shared drift included."""
    draw, rounds = np.random.default_rng(12), 2000
    covered = 0
    for _ in range(rounds):
        ratio = campaign(draw, trials, effect=0.1, measure=measure)[0].ratio
        covered += ratio.low <= 1.1 <= ratio.high

    assert 0.93 <= covered / rounds <= 0.97


@pytest.mark.parametrize(("shared", "measure"), [(0.0, paired), (0.5, paired), (0.5, unpaired)])
def test_identical_targets_are_seldom_told_apart(shared, measure):
    """A/A, 5 v 5: 'faster' or 'slower' in any of three metrics in at most 5 % of 200 simulated campaigns."""
    draw = np.random.default_rng(13)
    made = (conclusions(campaign(draw, 5, shared=shared, measure=measure)) for _ in range(200))
    wrong = sum(bool({"faster", "slower"} & set(found)) for found in made)

    assert wrong <= 10


@pytest.mark.slow
@pytest.mark.parametrize("measure", [paired, unpaired])
def test_a_true_difference_of_a_tenth_is_found(measure):
    """10 v 10: 'faster' in throughput in at least 90 % of 200 simulated campaigns, and 'slower' in none."""
    draw = np.random.default_rng(14)
    found = [conclusions(campaign(draw, 10, effect=0.1, measure=measure))[0] for _ in range(200)]

    assert found.count("faster") >= 180
    assert "slower" not in found


def test_holm_is_bonferroni_step_by_step():
    """The smallest p times three, the next times two; never falling."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("measure", [paired, unpaired])
def test_what_is_needed_settles_it(measure):
    """As many of the same mean and spread give a conclusion; four do not. A difference at the border never does."""
    for effect in (0.0, 0.06):
        logs = [math.log1p(effect) + side * 0.05 for side in (1, -1)] * 2
        few = measure([0.0] * 4, logs)
        needed = trials_needed(few, BORDER, family=1)

        assert decide(few, few.p_t, BORDER, True) == "inconclusive"
        assert needed > 4
        many = replace(few, trials=needed, interval=_interval(few, needed))
        assert decide(many, 0.0 if effect else 1.0, BORDER, True) == ("faster" if effect else "equivalent")
    border = measure([0.0] * 4, [BORDER + 0.05, BORDER - 0.05] * 2)
    assert trials_needed(border, BORDER + 0.001, family=1) is None


def _interval(found, trials):
    half = stats.t.ppf(0.975, trials - 1 if found.paired else 2 * trials - 2) * found.spread / math.sqrt(trials)
    estimate = found.interval.estimate
    return Interval(estimate, estimate - half, estimate + half)


@pytest.mark.parametrize(
    ("estimate", "low", "high", "p", "more_is_better", "conclusion"),
    [
        (1.1, 1.02, 1.2, 0.01, True, "faster"),
        (1.1, 1.02, 1.2, 0.01, False, "slower"),
        (0.9, 0.8, 0.98, 0.01, True, "slower"),
        (0.9, 0.8, 0.98, 0.01, False, "faster"),
        (1.1, 1.02, 1.2, 0.06, True, "inconclusive"),
        (1.02, 1.01, 1.029, 0.01, True, "equivalent"),
        (1.02, 1.005, 1.04, 0.01, True, "inconclusive"),
        (1.0, 0.5, 2.0, 0.9, True, "inconclusive"),
    ],
)
def test_a_decision_is_made_against_the_smallest_effect(estimate, low, high, p, more_is_better, conclusion):
    """Significant and beyond it, wholly within it, or neither."""
    found = Effect(Interval(*(math.log(x) for x in (estimate, low, high))), p, p, 0.05, 6, True)

    assert decide(found, p, BORDER, more_is_better) == conclusion
