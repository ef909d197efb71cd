"""Findings about a server that closes connections, from what the generator or its host counted."""

from dataclasses import replace

import pytest

from orchestrator.facts import PlannedRequest
from tests.unit.facts import agent_facts, case, host_use, server_facts, steady_case
from tests.unit.judged_trials import OPEN, STEADY, codes, open_agents, steady_agents, trial

pytestmark = pytest.mark.table


@pytest.mark.provokes("keepalive-limit")
@pytest.mark.parametrize(("connects", "severity"), [(50, "suspect"), (30, "suspect"), (25, "information")])
def test_a_limit_of_requests_per_connection_weighs_by_its_number(connects, severity):
    """A thousand requests over 100, 60 and 50 connections of 20 clients, which the generator itself counted."""
    agents = [agent_facts(connects=connects), agent_facts(agent="local/1", connects=connects)]

    judged = trial(case=case(clients=20), agents=agents)

    found = next(f for f in judged.findings if f.code == "keepalive-limit")
    assert (found.severity, found.facts["connections_opened"]) == (severity, 2 * connects)


@pytest.mark.silent("keepalive-limit", "connection-close")
@pytest.mark.parametrize("opened_about", [None, 20])
def test_a_neighbours_connections_do_not_make_a_server_look_broken(opened_about):
    """h2load says nothing of its own; another process opened thousands on the same host."""
    agents = [agent_facts(opened_about=opened_about), agent_facts(agent="local/1", opened_about=opened_about)]

    judged = trial(agents=agents, hosts=[host_use(opened=40_000)])

    assert codes(judged).isdisjoint({"keepalive-limit", "connection-close"})


@pytest.mark.provokes("connection-close")
def test_a_generator_counts_the_connections_that_end_after_each_answer():
    """Although the one response before the load did not say so."""
    agents = [agent_facts(connects=490), agent_facts(agent="local/1", connects=490)]

    assert "connection-close" in codes(trial(agents=agents))


@pytest.mark.provokes("connection-close")
@pytest.mark.parametrize(
    ("connects", "server", "words"),
    [
        (20, {"closes": True}, "asks for it with the header Connection: close: almost every request"),
        (490, {}, "asks for it with the header Connection: close: almost every request"),
        (100, {}, "asks for it with the header Connection: close of some requests: 200 connections were opened for 40"),
    ],
)
def test_a_load_that_asks_to_close_is_not_the_servers_doing(connects, server, words):
    """Once the finding asked for keep-alive in the server."""
    agents = [agent_facts(connects=connects), agent_facts(agent="local/1", connects=connects)]
    judged = trial(agents=agents, server=server_facts(asked_to_close=True, **server))

    assert words in next(f for f in judged.findings if f.code == "connection-close").sentence
    assert "keepalive-limit" not in codes(judged)


@pytest.mark.silent("connection-close")
def test_one_request_of_a_mix_that_closes_is_not_all_of_them():
    """The first was answered so before the load; under load few connections were opened."""
    agents = [agent_facts(connects=20), agent_facts(agent="local/1", connects=20)]
    mixed = case(mix=[PlannedRequest(name, "GET", name, 1.0) for name in ("/login", "/")])

    assert "connection-close" not in codes(trial(case=mixed, agents=agents, server=server_facts(closes=True)))


@pytest.mark.silent("keepalive-limit", "connection-close")
@pytest.mark.parametrize("changes", [{}, {"case": steady_case(model="open", rate_per_s=200.0, clients=10_000)}])
def test_connections_of_other_processes_are_not_the_generators(changes):
    """The host opened many; the generator two per client, or as many spare ones as idle timeouts explain."""
    agents = [agent_facts(connects=40, most_connections=20), agent_facts(agent="local/1", connects=40)]

    judged = trial(**{"agents": agents, "hosts": [host_use(opened=5_000)]} | changes)

    assert codes(judged).isdisjoint({"keepalive-limit", "connection-close"})


@pytest.mark.provokes("connection-close")
def test_an_open_loop_is_judged_by_the_connections_that_it_used():
    """It may use 10 000 clients and used ten: 600 connections are too many."""
    agents = [replace(agent, connects=300, most_connections=5) for agent in open_agents()]

    judged = trial(**OPEN | {"case": replace(OPEN["case"], clients=10_000), "agents": agents})

    assert "connection-close" in codes(judged)


@pytest.mark.silent("keepalive-limit", "connection-close")
def test_connections_closed_after_a_timeout_are_not_the_servers_doing():
    """A generator closes the connection of a request that timed out, and opens another."""
    statuses = {200: 440, -2: 60}
    agents = [
        agent_facts(agent=name, generator="paced", connects=80, statuses=statuses) for name in ("local/0", "local/1")
    ]

    judged = trial(case=case(clients=40), agents=agents)

    assert codes(judged).isdisjoint({"keepalive-limit", "connection-close"})


def test_the_log_of_a_server_at_a_url_is_not_in_the_folder():
    """Volley did not start it: 'server.log' would send the reader to a file that does not exist."""
    own = trial(**STEADY, agents=steady_agents(hung=2))
    foreign = trial(**STEADY | {"case": steady_case(external=True)}, agents=steady_agents(hung=2))

    assert any("server.log" in each.hint for each in own.findings)
    assert not any("server.log" in each.hint for each in foreign.findings)


@pytest.mark.silent("generator-cpu")
def test_an_agent_of_a_single_request_is_judged_over_its_whole_load():
    """A rate of one request in two seconds: the one answer of an agent took 600 µs, its process used more CPU time."""
    short = {"first_start_us": 1_000, "last_end_us": 1_600, "rows": 1, "cpu_us": 4_000, "cpu_busiest": 0.001}
    agents = [replace(agent, **short, waiting_share=0.0007) for agent in open_agents()]

    judged = trial(**OPEN | {"agents": agents, "ceilings_per_s": {"local": 1_000.0}})

    assert "generator-cpu" not in codes(judged)
