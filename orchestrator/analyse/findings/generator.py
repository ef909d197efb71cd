"""Doubts about the generator: h2load, its host, the network between."""

from __future__ import annotations

from collections.abc import Iterator

from agents.generators.contract import Model, Protocol
from agents.records import AgentFacts, GeneratorKind, HostRole
from orchestrator.analyse.findings.answers import explained
from orchestrator.analyse.findings.registry import finding
from orchestrator.facts import TrialFacts
from orchestrator.result import Fact, Facts, Finding, FindingCode, Metrics, Severity

INFORMATION, SUSPECT, INVALID = Severity.INFORMATION, Severity.SUSPECT, Severity.INVALID

GENERATOR_SUSPECT, GENERATOR_INVALID = 0.70, 0.85
# Near what calibration found an agent on that host to be able to send.
NEAR_CEILING = 0.9
# Time in which h2load was ready to run but had no core adds directly to service times.
WAITING_SUSPECT = 0.10
# With less CPU than this free on a shared machine, server and agents take it from each other.
FREE_COMPETES = 0.05
STEAL_NOTED, STEAL_SUSPECT = 0.01, 0.10
# Over less time than this, CPU shares rest on a few clock ticks.
SHORTEST_S = 0.5
LINK_SATURATED = 0.90
DROPPED_SHARE = 0.001
SENT_AGAIN_SHARE = 0.01
LOOPBACK = "lo"
FEWEST_SEGMENTS = 1000
PORTS_FULL = 0.9
# With more slots than this hanging, what is left is another load.
MOST_HUNG = 0.5
# The share of a run bound by requests in which fewer requests than clients were left.
IDLE_SHARE, IDLE_SUSPECT = 0.10, 0.25


def host_of(agent: str) -> str:
    """Return the host of an agent, from its name 'host/0'."""
    return agent.rpartition("/")[0]


