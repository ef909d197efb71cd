"""The zoo's laws: service times, queues and refusals follow them to the nanosecond, from the arrivals on record."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import psutil
import pytest

from tests.truth.zoo import Outcome, Record, serve
from tests.truth.zoo_client import RESET, load

# Needs no quiet machine: only what happened is checked, or times with wide bounds.
pytestmark = pytest.mark.process

# Every behaviour that ends each request, with parameters small enough for 60 requests in a moment.
BEHAVIOURS = {
    "fixed": {"service_us": 1000},
    "one-at-a-time": {"service_us": 1000},
    "workers": {"service_us": 1000, "workers": 3},
    "lognormal": {"median_us": 1000, "sigma": 0.5},
    "hyperexponential": {"service_us": 500, "slow_us": 5000, "share": 0.1},
    "stall": {"service_us": 500, "pause_every_us": 10_000, "pause_us": 5_000},
    "slow-start": {"service_us": 500, "slow_us": 5_000, "slow_for_us": 20_000},
    "slow-share": {"service_us": 200, "slow_us": 20_000},
    "phases": {"first_us": 5_000, "first_service_us": 300, "second_us": 10_000, "second_service_us": 2_000},
    "phases-pool": {
        "first_us": 5_000, "first_service_us": 300, "second_us": 10_000, "second_service_us": 2_000,
        "workers": 2, "queue": 1,
    },
    "shed": {"rate_per_s": 100, "burst": 5},
    "limit": {"rate_per_s": 100, "burst": 5},
    "mix": {"service_us": 2_000, "fail_share": 0.5},
    "reset-every": {"reset_every": 7},
    "reset-at": {"reset_at_us": 5_000, "service_us": 2_000},
    "close-after": {"close_after": 7},
    "close-each": {},
    "idle-close": {"idle_us": 1_000_000},
}  # fmt: skip


def service_ns(record: Record) -> np.ndarray:
    return record.planned_ns - record.begun_ns


def simulate(record: Record, workers: int, service_ns: Callable[[int], int], queue: float = math.inf) -> list[tuple]:
    """Return (begun, planned, served) of each arrival by a FIFO queue before k workers."""
    free, starts, expected = [0] * workers, [], []
    for now in record.arrived_ns.tolist():
        starts = [start for start in starts if start > now]
        worker = free.index(min(free))
        if free[worker] > now and len(starts) >= queue:
            expected.append((now, now, False))
            continue
        begun = max(now, free[worker])
        free[worker] = begun + service_ns(begun)
        starts.append(begun)
        expected.append((begun, free[worker], True))
    return expected


def planned(record: Record) -> list[tuple]:
    return [
        (begun, planned, status == 200)
        for begun, planned, status in zip(
            record.begun_ns.tolist(), record.planned_ns.tolist(), record.planned_status.tolist(), strict=True
        )
    ]


def admitted(record: Record, rate_per_s: float, burst: float) -> list[bool]:
    """Return whom nginx's limit_req admits (ngx_http_limit_req_lookup), from the arrivals."""
    excess, last, result = 0.0, 0, []
    for now in record.arrived_ns.tolist():
        would_be = max(0.0, excess - rate_per_s * (now - last) / 1e9 + 1) if last else 0.0
        result.append(would_be <= burst)
        if result[-1]:
            excess, last = would_be, now
    return result


def distance(values: np.ndarray, distribution: Callable[[np.ndarray], np.ndarray]) -> float:
    """Return the Kolmogorov-Smirnov distance times the root of n: above 1.63 once in a hundred."""
    ordered = np.sort(values)
    exact, steps = distribution(ordered), np.arange(ordered.size + 1) / ordered.size
    return float(max((steps[1:] - exact).max(), (exact - steps[:-1]).max()) * math.sqrt(ordered.size))


# What holds for every behaviour


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_record_and_client_agree_on_every_request(behaviour):
    with serve(behaviour, **BEHAVIOURS[behaviour]) as server:
        seen = load(server, 60, 4)
        record = server.stop()

    assert len(record) == 60
    by_server = Counter(record.counts())
    assert Counter(one.status for one in seen) == {RESET if k == Outcome.RESET else k: n for k, n in by_server.items()}
    assert (np.diff(record.arrived_ns) >= 0).all()
    assert (record.begun_ns >= record.arrived_ns).all()
    assert (record.planned_ns >= record.begun_ns).all()
    assert (record.answered_ns >= record.planned_ns)[record.answered].all()
    assert (record.status == record.planned_status)[record.answered].all()
    assert record.pipelined == record.malformed == 0


