"""Did a probe pass, and does a failure say something about the server? On simulated loads, and on facts that are spoiled."""

from dataclasses import replace

import pytest

from orchestrator.analyse.backlog import answered_per_s, growth
from orchestrator.analyse.bottleneck import bottleneck
from orchestrator.analyse.probing import ProbeJudge, keeps_up_term
from orchestrator.result import Bottleneck, ServerCost
from orchestrator.search.records import Evidence, Kind, LimitedBy
from orchestrator.spec.slo import terms
from tests.unit.facts import agent_facts, host_use, server_facts, steady_case
from tests.unit.simulated_loads import World, limited, parallel, workers
from tests.unit.test_capacity import TERMS, trial

MOST = 10_000


def load(rate, window_s=2.0, clients=1000, kind=Kind.PROBE, tail_s=1.0, limits_us=(), warm_up_s=0.5):
    return steady_case(
        name=f"t/{kind}", target="t", load=str(kind), model="open", rate_per_s=float(rate), external=True, cpus=None,
        clients=clients, agents=1, duration_us=round(window_s * 1e6), warm_up_us=round(warm_up_s * 1e6), tail_us=round(tail_s * 1e6),
        generator="paced", time_limits_us=list(limits_us),
    )  # fmt: skip


def closed(clients=32):
    return steady_case(
        name="t/estimate", target="t", load="estimate", external=True, cpus=None, agents=1, clients=clients
    )


def judged(server, case, slo="errors < 1%", standstills=(), estimate=True, most=MOST):
    """The judgement of one probe of a simulated server, after the estimate."""
    world, judge = World(server, list(standstills)), ProbeJudge(terms(slo), most)
    if estimate:
        judge.estimated(World(server).trial(closed()))
    return judge.judge(world.trial(case))


def answer(one, objectives=TERMS):
    return ProbeJudge(objectives, MOST).judge(one).answer


def failed_terms(one, objectives=TERMS):
    return ProbeJudge(objectives, MOST).failed_terms(one)


def test_a_probe_passes_when_all_is_met():
    """And when it keeps up, which is always an objective: a backlog grows before the times show it."""
    assert answer(trial()).passed
    assert failed_terms(trial(p99_ms=60), TERMS) == ["p99 < 50ms"]
    assert failed_terms(trial(errors=50), TERMS) == ["errors < 1%"]
    assert failed_terms(trial(answered=90), TERMS) == [keeps_up_term(TERMS)]
    assert not answer(trial(p99_ms=60)).passed


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"agents": [agent_facts(cpu_busiest=0.95), agent_facts(agent="local/1")]}, "generator"),
        ({"hosts": [host_use(dropped_packets=100)]}, "network"),
        ({"hosts": [host_use(steal_share=0.3)]}, "machine"),
    ],
)
def test_a_failure_beside_a_generator_at_its_end_says_nothing_of_the_server(facts, what):
    """It is not counted; a probe that passed all the same is."""
    assert answer(trial(p99_ms=60, **facts)).limited_by == what
    assert answer(trial(**facts)).passed


def test_a_server_that_is_killed_did_not_pass():
    """However well the survivors answered, and whatever the generator did."""
    killed = replace(server_facts().last, oom_kills=2)
    one = trial(server=server_facts(last=killed), agents=[agent_facts(cpu_busiest=0.95), agent_facts(agent="local/1")])

    assert not answer(one).passed
    assert answer(one).limited_by is None
    assert bottleneck(one) is Bottleneck.MEMORY


def test_a_server_at_the_end_of_its_cpu_has_given_way_whoever_else_was_busy():
    """On one machine the generator waits when the server has all of it; that is not what ends the search."""
    busy = [agent_facts(cpu_busiest=0.95), agent_facts(agent="local/1")]
    one = trial(p99_ms=60, external=False, agents=busy)
    full = replace(one, metrics=replace(one.metrics, server=ServerCost(throttled_ratio=0.9, cpu_s=4.9)))
    idle = replace(one, metrics=replace(one.metrics, server=ServerCost(throttled_ratio=0.0, cpu_s=2.0)))

    assert answer(full).limited_by is None
    assert answer(idle).limited_by == "generator"


ONE_AT_A_TIME = lambda: workers(1, 0.004)  # noqa: E731


@pytest.mark.parametrize("window_s", [1.0, 2.0, 10.0])
@pytest.mark.parametrize("rate", [230, 249])
def test_a_server_that_keeps_up_passes_in_any_window(rate, window_s):
    """One at a time, 4 ms each, even arrivals: up to 250 a second."""
    one = judged(ONE_AT_A_TIME, load(rate, window_s))

    assert one.answer.passed
    assert one.answered_per_s == pytest.approx(rate, rel=0.005)


@pytest.mark.parametrize(("rate", "window_s", "tail_s"), [
    (256, 1.0, 0.2), (256, 1.0, 3.0), (256, 10.0, 1.0), (300, 2.0, 5.0), (400, 1.0, 5.0), (500, 1.0, 9.0), (900, 2.0, 30.0),
])  # fmt: skip
def test_a_backlog_is_no_answer_even_if_the_tail_drains_it(rate, window_s, tail_s):
    """However long the tail: the server left requests behind in the window, and answered at most 250 a second."""
    one = judged(ONE_AT_A_TIME, load(rate, window_s, tail_s=tail_s))

    assert one.failed == ["answers >= 99%"]
    assert (one.answer.passed, one.answer.limited_by) == (False, None)
    if rate < 300:
        assert one.answered_per_s <= 250 * 1.01


