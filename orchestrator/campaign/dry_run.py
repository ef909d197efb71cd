"""What a run would do: cases, order, placement, time. Nothing is started, and no host is reached."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from orchestrator.facts import Case
from orchestrator.fleet import ceilings
from orchestrator.fleet.ceilings import Ceiling
from orchestrator.fleet.place import Placement, place
from orchestrator.plan import Plan, make_plan
from orchestrator.spec.load import Loaded

if TYPE_CHECKING:
    from orchestrator.campaign.session import Hosts


def as_document(loaded: Loaded, only: str | None, hosts: Hosts) -> dict[str, Any]:
    """Give plan.json with the placement. Raises Shortage, UsageError."""
    plan, placements = _planned(loaded, only, hosts)
    shown = {name: {"server": p.server, "agents": p.agents} for name, p in placements.items()}
    known = ceilings.known(hosts.inventory)
    counted, timed = requests_of(plan, plan.blocks)
    return plan.to_plain() | {
        "placement": shown,
        "agents_needed": {case.name: agents_needed(case, placements[case.name], known) for case in plan.cases},
        "requests": {"counted": counted, "trials_of_unknown_count": timed},
        "ceilings": {name: asdict(each) for name, each in known.items()},
    }


def as_lines(loaded: Loaded, only: str | None, hosts: Hosts) -> Iterator[str]:
    """Tell it to a person. Raises Shortage, UsageError."""
    plan, placements = _planned(loaded, only, hosts)
    known = ceilings.known(hosts.inventory)
    yield (
        f"{plan.campaign}: {len(plan.cases)} cases, {len(plan.trials)} trials, plan {plan.digest[:12]}, seed {plan.seed}"
    )
    for case in plan.cases:
        yield f"  {_case(case)}"
        placement = placements[case.name]
        agents = ", ".join(f"{host} {count}" for host, count in placement.agents.items())
        yield f"    server on {placement.server or case.target}; agents on {agents}"
        yield f"    {_enough(case, placement, known)}"
    yield "order: " + " ".join(f"{t.number}:{t.case.name}" for t in plan.trials)
    yield "slots for agents: " + ", ".join(f"{m.name} {m.slots}" for m in hosts.machines() if m.slots)
    least, most = requests_of(plan, loaded.campaign.least_repetitions), requests_of(plan, plan.blocks)
    yield f"requests: {_requests(least)}" + ("" if least == most else f"; at the most {_requests(most)}")
    low, high = _estimate_s(plan, loaded)
    yield f"time: between {low:.0f} and {high:.0f} s; nothing was started"


def requests_of(plan: Plan, blocks: int) -> tuple[int, int]:
    """How many requests the trials of so many blocks send; how many trials send as many as are answered in their time."""
    counted, timed = 0, 0
    for case in (trial.case for trial in plan.trials if trial.block < blocks):
        if case.requests is not None:
            counted += case.requests
        elif case.rate_per_s is not None:
            counted += round(case.rate_per_s * _load_s(case))
        else:
            timed += 1
    return counted, timed


def _requests(found: tuple[int, int]) -> str:
    counted, timed = found
    open_ended = f"as many as are answered in the time of {timed} trials" if timed else ""
    return " and ".join(part for part in (f"{counted:,}" if counted or not timed else "", open_ended) if part)


def _load_s(case: Case) -> float:
    """Return how long a timed load lasts; 0 for one that a number of requests ends."""
    return (case.load_us or 0) / 1e6


def _planned(loaded: Loaded, only: str | None, hosts: Hosts) -> tuple[Plan, dict[str, Placement]]:
    plan = make_plan(loaded.campaign, only)
    placements = place(plan, hosts.machines(), hosts.where(loaded.campaign))
    hosts.commanded(loaded.campaign, placements)
    return plan, placements


def agents_needed(case: Case, placement: Placement, known: dict[str, Ceiling]) -> int | None:
    """How many agents the rate of a case asks for, of the weakest of its hosts; None: not calibrated, or no rate."""
    if case.rate_per_s is None or not set(placement.agents) <= set(known):
        return None
    weakest = min(known[host].usable_per_s for host in placement.agents)
    return math.ceil(case.rate_per_s / (ceilings.USED * weakest))


def _enough(case: Case, placement: Placement, known: dict[str, Ceiling]) -> str:
    """Say whether the agents can send what the case asks for, as far as that is known."""
    if not set(placement.agents) <= set(known):
        return "what an agent can send there is not known: volley hosts calibrate (here: volley doctor --calibrate)"
    each = ", ".join(f"{host} {known[host].usable_per_s:.0f}/s" for host in placement.agents)
    needed = agents_needed(case, placement, known)
    if needed is None:
        return f"an agent can send: {each}; a server that answers more needs more agents"
    short = "" if needed <= case.agents else f", and it has {case.agents}"
    return f"an agent can send: {each}; this case needs ≥ {needed} agent{'s' * (needed > 1)}{short}"


def _case(case: Case) -> str:
    what = f"{case.requests} requests"
    if case.duration_us is not None:
        what = f"{case.duration_us / 1e6:g} s after {case.warm_up_us / 1e6:g} s warm-up"
    rate = f" at {case.rate_per_s:g}/s" if case.rate_per_s else ""
    return f"{case.name}: {case.model}, {case.protocol}, {case.clients} clients over {case.agents} agents, {what}{rate}"


def _estimate_s(plan: Plan, loaded: Loaded) -> tuple[float, float]:
    """Loads alone, in the fewest blocks; and with what containers and requests-bound loads may take at the most, in all."""
    campaign = loaded.campaign
    pause = (campaign.cool_down or 0) / 1e6
    low = high = 8.0
    for trial in plan.trials:
        target, load = campaign.targets[trial.case.target], campaign.loads[trial.case.load]
        fixed = _load_s(trial.case)
        if trial.block < campaign.least_repetitions:
            low += fixed + (1 if target.url else 3) + pause
        around = [c.timeout for c in (*campaign.before, *campaign.after) if fnmatch.fnmatch(trial.case.name, c.cases)]
        longest = (fixed or load.timeout / 1e6) + (1 if target.url else target.ready.timeout / 1e6)
        high += longest + pause + sum(around) / 1e6
    return low, high
