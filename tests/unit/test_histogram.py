"""HDR counters against the public implementation."""

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from agents.histogram import COUNTERS, HIGHEST_US, HdrCounts, highest_equivalent_us, index_of, rank_of


def ints(*values):
    return np.array(values, dtype=np.int64)


def of(*values):
    h = HdrCounts()
    h.record(ints(*values))
    return h


@pytest.mark.parametrize("value", [0, 1, 1023, 1024, 2047, 2048, 2049, 4095, 4096, 65535, 10**6, 2**35, HIGHEST_US])
def test_index_is_that_of_the_public_implementation(value):
    """Boundary values fall into the counter that HdrHistogram uses, which has the same upper edge."""
    oracle = HdrHistogram(1, HIGHEST_US, 3)
    oracle.record_value(value)

    assert int(index_of(ints(value))[0]) == next(i for i, c in enumerate(oracle.counts) if c)
    assert int(highest_equivalent_us(int(index_of(ints(value))[0]))) == oracle.get_highest_equivalent_value(value)


def test_same_configuration_as_the_public_implementation():
    """The number of counters is that of HdrHistogram(1, 2^36 - 1, 3)."""
    assert HdrHistogram(1, HIGHEST_US, 3).counts_len == COUNTERS


def test_quantiles_equal_the_oracle_on_random_data():
    """On lognormal values every quantile is the oracle's bucket, or the one a rank earlier or later by its rounding."""
    values = np.random.default_rng(7).lognormal(7, 1.5, 20_000).astype(np.int64)
    ours, oracle = HdrCounts(), HdrHistogram(1, HIGHEST_US, 3)
    ours.record(values)
    for value in values.tolist():
        oracle.record_value(value)
    ordered = np.sort(values)

    for q in (0.5, 0.9, 0.95, 0.99, 0.999):
        exact = int(ordered[rank_of(q, values.size) - 1])
        assert ours.quantile_us(q) == oracle.get_highest_equivalent_value(exact)
        assert ours.quantile_us(q) == pytest.approx(oracle.get_value_at_percentile(q * 100), rel=0.002)


def test_rank_takes_the_decimal_that_was_written():
    """0.07 of 100 is rank 7, although 0.07 * 100 is 7.000000000000001 in binary."""
    assert rank_of(0.07, 100) == 7
    assert rank_of(0.999, 1000) == 999
    assert rank_of(0.5, 1) == 1


def test_side_sums_are_exact_for_large_values():
    """Sum and sum of squares are those of whole numbers, far beyond 64 bits."""
    values = [HIGHEST_US, HIGHEST_US - 1, 3, 2**22 + 1]

    h = of(*values)

    assert h.total_us == sum(values)
    assert h.squares_us2 == sum(v * v for v in values)
    assert (h.minimum_us, h.maximum_us) == (3, HIGHEST_US)


def test_standard_deviation_is_exact():
    """From whole-number sums; the oracle is numpy."""
    values = np.random.default_rng(1).integers(0, 10**9, 1000)
    h = HdrCounts()
    h.record(values)

    assert h.standard_deviation_us() == pytest.approx(float(np.std(values, ddof=1)), rel=1e-12)
    with pytest.raises(ValueError, match="two values"):
        of(1).standard_deviation_us()


def test_overflow_is_counted_and_not_clamped():
    """A value beyond the range is in n, max and sum; a quantile that lies there is the exact maximum."""
    h = of(5, HIGHEST_US + 10)

    assert (h.n, h.overflow, int(h.counts.sum())) == (2, 1, 1)
    assert h.quantile_us(1.0) == HIGHEST_US + 10
    assert h.squares_us2 == 25 + (HIGHEST_US + 10) ** 2


def test_negative_time_is_refused_before_anything_is_recorded():
    """A negative value raises and leaves the histogram as it was."""
    h = of(5)

    with pytest.raises(ValueError, match="cannot be negative: -1"):
        h.record(ints(7, -1))

    assert h == of(5)


def test_quantile_never_exceeds_the_exact_maximum():
    """The upper edge of a wide bucket is cut at the largest value seen."""
    assert of(998_665).quantile_us(0.5) == 998_665


def test_share_above_counts_whole_counters():
    """Half of the values lie above the lower one's counter."""
    assert of(10, 20, 30, 40).share_above(20) == 0.5
    assert HdrCounts().share_above(1) == 0.0


@pytest.mark.parametrize("q", [0, -0.1, 1.1])
def test_quantile_outside_its_range_is_refused(q):
    """Only (0, 1] is a quantile."""
    with pytest.raises(ValueError, match="quantile"):
        of(1).quantile_us(q)


def test_empty_histogram_has_no_quantile_and_no_mean():
    """Nothing recorded, nothing told."""
    with pytest.raises(ValueError, match="empty"):
        HdrCounts().quantile_us(0.5)
    with pytest.raises(ValueError, match="empty"):
        HdrCounts().mean_us()
