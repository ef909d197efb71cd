"""CPU per request in the benchmark of generators, and its lines of the table."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import generators_table as table
from benchmarks.cpu_time import CpuSample
from benchmarks.evenness import Evenness
from benchmarks.generators import REPEATS_IN_ALL, Quiet
from benchmarks.one_load import Case, Cpu, Outcome, cpu_over, disturbed_cores, judge
from benchmarks.peers import Peer
from tests.truth.zoo import Connections, Record

SECOND_NS = 1_000_000_000
CASE = Case(Peer.PACED, 0, 1000.0, 2.0)


def record(arrived_ns) -> Record:
    arrived_ns = np.asarray(arrived_ns, dtype=np.int64)
    columns = [arrived_ns] * 4 + [np.full(arrived_ns.size, 200)] * 2 + [np.ones(arrived_ns.size)] * 2
    return Record(*columns, Connections(1, 0, 0, 0, 1, 1), 0, 0, 0, 0, 0)  # type: ignore[call-arg]


def at(seconds, generator_ms=0, server_ms=0, own_ms=0, machine_s=0.0, steal_s=0.0) -> CpuSample:
    return CpuSample(  # type: ignore[call-arg]
        int(seconds * SECOND_NS), *(int(ms * 1e6) for ms in (generator_ms, server_ms, own_ms)), machine_s, steal_s
    )


def outcome(p99_us=200.0, cpu_us=60.0, error="") -> Outcome:
    if error:
        return Outcome(CASE, error=error)
    even = Evenness(2000, 1000.0, (1.0, 2.0, 3.0), (10.0, 20.0, p99_us), 3)
    return Outcome(CASE, 1000.0, even, Cpu(cpu_us, 0.06, 0.02, 0.1, 0.0))


def test_cpu_per_request_counts_the_requests_between_the_two_samples():
    """2000 requests in 2 s, but only the 1500 of 1.5 s lie between the samples; start-up before them is not counted."""
    arrived = record(np.arange(2000) * SECOND_NS // 1000)
    found = cpu_over(arrived, [at(0.5, 400, 10, 5, 7.0, 1.0), at(2.0, 550, 40, 5, 7.6, 1.15)])

    assert found.us_per_request == pytest.approx(100)
    assert (found.generator_cores, found.server_cores) == pytest.approx((0.1, 0.02))
    assert found.others_cores == pytest.approx((0.6 - 0.15 - 0.03) / 1.5)
    assert found.steal_cores == pytest.approx(0.1)


def test_there_is_no_cpu_per_request_when_none_arrived_or_the_generator_was_gone():
    arrived = record(np.arange(2000) * SECOND_NS // 1000)

    assert cpu_over(arrived, [at(5, 10), at(6, 20)]) is None
    assert cpu_over(arrived, [at(0, 10), at(1, 0)]) is None


def test_a_window_without_requests_is_a_failed_load():
    found = judge(CASE, record([]), [at(0), at(2)])

    assert found.error == "0 requests arrived in the window"
    assert found.evenness is None


def test_a_row_has_medians_and_ranges_within_100_columns():
    line = table.row(CASE, [outcome(200, 60), outcome(900, 50), outcome(100, 75)])

    assert line.split() == ["1000", "paced", "1000", "10", "20", "200", "(100-900)", "3", "3", "60", "(50-75)"]
    worst = table.row(CASE, [outcome(1e6, 9999), outcome(2e6, 1000)])
    assert max(len(worst), len(table.HEAD)) <= 100


def test_failed_loads_are_counted_and_do_not_enter_the_medians():
    assert table.row(CASE, [outcome(), outcome(error="it did not begin")]).endswith(" 1 failed")
    assert table.row(CASE, [outcome(error="it did not begin")]).endswith("it did not begin")


@pytest.mark.parametrize(("rate", "text"), [(None, "below 100/s"), (1414.2, "1,410/s"), (13_454.3, "13,500/s")])
def test_a_limit_is_rounded_for_a_person(rate, text):
    assert table.limit(rate, 100.0) == text


def with_noise(cores) -> Outcome:
    return Outcome(CASE, 1000.0, outcome().evenness, Cpu(60.0, 0.06, 0.02, cores, 0.0))


@pytest.mark.parametrize(
    ("noise", "kept", "measured"), [([0.05, 0.0], 0.05, 1), ([0.8, 0.02], 0.02, 2), ([0.8, 0.3, 0.5, 0.0], 0.3, 3)]
)
def test_a_disturbed_load_is_repeated_at_most_twice_and_kept_aside(noise, kept, measured):
    loads = iter([with_noise(cores) for cores in noise])
    quiet = Quiet(lambda case: next(loads))

    assert disturbed_cores(quiet(CASE)) == kept
    assert sorted(disturbed_cores(each) for each in quiet.set_aside) == sorted(set(noise[:measured]) - {kept})


def test_repeats_are_bounded_in_all():
    """A machine that is never quiet does not make the benchmark longer than planned."""
    count = 0

    def measure(case):
        nonlocal count
        count += 1
        return with_noise(0.9)

    quiet = Quiet(measure)
    for _ in range(100):
        quiet(CASE)

    assert count == 100 + len(quiet.set_aside) == 100 + REPEATS_IN_ALL
