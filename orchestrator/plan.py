"""Plan a campaign: its cases, its trials in randomised blocks, and the share of each agent. Pure arithmetic."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import math
import random
from dataclasses import dataclass

from agents.records import Assignment
from orchestrator.errors import UsageError
from orchestrator.facts import Case, Model, Protocol, Traffic
from orchestrator.spec.models import Campaign, Load, Target

# An agent is ended this long after its load should have ended.
MARGIN_US = 3_000_000


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """One trial: number from 1, block from 0."""

    number: int
    block: int
    case: Case

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return f"{self.number:04d}-{self.case.name.replace('/', '-')}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Cases and trials. Planning the same campaign again gives the same digest."""

    campaign: str
    cases: list[Case]
    trials: list[TrialPlan]
    seed: int
    digest: str

    @property
    def blocks(self) -> int:
        """Return the number of blocks. An adaptive campaign may need fewer."""
        return max(trial.block for trial in self.trials) + 1

    @property
    def agents(self) -> int:
        """Return the most agents that any case needs at once."""
        return max(case.agents for case in self.cases)


def make_plan(campaign: Campaign, only: str | None = None) -> Plan:
    """Plan a campaign. Every block holds each case once, in an order drawn from the seed.

    An adaptive campaign is planned to its last possible block. only: a glob over case names ('flask/*').
    Raises UsageError when it leaves no case.
    """
    cases = [
        make_case(name, target, load_name, load, load.agents or campaign.agents)
        for name, target in campaign.targets.items()
        for load_name, load in campaign.loads.items()
        if wanted(f"{name}/{load_name}", campaign.include, campaign.exclude)
    ]
    names = [case.name for case in cases]
    if only is not None:
        cases = [case for case in cases if fnmatch.fnmatch(case.name, only)]
        if not cases:
            raise UsageError(f"--only {only!r} matches no case", f"the cases are: {', '.join(names)}")
    draw = random.Random(campaign.seed)
    trials: list[TrialPlan] = []
    for block in range(campaign.most_repetitions):
        order = list(cases)
        draw.shuffle(order)
        trials += [TrialPlan(len(trials) + i + 1, block, case) for i, case in enumerate(order)]
    content = {
        "campaign": campaign.model_dump(mode="json", by_alias=True),
        "order": [(trial.block, trial.case.name) for trial in trials],
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return Plan(campaign.campaign, cases, trials, campaign.seed, digest)


def wanted(case: str, include: list[str] | None, exclude: list[str]) -> bool:
    """Return whether a case of the matrix is in the campaign. Exclusion wins over inclusion."""
    included = include is None or any(fnmatch.fnmatch(case, glob) for glob in include)
    return included and not any(fnmatch.fnmatch(case, glob) for glob in exclude)


def make_case(target_name: str, target: Target, load_name: str, load: Load, agents: int) -> Case:
    """Return the case of a target under a load."""
    return Case(
        name=f"{target_name}/{load_name}",
        target=target_name,
        load=load_name,
        model=Model(load.model),
        protocol=Protocol(load.protocol),
        clients=load.clients,
        streams=load.streams,
        agents=agents,
        requests=load.requests,
        rate_per_s=load.rate,
        duration_us=load.duration,
        warm_up_us=load.warm_up_us,
        tail_us=0 if load.duration is None else load.tail,
        cpus=target.limits.cpus,
        memory_bytes=target.limits.memory,
        external=target.url is not None,
        cpuset=target.limits.cpuset,
    )


def split(total: int, parts: int) -> list[int]:
    """Return `parts` whole shares that differ by at most one and add up to the total."""
    share, rest = divmod(total, parts)
    return [share + (1 if i < rest else 0) for i in range(parts)]


def load_time_us(case: Case, timeout_us: int) -> int:
    """Return how long the load of one trial may last at most."""
    return timeout_us if case.load_us is None else case.load_us


def assign(
    case: Case, traffic: Traffic, timeout_us: int, run: str, agents: list[str], cores: list[int | None]
) -> list[Assignment]:
    """Split a case's totals over its agents, so that no client, request or part of the rate is lost.

    The URLs of the traffic are dealt out to the agents in turn. timeout_us: the limit for a load that a number of
    requests ends. agents: names, shape (case.agents,); cores: the core of each, None for any.
    """
    clients = split(case.clients, len(agents))
    requests = [None] * len(agents) if case.requests is None else split(case.requests, len(agents))
    limit = load_time_us(case, timeout_us) + (0 if case.duration_us is None else MARGIN_US)
    shares = []
    for i, agent in enumerate(agents):
        rate = None if case.rate_per_s is None else case.rate_per_s * clients[i] / case.clients
        count, duration = requests[i], None
        if case.load_us is not None:
            if rate is None:
                duration = case.load_us
            else:
                # Each connection sends the same number, enough to last to the end of the tail.
                count = clients[i] * math.ceil(rate / clients[i] * case.load_us / 1e6)
        shares.append(
            Assignment(
                agent=agent,
                run=run,
                url=traffic.urls[i % len(traffic.urls)],
                clients=clients[i],
                give_up_us=limit,
                window_start_us=case.warm_up_us,
                window_end_us=None if case.duration_us is None else case.warm_up_us + case.duration_us,
                requests=count,
                duration_us=duration,
                rate_per_s=rate,
                http2=traffic.protocol is Protocol.HTTP2,
                streams=case.streams,
                method=traffic.method,
                headers=traffic.headers,
                body=traffic.body,
                core=cores[i],
            )
        )
    return shares
