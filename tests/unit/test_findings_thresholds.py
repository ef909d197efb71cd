"""Where a finding begins, and what else decides whether it is made: thresholds, causes, other findings."""

from dataclasses import replace

import pytest

from orchestrator.result import Severity, Verdict
from tests.unit.facts import (
    agent_facts,
    case,
    host_use,
    server_facts,
    steady_case,
)
from tests.unit.judged_trials import FULL, OPEN, STEADY, codes, open_agents, steady_agents, trial

pytestmark = pytest.mark.table


@pytest.mark.provokes("response-mismatch")
def test_bodies_of_another_size_under_load():
    """What was checked had 13 bytes; the mean under load has 9."""
    agents = [agent_facts(body_bytes=500 * 9), agent_facts(agent="local/1", body_bytes=500 * 9)]

    assert "response-mismatch" in codes(trial(server=server_facts(body_bytes=13), agents=agents))


@pytest.mark.silent("response-mismatch")
def test_bodies_of_the_same_size_under_load():
    """Nothing to say; nor of answers that were cut off when the time was over: part of them was received, or none."""
    agents = [agent_facts(body_bytes=500 * 13), agent_facts(agent="local/1", body_bytes=510 * 13)]
    cut = [replace(agent, body_bytes=400 * 13, errored=100) for agent in agents]

    for those in (agents, cut):
        assert "response-mismatch" not in codes(trial(server=server_facts(body_bytes=13), agents=those))


@pytest.mark.provokes("generator-cpu")
@pytest.mark.parametrize(
    ("agent", "ceilings", "severity"),
    [
        ({"cpu_busiest": 0.3, "cpu_us": 300_000, "waiting_share": 0.5}, {}, "suspect"),
        ({"cpu_busiest": 0.5, "cpu_us": 500_000, "waiting_share": 0.45}, {}, "invalid"),
        ({}, {"local": 520.0}, "suspect"),
    ],
)
def test_a_generator_that_waits_for_its_core_or_is_near_its_ceiling(agent, ceilings, severity):
    """CPU alone says too little on a busy core; and calibration knows what a host can send."""
    judged = trial(agents=[agent_facts(**agent), agent_facts(agent="far/0")], ceilings_per_s=ceilings)

    assert {f.code: f.severity for f in judged.findings}["generator-cpu"] == severity


@pytest.mark.silent("generator-cpu")
def test_a_generator_far_below_its_ceiling():
    """500 a second where 5000 were seen to be possible."""
    assert "generator-cpu" not in codes(trial(ceilings_per_s={"local": 5000.0}))


@pytest.mark.provokes("shared-host")
@pytest.mark.parametrize("changes", [{"hosts": [host_use(free_share=0.01)]}, {"waiting": 0.2}])
def test_a_shared_host_without_a_free_core_is_suspect(changes):
    """Information while cores are free, a doubt when server and agents compete for them."""
    agents = [agent_facts(waiting_share=changes.pop("waiting", 0.0)), agent_facts(agent="local/1")]

    judged = trial(agents=agents, **changes)

    assert {f.code: f.severity for f in judged.findings}["shared-host"] is Severity.SUSPECT


@pytest.mark.provokes("server-throttled")
def test_a_cpu_limit_that_the_campaign_did_not_set_is_suspect():
    """Information where the campaign has the limit."""
    judged = trial(case=case(cpus=None))

    assert {f.code: f.severity for f in judged.findings}["server-throttled"] is Severity.SUSPECT


@pytest.mark.provokes("network-saturated")
@pytest.mark.parametrize("changes", [{"dropped_packets": 100}, {"segments_sent_again": 100}])
def test_a_network_that_loses_is_saturated(changes):
    """Also where no speed is known."""
    use = host_use(link_bits_per_s=None, link_share=None, **changes)

    assert "network-saturated" in codes(trial(hosts=[use]))


@pytest.mark.silent("network-saturated")
def test_loopback_loses_nothing():
    """Segments that are sent again there, or by others, are no sign of a network."""
    use = host_use(link="lo", link_bits_per_s=None, link_share=None, segments_sent_again=100)

    assert "network-saturated" not in codes(trial(hosts=[use]))


@pytest.mark.silent("network-saturated")
def test_a_speed_that_an_interface_only_states_is_not_believed():
    """Virtual interfaces say 10 Mbit/s and carry a hundred times that."""
    assert "network-saturated" not in codes(trial(hosts=[host_use(link_share=90.0)]))


@pytest.mark.provokes("keepalive-limit")
def test_http2_connections_that_go_away_under_a_living_server():
    """h2load does not reopen them: the server answers, and clients are lost."""
    judged = trial(
        **{**STEADY, "case": steady_case(protocol="http2")},
        agents=steady_agents(sockets_fewest=3),
        server=server_facts(afterwards="ready"),
    )

    assert {"clients-lost", "keepalive-limit"} <= codes(judged)


