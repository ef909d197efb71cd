"""The open loop in the recorder: one population, due times, what was never answered."""

import numpy as np

from agents.arrivals import Schedule
from agents.recorder import HTTP_ERROR, OK, STREAM_FAILED, Recorder, Window
from agents.rows import Rows

T0_US = 1_795_331_418_000_000
WINDOW = Window(T0_US + 1_000_000, T0_US + 2_000_000, T0_US + 3_000_000)


def recorder():
    return Recorder(WINDOW, Schedule(100.0, 100.0, True, T0_US, 0.0))


def rows(*listed):
    """(due after T0 in ms, lag in ms or None for never sent, status, service in ms) to rows."""
    due = np.array([T0_US + row[0] * 1000 for row in listed], dtype=np.int64)
    start = np.array([0 if row[1] is None else T0_US + (row[0] + row[1]) * 1000 for row in listed], dtype=np.int64)
    status = np.array([row[2] for row in listed], dtype=np.int64)
    service = np.array([row[3] * 1000 for row in listed], dtype=np.int64)
    return Rows(start, status, service, due, np.zeros(due.size, dtype=np.int64))


def test_a_request_belongs_to_the_window_in_which_it_was_due():
    """Sent later, or not at all, it still counts there; and not in the one in which it was sent."""
    seen = recorder()
    seen.add(rows((990, 20, 200, 1), (1990, 500, 200, 1), (2000, 0, 200, 1), (1500, None, -7, 700)))

    assert (seen.tally.before, seen.tally.after, seen.tally.never_sent) == (1, 1, 0)
    assert seen.service[OK].n == 1
    assert seen.service[STREAM_FAILED].n == 1
    assert seen.response.maximum_us == 700_000
    assert seen.response.minimum_us == 501_000


def test_response_and_service_time_are_of_the_successful_answers():
    """Fast errors have times of their own: half of the answers are 429 and change neither."""
    seen = recorder()
    seen.add(rows(*[(1000 + 10 * k, 1, 200, 50) for k in range(50)]))
    only_successes = seen.response.quantile_us(0.5)
    seen.add(rows(*[(1005 + 10 * k, 1, 429, 0) for k in range(50)]))

    assert seen.service[OK].n == seen.response.n == 50
    assert seen.response.quantile_us(0.5) == only_successes == 51_000
    assert seen.service[HTTP_ERROR].n == 50


def test_failing_fast_leaves_the_response_time_and_no_answer_does_not():
    """Reset, refused, broken: no times. Timed out, unanswered, unsent: at their age."""
    seen = recorder()
    seen.add(rows((1100, 0, -3, 1), (1200, 0, -4, 1), (1300, 0, -5, 1), (1400, 0, -1, 1)))
    assert seen.response.n == 0
    seen.add(rows((1500, 10, -2, 500), (1600, 10, -6, 900), (1700, None, -7, 1200)))

    assert seen.response.n == seen.unanswered.n == 3
    assert seen.response.total_us == 510_000 + 910_000 + 1_200_000
    assert seen.service[STREAM_FAILED].n == 7
    assert seen.tally.statuses == {-3: 1, -4: 1, -5: 1, -1: 1, -2: 1, -6: 1, -7: 1}


def test_send_lag_is_of_what_was_sent():
    """A request that starts before its time by the rounding of a clock has no negative lag."""
    seen = recorder()
    seen.add(rows((1100, 7, 200, 1), (1200, None, -7, 5), (1300, 0, 503, 1)))

    assert seen.lag.n == 2
    assert seen.lag.maximum_us == 7_000


def test_chunks_in_any_order_give_the_same():
    """Memory does not grow with the rows, so they come in chunks."""
    listed = [(900 + 13 * k, k % 3, 200 if k % 7 else 503, 1 + k % 50) for k in range(200)]
    whole, parts = recorder(), recorder()
    whole.add(rows(*listed))
    for k in np.random.default_rng(5).permutation(200):
        parts.add(rows(listed[k]))

    assert whole.response == parts.response
    assert whole.lag == parts.lag
    assert whole.unanswered == parts.unanswered
    assert whole.tally == parts.tally
    assert whole.series == parts.series
