"""Sends against their schedule: what is late, early, in a burst, or not on the schedule at all."""

import numpy as np
import pytest

from agents.arrivals import _BINS, BIN_US, ArrivalCheck, Schedule

T0_US = 1_795_331_418_000_000


def schedule(rate=497.0, agents=1, first_due_us=0.0, even=True):
    return Schedule(rate, rate * agents, even, T0_US, first_due_us)


def dues(rate, count, first_us=0.0):
    return T0_US + np.floor(first_us + np.arange(count) * 1e6 / rate).astype(np.int64)


@pytest.mark.parametrize("rate", [497.0, 2011.0, 3.0])
def test_a_stream_that_is_on_time_has_no_doubts(rate):
    """A prime rate too: rounding to microseconds is not off the schedule."""
    check = ArrivalCheck(schedule(rate))
    due = dues(rate, 2000)
    check.add(due, due + 40)
    counts = check.close()

    assert (counts.due, counts.sent, counts.late, counts.early, counts.off_schedule) == (2000, 2000, 0, 0, 0)
    assert counts.largest_burst == counts.largest_due == max(1, round(np.ceil(rate / 1000)))


def test_bunched_sends_are_late_and_a_burst():
    """Ten at once every 20 ms, as a timer makes them: nine of ten are off by more than half a gap."""
    check = ArrivalCheck(schedule(500.0))
    due = dues(500.0, 1000)
    sent = due[9::10].repeat(10)
    check.add(due, sent)
    counts = check.close()

    assert counts.late == 900
    assert counts.largest_burst == 10
    assert counts.largest_due == 1


def test_a_slow_load_may_be_half_a_gap_late():
    """At 2/s a send that is 5 ms late does not change the arrivals."""
    check = ArrivalCheck(schedule(2.0))
    due = dues(2.0, 20)
    check.add(due, due + 5_000)

    assert check.close().late == 0
    assert check.late_us == 250_000


def test_what_was_never_sent_is_due_and_nothing_else():
    """It has no send lag; and sending before the time is counted."""
    check = ArrivalCheck(schedule())
    due = dues(497.0, 100)
    sent = due - 1_000
    sent[:10] = 0
    check.add(due, sent)
    counts = check.close()

    assert (counts.due, counts.sent, counts.early, counts.late) == (100, 90, 90, 0)


def test_agents_that_ignore_their_share_of_the_stream_are_off_the_schedule():
    """Four agents at 0.5/s each start half a second apart; one that starts at T0 like the others is off."""
    own = schedule(0.5, agents=4, first_due_us=500_000.0)
    right, wrong = ArrivalCheck(own), ArrivalCheck(own)
    right.add(dues(0.5, 10, 500_000.0), dues(0.5, 10, 500_000.0))
    wrong.add(dues(0.5, 10), dues(0.5, 10))

    assert right.close().off_schedule == 0
    assert wrong.close().off_schedule == 10


def test_a_long_run_needs_no_more_memory_and_forgets_no_burst():
    """An hour in chunks: the bins stay as many as they were, and a burst at the beginning is still known at the end."""
    check = ArrivalCheck(schedule(100.0))
    due = dues(100.0, 360_000)
    sent = due.copy()
    sent[:30] = sent[29]
    for k in range(0, due.size, 5_000):
        check.add(due[k : k + 5_000], sent[k : k + 5_000])

    assert check.close().largest_burst == 30
    assert check._starts.size == check._dues.size == _BINS
    assert due[-1] - due[0] > 10 * _BINS * BIN_US


def test_chunks_in_any_order_add_up():
    """Rows come in the order of their answers."""
    due = dues(700.0, 3_000)
    sent = due + np.random.default_rng(2).integers(0, 3_000, due.size)
    whole, parts = ArrivalCheck(schedule(700.0)), ArrivalCheck(schedule(700.0))
    whole.add(due, sent)
    order = np.random.default_rng(3).permutation(due.size)
    for chunk in np.array_split(order, 17):
        parts.add(due[chunk], sent[chunk])

    assert whole.close() == parts.close()