def test_every_request_lies_between_its_start_and_its_end_at_the_client():
    with serve("fixed", service_us=500) as server:
        seen = load(server, 100)
        record = server.record()
    # Two processes read the two clocks at different moments.
    clocks_ns = 100_000 + abs(record.clock_step_ns)
    for one, arrived, answered in zip(seen, record.arrived_ns, record.answered_ns, strict=True):
        assert one.start_ns - clocks_ns <= arrived <= answered <= one.end_ns + clocks_ns
    assert (np.array([one.took_us for one in seen]) >= record.sojourn_us()).all()


def test_answers_leave_when_the_law_says():
    """The zoo must not be the noise: half of its answers are at most 0.1 ms late, in the best of five attempts."""
    medians = []
    for _ in range(5):
        with serve("fixed", service_us=1000) as server:
            load(server, 200)
            medians.append(float(np.median(server.record().lateness_us())))
        if medians[-1] <= 100:
            return
    pytest.fail(f"median lateness in µs: {medians}")


def test_waiting_costs_no_cpu():
    def cpu_s(pid: int) -> float:
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system

    with serve("fixed", service_us=50_000) as server:
        before, began = cpu_s(server.pid), time.monotonic()
        load(server, 20)
        assert cpu_s(server.pid) - before < 0.05 * (time.monotonic() - began)


# Service times


def test_fixed_answers_any_number_at_once():
    with serve("fixed", service_us=50_000) as server:
        load(server, 40, 40)
        record = server.record()
    assert (service_ns(record) == 50_000_000).all()
    assert (record.begun_ns == record.arrived_ns).all()
    assert record.counts() == {200: 40}


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_are_a_queue_first_in_first_out(workers):
    with serve("workers", workers=workers, service_us=2000) as server:
        load(server, 150, 10)
        record = server.record()
    assert planned(record) == simulate(record, workers, lambda _: 2_000_000)
    assert (record.begun_ns > record.arrived_ns).any()


def test_one_at_a_time_is_one_worker():
    with serve("one-at-a-time", service_us=1500) as server:
        load(server, 100, 5)
        record = server.record()
    assert planned(record) == simulate(record, 1, lambda _: 1_500_000)


def test_lognormal():
    with serve("lognormal", median_us=500, sigma=1, seed=4) as server:
        load(server, 2000, 32)
        drawn = service_ns(server.record())
    normal = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)))
    assert distance(drawn, lambda ns: normal(np.log(ns / 500_000))) < 1.63


def test_hyperexponential():
    with serve("hyperexponential", service_us=300, slow_us=4000, share=0.1, seed=4) as server:
        load(server, 2000, 32)
        drawn = service_ns(server.record())
    assert distance(drawn, lambda ns: 1 - 0.9 * np.exp(-ns / 300e3) - 0.1 * np.exp(-ns / 4e6)) < 1.63


def test_a_share_is_slow_and_the_seed_decides_which():
    def draw(seed: int) -> np.ndarray:
        with serve("slow-share", service_us=100, slow_us=3000, share=0.05, seed=seed) as server:
            load(server, 1000, 16)
            return service_ns(server.record())

    first, again, other = draw(1), draw(1), draw(2)
    assert set(first.tolist()) == {100_000, 3_000_000}
    assert 25 <= (first == 3_000_000).sum() <= 80  # 50 expected, binomial: p < 0.001
    assert (first == again).all()
    assert (first != other).any()


def test_one_percent_is_slow_by_default():
    with serve("slow-share", service_us=0, slow_us=3000) as server:
        load(server, 2000, 16)
        assert 5 <= (service_ns(server.record()) == 3_000_000).sum() <= 40


def test_slow_start_is_linear_from_the_first_request():
    with serve("slow-start", service_us=1000, slow_us=9000, slow_for_us=200_000) as server:
        load(server, 300, 4)
        record = server.record()
    since = (record.begun_ns - record.origin_ns) / 200e6
    assert record.origin_ns == record.arrived_ns[0]
    assert np.abs(service_ns(record) - (9e6 - 8e6 * np.minimum(since, 1))).max() <= 1
    assert since.max() > 1