def generator(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find agents near the limit of their core, or of their calibrated ceiling.

    The number would be about h2load.
    """
    for agent in facts.agents:
        load_us = facts.case.load_us or 0
        wanted = wanted_share(agent, load_us)
        numbers: dict[str, Fact] = {"agent": agent.agent, "busiest_share_of_a_core": agent.cpu_busiest}
        if agent.waiting_share:
            numbers["share_waiting_for_a_core"] = agent.waiting_share
        sent_per_s = agent.rows / (_lasted_us(agent, load_us) / 1e6)
        ceiling = facts.ceilings_per_s.get(host_of(agent.agent))
        if ceiling is not None:
            numbers |= {"sent_per_s": round(sent_per_s), "ceiling_per_s": round(ceiling)}
        if wanted > GENERATOR_SUSPECT or agent.waiting_share > WAITING_SUSPECT:
            severity = INVALID if wanted > GENERATOR_INVALID else SUSPECT
            yield finding(FindingCode.GENERATOR_CPU, severity, numbers, _cpu_wording(agent))
        elif ceiling is not None and sent_per_s > NEAR_CEILING * ceiling:
            yield finding(FindingCode.GENERATOR_CPU, SUSPECT, numbers, "ceiling")


def _cpu_wording(agent: AgentFacts) -> str:
    if agent.cpu_busiest <= GENERATOR_SUSPECT and agent.waiting_share > WAITING_SUSPECT:
        return "core taken"
    return "waiting" if agent.waiting_share else ""


def _lasted_us(agent: AgentFacts, load_us: int = 0) -> int:
    # An agent of a low rate may send a single request: the time from its first to its last is not how long it ran.
    return max(1, load_us, agent.last_end_us - agent.first_start_us)


def mean_cpu(agent: AgentFacts, load_us: int = 0) -> float:
    """Return the share of one core that an agent used over its load. load_us: how long a timed load lasts."""
    return agent.cpu_us / _lasted_us(agent, load_us)


def wanted_share(agent: AgentFacts, load_us: int = 0) -> float:
    """Return the share of a core that an agent needed. load_us: how long a timed load lasts.

    Its busiest second, or its mean plus the time it waited.
    """
    if not agent.waiting_share:
        return agent.cpu_busiest
    return max(agent.cpu_busiest, mean_cpu(agent, load_us) + agent.waiting_share)


def other_run(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find other runs of Volley that used a host of the trial during the load."""
    for use in facts.hosts:
        if use.other_runs:
            yield finding(FindingCode.OTHER_RUN, SUSPECT, {"host": use.host, "runs": use.other_runs})


def shared_host(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Report server and agents on one machine: information while cores are free."""
    if not facts.shared_host or facts.t0_ns is None:
        return
    waiting = max((agent.waiting_share for agent in facts.agents), default=0.0)
    uses = [use for use in facts.hosts if use.seconds >= SHORTEST_S]
    free = min((use.free_share for use in uses), default=1.0)
    if waiting <= WAITING_SUSPECT and free >= FREE_COMPETES:
        yield finding(FindingCode.SHARED_HOST, INFORMATION)
        return
    numbers: dict[str, Fact] = {"agents_waiting_for_a_core": waiting, "cores_free": free}
    if uses:
        numbers["cores"] = uses[0].cores
    yield finding(FindingCode.SHARED_HOST, SUSPECT, numbers, "compete, metered" if uses else "compete")


def host_steal(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find hosts whose hypervisor gave CPU time to other VMs."""
    for use in facts.hosts:
        if use.seconds < SHORTEST_S or use.steal_share <= STEAL_NOTED:
            continue
        severity = SUSPECT if use.steal_share > STEAL_SUSPECT else INFORMATION
        numbers: Facts = {"host": use.host, "stolen_share_of_all_cores": use.steal_share}
        yield finding(FindingCode.HOST_STEAL, severity, numbers)


def network(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find links near their speed, and links that lose data.

    Packets dropped by the interface, segments sent again.
    """
    for use in facts.hosts:
        dropped = use.dropped_packets / max(1, use.packets)
        again = use.segments_sent_again / max(1, use.sent_segments)
        # An interface of a virtual machine may state a speed that it does not have.
        full = use.link_share is not None and LINK_SATURATED <= use.link_share <= 1.1
        # Loopback loses nothing: there a segment is sent again for a full backlog, or by other programs on other links.
        counted = use.sent_segments >= FEWEST_SEGMENTS and use.link != LOOPBACK
        losing = counted and (dropped > DROPPED_SHARE or again > SENT_AGAIN_SHARE)
        if not full and not losing:
            continue
        numbers: dict[str, Fact] = {"host": use.host, "link": use.link}
        if use.link_share is not None and use.link_bits_per_s is not None:
            numbers |= {"share_of_speed": use.link_share, "mbit_per_s": use.link_bits_per_s // 1_000_000}
        numbers |= {"dropped_share": round(dropped, 5), "sent_again_share": round(again, 5)}
        yield finding(FindingCode.NETWORK_SATURATED, SUSPECT, numbers, "" if full else "loss")


def ephemeral_ports(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find hosts without enough ports for their clients."""
    by_host: dict[str, list[AgentFacts]] = {}
    for agent in facts.agents:
        by_host.setdefault(host_of(agent.agent), []).append(agent)
    for use in facts.hosts:
        if use.role != HostRole.LOAD or not use.ports:
            continue
        agents = by_host.get(use.host, [])
        clients = sum(agent.slots for agent in agents) // max(1, facts.case.streams)
        refused = sum(agent.failed_connects for agent in agents)
        full = use.held >= PORTS_FULL * use.ports
        numbers: dict[str, Fact] = {"host": use.host, "clients": clients, "ports": use.ports, "sockets_most": use.held}
        if clients > use.ports or (refused and full):
            numbers["failed_connects"] = refused
            yield finding(FindingCode.EPHEMERAL_PORTS, INVALID, numbers, "refused" if refused else "too few")
        elif full and not facts.shared_host:
            yield finding(FindingCode.EPHEMERAL_PORTS, SUSPECT, numbers)


def clients_lost(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find connections that h2load lost and does not reopen.

    Over HTTP/1.1 it reopens them, and hung slots show the loss.
    """
    for agent in facts.agents:
        clients = agent.slots // max(1, facts.case.streams)
        held = agent.sockets_fewest
        counts = facts.case.protocol == Protocol.HTTP2 and facts.case.duration_us is not None
        if counts and held is not None and held < clients and not _staggering(facts):
            numbers: Facts = {"agent": agent.agent, "clients": clients, "held_fewest": held}
            yield finding(FindingCode.CLIENTS_LOST, INVALID, numbers)
        if agent.request_failures:
            numbers = {"agent": agent.agent, "lines": agent.request_failures}
            yield finding(FindingCode.STREAM_FAILURES, SUSPECT, numbers)


def _staggering(facts: TrialFacts) -> bool:
    # In the open loop connections are opened one by one: fewer than clients is normal at first.
    return facts.case.model is Model.OPEN


def hung_slots(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find slots of a closed loop that no longer got an answer: clients that the load lacked."""
    hung, slots = sum(agent.hung for agent in facts.agents), sum(agent.slots for agent in facts.agents)
    if hung and not explained(facts, metrics):
        dropped = _dropped(facts)
        numbers: Facts = {"hung": hung, "slots": slots, "dropped": dropped}
        severity = INVALID if hung > MOST_HUNG * slots else SUSPECT
        yield finding(FindingCode.HUNG_SLOTS, severity, numbers, "dropped" if dropped > MOST_HUNG * hung else "")


def _dropped(facts: TrialFacts) -> int:
    """Return how many connections of h2load are gone. A server that hangs leaves them open."""
    agents = [agent for agent in facts.agents if agent.generator == GeneratorKind.H2LOAD]
    return sum(max(0, agent.slots - agent.sockets_fewest) for agent in agents if agent.sockets_fewest is not None)


def clients_idle(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find loads bound by requests at whose end most clients had none left."""
    if metrics is None or facts.case.requests is None or metrics.window_s <= 0:
        return
    drain_s = max((agent.drain_us or 0 for agent in facts.agents), default=0) / 1e6
    share = drain_s / metrics.window_s
    if share > IDLE_SHARE:
        numbers: Facts = {"share_of_run": round(share, 3), "drain_s": round(drain_s, 3)}
        yield finding(FindingCode.CLIENTS_IDLE, SUSPECT if share > IDLE_SUSPECT else INFORMATION, numbers)
