"""Situations in which the open loop was wrong, each with the right value. Most carried the verdict VALID."""

from dataclasses import replace

import numpy as np
import pytest

from agents.generators.contract import Arrivals
from agents.recorder import OK
from orchestrator.analyse.cases import summarise
from orchestrator.merge import merge
from orchestrator.result import Outcome, Severity, Verdict
from orchestrator.slo import Metric, Term
from tests.truth.behaviours import BEHAVIOURS, Behaviour, Cell
from tests.truth.harness import attempts, codes, explain, hiccups, run, server
from tests.truth.measure import floor, measure
from tests.truth.nginx import nginx
from tests.truth.reference import truth
from tests.truth.zoo import serve

pytestmark = pytest.mark.usefixtures("scratch_is_clean")
EVEN = Arrivals.EVEN
# What a busy machine may say of itself. None of them is about the server, and none makes a number better.
BUSY = {"shared-host", "host-steal", "send-lag", "bursty-arrivals", "generator-cpu", "agent-imbalance"}
SHORT = {"model": "open", "warm_up": "300ms", "duration": "2s", "tail": "300ms"}


def doubts(trial):
    return {finding.code for finding in trial.findings if finding.severity is not Severity.INFORMATION}


def best_of(measure_once, good):
    """Return the first measurement that is good; the machine may spoil some. A wrong number is wrong in all."""
    seen = []
    for _ in attempts():
        seen.append(measure_once())
        if good(seen[-1]):
            return seen[-1]
    pytest.fail(f"none of {len(seen)} attempts: {seen}")


def test_one_at_a_time_at_a_prime_rate():
    """One worker of 1 ms at 497/s: response p50 1.2 ms and p99 below 2.8 ms, within the bounds, VALID on a quiet machine."""

    def once():
        with serve("one-at-a-time", service_us=1_000) as zoo:
            trial, _ = run(zoo.url, agents=1, rate="497/s", **{**SHORT, "duration": "3s"})
        assert doubts(trial) <= BUSY, explain(trial)
        assert trial.metrics.requests.ok == 1491
        return trial.metrics.response_time_us

    times = best_of(once, lambda t: t["p50"] <= 1_200 * 1.02 + 100 and t["p99"] <= 2_800 * 1.05 + 500)
    assert times["p50"] >= 1_000


@pytest.mark.parametrize("agents", [1, 4])
def test_two_requests_per_second_are_one_even_stream(agents):
    """200 ms one at a time at 2/s: requests arrive 500 ms apart and take 201 ms, from one agent as from four."""
    with serve("one-at-a-time", service_us=200_000) as zoo, hiccups() as seen:
        load = {**SHORT, "warm_up": "100ms", "duration": "4s", "tail": "900ms"}
        trial, output = run(zoo.url, agents=agents, rate="2/s", clients=4, apart=True, **load)
    noise_us = 2 * seen.worst_us
    assert truth(output, zoo.record()).statuses == {200: 8} == dict(_counted(trial))
    sent = [zoo.record().of_path(f"/{i}").between(output.facts.t0_ns, 1 << 62).arrived_ns for i in range(agents)]
    gaps_us = np.diff(np.sort(np.concatenate([s[s < output.facts.t0_ns + 5_000_000_000] for s in sent]))) / 1e3
    assert gaps_us == pytest.approx(500_000, abs=2_000 + noise_us)
    assert trial.metrics.response_time_us["mean"] == pytest.approx(201_000, abs=2_000 + noise_us), explain(trial)


def _counted(trial):
    return {int(status): count for status, count in trial.metrics.statuses.items()}