def slow_phase(begun_ns: int, origin_ns: int) -> bool:
    return (begun_ns - origin_ns) % 100_000_000 < 40_000_000


PHASES = {"first_us": 40_000, "first_service_us": 8000, "second_us": 60_000, "second_service_us": 1000}


@pytest.mark.parametrize("origin", ["request", "start"])
def test_phases_alternate(origin):
    with serve("phases", origin=origin, **PHASES) as server:
        load(server, 200, 4)
        record = server.record()
    expected = [8_000_000 if slow_phase(begun, record.origin_ns) else 1_000_000 for begun in record.begun_ns.tolist()]
    assert service_ns(record).tolist() == expected
    assert len(set(expected)) == 2
    assert (record.origin_ns == record.arrived_ns[0]) == (origin == "request")


def test_phases_of_a_pool_with_a_bounded_queue():
    with serve("phases-pool", workers=3, queue=4, **PHASES) as server:
        load(server, 300, 12, pace_s=0.003)
        record = server.record()
    law = simulate(record, 3, lambda begun: 8_000_000 if slow_phase(begun, record.origin_ns) else 1_000_000, queue=4)
    assert planned(record) == law
    assert set(record.counts()) == {200, 503}


@pytest.mark.parametrize(("workers", "requests"), [(0, 400), (1, 120)])
def test_a_stall_stops_work_and_not_arrivals(workers, requests):
    stall = {"pause_every_us": 100_000, "pause_us": 50_000, "pauses": 2, "origin": "start"}
    with serve("stall", service_us=3000, workers=workers, **stall) as server:
        load(server, requests, 5)
        record = server.record()
    pauses = [(record.origin_ns + n * 100_000_000, record.origin_ns + n * 100_000_000 + 50_000_000) for n in (1, 2)]
    for begun, done in zip(record.begun_ns.tolist(), record.planned_ns.tolist(), strict=True):
        paused = sum(max(0, min(done, end) - max(begun, start)) for start, end in pauses)
        assert done - begun - paused == 3_000_000
    for start, end in pauses:
        assert not ((record.planned_ns > start) & (record.planned_ns < end)).any()
        assert not ((record.begun_ns > start) & (record.begun_ns < end)).any()
    assert workers == 0 or (record.begun_ns[1:] >= record.planned_ns[:-1]).all()
    held = [((record.arrived_ns < start) & (record.planned_ns > end)).sum() for start, end in pauses]
    assert 1 <= max(held) <= 5  # requests of five connections
    assert record.planned_ns.max() > pauses[1][1] + 50_000_000  # and there was no third


# Refusals


@pytest.mark.parametrize(("behaviour", "refused"), [("limit", 429), ("shed", 503)])
def test_a_rate_above_the_limit_is_refused_as_nginx_does(behaviour, refused):
    with serve(behaviour, rate_per_s=100, burst=20) as server:
        load(server, 400, 4, pace_s=0.002)
        record = server.record()
    assert (record.status == 200).tolist() == admitted(record, 100, 20)
    assert set(record.counts()) == {200, refused}


def test_a_limiter_may_answer_another_status():
    with serve("limit", rate_per_s=1, burst=0, limit_status=503) as server:
        load(server, 5)
        assert server.record().counts() == {200: 1, 503: 4}


def test_shedding_above_a_queue_length():
    with serve("shed", queue=2, workers=1, service_us=4000) as server:
        load(server, 120, 6, pace_s=0.004)
        record = server.record()
    assert planned(record) == simulate(record, 1, lambda _: 4_000_000, queue=2)
    assert set(record.counts()) == {200, 503}


def test_a_mix_fails_fast():
    with serve("mix", fail_share=0.67, service_us=20_000, fail_us=500) as server:
        load(server, 600, 30)
        record = server.record()
    assert 0.6 < (record.status == 503).mean() < 0.74  # ± 3.5 standard deviations
    assert set((record.planned_ns - record.arrived_ns)[record.status == 503].tolist()) == {500_000}
    assert set((record.planned_ns - record.arrived_ns)[record.status == 200].tolist()) == {20_000_000}
    assert record.sojourn_us(200).min() >= 20_000
