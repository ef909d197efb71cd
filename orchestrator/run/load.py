"""The load of a trial: clocks bounded, agents held at the gate, T0, window, results, clocks again."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from agents.clock import ClockUnreachable, OffsetBound
from agents.hostmeter import HostUse
from agents.records import Assignment, HostRole, ServerState
from agents.totals import LiveCounts
from orchestrator.counted import Counted, counted
from orchestrator.errors import HostError
from orchestrator.facts import Case, HostClock, TrialFacts
from orchestrator.fleet import clock_probes
from orchestrator.fleet.handles import ServerHandle, ServiceHandle, TrialHandle
from orchestrator.fleet.hosts import HostLost, at_once
from orchestrator.plan import MARGIN_US, assign, load_time_us
from orchestrator.run.collected import OnOurClock
from orchestrator.run.events import COUNTERS, Event
from orchestrator.run.generator import settle
from orchestrator.run.inputs import RunningTrial
from orchestrator.run.lead import progress_of, telling_ns
from orchestrator.run.left import driven
from orchestrator.run.live import Figures, LiveMeter, phase_of
from orchestrator.run.server import check_afterwards, of_load
from orchestrator.run.services import finish_services, services_afterwards
from orchestrator.run.targets import is_loopback
from orchestrator.slo import rate_text

if TYPE_CHECKING:
    from agents.wire import AgentResult

# From the moment when all are blocked to T0: enough for the slowest host to learn T0. On this machine that takes a call
# of about a millisecond; the rest is for a core that is busy.
LEAD_NS = 250_000_000
LEAD_HERE_NS = 50_000_000
COLLECT_MARGIN_S = 20.0
# How long clocks are probed until each host has answered. A host, a network or the coordinator that stands still for 5 s
# costs nothing; three times that leaves room for a second one, and a host that is gone is not waited for much longer.
CLOCKS_BEFORE_S = 10.0
CLOCKS_AFTER_S = 15.0
WAIT_S = 1.0
WAIT_ANSWER_S = 30.0
# A host in a role: one machine can be server and load host, with a clock responder for each.
Bounds = Mapping[int, OffsetBound]


@dataclass(frozen=True, slots=True)
class Instants:
    """T0 and the edges of the window, on the coordinator's clock. closing_us: None when the window is the whole load."""

    t0_ns: int
    opening_us: int
    closing_us: int | None

    @staticmethod
    def of(case: Case, t0_ns: int) -> Instants:
        """Return the instants of a case that is released at T0."""
        opening_us = t0_ns // 1000 + case.warm_up_us
        return Instants(t0_ns, opening_us, None if case.duration_us is None else opening_us + case.duration_us)


def run_load(trial: RunningTrial, facts: TrialFacts) -> tuple[TrialFacts, Collection[AgentResult]]:
    """Run the load against a server that is up; return the facts with what was seen, and each agent's result.

    A host that is lost is an error in the facts; then there are no results, unless the trial may continue with the load
    hosts that are left. Raises HostError for everything else.
    """
    task, left = trial.input, trial.left
    seats = {load.host: cores for load, cores in zip(trial.placed.loads, trial.placed.cores, strict=True)}
    try:
        facts = settle(trial, facts)
        with trial.stages.of("clocks"):
            before = _bounds(trial)
        facts = replace(facts, clocks=[HostClock(host.host, before[id(host)]) for host in _hosts(trial)])
        shares = assign(facts.case, trial.traffic, task.load.give_up, task.run, facts.number, seats)
        with trial.stages.of("arm"):
            trial.say(Event("phase", "waiting for T0", passing=True))
            left.each(lambda load: load.arm(shares[load.host]), left.loads)
        with trial.stages.of("load"):
            facts = _release(trial, facts, before)
            _say_released(trial, facts.case)
            _wait(trial, facts)
        trial.say(Event("phase", "collecting", passing=True))
        with trial.stages.of("collect"):
            collected = left.each(lambda load: load.collect(), left.loads)
            facts = replace(facts, hosts=_uses(trial))
        return _finish(trial, facts, before, collected, shares)
    except HostLost as error:
        trial.losses.note(error)
        return replace(facts, error=error.message), []


