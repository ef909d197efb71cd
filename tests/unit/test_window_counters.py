"""Counters at the edges of the window, and in between."""

import itertools
import threading
import time

from agents.cgroup import Counters
from agents.window_counters import WindowCounters


def counting():
    """Readings with 1000 µs of CPU time more each, and when each was made."""
    numbers, at_ns = itertools.count(1), []

    def read():
        at_ns.append(time.time_ns())
        return Counters(cpu_us=1000 * next(numbers), throttled_us=5, memory_bytes=7)

    return read, at_ns


def follow(window, opening_ns, closing_ns):
    window.start(opening_ns, closing_ns)
    window._thread.join(10)
    assert not window._thread.is_alive()


def test_both_edges_are_read_at_their_time():
    """Never before; the series has the difference in between."""
    read, at_ns = counting()
    opening_ns = time.time_ns() + 50_000_000
    closing_ns = opening_ns + 100_000_000
    window = WindowCounters(read)
    follow(window, opening_ns, closing_ns)

    assert (window.opening.cpu_us, window.closing.cpu_us) == (1000, 1000 * len(at_ns))
    assert at_ns[0] >= opening_ns
    assert at_ns[-1] >= closing_ns
    assert sum(window.series["cpu_us"]) == window.closing.cpu_us - window.opening.cpu_us
    assert set(window.series["throttled_us"]) == {0}
    assert set(window.series["memory_bytes"]) == {7}
    assert {len(column) for column in window.series.values()} == {len(at_ns) - 1}


def test_a_window_without_an_end_is_closed_by_whoever_reads_it():
    """It is read once a second until then."""
    read, at_ns = counting()
    window = WindowCounters(read)
    window.start(time.time_ns(), None)
    deadline = time.monotonic() + 10
    while not window.series:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    window.stop()

    assert window.opening.cpu_us == 1000
    assert window.closing is None
    assert len(at_ns) >= 2


def test_a_load_that_is_given_up_before_its_window_reads_nothing():
    """The wait for the opening edge ends as well."""
    read, at_ns = counting()
    window = WindowCounters(read)
    window.start(time.time_ns() + 60_000_000_000, None)
    thread = window._thread
    window.stop()

    assert isinstance(thread, threading.Thread)
    assert not thread.is_alive()
    assert (at_ns, window.opening, window.series) == ([], None, {})