@pytest.mark.silent("bursty-arrivals", "send-lag", "out-of-slots", "rate-not-reached", "hung-slots", "clients-idle")
def test_an_open_loop_that_is_on_time_has_no_doubts():
    """A few late requests, and what every timer adds; a closed load whose clients end together."""
    judged = trial(**OPEN | {"agents": open_agents(late=20, largest_burst=2)}, lag_us=900)

    assert codes(judged) <= {"too-few-samples", "shared-host", "server-throttled"}
    assert "clients-idle" not in codes(trial(agents=[agent_facts(drain_us=60_000), agent_facts(agent="local/1")]))


@pytest.mark.parametrize(
    ("changes", "lag_us", "severity", "words"),
    [
        ({"agents": open_agents(early=3)}, 0, "suspect", "before they were due"),
        ({"agents": open_agents(off_schedule=3)}, 0, "suspect", "not on the schedule"),
        ({"agents": open_agents(late=300, generator="h2load")}, 0, "suspect", "10 ms timer of h2load"),
        ({}, 300_000, "invalid", "p50 of the send lag is 300 ms of a response time of 500 ms"),
    ],
)
@pytest.mark.provokes("bursty-arrivals", "send-lag")
def test_arrivals_that_are_not_those_of_the_schedule(changes, lag_us, severity, words):
    """Whatever the generator, and with the reason in words."""
    judged = trial(**OPEN | changes, lag_us=lag_us)
    found = [f for f in judged.findings if f.code in ("bursty-arrivals", "send-lag")]

    assert [f.severity for f in found] == [severity]
    assert words in found[0].sentence


def test_no_free_slot_explains_late_sends():
    """Its finding stands alone: the generator's timing is not to blame."""
    judged = trial(**OPEN | {"agents": open_agents(waited_for_slot=50, late=400)}, lag_us=300_000)

    assert {"bursty-arrivals", "send-lag", "out-of-slots"} & codes(judged) == {"out-of-slots"}


@pytest.mark.parametrize(
    ("generator", "held", "about", "opened"),
    [
        ("h2load", 12, None, 24),
        ("h2load", 12, 12, 24),
        ("h2load", 12, 90, None),  # the server closes them
        ("h2load", 19, None, None),
        ("h2load", None, None, None),
        ("paced", 12, None, None),
    ],
)
def test_connections_that_the_server_does_not_take_are_told_from_busy_ones(generator, held, about, opened):
    """Less than 90 % of those that h2load opens were ever open. paced opens those that are busy."""
    changes = {"generator": generator, "sockets_most": held, "opened_about": about, "waited_for_slot": 50}
    agents = [replace(agent, **changes) for agent in open_agents()]
    (found,) = [f for f in trial(**OPEN | {"agents": agents}).findings if f.code == "out-of-slots"]

    assert (found.facts["slots"], found.facts.get("opened")) == (40, opened)
    assert ("of the 40 connections that h2load opens for this rate, at most 24 were open" in found.sentence) == bool(
        opened
    )


def test_thrashing_needs_faults_and_a_full_limit():
    """Not ready with memory to spare is another finding."""
    spare = replace(FULL, memory_peak_bytes=50 << 20, major_faults=23_000)

    judged = trial(server=server_facts(state="not-ready", opening=None, last=spare), error="x", agents=[], t0_ns=None)

    assert [f.code for f in judged.findings] == ["server-not-ready"]


@pytest.mark.provokes("errors", "no-success")
@pytest.mark.parametrize(("errors", "severity"), [(1, "information"), (50, "suspect"), (500, "invalid")])
def test_errors_weigh_by_their_share(errors, severity):
    """A few are counted; many make another workload; nothing but errors measures nothing."""
    judged = trial(http_errors=errors)
    found = [f for f in judged.findings if f.code in ("errors", "no-success")]

    assert [f.severity for f in found] == [severity]
    assert judged.metrics.requests.http_error == 2 * errors


def test_generator_at_the_end_of_its_core_is_invalid():
    """Above 85 % the number is about h2load."""
    judged = trial(agents=[agent_facts(cpu_busiest=0.9), agent_facts(agent="local/1")])

    assert judged.verdict is Verdict.INVALID


def test_an_h2load_that_ended_its_load_and_does_not_exit():
    """Its log is complete and its count is missing: a doubt, not a lost agent. With an error in the log it is lost."""
    stopped = {"ended": "watchdog", "output": "Stopped all clients for thread #0\n", "done": None, "started": None}
    suspect = trial(**STEADY, agents=[replace(steady_agents()[0], **stopped), steady_agents()[1]])
    broken = trial(**STEADY, agents=[replace(steady_agents()[0], **stopped, errors=["torn"]), steady_agents()[1]])

    assert [f.severity for f in suspect.findings if f.code == "agent-lost"] == ["suspect"]
    assert [f.severity for f in broken.findings if f.code == "agent-lost"] == ["invalid"]