def test_thirty_connections_for_lognormal_answers():
    """300/s over 30 connections, median 50 ms, sigma 1: the response times are those of the record, and no lower bound."""
    behaviour = Behaviour(
        "lognormal", "lognormal", {"median_us": 50_000, "sigma": 1, "seed": 4}, (300,), tail_ms=3_000, clients=30
    )
    base = floor()

    def once():
        result = measure(Cell(behaviour, 300, 1, EVEN))
        assert result.counts_agree, explain(result.trial)
        assert result.trial.metrics.lower_bound_from is None
        return result

    result = best_of(once, lambda r: not r.off(base))
    assert result.service.true["p50"] == pytest.approx(50_000, rel=0.15)
    waited = sum(agent.waited_for_slot for agent in result.trial.facts.agents)
    # 30 connections carry 24.7 requests on average: what waited is reported as the generator's limit, not the server's.
    assert ("out-of-slots" in codes(result.trial)) == (waited > 0.001 * 600), explain(result.trial)


def test_connections_that_are_reset_are_failed_requests():
    """2000/s, two connections reset under way: failed is what the record says, and the other times stay right."""
    behaviour = replace(BEHAVIOURS["2 connections reset"], name="2 reset")
    base = floor()

    def once():
        result = measure(Cell(behaviour, 2_000, 1, EVEN))
        assert result.counts_agree, (result.statuses, result.truth.statuses, explain(result.trial))
        assert result.truth.statuses[-3] == 2 == result.trial.metrics.requests.failed
        return result

    best_of(once, lambda result: not result.response.off(base))


@pytest.mark.counted
@pytest.mark.parametrize(
    ("idle_us", "rate", "duration", "due"), [(2_000_000, "1/s", "11900ms", 12), (200_000, "2/s", "2900ms", 6)]
)
def test_a_server_that_closes_idle_connections(idle_us, rate, duration, due):
    """Every request that is due is sent over at most four connections, and none fails."""
    with serve("idle-close", idle_us=idle_us, service_us=1_000) as zoo:
        load = {"warm_up": "50ms", "duration": duration, "tail": "50ms"}
        trial, output = run(zoo.url, agents=1, model="open", rate=rate, clients=4, apart=True, **load)
    record = zoo.record().between(output.facts.t0_ns, output.facts.t0_ns + 12_010_000_000)
    first = 1  # the request due at T0 itself is before the window
    assert trial.metrics.requests.ok == due - first, explain(trial)
    assert trial.metrics.requests.failed == 0
    assert output.facts.agents[0].rows == due
    assert record.counts()[200] >= due


@pytest.mark.counted
@pytest.mark.parametrize(("rate", "duration", "clients"), [("400/s", "2s", None), ("4/s", "3s", 4)])
def test_half_of_the_answers_are_429(rate, duration, clients):
    """Response and service time are of one population, the successful answers; the 429s are counted beside them."""
    with serve("mix", service_us=50_000, fail_share=0.5, fail_status=429, seed=1) as zoo:
        load = {**SHORT, "duration": duration} | ({} if clients is None else {"clients": clients})
        trial, output = run(zoo.url, agents=1, rate=rate, apart=True, **load)
    merged, true = merge(output.agents), truth(output, zoo.record())
    ok, refused = trial.metrics.requests.ok, trial.metrics.requests.http_error
    assert (ok, refused) == (true.statuses[200], true.statuses[429]), explain(trial)
    assert merged.service[OK].n == merged.response.n == ok > 0
    assert merged.response.minimum_us >= 50_000
    assert merged.service[OK].minimum_us >= 50_000


def test_nginx_at_a_prime_rate():
    """nginx at 2011/s serves as fast as at 2000/s: no request waits for another one in a burst of the generator."""

    def once():
        medians = {}
        with nginx() as url:
            for rate in (2_000, 2_011):
                trial, _ = run(url, agents=1, rate=f"{rate}/s", **SHORT)
                assert trial.metrics.requests.failed == trial.metrics.requests.http_error == 0, explain(trial)
                medians[rate] = (trial.metrics.service_time_us["p50"], trial.metrics.response_time_us["p50"])
        return medians

    best_of(once, lambda p50: all(odd <= 3 * even for odd, even in zip(p50[2_011], p50[2_000], strict=True)))


