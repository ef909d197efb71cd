"""Whole searches of simulated servers of known capacity: the situations in which an answer was wrong once. No host."""

import pytest

from orchestrator.analyse.capacity import in_words, replay
from orchestrator.campaign.target import TargetSearch, wanted_of
from orchestrator.result import Verdict
from orchestrator.search.records import Ending, Kind, LimitedBy
from orchestrator.spec.load import from_plain
from tests.unit.simulated_loads import World, limited, parallel, workers

CLOSED = {"clients": 32, "duration": "1s"}


def search(server, slo, load=CLOSED, stops=(), **saturation):
    """Follow a search to its end; return the answer, replayed from its trials."""
    plain = {
        "campaign": "c",
        "targets": {"t": {"url": "http://h/"}},
        "loads": {"l": load},
        "agents": 1,
        "saturation": {"slo": slo, "window": "2s", "warm_up": "500ms", "tail": "500ms", "precision": "5%"} | saturation,
    }
    campaign = from_plain(plain).campaign
    target = TargetSearch("t", campaign, campaign.saturation, wanted_of(campaign), 1)
    world, trials = World(server, list(stops)), []
    while (ask := target.next()) is not None:
        trials.append(world.trial(target.case(ask.kind, ask.rate_per_s), len(trials) + 1))
        target.tell(trials[-1])
    found = replay("t", trials, wanted_of(campaign))
    assert str(found.ending) == target.over
    assert found.curve == target.so_far().curve
    return found


@pytest.mark.parametrize(
    ("server", "slo", "capacity"),
    [
        (lambda: workers(1, 0.004), "errors < 1%", 250),
        (lambda: workers(1, 0.004), "p99 < 50ms", 250),
        (lambda: workers(1, 0.004), "p50 < 20ms", 250),
        (lambda: workers(4, 0.004), "p99 < 50ms", 1000),
        (lambda: limited(300, 5, 429), "errors < 1%", 300),
        (lambda: limited(2300, 50), "errors < 0.1%", 2300),
        (lambda: workers(60, 0.2), "p99 < 500ms", 300),
        (lambda: workers(120, 0.4), "p99 < 800ms", 300),
    ],
    ids=["serial-errors", "serial-p99", "serial-p50", "4-workers", "429", "nginx", "200ms", "400ms"],
)
def test_the_capacity_of_a_simulated_server_is_found(server, slo, capacity):
    """Within 5 %, and never above what the server can answer, but for the backlog that a window of 2 s leaves unseen."""
    found = search(server, slo)

    assert found.ending is Ending.CAPACITY, in_words(found)
    assert 0.95 * capacity <= found.capacity_per_s.estimate <= 1.01 * capacity
    assert found.held_per_s <= 1.01 * capacity
    assert found.probes == len(found.curve)


def test_a_server_without_a_limit_is_followed_up_to_the_highest_rate():
    """150 ms for any number of requests: as many connections as that needs are opened."""
    found = search(lambda: parallel(0.15), "p99 < 300ms", highest="1500/s")

    assert found.ending is Ending.ALWAYS_MET
    assert found.held_per_s == pytest.approx(1500, rel=0.01)
    assert "at least 1,500/s" in in_words(found)


def test_the_clients_of_an_open_load_are_the_most_connections():
    """50 connections and 150 ms carry 333 requests a second: that is no limit of the server."""
    load = {"model": "open", "clients": 50, "rate": 100, "duration": "1s"}

    found = search(lambda: parallel(0.15), "p99 < 300ms", load)

    assert (found.ending, found.limited_by) == (Ending.LIMITED, LimitedBy.CLIENTS)
    assert 200 <= found.held_per_s <= 334
    assert "limited by the number of connections that 'clients' allows, not by the server" in in_words(found)
    assert found.verdict is not Verdict.INVALID


def test_an_endpoint_of_200_ms_recovers_after_an_overload():
    """The light load after a failed probe is short, and its last answers come after its window."""
    found = search(lambda: workers(60, 0.2), "p99 < 500ms")

    light = [probe for probe in found.curve if probe.kind is Kind.REFERENCE]
    assert light
    assert all(probe.passed for probe in light)


def test_the_same_rate_is_asked_again_with_more_connections():
    """1 ms in the closed loop, and 100 ms since: the connections of the first probe are too few for its rate."""
    asked = []

    def server():
        asked.append(1)
        return parallel(0.001 if len(asked) == 1 else 0.1)

    found = search(server, "errors < 1%", highest="1000/s")

    first, second = found.curve[:2]
    assert (first.rate_per_s, first.limited_by) == (1000, LimitedBy.CONNECTIONS)
    assert (second.rate_per_s, second.passed) == (1000, True)
    assert found.ending is Ending.ALWAYS_MET
