"""Show what a run would do: cases, order, placement, time. No load is sent, and no host is contacted."""

from __future__ import annotations

import fnmatch
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agents.records import to_plain
from orchestrator.analyse.findings.conduct import about_agents
from orchestrator.campaign.capability import Capability
from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.trials import CampaignTrials, planned_trials
from orchestrator.counted import counted
from orchestrator.facts import Case
from orchestrator.fleet import ceilings, limits
from orchestrator.fleet.ceilings import Ceiling, Key
from orchestrator.fleet.generators import require_generators_here
from orchestrator.plan import Plan
from orchestrator.result import FORMAT
from orchestrator.spec.checks import Loaded
from orchestrator.spec.enough import too_few
from orchestrator.spec.reach import notes
from orchestrator.spec.wording import several
from orchestrator.stored.documents import PlannedTrial
from orchestrator.typeset import fill

# What bringing the hosts up takes, as Ray nodes and as processes of this machine; starting a container; asking a URL once.
NODES_UP_S, PROCESSES_UP_S, CONTAINER_S, URL_S = 8.0, 1.0, 3, 1
WIDTH = 80


@dataclass(frozen=True, slots=True)
class PlacedCase:
    """Where a case runs. agents: their number by host. idle: load hosts without one. services: their hosts."""

    server: str | None
    agents: dict[str, int]
    idle: list[str]
    services: dict[str, str]


@dataclass(frozen=True, slots=True)
class RequestCount:
    """The requests of a plan. trials_of_unknown_count: those that send as much as is answered in their time."""

    counted: int
    trials_of_unknown_count: int


@dataclass(frozen=True, slots=True)
class DryRun:
    """The document of a dry run: the plan, and what is known of its hosts. ceilings: one per host and generator.

    warnings: what may spoil a result, in sentences. By case: agents_needed, None where unknown;
    agents_to_keep_paced, None unless its rate is what made h2load send it.
    """

    format: int
    campaign: str
    digest: str
    seed: int
    cases: list[Case]
    trials: list[PlannedTrial]
    placement: dict[str, PlacedCase]
    agents_needed: dict[str, int | None]
    agents_to_keep_paced: dict[str, int | None]
    requests: RequestCount
    ceilings: list[Ceiling]
    warnings: list[str]


def as_document(loaded: Loaded, only: str | None, hosts: Hosts) -> dict[str, object]:
    """Return the dry run for programs. Raises Shortage, Several, UsageError."""
    work, known = CampaignTrials.planned(loaded, only, hosts), ceilings.known(hosts.inventory)
    _require_room(work)
    warnings = _warnings(work)
    plan, capabilities = work.plan, _capabilities(work, known)
    dry_run = DryRun(
        format=FORMAT,
        campaign=plan.campaign,
        digest=plan.digest,
        seed=plan.seed,
        cases=plan.cases,
        trials=planned_trials(plan),
        placement={
            name: PlacedCase(placed.server, placed.agents, placed.idle, placed.services)
            for name, placed in work.placements.items()
        },
        agents_needed={each.case.name: each.agents_needed() for each in capabilities},
        agents_to_keep_paced={each.case.name: each.agents_to_keep_paced() for each in capabilities},
        requests=requests_of(plan, plan.blocks),
        ceilings=list(known.values()),
        warnings=warnings,
    )
    return to_plain(dry_run)


def as_lines(loaded: Loaded, only: str | None, hosts: Hosts) -> Iterator[str]:
    """Yield the dry run for a person, line by line. Raises Shortage, Several, UsageError."""
    work, known = CampaignTrials.planned(loaded, only, hosts), ceilings.known(hosts.inventory)
    _require_room(work)
    warnings = _warnings(work)
    plan = work.plan
    yield (
        f"{plan.campaign}: {several(len(plan.cases), 'case')}, {several(len(plan.trials), 'trial')}, "
        f"plan {plan.digest[:12]}, seed {plan.seed}"
    )
    calibrate = "volley doctor --calibrate" if hosts.inventory is None else "volley hosts calibrate --hosts INVENTORY"
    for capability in _capabilities(work, known):
        yield from _case_lines(capability, calibrate)
    for warning in warnings:
        yield from fill(f"warning: {warning}", WIDTH, rest="  ")
    order = " ".join(f"{trial.number}:{trial.case.name}" for trial in plan.trials)
    yield from fill(f"order: {order}", WIDTH, rest="  ")
    slots = ", ".join(f"{m.name} {m.slots}" for m in hosts.machines() if m.slots)
    yield from fill(f"slots for agents: {slots}", WIDTH, rest="  ")
    least, most = requests_of(plan, loaded.campaign.least_repetitions), requests_of(plan, plan.blocks)
    sent = counted(case.protocol for case in plan.cases)
    yield f"{sent.many}: {_in_words(least)}" + ("" if least == most else f"; at most {_in_words(most)}")
    low, high = _estimate_s(plan, loaded, hosts)
    took = f"about {low:.0f} s" if round(low) == round(high) else f"between {low:.0f} and {high:.0f} s"
    yield f"time: {took}; nothing was started"