@pytest.mark.parametrize("service_s", [0.15, 0.4])
@pytest.mark.parametrize("rate", [10, 100, 1000])
def test_a_slow_server_that_keeps_up_is_not_punished(service_s, rate):
    """What is answered after the window's end was under way at its beginning as well."""
    one = judged(lambda: parallel(service_s), load(rate, 2.0))

    assert one.answer.passed
    assert one.answered_per_s == pytest.approx(rate, rel=0.01)


def test_a_probe_that_fails_because_connections_ran_out_asks_for_more():
    """150 ms, and connections for 333 requests a second: it says nothing about the server, which needs more of them."""
    case = load(1000, clients=50)

    few = judged(lambda: parallel(0.15), case, "p99 < 300ms")
    allowed = judged(lambda: parallel(0.15), case, "p99 < 300ms", most=50)
    enough = judged(lambda: parallel(0.15), replace(case, clients=200), "p99 < 300ms")

    untaken = World(lambda: parallel(0.15), []).trial(case)
    facts = {"opened": 20, "clients": 50}
    untaken.findings[:] = [replace(f, facts=f.facts | facts) for f in untaken.findings if f.code == "out-of-slots"]
    judge = ProbeJudge(terms("p99 < 300ms"), MOST)
    judge.estimated(World(lambda: parallel(0.15)).trial(closed()))

    assert judge.judge(untaken).answer.limited_by is LimitedBy.UNOPENED
    assert few.answer.limited_by is LimitedBy.CONNECTIONS
    assert allowed.answer.limited_by is LimitedBy.CLIENTS
    assert enough.answer.passed


def test_connections_are_not_to_blame_where_the_server_is_too_slow_or_answers_no_more_for_more():
    """A queue fills any number of connections."""
    slow = judged(ONE_AT_A_TIME, load(400, clients=32), "p99 < 50ms")
    saturated = judged(ONE_AT_A_TIME, load(400, clients=120))
    refused = judged(lambda: limited(300, 5, service_s=0.2), load(400, clients=32))

    assert [one.answer.limited_by for one in (slow, saturated, refused)] == [None, None, None]
    assert not any(one.answer.passed for one in (slow, saturated, refused))


def test_a_light_load_is_judged_by_its_answers_and_not_by_its_length():
    """An endpoint of 200 ms answers its last requests after the window; a server that is slow since an overload has not recovered."""
    light = load(20, 1.0, kind=Kind.REFERENCE)

    slow_endpoint = judged(lambda: parallel(0.2), light, "p99 < 500ms")
    impossible = judged(lambda: parallel(0.2), light, "p99 < 50ms")
    judge = ProbeJudge(terms("p99 < 50ms"), MOST)
    judge.estimated(World(lambda: parallel(0.01)).trial(closed()))
    still_slow = judge.judge(World(lambda: parallel(0.2)).trial(light))
    dead = judge.judge(World(lambda: parallel(60.0)).trial(light))

    assert slow_endpoint.answer.passed
    assert impossible.answer.passed
    assert still_slow.failed == ["recovers"]
    assert not dead.answer.passed


def test_requests_that_are_always_late_say_nothing_about_the_server():
    """A generator that stands still half of the time. The bunches of h2load are its nature: the report says so instead."""
    stops = [(at / 10, at / 10 + 0.05) for at in range(60)]
    one = World(lambda: limited(1200, 10), stops).trial(load(1000, clients=2000))
    agents = [replace(agent, generator="h2load") for agent in one.facts.agents]
    by_h2load = replace(one, facts=replace(one.facts, agents=agents))
    bunched = [finding for finding in one.findings if finding.code == "bursty-arrivals"]

    assert answer(one, terms("errors < 1%")).limited_by is LimitedBy.GENERATOR
    assert answer(by_h2load, terms("errors < 1%")).limited_by is LimitedBy.GENERATOR
    assert answer(replace(by_h2load, findings=bunched), terms("errors < 1%")).limited_by is None


def test_a_standstill_of_the_generator_explains_a_bunch_of_refusals_and_not_those_of_every_second():
    """nginx with a limit of 2300/s and a burst of 50: 100 ms late are 200 requests at once, most of them refused."""
    nginx = lambda: limited(2300, 50)  # noqa: E731
    stop = [(3.0, 3.1)]

    late = judged(nginx, load(2200, 6.0), "errors < 0.1%", stop)
    over = judged(nginx, load(2400, 6.0), "errors < 0.1%", stop)
    barely_over = judged(nginx, load(2310, 6.0), "errors < 0.1%")
    below = judged(nginx, load(2295, 6.0), "errors < 0.1%")

    assert (late.failed, late.answer.limited_by) == (["errors < 0.1%"], LimitedBy.GENERATOR)
    assert (over.answer.passed, over.answer.limited_by) == (False, None)
    assert (barely_over.answer.passed, barely_over.answer.limited_by) == (False, None)
    assert below.answer.passed


