"""The bound on a clock's offset."""

import socket
import struct
import threading

import pytest

from agents.clock import (
    ClockResponder,
    ClockUnreachable,
    OffsetBound,
    StepWatch,
    bound_from,
    probe,
    wall_minus_monotonic_ns,
)


def exchange(sent, offset, there, busy, back):
    """Local send time, true offset, delay there, time busy on the host, delay back."""
    received = sent + there + offset
    replied = received + busy
    return sent, received, replied, replied - offset + back


@pytest.mark.parametrize("offset", [0, 3_700_000_000, -3_600_000_000_000])
def test_the_bound_contains_the_truth_whatever_the_delays(offset):
    """Asymmetric delays and an offset of hours: the truth is inside; the tightest exchanges determine the width."""
    exchanges = [exchange(10**18 + k * 10**6, offset, 1_000 + 7 * k, 500, 90_000 - 80 * k) for k in range(64)]

    bound = bound_from(exchanges)

    assert bound.low_ns <= offset <= bound.high_ns
    assert bound.high_ns - bound.low_ns == 1_000 + 90_000 - 80 * 63


def test_a_step_between_two_bounds_is_detected_and_a_slew_is_not():
    """500 ppm over a minute is 30 ms: allowed. A step of a second is not."""
    before = OffsetBound(-10_000, 10_000, 20_000, 64, 0)
    slewed = OffsetBound(25_000_000, 25_020_000, 20_000, 64, 60 * 10**9)
    stepped = OffsetBound(10**9, 10**9 + 20_000, 20_000, 64, 60 * 10**9)

    assert before.agrees_with(slewed)
    assert not before.agrees_with(stepped)


@pytest.mark.process
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_real_responder_on_this_machine_has_no_offset(address):
    """Both ends read the same clock: zero is inside the bound."""
    responder = ClockResponder(address)
    bound = probe(address, responder.port, timeout_s=10.0)
    responder.close()

    assert bound.low_ns <= 0 <= bound.high_ns
    assert bound.exchanges == 32


@pytest.mark.process
def test_a_host_that_does_not_answer():
    """A closed port or a firewall: the error has the number of answers."""
    responder = ClockResponder()
    port = responder.port
    responder.close()

    with pytest.raises(ClockUnreachable, match="0 of 8 clock probes"):
        probe("127.0.0.1", port, exchanges=8, timeout_s=0.01)


@pytest.mark.process
def test_a_sender_that_cannot_be_answered_does_not_end_the_responder():
    """A datagram with source port 0: the answer cannot be sent, and the next probe is answered all the same."""
    responder = ClockResponder()
    payload = struct.pack("!QQQ", 1, 0, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as forger:
        forger.sendto(struct.pack("!HHHH", 0, responder.port, 8 + len(payload), 0) + payload, ("127.0.0.1", 0))
    bound = probe("127.0.0.1", responder.port, timeout_s=10.0)
    responder.close()

    assert bound.exchanges == 32


@pytest.mark.process
def test_an_answer_of_another_length_is_ignored():
    """Something else listens there: no exchange is made of what it says, and no error is raised but the known one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))

        def answer():
            for _ in range(2):
                _, sender = other.recvfrom(64)
                other.sendto(b"x", sender)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ClockUnreachable, match="0 of 2 clock probes"):
            probe("127.0.0.1", other.getsockname()[1], exchanges=2, timeout_s=0.05)
        thread.join()


def test_step_watch_sees_a_moving_wall_clock(monkeypatch):
    """The difference between wall and monotonic clock changes when the wall clock is stepped."""
    wall, steady = [10**18], [0]

    def tick():
        steady[0] += 100
        return steady[0]

    monkeypatch.setattr("time.time_ns", lambda: wall[0] + steady[0])
    monkeypatch.setattr("time.monotonic_ns", tick)
    watch = StepWatch()

    watch.sample()
    watch.sample()
    unmoved = watch.largest_ns
    wall[0] -= 50_000_000
    watch.sample()

    assert unmoved <= 100
    assert watch.largest_ns == pytest.approx(50_000_000, abs=100)


def test_a_slewed_clock_was_not_stepped_however_far_apart_the_samples_are(monkeypatch):
    """At 500 ppm it moves by 5 ms in 10 s. A step of 20 ms in that time is one."""
    steady, moved = [0], [0]
    monkeypatch.setattr("time.time_ns", lambda: 10**18 + steady[0] + moved[0])
    monkeypatch.setattr("time.monotonic_ns", lambda: steady[0])
    watch = StepWatch()

    watch.sample()
    steady[0] += 10 * 10**9
    moved[0] += 5_000_000
    watch.sample()
    slewed = watch.largest_ns
    steady[0] += 10 * 10**9
    moved[0] += 20_000_000
    watch.sample()

    # What it may move in the usual second between samples is not subtracted.
    assert slewed == 500_000
    assert watch.largest_ns == 20_000_000 - 4_500_000


def test_a_delayed_reading_is_not_a_step(monkeypatch):
    """A thread may lose its core between two clocks, so the narrowest of several readings counts."""
    steady, readings = [0], [0]

    def tick():
        readings[0] += 1
        steady[0] += 30_000_000 if readings[0] == 2 else 100
        return steady[0]

    monkeypatch.setattr("time.time_ns", lambda: 10**18 + steady[0])
    monkeypatch.setattr("time.monotonic_ns", tick)

    assert wall_minus_monotonic_ns() == pytest.approx(10**18, abs=100)


@pytest.mark.process
def test_a_pinned_port_is_awaited():
    """The actor of the previous run may still be exiting."""
    first = ClockResponder()
    threading.Timer(0.3, first.close).start()

    second = ClockResponder(port=first.port)

    assert second.port == first.port
    assert probe("127.0.0.1", second.port, exchanges=8, timeout_s=10.0).exchanges == 8
    second.close()
