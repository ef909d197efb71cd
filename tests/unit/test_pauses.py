"""A host that stood still is told from one that was busy, and from a server that stood still."""

import os
import signal
import subprocess
import time

import numpy as np
import pytest

from agents import processes
from agents.pauses import Pauses
from agents.sampler import Sampler

AT_US = 1_800_000_000_000_000
OVER_US = AT_US + 30_000_000


def starts(*seconds):
    return AT_US + np.array([round(second * 1e6) for second in seconds], dtype=np.int64)


def test_nobody_was_woken_and_nothing_was_sent():
    """Five seconds without the follower and without a request, at a hundred a second before."""
    pauses = Pauses()
    pauses.add(starts(0.1, 0.9))
    pauses.note(AT_US + 1_000_000, AT_US + 6_000_000, rate_per_s=100.0)
    # Sent just before and just after the pause, and read after it.
    pauses.add(starts(1.1, 5.9, 6.5))

    assert pauses.stopped_s(OVER_US) == 5.0


@pytest.mark.parametrize(
    ("late_s", "rate_per_s", "sent"),
    [
        (5.0, 100.0, starts(3.0)),  # the follower alone was held up
        (1.9, 100.0, starts()),  # a busy host
        (5.0, 1.0, starts()),  # no request was to be expected
    ],
)
def test_what_is_no_pause(late_s, rate_per_s, sent):
    """The follower alone, a short delay, and a load that sends next to nothing."""
    pauses = Pauses()
    pauses.note(AT_US + 1_000_000, AT_US + 1_000_000 + round(late_s * 1e6), rate_per_s)
    pauses.add(sent)

    assert pauses.stopped_s(OVER_US) == 0.0


@pytest.mark.parametrize(("over_s", "stopped_s"), [(0.9, 0.0), (1.1, 5.0)])
def test_a_follower_that_is_held_up_after_the_load(over_s, stopped_s):
    """Nothing is sent then. A load whose last answer came later met the pause."""
    pauses = Pauses()
    pauses.note(AT_US + 1_000_000, AT_US + 6_000_000, rate_per_s=100.0)
    pauses.add(starts(0.1, 0.5))

    assert pauses.stopped_s(AT_US + round(over_s * 1e6)) == stopped_s


def test_pauses_add_up():
    """Two of them, and one that was none between them."""
    pauses = Pauses()
    for at_s in (0, 10, 20):
        pauses.note(AT_US + at_s * 1_000_000, AT_US + (at_s + 3) * 1_000_000, 50.0)
    pauses.add(starts(11.5))

    assert pauses.stopped_s(OVER_US) == 6.0


@pytest.fixture
def busy():
    """A process that computes."""
    with subprocess.Popen(["sh", "-c", "while :; do :; done"]) as process:
        yield process
        process.kill()


def sampled(sampler, until, within_s=20.0):
    """Take samples until something holds."""
    deadline = time.monotonic() + within_s
    while not until():
        assert time.monotonic() < deadline
        sampler.sample()
        time.sleep(0.01)


@pytest.mark.process
def test_a_process_that_a_signal_has_stopped(busy):
    """Counted while it is stopped, and not any more once it goes on."""
    sampler = Sampler(busy.pid, 0.05)
    sampled(sampler, lambda: sampler.thread_cpu.get(busy.pid))
    assert sampler.stopped_s == 0.0

    os.kill(busy.pid, signal.SIGSTOP)
    sampled(sampler, lambda: sampler.stopped_s > 0.3)
    os.kill(busy.pid, signal.SIGCONT)
    sampled(sampler, lambda: not processes.is_stopped(busy.pid))
    before, stopped_s = len(sampler.thread_cpu[busy.pid]), sampler.stopped_s
    sampled(sampler, lambda: len(sampler.thread_cpu[busy.pid]) > before + 3)

    assert sampler.stopped_s <= stopped_s + 0.1


@pytest.mark.process
def test_a_process_that_sleeps_is_not_stopped():
    """It waits for a server, for example."""
    with subprocess.Popen(["sleep", "60"]) as process:
        sampler = Sampler(process.pid, 0.02)
        sampled(sampler, lambda: len(sampler.thread_cpu.get(process.pid, [])) >= 5)
        process.kill()

    assert sampler.stopped_s == 0.0
