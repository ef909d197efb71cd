"""Doubts about the generator: h2load, its host, the network between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.records import AgentFacts
from orchestrator.facts import Model, TrialFacts
from orchestrator.result import Finding, Metrics, Severity

INFORMATION, SUSPECT, INVALID = Severity.INFORMATION, Severity.SUSPECT, Severity.INVALID

GENERATOR_SUSPECT, GENERATOR_INVALID = 0.70, 0.85
# Near what calibration found an agent on that host to be able to send.
NEAR_CEILING = 0.9
# Time in which h2load could have run and had no core goes straight into service times.
WAITING_SUSPECT = 0.10
# Less than this free, on a machine that server and agents share, and each takes from the other.
FREE_COMPETES = 0.05
STEAL_NOTED, STEAL_SUSPECT = 0.01, 0.10
# Shares of a host's cores over less than this are made of a few ticks.
SHORTEST_S = 0.5
LINK_SATURATED = 0.90
DROPPED_SHARE = 0.001
SENT_AGAIN_SHARE = 0.01
FEWEST_SEGMENTS = 1000
PORTS_FULL = 0.9
RATE_TOLERANCE = 0.02
# h2load's pacing timer ticks every 10 ms: above this a client sends several requests at once.
MOST_PER_CLIENT = 100


def host_of(agent: str) -> str:
    """The host of an agent, by its name 'host/0'."""
    return agent.rpartition("/")[0]


def generator(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """h2load's thread near the end of its core, or of what calibration found: the number would be about h2load."""
    for agent in facts.agents:
        hint = "use more agents, or more load hosts"
        if agent.cpu_busiest <= GENERATOR_SUSPECT and agent.waiting_share > WAITING_SUSPECT:
            hint = "something else uses its core: give agents cores, or hosts, of their own"
        wanted = wanted_share(agent)
        numbers: dict[str, Any] = {"agent": agent.agent, "busiest_share_of_a_core": agent.cpu_busiest}
        if agent.waiting_share:
            numbers["share_waiting_for_a_core"] = agent.waiting_share
        sent_per_s = agent.rows / (_lasted_us(agent) / 1e6)
        ceiling = facts.ceilings_per_s.get(host_of(agent.agent))
        if ceiling is not None:
            numbers |= {"sent_per_s": round(sent_per_s), "ceiling_per_s": round(ceiling)}
        if wanted > GENERATOR_SUSPECT or agent.waiting_share > WAITING_SUSPECT:
            yield Finding("generator-cpu", INVALID if wanted > GENERATOR_INVALID else SUSPECT, numbers, hint)
        elif ceiling is not None and sent_per_s > NEAR_CEILING * ceiling:
            yield Finding("generator-cpu", SUSPECT, numbers, hint)


def _lasted_us(agent: AgentFacts) -> int:
    return max(1, agent.last_end_us - agent.first_start_us)


def mean_cpu(agent: AgentFacts) -> float:
    """The share of one core that an agent used over its load."""
    return agent.cpu_us / _lasted_us(agent)


def wanted_share(agent: AgentFacts) -> float:
    """The share of a core that an agent could have used: its busiest second, or its mean with the time it waited."""
    if not agent.waiting_share:
        return agent.cpu_busiest
    return max(agent.cpu_busiest, mean_cpu(agent) + agent.waiting_share)


