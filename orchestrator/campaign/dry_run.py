"""Show what a run would do: cases, order, placement, time. Nothing is started, and no host is contacted."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator
from dataclasses import dataclass

from agents.records import to_plain
from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.trials import CampaignTrials, planned_trials
from orchestrator.facts import Case
from orchestrator.fleet import ceilings
from orchestrator.fleet.ceilings import Ceiling
from orchestrator.fleet.place import Placement
from orchestrator.plan import Plan
from orchestrator.result import FORMAT
from orchestrator.spec.checks import Loaded
from orchestrator.stored.documents import PlannedTrial

# What bringing the hosts up takes; starting a container; asking a URL once.
HOSTS_UP_S, CONTAINER_S, URL_S = 8.0, 3, 1


@dataclass(frozen=True, slots=True)
class PlacedCase:
    """Where a case runs. agents: their number by host."""

    server: str | None
    agents: dict[str, int]


@dataclass(frozen=True, slots=True)
class RequestCount:
    """The requests of a plan. trials_of_unknown_count: those that send as much as is answered in their time."""

    counted: int
    trials_of_unknown_count: int


@dataclass(frozen=True, slots=True)
class DryRun:
    """The document of a dry run: the plan, and what is known of its hosts. agents_needed: None where unknown."""

    format: int
    campaign: str
    digest: str
    seed: int
    cases: list[Case]
    trials: list[PlannedTrial]
    placement: dict[str, PlacedCase]
    agents_needed: dict[str, int | None]
    requests: RequestCount
    ceilings: dict[str, Ceiling]


def as_document(loaded: Loaded, only: str | None, hosts: Hosts) -> dict[str, object]:
    """Return the dry run for programs. Raises Shortage, UsageError."""
    work, known = CampaignTrials.planned(loaded, only, hosts), ceilings.known(hosts.inventory)
    plan = work.plan
    dry_run = DryRun(
        format=FORMAT,
        campaign=plan.campaign,
        digest=plan.digest,
        seed=plan.seed,
        cases=plan.cases,
        trials=planned_trials(plan),
        placement={name: PlacedCase(placed.server, placed.agents) for name, placed in work.placements.items()},
        agents_needed={case.name: agents_needed(case, work.placements[case.name], known) for case in plan.cases},
        requests=requests_of(plan, plan.blocks),
        ceilings=known,
    )
    return to_plain(dry_run)


def as_lines(loaded: Loaded, only: str | None, hosts: Hosts) -> Iterator[str]:
    """Yield the dry run for a person, line by line. Raises Shortage, UsageError."""
    work, known = CampaignTrials.planned(loaded, only, hosts), ceilings.known(hosts.inventory)
    plan = work.plan
    yield (
        f"{plan.campaign}: {len(plan.cases)} cases, {len(plan.trials)} trials, plan {plan.digest[:12]}, seed {plan.seed}"
    )
    for case in plan.cases:
        yield from _case_lines(case, work.placements[case.name], known)
    yield "order: " + " ".join(f"{trial.number}:{trial.case.name}" for trial in plan.trials)
    yield "slots for agents: " + ", ".join(f"{m.name} {m.slots}" for m in hosts.machines() if m.slots)
    least, most = requests_of(plan, loaded.campaign.least_repetitions), requests_of(plan, plan.blocks)
    yield f"requests: {_in_words(least)}" + ("" if least == most else f"; at most {_in_words(most)}")
    low, high = _estimate_s(plan, loaded)
    yield f"time: between {low:.0f} and {high:.0f} s; nothing was started"


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


def agents_needed(case: Case, placement: Placement, known: dict[str, Ceiling]) -> int | None:
    """Return how many agents the rate of a case needs on the weakest of its hosts.

    None without a rate, or where a host was never calibrated.
    """
    if case.rate_per_s is None or not set(placement.agents) <= set(known):
        return None
    weakest = min(known[host].usable_per_s for host in placement.agents)
    return math.ceil(case.rate_per_s / (ceilings.USED * weakest))


def _case_lines(case: Case, placement: Placement, known: dict[str, Ceiling]) -> Iterator[str]:
    yield f"  {_load_in_words(case)}"
    agents = ", ".join(f"{host} {count}" for host, count in placement.agents.items())
    yield f"    server on {placement.server or case.target}; agents on {agents}"
    yield f"    {_capability(case, placement, known)}"


def _in_words(requests: RequestCount) -> str:
    counted, unknown = requests.counted, requests.trials_of_unknown_count
    open_ended = f"as many as are answered in the time of {unknown} trials" if unknown else ""
    return " and ".join(part for part in (f"{counted:,}" if counted or not unknown else "", open_ended) if part)


def _load_s(case: Case) -> float:
    """Return how long a timed load lasts; 0 for a load bounded by requests."""
    return (case.load_us or 0) / 1e6


def _capability(case: Case, placement: Placement, known: dict[str, Ceiling]) -> str:
    """Return what the agents of a case can send, as far as calibration found it."""
    if not set(placement.agents) <= set(known):
        return "what an agent can send there is not known: volley hosts calibrate (here: volley doctor --calibrate)"
    rates = ", ".join(f"{host} {known[host].usable_per_s:.0f}/s" for host in placement.agents)
    needed = agents_needed(case, placement, known)
    if needed is None:
        return f"an agent can send: {rates}; a server that answers more needs more agents"
    short = "" if needed <= case.agents else f", and it has {case.agents}"
    return f"an agent can send: {rates}; this case needs ≥ {needed} agent{'s' * (needed > 1)}{short}"


def _load_in_words(case: Case) -> str:
    what = f"{case.requests} requests"
    if case.duration_us is not None:
        what = f"{case.duration_us / 1e6:g} s after {case.warm_up_us / 1e6:g} s warm-up"
    rate = f" at {case.rate_per_s:g}/s" if case.rate_per_s else ""
    return f"{case.name}: {case.model}, {case.protocol}, {case.clients} clients over {case.agents} agents, {what}{rate}"


def _estimate_s(plan: Plan, loaded: Loaded) -> tuple[float, float]:
    """Return the shortest and the longest time of a run.

    Shortest: the loads of the fewest blocks. Longest: all blocks, with every timeout used up.
    """
    campaign = loaded.campaign
    pause = (campaign.cool_down or 0) / 1e6
    low = high = HOSTS_UP_S
    for trial in plan.trials:
        target, load = campaign.targets[trial.case.target], campaign.loads[trial.case.load]
        fixed = _load_s(trial.case)
        if trial.block < campaign.least_repetitions:
            low += fixed + (URL_S if target.url else CONTAINER_S) + pause
        around = [c.timeout for c in (*campaign.before, *campaign.after) if fnmatch.fnmatch(trial.case.name, c.cases)]
        longest = (fixed or load.give_up / 1e6) + (URL_S if target.url else target.ready.timeout / 1e6)
        high += longest + pause + sum(around) / 1e6
    return low, high
