"""Schedules and mixes: exact, repeatable, and as random as they say."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.generators import due


def first(offsets, count):
    return list(itertools.islice(offsets, count))


@pytest.mark.parametrize("rate", [1, 3, 497, 500, 997, 2011, 12_000])
def test_even_due_times_do_not_drift(rate):
    """Request k is due at k / rate, rounded down to a ns, also after many requests."""
    k = rate * 3600
    offsets = due.even(rate)
    assert first(offsets, 5_000) == [i * 1_000_000_000 // rate for i in range(5_000)]
    assert next(itertools.islice(due.even(rate), min(k, 200_000), None)) == min(k, 200_000) * 10**9 // rate


@given(st.floats(min_value=0.01, max_value=1e5), st.integers(min_value=1, max_value=20))
def test_agents_that_share_a_rate_form_one_even_stream(rate, agents):
    """Agent i of n, at rate / n and i / rate later, sends every n-th request of the whole: within 2 ns."""
    whole = first(due.even(rate), 40 * agents)
    parts = (first(due.even(rate / agents, int(i * 1e9 / rate)), 40) for i in range(agents))
    merged = sorted(itertools.chain.from_iterable(parts))
    assert max(abs(a - b) for a, b in zip(whole, merged, strict=True)) <= 2 + 1e-9 * whole[-1]


def test_poisson_gaps_are_exponential():
    """Mean and deviation of the gaps are 1 / rate, gaps are independent, and counts have the variance of their mean."""
    at = np.array(first(due.poisson(1_000, 3), 100_000))
    gaps = np.diff(at, prepend=0) / 1e6
    assert gaps.mean() == pytest.approx(1, rel=0.02)
    assert gaps.std() == pytest.approx(1, rel=0.02)
    assert (gaps > 1).mean() == pytest.approx(math.exp(-1), abs=0.01)
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.02
    counts = np.bincount(at // 100_000_000)[:-1]
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.25)


def test_poisson_follows_from_the_seed():
    """The same seed gives the same times; another one, others; they ascend."""
    assert first(due.poisson(997, 1), 500) == first(due.poisson(997, 1), 500)
    assert first(due.poisson(997, 1), 500) != first(due.poisson(997, 2), 500)
    assert np.all(np.diff(first(due.poisson(997, 1), 500)) >= 0)


def test_a_mix_has_the_shares_of_its_weights():
    """Weights 5, 1 and 4 are half, a tenth and four tenths, in an order that follows from the seed."""
    choose, again = due.mix([5, 1, 4], 9), due.mix([5, 1, 4], 9)
    drawn = [choose() for _ in range(50_000)]
    assert drawn[:1_000] == [again() for _ in range(1_000)]
    shares = [count / 50_000 for _, count in sorted(Counter(drawn).items())]
    assert shares == pytest.approx([0.5, 0.1, 0.4], abs=0.01)


def test_one_request_needs_no_choice():
    """A mix of one draws nothing."""
    assert due.mix([3.0], 1) is None


def test_the_mix_is_independent_of_the_arrivals():
    """With one seed for both, a long gap says nothing about which request follows it."""
    gaps = np.diff(first(due.poisson(100, 4), 20_001))
    choose = due.mix([1, 1], 4)
    drawn = np.array([choose() for _ in range(20_000)])
    assert abs(np.corrcoef(gaps, drawn)[0, 1]) < 0.03