def test_nginx_answers_as_fast_as_in_a_closed_loop():
    """nginx at 1000/s: the response p50 is near that of one client that waits for each answer, not ten times as much."""

    def once():
        with nginx() as url:
            closed, _ = run(url, agents=1, clients=1, requests=3_000)
            opened, _ = run(url, agents=1, rate="1000/s", **SHORT)
        return closed.metrics.service_time_us["p50"], opened.metrics.response_time_us["p50"]

    # A client that sleeps until a request is due wakes in cold caches; h2load's timer made it 0.6 ms.
    best_of(once, lambda p50: p50[1] <= p50[0] + 150)


@pytest.mark.parametrize("rate", [1_500, 1_540, 2_000])
def test_a_limiter_above_the_rate_refuses_nothing(rate):
    """nginx with limit_req 2300/s and a burst of 50 at 1500, 1540 and 2000/s: no errors, because nothing is bunched."""

    def once():
        with nginx(limit_per_s=2_300, burst=50) as url:
            trial, _ = run(url, agents=1, rate=f"{rate}/s", **SHORT)
        return trial.metrics.requests

    requests = best_of(once, lambda r: r.http_error == r.failed == 0)
    assert requests.ok == 2 * rate


def test_the_limiter_of_that_test_does_refuse():
    """The control: twice the limit is refused to what is above it."""
    with nginx(limit_per_s=1_000, burst=50) as url:
        trial, _ = run(url, agents=1, rate="2000/s", **SHORT)
    assert trial.metrics.requests.http_error == pytest.approx(2_000, rel=0.1)
    assert trial.metrics.requests.failed == 0


def test_failing_fast_meets_no_objective():
    """67 % fast 503s, the others take 200 ms: 'p50 < 50ms' FAILS, and the answers' own p50 is 200 ms."""
    with serve("mix", service_us=200_000, fail_share=0.67, seed=170) as zoo:
        trial, _ = run(zoo.url, agents=1, rate="200/s", **SHORT)
    objective = Term("p50 < 50ms", Metric.P50, True, 50_000)
    # The check after the load may meet a 503 as well, which makes the trial INVALID: it is judged all the same.
    summary = summarise("truth", [trial.facts.case], [trial], 1, None, 0.03, {trial.facts.case.name: [objective]})
    assert summary.outcome is Outcome.FAIL
    (judged,) = summary.cases[0].slo
    assert not judged.passed
    assert "no successful answer" in judged.reason
    assert trial.metrics.response_time_us["p50"] == pytest.approx(200_500, abs=1_500), explain(trial)
    assert trial.metrics.service_time_us["p50"] == pytest.approx(200_500, abs=1_500)


@pytest.mark.counted
def test_one_connection_for_more_than_it_can_carry():
    """1 s answers at 2/s over one connection: what is due and not sent, or not answered, is failed and out of slots."""
    with serve("fixed", service_us=1_000_000) as zoo:
        load = {**SHORT, "warm_up": "100ms", "duration": "3s", "tail": "500ms"}
        trial, output = run(zoo.url, agents=1, rate="2/s", clients=1, apart=True, **load)
    true = truth(output, zoo.record())
    # Due in the window: at 0.5, 1.0 ... 3.0 s. One was sent at T0; one more each second until 3.6 s.
    assert _counted(trial) == true.statuses, explain(trial)
    assert trial.metrics.requests.ok + trial.metrics.requests.failed == 6
    assert trial.metrics.requests.ok == 2
    assert "out-of-slots" in codes(trial)
    assert trial.metrics.lower_bound_from is not None


@pytest.mark.counted
def test_goaway_in_an_open_loop_loses_no_request():
    """HTTP/2, GOAWAY after three answers, 2/s: all that was due is answered or counted as failed, and never VALID."""
    with server("http2", goaway_after=3) as url:
        load = {**SHORT, "warm_up": "100ms", "duration": "5s", "tail": "500ms"}
        trial, _ = run(url, agents=1, protocol="http2", rate="2/s", clients=1, streams=10, **load)
    requests = trial.metrics.requests
    assert requests.ok + requests.failed == pytest.approx(10, abs=1), explain(trial)
    assert requests.failed > 0
    assert trial.verdict is not Verdict.VALID