def _finish(
    trial: RunningTrial,
    facts: TrialFacts,
    before: Bounds,
    collected: Mapping[int, Collection[AgentResult]],
    shares: Mapping[str, Sequence[Assignment]],
) -> tuple[TrialFacts, Collection[AgentResult]]:
    """Read the server and the clocks again, put the results on our clock, and ask the server once more."""
    from agents.recorder import OK  # imports numpy, as the results have done by now

    if trial.server is not None:
        facts = replace(facts, server=replace(of_load(trial, trial.server.finish()), locations=facts.server.locations))
        facts = replace(facts, services=finish_services(trial, facts.services, loaded=True))
    with trial.stages.of("clocks"):
        clocks = _compared_again(trial, before)
    results = OnOurClock(
        [
            (collected[id(load)], before[id(load)].offset_ns // 1000)
            for load in trial.left.loads
            if id(load) in collected
        ]
    )
    agents, slowest_us = [], 0
    for result in results:
        agents.append(result.facts)
        slowest_us = max(slowest_us, result.service[OK].maximum_us)
    trial.left.lose_agents(agents)
    results = replace(results, without=frozenset(trial.left.agents))
    facts = replace(facts, clocks=clocks, agents=[agent for agent in agents if agent.agent not in results.without])
    if (degraded := trial.left.degraded(facts.case, shares, facts.t0_ns)) is not None:
        facts = replace(facts, case=driven(facts.case, shares, degraded.agents), degraded=degraded)
    with trial.stages.of("collect"):
        facts = replace(facts, server=check_afterwards(trial, facts.server, slowest_us))
        if facts.server.afterwards not in (ServerState.UNKNOWN, ServerState.READY):
            facts = replace(facts, services=services_afterwards(trial, facts.services))
    return facts, results


def _hosts(trial: RunningTrial) -> list[TrialHandle]:
    """Return the hosts that are left of a trial."""
    servers = [] if trial.server is None else [trial.server]
    return [*trial.left.loads, *servers, *trial.placed.service_hosts()]


def _bounds(trial: RunningTrial) -> Bounds:
    """Return the bound on each host's clock offset, by the id of its handle. Raises HostError."""
    ports = trial.left.each(lambda host: host.clock_port(), _hosts(trial))
    hosts = _hosts(trial)
    found = clock_probes.probe_until([(host.address, ports[id(host)]) for host in hosts], CLOCKS_BEFORE_S)
    bounds: dict[int, OffsetBound] = {}
    for host, bound in zip(hosts, found, strict=True):
        if not isinstance(bound, OffsetBound):
            hint = f"allow UDP to port {ports[id(host)]} between the coordinator and the host"
            raise HostError(f"host {host.host}: {bound}", hint)
        bounds[id(host)] = bound
    return bounds


def _compared_again(trial: RunningTrial, before: Bounds) -> list[HostClock]:
    """Return the clock of each host with its bound after the load, or why there is none. Raises HostError.

    By now everything is measured and here: a host that is lost costs its second bound, and is noted.
    """
    over_ns = time.time_ns()

    def port_of(host: TrialHandle) -> int | HostLost:
        try:
            return host.clock_port()
        except HostLost as error:
            trial.losses.note(error)
            return error

    hosts = _hosts(trial)
    ports = at_once(port_of, hosts)
    asked = [(host.address, port) for host, port in zip(hosts, ports, strict=True) if isinstance(port, int)]
    answers = iter(clock_probes.probe_until(asked, CLOCKS_AFTER_S))
    clocks = []
    for host, port in zip(hosts, ports, strict=True):
        found = next(answers) if isinstance(port, int) else ClockUnreachable(port.message)
        clock = HostClock(host.host, before[id(host)])
        if isinstance(found, OffsetBound):
            clocks.append(replace(clock, after=found))
        else:
            clocks.append(replace(clock, unbounded=str(found), until_ns=over_ns))
    return clocks


def _release(trial: RunningTrial, facts: TrialFacts, before: Bounds) -> TrialFacts:
    """Pass T0 to every load host and the window to the hosts of containers, in their clocks; return the facts with both."""
    left, server = trial.left, trial.server
    here = all(is_loopback(host.address) for host in _hosts(trial))
    lead_ns = (LEAD_HERE_NS if here else LEAD_NS) + 3 * max(bound.round_trip_ns for bound in before.values())
    lead_ns += telling_ns(left)
    instants = Instants.of(facts.case, time.time_ns() + lead_ns)

    def pass_on(host: TrialHandle) -> None:
        shift_ns = before[id(host)].offset_ns
        if id(host) in metered:
            closing_ns = None if instants.closing_us is None else instants.closing_us * 1000 + shift_ns
            metered[id(host)].meter(instants.opening_us * 1000 + shift_ns, closing_ns)
        else:
            loads[id(host)].release_at(instants.t0_ns + shift_ns)

    loads = {id(load): load for load in left.loads}
    metered: dict[int, ServerHandle | ServiceHandle] = {id(each): each for each in trial.placed.service_hosts()}
    if server is not None:
        metered[id(server)] = server
    # All at once: a load host that does not answer must not keep the server's host from hearing of the window.
    left.each(pass_on, _hosts(trial))
    return replace(facts, t0_ns=instants.t0_ns, window_start_us=instants.opening_us, window_end_us=instants.closing_us)


def _say_released(trial: RunningTrial, case: Case) -> None:
    text = f"warm-up of {case.warm_up_us / 1e6:g} s" if case.warm_up_us else "load"
    facts = {
        "warm_up_us": case.warm_up_us,
        "case": case.name,
        "target": case.target,
        "load": case.load,
        "rate_per_s": case.rate_per_s,
    }
    trial.say(Event("released", text, facts, passing=True))


def _wait(trial: RunningTrial, facts: TrialFacts) -> None:
    """Wait until all agents have ended, and show progress; agents that are far too late are ended."""
    assert facts.t0_ns is not None
    limit_us = load_time_us(facts.case, trial.input.load.give_up) + MARGIN_US
    deadline = facts.t0_ns / 1e9 + limit_us / 1e6 + COLLECT_MARGIN_S
    left, running, meter = trial.left, list(trial.left.loads), LiveMeter()
    while running:
        running = left.running(running, WAIT_S, WAIT_ANSWER_S)
        if running:
            _show(trial, facts, meter)
            running = [load for load in running if load in left.loads]
        if running and time.time() > deadline:
            left.each(lambda load: load.cancel(), running)
            deadline += COLLECT_MARGIN_S


def _show(trial: RunningTrial, facts: TrialFacts, meter: LiveMeter) -> None:
    """Show how far the load is and how the server does."""
    assert facts.t0_ns is not None
    server = trial.server
    loads = {load.host for load in trial.placed.loads}
    metered: list[ServerHandle | ServiceHandle] = list(trial.placed.service_hosts())
    if server is not None:
        metered.append(server)
    busy = {host.host: host.busy_share() for host in metered if host.host not in loads}
    progress = progress_of(trial.left)
    case = facts.case
    totals = sum((each.totals for each in progress.values()), LiveCounts())
    of_case = {"case": case.name, "target": case.target, "load": case.load, "live": totals}
    trial.say(Event(COUNTERS, "", of_case, passing=True))
    at_s = (time.time_ns() - facts.t0_ns) / 1e9
    figures, phase = meter.figures(at_s, progress, busy), phase_of(facts.case, at_s)
    lasting_us, sent = case.load_us, counted([case.protocol])
    of_s = None if lasting_us is None else lasting_us / 1e6
    numbers = asdict(figures) | {"elapsed_s": round(at_s, 3), "of_s": of_s, "phase": phase, "unit": sent.per_s}
    trial.say(Event("load", _in_words(at_s, of_s, figures, sent), numbers, passing=True))


def _in_words(at_s: float, of_s: float | None, figures: Figures, sent: Counted) -> str:
    of = "" if of_s is None else f" of {of_s:.0f} s"
    rates = f"{rate_text(figures.answered_per_s)} {sent.per_s}, {rate_text(figures.failed_per_s)} errors/s"
    return f"{at_s:.0f} s{of}: {rates}, {figures.rows:,} {sent.many} logged"


def _uses(trial: RunningTrial) -> list[HostUse]:
    """Return the resource use of each host. One of several roles counts as a load host, else as the server's."""
    found = trial.left.each(lambda host: host.use(), _hosts(trial)).values()
    rank = [HostRole.LOAD, HostRole.SERVER, HostRole.SERVICE]
    uses = sorted((use for use in found if use is not None), key=lambda use: rank.index(use.role))
    by_host: dict[str, HostUse] = {}
    for use in uses:
        by_host.setdefault(use.host, use)
    return list(by_host.values())
