"""What the benchmark of generators computes from a server's record of arrivals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import evenness as ev

RATE_PER_S = 497.0
T0_NS = 1_795_331_418_000_000_000


def even(rate_per_s: float = RATE_PER_S, count: int = 2000) -> np.ndarray:
    return T0_NS + np.floor(np.arange(count) * 1e9 / rate_per_s).astype(np.int64)


@pytest.mark.parametrize("rate_per_s", [100.0, 497.0, 2011.0, 10_000.0])
def test_an_even_stream_has_no_deviation(rate_per_s):
    """Rounding to nanoseconds does not add up, and a constant delay is no deviation."""
    found = ev.evenness(even(rate_per_s) + 65_000, 2000 / rate_per_s, rate_per_s)

    assert found.arrivals == 2000
    assert found.achieved_per_s == pytest.approx(rate_per_s)
    assert max(found.gap_off_us) < 0.01
    assert max(found.schedule_off_us) < 0.01
    assert found.largest_burst == math.ceil(rate_per_s / 1000)


def test_one_late_request_in_ten_shows_in_its_quantiles():
    """Only the request itself is off the schedule, but both gaps beside it are."""
    arrived = even(100.0, 1000)
    arrived[5::10] += 3_000_000

    off_us = ev.schedule_deviations_us(arrived, 100.0)
    assert np.sort(off_us)[:900].max() < 0.01
    assert np.sort(off_us)[900:] == pytest.approx(np.full(100, 3000.0), abs=0.01)
    assert (ev.gap_deviations_us(arrived, 100.0) > 2999).sum() == 200
    assert ev.quantiles(off_us) == pytest.approx((0, 0, 3000), abs=0.01)


def test_a_timer_of_10_ms_is_off_the_schedule_by_up_to_5_ms_although_most_gaps_look_right():
    """Fast bunches have gaps near 1/rate, nearly all of them: so only the schedule judges whether a rate is even."""
    arrived = even(10_000.0, 10_000).reshape(-1, 100)[:, 0].repeat(100)
    found = ev.evenness(arrived, 1.0, 10_000.0)

    assert found.gap_off_us[1] == pytest.approx(100, abs=0.01)
    assert found.schedule_off_us == pytest.approx((2500, 4500, 4950), abs=60)
    assert found.largest_burst == 100
    assert not ev.is_even(found, 10_000.0)


def test_a_rate_that_is_not_kept_adds_up():
    """1 % too slow over 2 s: the ends are 10 ms off to either side of the middle."""
    off_us = ev.schedule_deviations_us(even(990.0, 1980), 1000.0)

    assert off_us.max() == pytest.approx(10_000, rel=0.01)
    assert off_us[[0, -1]] == pytest.approx([10_000, 10_000], rel=0.01)


def test_the_largest_burst_does_not_depend_on_where_milliseconds_begin():
    """Five requests across the edge of two whole milliseconds are one burst; one exactly 1 ms later is not in it."""
    arrived = T0_NS + np.array([0, 900, 950, 1000, 1050, 1100, 1900, 5000]) * 1000

    assert ev.largest_burst(arrived) == 5
    assert ev.largest_burst(arrived[:0]) == 0


def test_one_arrival_is_not_a_stream():
    with pytest.raises(ValueError, match="1 requests arrived"):
        ev.evenness(even(count=1), 1.0, RATE_PER_S)


@pytest.mark.parametrize(
    ("share", "off_us", "expected"), [(0.99, 1000.0, True), (0.989, 1.0, False), (1.0, 1001.0, False)]
)
def test_even_means_that_nearly_all_were_sent_nearly_on_time(share, off_us, expected):
    found = ev.Evenness(1000, share * RATE_PER_S, (0, 0, 0), (0, 0, off_us), 1)

    assert ev.is_even(found, RATE_PER_S) is expected


@pytest.mark.parametrize("limit", [150.0, 700.0, 1000.0, 5300.0, 31_999.0])
def test_the_search_ends_within_its_ratio_below_the_limit(limit):
    """From above and below the first rate, without asking for a rate twice."""
    asked = []

    def holds(rate_per_s):
        asked.append(rate_per_s)
        return rate_per_s <= limit

    found = ev.highest(holds, 1000, 100, 64_000, 1.15)

    assert limit / 1.15 <= found <= limit
    assert len(asked) == len(set(asked)) <= 9


def test_the_search_knows_its_ends():
    assert ev.highest(lambda rate: rate <= 99, 1000, 100, 64_000, 1.15) is None
    assert ev.highest(lambda rate: rate <= 100, 1000, 100, 64_000, 1.15) == 100
    assert ev.highest(lambda rate: True, 1000, 100, 3000, 1.15) == 3000
