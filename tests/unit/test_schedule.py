"""Response time rebuilt from the schedule."""

import numpy as np
import pytest

from agents.generators.h2load_schedule import OpenLoad, due_times_us, largest_burst, reconstruct, uneven
from agents.rows import Rows

T0 = 1_795_331_418_000_000


def rows(start, service, status=200):
    return Rows(start, np.broadcast_to(np.int64(status), start.shape) if np.isscalar(status) else status, service)


def test_a_server_that_is_never_late_has_response_equal_to_service():
    """Requests sent when due: no lag, nothing missing."""
    start = T0 + np.arange(1000) * 10_000
    service = np.full(1000, 300)

    found = reconstruct(rows(start, service), OpenLoad(100, 20), (T0 + 1_000_000, T0 + 9_000_000), int(start[-1]))

    assert (found.due, found.missing, found.waited, found.lower_bound) == (800, 0, 0, False)
    assert (found.response.quantile_us(0.99), found.lag.maximum_us) == (300, 0)


def test_a_stall_of_a_second_is_seen_in_full():
    """One client, 100/s, a second without a start in six: the analytic p99 of the response time is 940 ms."""
    due = T0 + np.arange(600) * 10_000
    start = np.where((due >= T0 + 3_000_000) & (due < T0 + 4_000_000), T0 + 4_000_000, due)
    service = np.full(600, 200)

    found = reconstruct(rows(start, service), OpenLoad(100, 1), (T0, T0 + 6_000_000), T0 + 6_000_000)

    assert found.response.n == 600
    assert found.response.quantile_us(0.99) == pytest.approx(940_000, rel=0.02)
    assert found.waited == 98  # 100 requests due inside the stall, the last two up to two ticks late


def test_the_order_of_the_log_does_not_matter():
    """Rows come by their end; the schedule is about starts."""
    draw = np.random.default_rng(5)
    start = T0 + np.arange(500) * 10_000 + draw.integers(0, 4_000, 500)
    service = draw.integers(100, 90_000, 500)
    order = draw.permutation(500)
    window = (T0 + 500_000, T0 + 4_000_000)

    straight = reconstruct(rows(start, service), OpenLoad(100, 10), window, int(start[-1]))
    shuffled = reconstruct(rows(start[order], service[order]), OpenLoad(100, 10), window, int(start[-1]))

    assert straight.response == shuffled.response
    assert straight.lag == shuffled.lag


def test_connections_that_came_up_late_are_not_late_requests():
    """The schedule of each slot is anchored where its connection came up."""
    slots, gap = 10, 10_000
    late_up = np.sort(np.random.default_rng(2).integers(0, 5_000, slots))
    due = np.concatenate([np.arange(slots) * gap + late_up + turn * slots * gap for turn in range(50)])

    found = reconstruct(
        rows(T0 + due, np.full(due.size, 50)), OpenLoad(100, slots), (T0 + 100_000, T0 + 4_900_000), T0 + 5 * 10**6
    )

    assert found.lag.maximum_us == 0


def test_what_was_due_and_never_logged_is_censored():
    """The server dies in the middle: every request due after that waits until the end, as a lower bound."""
    start = T0 + np.arange(300) * 10_000

    found = reconstruct(rows(start, np.full(300, 100)), OpenLoad(100, 1), (T0, T0 + 6_000_000), T0 + 6_000_000)

    assert (found.due, found.missing) == (600, 300)
    assert found.response.n == 600
    assert found.response.maximum_us == 3_000_000


def test_no_start_no_schedule():
    """There is nothing to anchor a schedule at."""
    with pytest.raises(ValueError, match="no request was sent"):
        due_times_us(np.zeros(0, dtype=np.int64), OpenLoad(1, 1), T0)


def test_response_time_is_of_the_successful_answers():
    """Every row has its place in the schedule; fast errors have no part in the percentiles."""
    start = T0 + np.arange(400) * 10_000
    status = np.where(np.arange(400) % 2 == 0, 200, 429)
    service = np.where(status == 200, 50_000, 100)

    found = reconstruct(rows(start, service, status), OpenLoad(100, 20), (T0, T0 + 4_000_000), T0 + 4_000_000)

    assert found.due == 400
    assert found.response.n == 200
    assert found.response.minimum_us == 50_000


def test_what_the_timer_of_h2load_bunches_is_uneven():
    """Ten requests every 10 ms at 1000/s: as many as were due, and most of them off by more than half a gap."""
    bunched = T0 + np.repeat(np.arange(100), 10) * 10_000
    even = T0 + np.arange(1000) * 1_000

    assert uneven(even, 1000.0, 1_000) == 0
    assert uneven(bunched, 1000.0, 1_000) > 500
    assert (largest_burst(even), largest_burst(bunched)) == (1, 10)
