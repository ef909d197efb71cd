"""The bound on a clock's offset."""

import threading

import pytest

from agents.clock import ClockResponder, ClockUnreachable, OffsetBound, StepWatch, bound_from, probe


def exchange(sent, offset, there, busy, back):
    """Local send time, true offset, delay there, time busy on the host, delay back."""
    received = sent + there + offset
    replied = received + busy
    return sent, received, replied, replied - offset + back


@pytest.mark.parametrize("offset", [0, 3_700_000_000, -3_600_000_000_000])
def test_the_bound_contains_the_truth_whatever_the_delays(offset):
    """Asymmetric delays, an offset of hours: the truth is inside, and the tightest exchanges make the width."""
    exchanges = [exchange(10**18 + k * 10**6, offset, 1_000 + 7 * k, 500, 90_000 - 80 * k) for k in range(64)]

    bound = bound_from(exchanges)

    assert bound.low_ns <= offset <= bound.high_ns
    assert bound.high_ns - bound.low_ns == 1_000 + 90_000 - 80 * 63


def test_a_step_between_two_bounds_is_noticed_and_a_slew_is_not():
    """500 ppm over a minute is 30 ms: allowed. A step of a second is not."""
    before = OffsetBound(-10_000, 10_000, 20_000, 64, 0)
    slewed = OffsetBound(25_000_000, 25_020_000, 20_000, 64, 60 * 10**9)
    stepped = OffsetBound(10**9, 10**9 + 20_000, 20_000, 64, 60 * 10**9)

    assert before.agrees_with(slewed)
    assert not before.agrees_with(stepped)


def test_a_real_responder_on_this_machine_has_no_offset():
    """Both ends read the same clock: zero is inside the bound."""
    responder = ClockResponder()
    bound = probe("127.0.0.1", responder.port)
    responder.close()

    assert bound.low_ns <= 0 <= bound.high_ns
    assert bound.exchanges == 32


def test_nobody_answers():
    """A closed port, or a firewall: told, with how many were answered."""
    responder = ClockResponder()
    port = responder.port
    responder.close()

    with pytest.raises(ClockUnreachable, match="0 of 8 clock probes"):
        probe("127.0.0.1", port, exchanges=8, timeout_s=0.01)


def test_step_watch_sees_a_moving_wall_clock(monkeypatch):
    """The difference of wall and monotonic clock moves when the wall clock is stepped."""
    wall = iter([10**18, 10**18 + 10**9, 10**18 + 2 * 10**9 - 50_000_000])
    steady = iter([0, 0, 10**9, 10**9, 2 * 10**9, 2 * 10**9])
    monkeypatch.setattr("time.time_ns", lambda: next(wall))
    monkeypatch.setattr("time.monotonic_ns", lambda: next(steady))
    watch = StepWatch()

    watch.sample()
    watch.sample()
    assert watch.largest_ns == 0
    watch.sample()
    assert watch.largest_ns == 50_000_000


def test_a_pinned_port_that_is_just_being_left_is_waited_for():
    """The actor of the run before may still be ending."""
    first = ClockResponder()
    threading.Timer(0.3, first.close).start()

    second = ClockResponder(port=first.port)

    assert second.port == first.port
    assert probe("127.0.0.1", second.port, exchanges=8).exchanges == 8
    second.close()
