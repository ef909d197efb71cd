"""Live counters: coarse, added up, never averaged; and what the coordinator makes of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.generators.contract import Failure
from agents.live import COUNTERS, AgentCounts, LiveTimes, merged, quantile_us, since, upper_us
from agents.live_counters import LiveCounters
from agents.load_host import Progress
from agents.rows import Rows
from orchestrator.run.live import LiveMeter, phase_of
from orchestrator.run.pace import Pace, expected_s, in_time
from tests.unit.facts import trial_facts

T0_US = 10**15 * 2


def rows(service_us, status=200, start_us=T0_US, due_us=None):
    times = np.asarray(service_us, dtype=np.int64)
    statuses = np.broadcast_to(np.asarray(status, dtype=np.int64), times.shape).copy()
    starts = np.broadcast_to(np.asarray(start_us, dtype=np.int64), times.shape).copy()
    due = None if due_us is None else np.full(times.shape, due_us, dtype=np.int64)
    return Rows(starts, statuses, times, due)


@given(st.lists(st.integers(0, 2**36 - 1), min_size=1, max_size=50))
def test_a_counter_is_at_most_two_percent_wide(times):
    """Whatever the time, and also where a float rounds it up."""
    for time_us in times:
        counters = LiveCounters(False)
        counters.add(rows([time_us]))
        ((index, count),) = counters.times().items()

        assert (count, index < COUNTERS) == (1, True)
        assert max(1, time_us) * 0.999 <= upper_us(index) <= max(1, time_us) * 1.0165


@given(
    st.lists(st.integers(1, 10**7), min_size=1000, max_size=1200),
    st.lists(st.integers(1, 10**4), min_size=1, max_size=300),
)
def test_percentiles_are_of_the_sum_of_the_counters(slow, fast):
    """Two agents together, not the mean of each."""
    counters = [LiveCounters(False), LiveCounters(False)]
    for each, times in zip(counters, (slow, fast), strict=True):
        each.add(rows(times))
    exact = float(np.quantile(slow + fast, 0.99, method="inverted_cdf"))

    assert quantile_us(merged(each.times() for each in counters), 0.99) == pytest.approx(exact, rel=0.017)


def test_too_few_requests_have_no_percentile():
    """As on every page: 10 / (1 - q)."""
    assert quantile_us({100: 999}, 0.99) is None
    assert quantile_us({100: 1000}, 0.99) == upper_us(100)
    assert quantile_us({}, 0.5) is None


def test_what_failed_is_counted_and_has_no_time():
    """Except, in the open loop, what had no answer in time: it stands at its age."""
    seen = rows([10, 20, 30, 40], [200, 503, Failure.RESET, 0])
    closed, opened = LiveCounters(False), LiveCounters(True)
    closed.add(seen)
    opened.add(rows([10, 20, 30], [200, Failure.UNSENT, Failure.REFUSED], due_us=T0_US - 1000))
    closed.add(rows([]))

    assert (closed.counts().answered, closed.counts().failed) == (1, 2)
    assert sum(closed.times().values()) == 1
    assert (opened.counts().answered, opened.counts().failed) == (1, 2)
    # 1000 µs late and 10 µs of service; never sent: its age.
    assert [upper_us(index) for index in opened.times()] == pytest.approx([1010, 1020], rel=0.017)


def test_what_was_counted_between_two_looks():
    assert since({1: 5, 2: 3}, {1: 5, 2: 1}) == {2: 2}


def progress(at_us, answered, failed=0, counts=None, busy=None):
    live = {"a": AgentCounts(at_us, answered, failed)}
    return Progress({"a": answered + failed}, True, live, LiveTimes(False, counts or {}), busy)


def test_rates_are_over_the_time_between_two_reads_of_the_log():
    """However often somebody looks; an agent whose log is read no more sends nothing."""
    meter = LiveMeter()
    first = meter.figures(1.0, {"h": progress(1_000_000, 100, 10, busy=0.5)}, {"s": 0.25, "t": None})
    between = meter.figures(1.5, {"h": progress(1_000_000, 100, 10)}, {})
    second = meter.figures(3.1, {"h": progress(3_000_000, 400, 10)}, {})
    silent = meter.figures(9.0, {"h": progress(3_000_000, 400, 10)}, {})

    assert (first.answered_per_s, first.failed_per_s, first.rows, first.busy) == (100, 10, 110, {"h": 0.5, "s": 0.25})
    assert between.answered_per_s == 100
    assert (second.answered_per_s, second.failed_per_s) == (150, 0)
    assert silent.answered_per_s == 0


def test_percentiles_are_of_the_last_seconds():
    """What was slow a minute ago is forgotten, and little is kept however often somebody looks."""
    meter = LiveMeter()
    slow, fast = {1000: 5000}, {1000: 5000, 100: 5000}
    early = meter.figures(1.0, {"h": progress(1_000_000, 5000, counts=slow)}, {})
    for tenth in range(10, 300):
        late = meter.figures(
            tenth / 10, {"h": progress(tenth * 100_000, 10000, counts=slow if tenth < 150 else fast)}, {}
        )

    assert early.p99_us == upper_us(1000)
    assert late.p50_us is None or late.p50_us == upper_us(100)
    assert len(meter._times) < 30


TIMED = replace(
    trial_facts().case, requests=None, duration_us=3_000_000, warm_up_us=500_000, tail_us=300_000, external=True
)
COUNTED = replace(TIMED, requests=5, duration_us=None)


def test_the_phase_follows_from_the_plan():
    """Warm-up, window, tail, and what comes after."""
    assert [phase_of(TIMED, at_s) for at_s in (0.1, 0.6, 3.6, 4.0)] == [
        "warm-up", "window", "tail", "waiting for the last responses",
    ]  # fmt: skip
    assert phase_of(COUNTED, 1.0) == "sending"


def test_the_time_left_is_planned_and_then_what_trials_take():
    """Before the first is over from the plan; a load that requests end has no plan."""
    planned = expected_s(TIMED)
    pace = Pace([TIMED] * 4)

    assert pace.left_s(0, 0.0) == pytest.approx(4 * planned)
    assert pace.left_s(1, 2 * planned) == pytest.approx(6 * planned)
    assert pace.left_s(4, 9.0) == 0
    assert [Pace([COUNTED] * 2).left_s(done, 7.0 * done) for done in (0, 1)] == [None, 7.0]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (14.2, "14 s"), (59.7, "1 min"), (130, "2 min 10 s"), (1210, "20 min"), (3900, "1 h 5 min")],
)
def test_times_are_said_as_people_say_them(seconds, words):
    assert in_time(seconds) == words