def _require_room(work: CampaignTrials) -> None:
    """Raise when a load host cannot hold the connections of a case, as far as its limits are known.

    ConfigurationError for this machine, Several for the hosts of an inventory.
    """
    cases = [(case, work.placements[case.name]) for case in work.plan.cases]
    if work.hosts.inventory is None:
        limits.require_room_here(cases)
    limits.require_room(cases, limits.known(work.hosts.inventory))


def _warnings(work: CampaignTrials) -> list[str]:
    """Return what a run would warn of. Raises Several for loads that this machine has no generator for, as a run does."""
    lacking = ""
    if work.hosts.inventory is None:
        lacking = require_generators_here(work.plan.cases, work.loaded.campaign.loads, work.placements)
    loaded = work.loaded
    return [*notes(loaded.plain), *too_few(loaded.campaign), *([lacking] if lacking else [])]


def requests_of(plan: Plan, blocks: int) -> RequestCount:
    """Return how many requests the trials of the first blocks send."""
    counted, unknown = 0, 0
    for case in (trial.case for trial in plan.trials if trial.block < blocks):
        if case.requests is not None:
            counted += case.requests
        elif case.rate_per_s is not None:
            counted += round(case.rate_per_s * _load_s(case))
        else:
            unknown += 1
    return RequestCount(counted, unknown)


def _capabilities(work: CampaignTrials, known: Mapping[Key, Ceiling]) -> list[Capability]:
    loads, placements = work.loaded.campaign.loads, work.placements
    return [Capability(case, loads[case.load], placements[case.name], known) for case in work.plan.cases]


def _case_lines(capability: Capability, calibrate: str) -> Iterator[str]:
    case, placement = capability.case, capability.placement
    yield f"  {_load_in_words(case)}"
    agents = ", ".join(f"{host} {count}" for host, count in placement.agents.items())
    kept = {service.name: service.lifetime for service in case.services}
    services = [f"{name} on {host} (for the {kept[name]})" for name, host in placement.services.items()]
    there = f"; {'service' if len(services) == 1 else 'services'} {', '.join(services)}" if services else ""
    yield from fill(f"    server on {placement.server or case.target}{there}; agents on {agents}", WIDTH, rest="      ")
    notes = (f"{note.sentence} {note.hint}" for note in about_agents(case, placement.idle))
    for sentence in (*notes, *capability.sentences(calibrate)):
        yield textwrap.fill(
            sentence,
            WIDTH,
            initial_indent=" " * 4,
            subsequent_indent=" " * 6,
            break_long_words=False,
            break_on_hyphens=False,
        )


def _in_words(requests: RequestCount) -> str:
    counted, unknown = requests.counted, requests.trials_of_unknown_count
    open_ended = f"as many as are answered in the time of {unknown} trials" if unknown else ""
    return " and ".join(part for part in (f"{counted:,}" if counted or not unknown else "", open_ended) if part)


def _load_s(case: Case) -> float:
    """Return how long a timed load lasts; 0 for a load bounded by requests."""
    return (case.load_us or 0) / 1e6


def _load_in_words(case: Case) -> str:
    what = several(case.requests or 0, "request")
    if case.duration_us is not None:
        what = f"{case.duration_us / 1e6:g} s after {case.warm_up_us / 1e6:g} s warm-up"
    rate = f" at {case.rate_per_s:g}/s" if case.rate_per_s else ""
    shares = f"{several(case.clients, 'client')} over {several(case.agents, 'agent')}"
    return f"{case.name}: {case.model}, {case.protocol}, {shares}, {what}{rate}"


def _estimate_s(plan: Plan, loaded: Loaded, hosts: Hosts) -> tuple[float, float]:
    """Return the shortest and the longest time of a run.

    Shortest: the loads of the fewest blocks. Longest: all blocks, with every timeout used up.
    """
    campaign = loaded.campaign
    pause = (campaign.cool_down or 0) / 1e6
    low = high = NODES_UP_S if hosts.ray or hosts.inventory is not None else PROCESSES_UP_S
    for trial in plan.trials:
        target, load = campaign.targets[trial.case.target], campaign.loads[trial.case.load]
        fixed = _load_s(trial.case)
        if trial.block < campaign.least_repetitions:
            low += fixed + (URL_S if target.url else CONTAINER_S) + pause
        around = [c.timeout for c in (*campaign.before, *campaign.after) if fnmatch.fnmatch(trial.case.name, c.cases)]
        needed = [campaign.services[service.name] for service in trial.case.services]
        if trial.block < campaign.least_repetitions:
            low += CONTAINER_S * sum(service.lifetime == "trial" for service in needed) / 2
        high += sum(one.ready.timeout + len(one.prepare) * one.prepare_timeout for one in needed) / 1e6
        longest = (fixed or load.give_up / 1e6) + (URL_S if target.url else target.ready.timeout / 1e6)
        high += longest + pause + sum(around) / 1e6
    return low, high
