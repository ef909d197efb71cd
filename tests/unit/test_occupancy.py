"""Slots that hang at the end of a closed loop, told from those that are only between two requests."""

import numpy as np
import pytest

from agents.occupancy import Occupancy

START_US = 4_000_000
END_US = 10_000_000
UNTIL_US = 12_000_000


def rows(slots, service_us, idle_us=0, first_us=8_000_000, until_us=UNTIL_US):
    """Requests of `slots` connections, one after the other, that ended before `until_us`."""
    step = service_us + idle_us
    starts = np.concatenate([np.arange(first_us + k * 37, until_us - service_us, step) for k in range(slots)])
    return starts, starts + service_us


@pytest.mark.parametrize(("alive", "hung"), [(8, 0), (7, 1), (3, 5)])
def test_a_slot_without_an_answer_for_a_second_hangs(alive, hung):
    """Those that still answer are counted; the rest has had no answer."""
    occupancy = Occupancy(START_US, END_US, UNTIL_US)
    occupancy.add(*rows(alive, 2_000))

    assert occupancy.hung(8, 2_500) == hung


def test_slots_that_reconnect_do_not_hang():
    """Each is idle for a third of the time, and no instant shows all of them idle."""
    occupancy = Occupancy(START_US, END_US, UNTIL_US)
    occupancy.add(*rows(40, 2_000, idle_us=20))

    assert occupancy.hung(40, 2_000) == 0


@pytest.mark.parametrize(("tail_us", "service_us"), [(300_000, 2_000), (2_000_000, 300_000)])
def test_a_tail_shorter_than_that_is_no_excuse(tail_us, service_us):
    """What had no answer in the last seconds of the window hangs, although the tail is over sooner."""
    occupancy = Occupancy(START_US, END_US, END_US + tail_us)
    occupancy.add(*rows(7, service_us, first_us=5_000_000, until_us=END_US + tail_us))

    assert occupancy.hung(8, service_us) == 1
    assert occupancy.hung(7, service_us) == 0


def test_a_slot_that_was_answered_late_in_the_window_does_not_hang():
    """Its request may be under way still: the tail of 300 ms is too short to know."""
    occupancy = Occupancy(START_US, END_US, END_US + 300_000)
    occupancy.add(*rows(7, 2_000, first_us=5_000_000, until_us=END_US + 300_000))
    occupancy.add(*rows(1, 2_000, first_us=5_000_000, until_us=END_US - 500_000))

    assert occupancy.hung(8, 2_000) == 0


@pytest.mark.parametrize("window_us", [300_000, 1_000_000, 1_200_000])
def test_a_load_too_short_to_know_shows_nothing(window_us):
    """No slot was without an answer for a second: the load had only begun."""
    occupancy = Occupancy(END_US - window_us, END_US, END_US + 100_000)
    occupancy.add(*rows(8, 2_000, first_us=END_US - window_us + 50_000, until_us=END_US + 100_000))

    assert occupancy.hung(8, 2_000) == 0


@pytest.mark.parametrize("until_us", [END_US + 300_000, END_US + 305_000, END_US + 320_000])
def test_a_slot_between_two_requests_does_not_hang_in_a_short_window(until_us):
    """A window of one second leaves few instants that are old enough: one of them says nothing of a fast load."""
    occupancy = Occupancy(END_US - 1_000_000, END_US, until_us)
    # Idle around the instant that is a second old; under way at others.
    last_us = until_us - 1_000_000
    first_us = last_us - 10_000 * 103 - 90
    occupancy.add(*rows(2, 83, idle_us=20, first_us=first_us, until_us=until_us))

    assert occupancy.hung(2, 90) == 0


def test_a_short_window_shows_slots_that_hang():
    """The window of one second, with a tail of 300 ms, has just enough time."""
    occupancy = Occupancy(END_US - 1_000_000, END_US, END_US + 300_000)
    occupancy.add(*rows(7, 2_000, first_us=END_US - 2_000_000, until_us=END_US + 300_000))

    assert occupancy.hung(8, 2_500) == 1


def test_answers_too_slow_to_know_show_nothing():
    """Ten times a p99 of 500 ms is more than is looked back."""
    occupancy = Occupancy(START_US, END_US, UNTIL_US)
    occupancy.add(*rows(7, 500_000))

    assert occupancy.hung(8, 500_000) == 0


def test_chunks_add_up():
    """Rows come in any order."""
    starts, ends = rows(5, 3_000)
    occupancy = Occupancy(START_US, END_US, UNTIL_US)
    for chunk in np.array_split(np.random.default_rng(1).permutation(starts.size), 9):
        occupancy.add(starts[chunk], ends[chunk])

    assert occupancy.hung(6, 3_000) == 1
