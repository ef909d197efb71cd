"""Plan a campaign: its cases, its trials in randomised blocks, and the share of each agent. Pure arithmetic."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agents.generators.contract import PLACEHOLDER, Arrivals, DataOrder, Model, Protocol
from agents.records import AssignedData, Assignment, GeneratorKind
from orchestrator.errors import UsageError
from orchestrator.facts import Case, CaseService, PlannedRequest, Traffic
from orchestrator.redact import cleaned
from orchestrator.slo import Term, judges_first_byte, legible, shown, time_limits_us
from orchestrator.spec.agents import AgentCount, agents_for
from orchestrator.spec.generator import choose, most_clients
from orchestrator.spec.loads import Load, Program
from orchestrator.spec.models import Campaign
from orchestrator.spec.needs import needed_by
from orchestrator.spec.requests import names_of
from orchestrator.spec.service import Service
from orchestrator.spec.slo import terms_for
from orchestrator.spec.target import Expect, Target

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


def make_plan(campaign: Campaign, only: str | None = None, load_hosts: int = 1) -> Plan:
    """Plan a campaign. Every block holds each case once, in an order drawn from the seed.

    An adaptive campaign is planned to its last possible block. only: a glob over case names ('flask/*'). load_hosts: how
    many hosts can run agents. Raises UsageError when it leaves no case.
    """
    cases = [
        make_case(
            name,
            target,
            load_name,
            load,
            agents_for(campaign, load, load_hosts),
            campaign.seed,
            terms_for(campaign.slo, f"{name}/{load_name}"),
            needed_by(target, campaign.services),
        )
        for name, target in campaign.targets.items()
        for load_name, load in campaign.loads.items()
        if wanted(f"{name}/{load_name}", campaign.include, campaign.exclude)
    ]
    names = [case.name for case in cases]
    if only is not None:
        cases = [case for case in cases if fnmatch.fnmatch(case.name, only)]
        if not cases:
            raise UsageError(
                f"--only {shown(only)} matches no case", f"the cases are: {legible(', '.join(names), 500)}"
            )
    draw = random.Random(campaign.seed)
    trials: list[TrialPlan] = []
    for block in range(campaign.most_repetitions):
        order = list(cases)
        draw.shuffle(order)
        trials += [TrialPlan(len(trials) + i + 1, block, case) for i, case in enumerate(order)]
    content = {
        "campaign": campaign.model_dump(mode="json", by_alias=True),
        "agents": [(case.name, case.agents) for case in cases],
        "order": [(trial.block, trial.case.name) for trial in trials],
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return Plan(campaign.campaign, cases, trials, campaign.seed, digest)


def wanted(case: str, include: list[str] | None, exclude: list[str]) -> bool:
    """Return whether a case of the matrix is in the campaign. Exclusion wins over inclusion."""
    included = include is None or any(fnmatch.fnmatch(case, glob) for glob in include)
    return included and not any(fnmatch.fnmatch(case, glob) for glob in exclude)


def make_case(
    target_name: str,
    target: Target,
    load_name: str,
    load: Load,
    agents: AgentCount,
    seed: int,
    objectives: Sequence[Term] = (),
    services: Mapping[str, Service] | None = None,
) -> Case:
    """Return the case of a target under a load.

    seed: the campaign's, for arrivals at random. objectives: those of the case; h2load needs connections for answers that
    take as long as they allow, and does not log the first byte. services: those that the target needs.
    """
    limits_us = time_limits_us(objectives)
    generator = choose(load, agents.used, target.socket is not None, judges_first_byte(objectives))
    return Case(
        name=f"{target_name}/{load_name}",
        target=target_name,
        load=load_name,
        model=Model(load.model),
        protocol=Protocol(load.protocol),
        clients=most_clients(load, generator, agents.used, max(limits_us, default=0)),
        streams=load.streams,
        agents=agents.used,
        requests=load.total,
        rate_per_s=load.rate,
        duration_us=load.duration,
        warm_up_us=load.warm_up_us,
        tail_us=load.tail_us,
        cpus=target.limits.cpus,
        memory_bytes=target.limits.memory,
        external=target.url is not None,
        cpuset=target.limits.cpuset,
        generator=generator,
        program=load.generator.command if isinstance(load.generator, Program) else [],
        arrivals=Arrivals(load.arrivals),
        timeout_us=load.timeout,
        seed=seed,
        time_limits_us=limits_us,
        agents_asked=agents.asked,
        mix=cleaned(mix_of(target, load)),
        services=[_planned(name, service) for name, service in (services or {}).items()],
        unix_socket=target.socket is not None,
    )


def _planned(name: str, service: Service) -> CaseService:
    limits = service.limits
    return CaseService(name, service.lifetime, limits.cpus, limits.memory, limits.cpuset)


def mix_of(target: Target, load: Load) -> list[PlannedRequest]:
    """Return the requests of a load that lists them, without what can hold secrets."""
    listed = load.listed
    return [
        PlannedRequest(name, request.http_method, request.path, request.weight, allowed_by(request.expect, target))
        for name, request in zip(names_of(listed), listed, strict=True)
    ]


def allowed_by(expect: Expect | None, target: Target) -> list[int]:
    """Return the statuses that count as success; none for the usual ones. expect: a request's own, else the target's."""
    status = (target.expect if expect is None else expect).status
    if status is None:
        return []
    return [status] if isinstance(status, int) else list(status)


def split(total: int, parts: int) -> list[int]:
    """Return `parts` whole shares that differ by at most one and add up to the total."""
    share, rest = divmod(total, parts)
    return [share + (1 if i < rest else 0) for i in range(parts)]


def load_time_us(case: Case, give_up_us: int) -> int:
    """Return how long the load of one trial may last at most. give_up_us: the limit of one that requests end."""
    return give_up_us if case.load_us is None else case.load_us


def assign(
    case: Case, traffic: Traffic, give_up_us: int, run: str, trial: int, seats: Mapping[str, Sequence[int | None]]
) -> dict[str, list[Assignment]]:
    """Split a case's totals over its agents, so that no client, request or part of the rate is lost; by load host.

    Every agent sends the whole mix. give_up_us: the limit for a load that a number of requests ends. seats: by load host,
    the core of each of its agents, None for any.

    Open loop: agent i of n sends at R/n, its first request i/R after T0, so that all agents together are one stream at R.
    """
    agents = [(host, f"{host}/{k}", core) for host, cores in seats.items() for k, core in enumerate(cores)]
    n = len(agents)
    clients = split(case.clients, n)
    counts = [None] * n if case.requests is None else split(case.requests, n)
    limit = load_time_us(case, give_up_us) + (0 if case.duration_us is None else MARGIN_US)
    common = Assignment(
        agent="",
        run=run,
        url=_as_written(traffic.requests[0].url),
        clients=0,
        give_up_us=limit,
        window_start_us=case.warm_up_us,
        window_end_us=None if case.duration_us is None else case.warm_up_us + case.duration_us,
        duration_us=case.load_us,
        rate_per_s=None if case.rate_per_s is None else case.rate_per_s / n,
        http2=traffic.protocol is Protocol.HTTP2,
        websocket=traffic.protocol is Protocol.WEBSOCKET,
        streams=case.streams,
        method=traffic.requests[0].method,
        headers=traffic.requests[0].headers,
        body=traffic.requests[0].body,
        requests=traffic.requests,
        verify=traffic.verify,
        tls=traffic.tls,
        socket=traffic.socket,
        permitted=traffic.permitted,
        generator=case.generator,
        program=case.program,
        agents=n,
        arrivals=case.arrivals,
        timeout_us=case.timeout_us,
    )
    shares: dict[str, list[Assignment]] = {host: [] for host in seats}
    for i, (host, agent, core) in enumerate(agents):
        share = replace(
            common,
            agent=agent,
            clients=clients[i],
            count=counts[i],
            core=core,
            # Independent of the other agents and trials, and the same whenever the campaign is run again.
            seed=random.Random(f"{case.seed}/{trial}/{i}").getrandbits(31),
            first_due_ns=0 if case.rate_per_s is None else round(i * 1e9 / case.rate_per_s),
            data=None if traffic.data is None else rows_of(traffic.data, i, n),
        )
        shares[host].append(_for_h2load(share) if case.generator is GeneratorKind.H2LOAD else share)
    return shares


def _as_written(url: str) -> str:
    """Return a URL with the placeholders of the campaign: those of a task also name the kind of their place."""
    return PLACEHOLDER.sub(lambda found: f"${{row.{found[1].partition(':')[2] or found[1]}}}", url)


def rows_of(data: AssignedData, agent: int, agents: int) -> AssignedData:
    """Return the rows of one agent. In turn: agent i of n takes rows i, i + n and so on, and from the end the first again.

    So all agents together go through the file row by row, as long as they send equally many.
    """
    if data.order is not DataOrder.CYCLE:
        return data
    rows = len(data.rows)
    turn = rows // math.gcd(rows, agents)
    return replace(data, rows=[data.rows[(agent + k * agents) % rows] for k in range(turn)])


def _for_h2load(share: Assignment) -> Assignment:
    """Return an open loop in h2load's terms: each connection sends the same number, enough to last through the tail."""
    if share.rate_per_s is None or share.duration_us is None:
        return share
    per_client = math.ceil(share.rate_per_s / share.clients * share.duration_us / 1e6)
    return replace(share, count=share.clients * per_client, duration_us=None)