def shared_host(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Server and agents on one machine: information while cores are free."""
    if not facts.shared_host or facts.t0_ns is None:
        return
    waiting = max((agent.waiting_share for agent in facts.agents), default=0.0)
    free = min((use.free_share for use in facts.hosts if use.seconds >= SHORTEST_S), default=1.0)
    if waiting > WAITING_SUSPECT or free < FREE_COMPETES:
        numbers: dict[str, Any] = {"agents_waiting_for_a_core": waiting, "cores_free": free}
        hint = "server and agents compete for this machine's cores: --hosts puts them apart"
        yield Finding("shared-host", SUSPECT, numbers, hint)
    else:
        yield Finding("shared-host", INFORMATION, {}, "server and agents share this machine; --hosts puts them apart")


def host_steal(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """The hypervisor gave a host's cores to somebody else."""
    for use in facts.hosts:
        if use.seconds < SHORTEST_S or use.steal_share <= STEAL_NOTED:
            continue
        severity = SUSPECT if use.steal_share > STEAL_SUSPECT else INFORMATION
        numbers: dict[str, Any] = {"host": use.host, "stolen_share_of_all_cores": use.steal_share}
        yield Finding(
            "host-steal", severity, numbers, "neighbours on the same hardware: a dedicated machine, or another hour"
        )


def network(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """A link near its speed, or one that loses: packets dropped by the interface, segments that were sent again."""
    for use in facts.hosts:
        dropped = use.dropped_packets / max(1, use.packets)
        again = use.segments_sent_again / max(1, use.sent_segments)
        # An interface of a virtual machine may state a speed that it does not have.
        full = use.link_share is not None and LINK_SATURATED <= use.link_share <= 1.1
        losing = use.sent_segments >= FEWEST_SEGMENTS and (dropped > DROPPED_SHARE or again > SENT_AGAIN_SHARE)
        if not full and not losing:
            continue
        numbers: dict[str, Any] = {"host": use.host, "link": use.link}
        if use.link_share is not None and use.link_bits_per_s is not None:
            numbers |= {"share_of_speed": use.link_share, "mbit_per_s": use.link_bits_per_s // 1_000_000}
        numbers |= {"dropped_share": round(dropped, 5), "sent_again_share": round(again, 5)}
        yield Finding(
            "network-saturated",
            SUSPECT,
            numbers,
            "the network is part of this number: a faster link, or less per answer",
        )


def ephemeral_ports(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """A host without enough ports for its clients."""
    for use in facts.hosts:
        if use.role != "load" or not use.ports:
            continue
        agents = [agent for agent in facts.agents if host_of(agent.agent) == use.host]
        clients = sum(agent.slots for agent in agents) // max(1, facts.case.streams)
        refused = sum(agent.failed_connects for agent in agents)
        numbers: dict[str, Any] = {"host": use.host, "clients": clients, "ports": use.ports, "sockets_most": use.held}
        hint = "widen net.ipv4.ip_local_port_range there, or use more load hosts"
        if clients > use.ports or (refused and use.held >= PORTS_FULL * use.ports):
            yield Finding("ephemeral-ports", INVALID, numbers | {"failed_connects": refused}, hint)
        elif use.held >= PORTS_FULL * use.ports and not facts.shared_host:
            yield Finding("ephemeral-ports", SUSPECT, numbers, hint)


def clients_lost(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Fewer connections than clients while the load ran."""
    for agent in facts.agents:
        clients = agent.slots // max(1, facts.case.streams)
        held = agent.sockets_fewest
        if held is not None and held < clients and facts.case.duration_us is not None and not _staggering(facts):
            numbers: dict[str, Any] = {"agent": agent.agent, "clients": clients, "held_fewest": held}
            yield Finding(
                "clients-lost", INVALID, numbers, "the server or the network closed connections during the run"
            )
        if agent.request_failures:
            numbers = {"agent": agent.agent, "lines": agent.request_failures}
            yield Finding(
                "stream-failures", SUSPECT, numbers, "is keepalive_requests or a stream limit of the server too low?"
            )


def _staggering(facts: TrialFacts) -> bool:
    # While staggered connections come up there are fewer than clients, and that is as it should be.
    return facts.case.model is Model.OPEN


def open_model(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """The rate was not kept, or requests were sent late."""
    if metrics is None or facts.case.rate_per_s is None:
        return
    if (each := facts.case.rate_per_s / facts.case.clients) > MOST_PER_CLIENT:
        numbers: dict[str, Any] = {"rate_per_client": round(each, 1), "most": MOST_PER_CLIENT}
        yield Finding("bursty-arrivals", SUSPECT, numbers, "h2load paces a client every 10 ms: use more clients")
    due = sum(agent.due or 0 for agent in facts.agents)
    sent = sum(a.rows - a.before - a.after for a in facts.agents)
    if due and abs(sent / due - 1) > RATE_TOLERANCE:
        numbers = {"due": due, "sent": sent, "rate_per_s": facts.case.rate_per_s}
        yield Finding(
            "rate-not-reached", SUSPECT, numbers, "the server, or the number of clients, cannot take this rate"
        )
    late = sum(agent.late or 0 for agent in facts.agents)
    if due and late / due > 0.01:
        numbers = {"late": late, "due": due, "p99_lag_us": (metrics.lag_us or {}).get("p99")}
        hint = (
            "requests left more than 20 ms after they were due; more clients keep slots free. Response time includes it"
        )
        yield Finding("send-lag", SUSPECT if _lower_bound(facts) else INFORMATION, numbers, hint)


def _lower_bound(facts: TrialFacts) -> bool:
    return any(agent.lower_bound for agent in facts.agents)
