"""A trial's numbers."""

from dataclasses import replace

import numpy as np
import pytest

from agents.histogram import HdrCounts
from orchestrator.analyse.metrics import censored, evaluate
from orchestrator.analyse.percentiles import at_least, times
from orchestrator.merge import Merged, merge
from tests.unit.facts import T0_US, agent_facts, result, steady_case, trial_facts


def numbers(facts, *service):
    results = [result(agent, list(values)) for agent, values in zip(facts.agents, service, strict=True)]
    return evaluate(facts, merge(results))


def test_counts_of_a_load_bound_by_requests_add_up_to_what_was_planned():
    """Unlogged requests are failed requests."""
    metrics = numbers(trial_facts(), [100] * 480, [100] * 500)

    r = metrics.requests
    assert (r.ok, r.http_error, r.failed, r.censored) == (980, 0, 20, 0)


def test_throughput_is_over_first_start_to_last_end_of_all_agents():
    """Never h2load's own req/s; and on one clock."""
    late = agent_facts(agent="local/1", first_start_us=T0_US + 501_000, last_end_us=T0_US + 2_001_000)
    metrics = numbers(trial_facts(agents=[agent_facts(), late]), [100] * 500, [100] * 500)

    assert metrics.window_s == pytest.approx(2.0)
    assert metrics.throughput_per_s == pytest.approx(500)
    assert [line.start_skew_us for line in metrics.agents] == [1_000, 501_000]


def test_percentiles_without_enough_requests_are_withheld():
    """p99 needs a thousand requests, p99.9 ten thousand."""
    h = HdrCounts()
    h.record(np.full(999, 7, dtype=np.int64))
    assert (times(h)["p90"], times(h)["p99"]) == (7.0, None)
    h.record(np.full(1, 7, dtype=np.int64))

    assert (times(h)["p99"], times(h)["p999"]) == (7.0, None)
    assert times(HdrCounts()) == dict.fromkeys(times(h))


def test_percentiles_of_unequal_agents_are_merged_and_not_averaged():
    """Forty thousand fast requests on three agents and four thousand slow ones on the fourth."""
    draw = np.random.default_rng(11)
    fast = [draw.lognormal(7, 0.6, 40_000).astype(int).tolist() for _ in range(3)]
    slow = draw.lognormal(10.3, 0.6, 4_000).astype(int).tolist()
    agents = [agent_facts(agent=f"local/{i}") for i in range(4)]

    metrics = numbers(trial_facts(agents=agents), *fast, slow)
    pooled = np.sort(np.concatenate([*fast, slow]))
    exact = pooled[int(np.ceil(0.99 * pooled.size)) - 1]

    assert metrics.service_time_us["p99"] == pytest.approx(exact, rel=0.001)
    averaged = np.mean([line.p99_us for line in metrics.agents])
    assert abs(averaged / exact - 1) > 0.1
    assert metrics.agents[3].share_of_tail > 2 * 4_000 / 124_000


def test_requests_that_can_be_missing_are_bounded_tightly():
    """A slot that a logged request held across the window's end hides nothing."""
    agent = agent_facts(started=520, rows=500, slots=20)

    assert censored(replace(agent, crossing=20)) == 0
    assert censored(replace(agent, crossing=15)) == 5
    assert censored(replace(agent, crossing=0, started=503)) == 3
    assert censored(replace(agent, crossing=18, started=None)) == 2


def test_lost_requests_of_a_timed_load_are_failed():
    """More unfinished than slots can hold: the rest was lost."""
    agents = [agent_facts(started=550, crossing=20), agent_facts(agent="local/1", started=500)]
    facts = trial_facts(case=steady_case(), agents=agents, window_start_us=T0_US, window_end_us=T0_US + 5_000_000)

    assert numbers(facts, [100] * 500, [100] * 500).requests.failed == 30


def test_cpu_per_request_is_differenced_over_the_window():
    """Half a second of CPU for a thousand requests."""
    server = numbers(trial_facts(), [100] * 500, [100] * 500).server

    assert server.cpu_us_per_request == pytest.approx(500)
    assert server.throttled_ratio == 0.5
    assert server.peak_memory_bytes == 50 << 20


def test_merging_nothing_is_the_identity():
    """A trial without agents has empty counters, not an error."""
    assert merge([]).service == Merged().service


@pytest.mark.parametrize("limit_us", [1, 7, 5_000, 5_003, 49_999, 50_000, 80_000, 1 << 37])
def test_requests_slower_than_a_limit_agree_with_the_percentiles(limit_us):
    """A percentile meets a limit if and only if few enough requests are counted as slower."""
    draw = np.random.default_rng(5)
    h = HdrCounts()
    h.record(np.concatenate([draw.integers(1, 60_000, 1_000), [1 << 36, 1 << 38]]))

    values = np.array([h.value_at(rank) for rank in range(1, h.n + 1)])
    assert at_least(h, limit_us) == int((values >= limit_us).sum())
    assert at_least(HdrCounts(), limit_us) == 0


def test_a_trial_counts_the_requests_that_missed_a_limit_of_its_case():
    """For each limit in turn; without any it counts none."""
    facts = trial_facts(case=steady_case(time_limits_us=[1_000, 5_000]), window_end_us=T0_US + 5_000_000)
    metrics = numbers(facts, [500] * 400 + [2_000] * 100, [500] * 490 + [9_000] * 10)

    assert metrics.slower == {1_000: 110, 5_000: 10}
    assert numbers(trial_facts(), [100] * 500, [100] * 500).slower == {}
