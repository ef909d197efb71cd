"""How many connections a probe of a search may open: from the time that answers take, and more where they ran out."""

from dataclasses import replace

import pytest

from orchestrator.campaign.connections import FEWEST, Connections
from orchestrator.search.records import Answer, LimitedBy
from orchestrator.spec.loads import Load
from orchestrator.spec.slo import terms
from tests.unit.test_capacity import trial

MOST = 10_000
RAN_OUT = Answer(False, LimitedBy.CONNECTIONS)


def connections(slo="errors < 1%", most=MOST, agents=1, streams=1):
    return Connections(terms(slo), most, agents, streams)


def answered_in(service_ms, rate=1000.0, clients=FEWEST):
    one = trial(rate=rate)
    times = dict.fromkeys(("p50", "mean"), service_ms * 1000.0)
    return replace(
        one,
        facts=replace(one.facts, case=replace(one.facts.case, clients=clients)),
        metrics=replace(one.metrics, service_time_us=times),
    )


def test_twice_as_many_as_are_busy_and_room_for_chance():
    """Little's law: at 1000 requests a second 150 are under way for 150 ms; twice that, and five deviations."""
    some = connections()
    some.learn(answered_in(150), Answer(True))

    assert some.at(1000) == 300 + 87
    assert some.usual_us == 150_000


@pytest.mark.parametrize(("slo", "rate", "expected"), [
    ("p99 < 300ms", 1000, 600 + 123), ("p99 < 300ms", 1, FEWEST), ("errors < 1%", 1000, FEWEST), ("p99 < 30s", 10_000, MOST),
])  # fmt: skip
def test_as_many_as_the_objective_allows_to_be_busy(slo, rate, expected):
    """A server that still meets its objective never runs out; and never fewer than the closed loop had."""
    some = connections(slo)
    some.learn(answered_in(1), Answer(True))

    assert some.at(rate) == expected


def test_a_probe_that_ran_out_has_more_the_next_time_at_its_rate():
    """Twice as many, or what its answers needed; up to what the load allows."""
    some, few = connections(), connections(most=100)
    for each in (some, few):
        each.learn(answered_in(1), Answer(True))
        each.learn(answered_in(10, rate=700.0), RAN_OUT)
    doubled, allowed = some.at(700.0), few.at(700.0)
    some.learn(answered_in(500, rate=700.0, clients=doubled), RAN_OUT)

    assert (doubled, allowed) == (64, 64)
    assert some.at(700.0) == 700
    assert some.at(701.0) == FEWEST
    few.learn(answered_in(10, rate=700.0, clients=64), RAN_OUT)
    assert few.at(700.0) == 100


def test_the_load_and_the_agents_set_the_bounds():
    """The closed loop at the beginning has no more than the load allows, and each agent has at least one."""
    assert connections(most=10).of_estimate() == 10
    assert connections(agents=50).of_estimate() == 50
    assert connections(most=10, agents=4).at(5000.0) == 10


def test_streams_of_http_2_share_a_connection():
    """Ten streams each carry ten requests at a time."""
    some = connections("p99 < 300ms", streams=10)

    assert some.at(1000) == 73


def test_h2load_has_enough_connections_to_send_evenly():
    """It sends at most every 10 ms on each: ten requests a second. paced needs no more than are busy."""
    some = connections()
    load = Load(model="open", rate="5000/s", duration="1s", clients=40)

    assert some.paced_by_h2load(load) == 40
    assert some.paced_by_h2load(load.model_copy(update={"generator": "h2load"})) == 500
    assert connections(most=60).paced_by_h2load(load.model_copy(update={"generator": "h2load"})) == 60