def test_late_requests_explain_a_percentile_only_if_they_are_few():
    """A standstill of 150 ms in 6 s is 2.5 % of the requests: p99 is missed. Above its capacity the server misses p90 too."""
    stop = [(3.0, 3.15)]

    late = judged(ONE_AT_A_TIME, load(200, 6.0), "p99 < 50ms", stop)
    over = judged(ONE_AT_A_TIME, load(270, 6.0), "p99 < 50ms", stop)

    assert (late.failed, late.answer.limited_by) == (["p99 < 50ms"], LimitedBy.GENERATOR)
    assert (over.answer.passed, over.answer.limited_by) == (False, None)


def test_a_generator_that_is_always_a_little_late_does_not_hide_an_overload():
    """On a busy machine requests are late by a few ms at any rate; of a server far above its limit that explains nothing."""
    stops = [(at / 10, at / 10 + 0.01) for at in range(60)]

    queue = judged(ONE_AT_A_TIME, load(500, 4.0), "p99 < 50ms", stops)
    refused = judged(lambda: limited(300, 5), load(500, 4.0), "errors < 1%", stops)
    backlog = judged(ONE_AT_A_TIME, load(500, 4.0), "p99 < 60s", stops)

    assert [one.answer.limited_by for one in (queue, refused, backlog)] == [None, None, None]
    assert not any(one.answer.passed for one in (queue, refused, backlog))


def test_a_standstill_at_the_end_of_the_window_is_no_backlog():
    """What was due in it is sent and answered in the tail; it counts as late, and is not held against the server.

    A few late requests do not excuse a backlog.
    """
    one = judged(ONE_AT_A_TIME, load(200, 1.0), "errors < 1%", [(1.4, 1.52)])

    few = judged(ONE_AT_A_TIME, load(258, 1.0), "errors < 1%", [(1.0, 1.02)])

    assert one.failed == few.failed == ["answers >= 99%"]
    assert one.answer.limited_by is LimitedBy.GENERATOR
    assert few.answer.limited_by is None


def test_the_evidence_is_of_the_objective_that_came_nearest_to_failing():
    """How many of how many, and the share that is allowed."""
    kept = judged(lambda: parallel(0.01), load(1000, limits_us=[50_000]), "p99 < 50ms, errors < 0.1%")
    slow = judged(lambda: parallel(0.06), load(1000, limits_us=[50_000]), "p99 < 50ms, errors < 5%")
    refused = judged(lambda: limited(500, 5), load(1000, limits_us=[50_000]), "p50 < 50ms, errors < 5%")
    backlog = judged(ONE_AT_A_TIME, load(300, 2.0), "errors < 10%")

    assert kept.answer.evidence == Evidence(0.0, 2000.0, 0.001)
    assert slow.answer.evidence == Evidence(2000.0, 2000.0, pytest.approx(0.01))
    assert refused.answer.evidence.violations == pytest.approx(1000, rel=0.02)
    assert refused.answer.evidence.allowed == 0.05
    assert backlog.answer.evidence.allowed == pytest.approx(0.1)
    assert backlog.answer.evidence.violations == pytest.approx(100, rel=0.35)


def test_no_evidence_where_none_is_of_the_failure():
    """A maximum is not a share; what was not counted is not known; a killed server failed whatever it answered."""
    maximum = judged(lambda: parallel(0.06), load(1000, limits_us=[50_000]), "max < 50ms")
    both = judged(lambda: parallel(0.06), load(1000, limits_us=[50_000, 90_000]), "max < 50ms, p50 < 90ms")
    uncounted = judged(lambda: parallel(0.01), load(1000), "p99 < 50ms")
    limited_by = judged(lambda: parallel(0.15), load(1000, clients=50, limits_us=[300_000]), "p99 < 300ms")

    assert [one.answer.evidence for one in (maximum, both, uncounted, limited_by)] == [None] * 4


def test_an_objective_on_errors_may_allow_more_than_keeping_up_does():
    """Of a server that may refuse 5 %, 95 % of the requests are successful answers."""
    assert judged(lambda: limited(1000, 5), load(1030), "p50 < 50ms, errors < 5%").answer.passed
    assert not judged(lambda: limited(1000, 5), load(1070), "p50 < 50ms, errors < 5%").answer.passed
    assert judged(lambda: limited(1000, 5), load(1030), "p50 < 50ms").failed == ["answers >= 99%"]


def test_growth_needs_more_than_chance():
    """Arrivals at random are a few more or fewer; a closed loop has no backlog."""
    even = World(ONE_AT_A_TIME).trial(load(256, 4.0))
    poisson = replace(even, facts=replace(even.facts, case=replace(even.facts.case, arrivals="poisson")))

    assert growth(even) == pytest.approx(24, rel=0.3)
    assert growth(poisson) == 0.0
    assert answered_per_s(even) == pytest.approx(250, rel=0.01)
    assert growth(World(ONE_AT_A_TIME).trial(closed())) >= 0.0
