"""Make a stored run of any size out of made-up trials, for the benchmarks of evaluation.

Every trial has one agent that drives a closed loop of 25,000 requests over 5 s, with its counters per second, and the
series of one host: the same files as those of a real run, written by the same code.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from agents.cgroup import Counters
from agents.clock import OffsetBound
from agents.histogram import HdrCounts
from agents.hostmeter import HostUse
from agents.recorder import CLASSES, OK
from agents.records import AgentFacts, ServerFacts, ServerState
from agents.series import Series
from agents.wire import AgentResult
from orchestrator.analyse.cases import judge
from orchestrator.facts import Case, HostClock, TrialFacts
from orchestrator.stored.documents import CampaignPlan, PlannedTrial, to_document
from orchestrator.stored.folder import RunStore
from orchestrator.stored.layout import PLAN_FILE
from tests.unit import facts
from tests.unit.facts import T0_US

TARGETS = ("first", "second", "third", "fourth")
WARM_UP_S, WINDOW_S, TAIL_S = 2, 5, 2
SECONDS = WARM_UP_S + WINDOW_S + TAIL_S
RATE_PER_S = 5000
REQUESTS = WINDOW_S * RATE_PER_S
# Different results of agents that share a trial.
DISTINCT = 20
DIGEST = "sha256:" + "0" * 64


def make_run(parent: Path, trials: int, agents: int = 1) -> Path:
    """Write a campaign of this many trials under a folder; return the run's folder. Several agents share few results."""
    cases = [_case(target, agents) for target in TARGETS]
    names = [f"{number:04d}-{_of(cases, number).name.replace('/', '-')}" for number in range(1, trials + 1)]
    blocks = range(trials)
    plan = CampaignPlan(
        campaign="made",
        cases=cases,
        digest="made",
        seed=1,
        trials=[PlannedTrial(i + 1, i // len(cases), _of(cases, i + 1).name, names[i]) for i in blocks],
        required_trials=1,
        baseline=TARGETS[0],
        smallest_effect=0.03,
    )
    with RunStore.create(parent, "made") as store:
        store.write_json(PLAN_FILE, to_document(plan))
        for number, name in enumerate(names, 1):
            made = _facts(number, (number - 1) // len(cases), _of(cases, number), agents)
            results = [_result(number, agent, i, agents) for i, agent in enumerate(made.agents)]
            store.add(name, judge(made, results), results, b"")
        return store.path


def _result(number: int, agent: AgentFacts, i: int, agents: int) -> AgentResult:
    if agents == 1:
        return agent_result(number, agent)
    made = _shared((number * agents + i) % DISTINCT)
    return AgentResult(agent, made.service, made.series)


@functools.cache
def _shared(seed: int) -> AgentResult:
    return agent_result(seed, agent_facts("load1/0"))


def agent_result(seed: int, agent: AgentFacts) -> AgentResult:
    """Return the counters of one agent: lognormal service times with a median of 0.4 ms."""
    draw = np.random.default_rng(seed)
    service_us = draw.lognormal(6, 0.5, REQUESTS).astype(np.int64)
    at_us = np.arange(REQUESTS, dtype=np.int64) * 1_000_000 // RATE_PER_S
    service = {name: HdrCounts() for name in CLASSES}
    series = {name: Series() for name in CLASSES}
    service[OK].record(service_us)
    series[OK].record(at_us, service_us)
    return AgentResult(agent, service, series)


def agent_facts(agent: str) -> AgentFacts:
    """Return what an agent reports about a load in which all went well."""
    return facts.agent_facts(
        agent=agent,
        url="http://198.18.0.1:8000/",
        version="1.64",
        gate="key-log",
        released_late_us=3,
        planned=None,
        rows=9 * RATE_PER_S,
        before=2 * RATE_PER_S,
        after=2 * RATE_PER_S,
        crossing=20,
        statuses={200: REQUESTS},
        first_start_us=T0_US + 900,
        last_end_us=T0_US + 9_000_000,
        total=9 * RATE_PER_S,
        started=9 * RATE_PER_S,
        done=9 * RATE_PER_S,
        cpu_us=900_000,
        cpu_busiest=0.12,
        clock_moved_ns=900,
        output="starting benchmark...\nfinished in 9.00s, 5000.00 req/s, 1.00MB/s\n" * 10,
        thread_cpu={4711: [0.01] * 9, 4712: [0.12] * 9},
    )


def made_facts(agents: list[AgentFacts], number: int = 1, block: int = 0, case: Case | None = None) -> TrialFacts:
    """Return the facts of a trial that these agents took part in."""
    counters = [Counters(cpu_us=at * 1_000_000, periods=10 * at, memory_peak_bytes=50 << 20) for at in (2, 7, 9)]
    hosts = list(dict.fromkeys(agent.agent.rpartition("/")[0] for agent in agents))
    bound = OffsetBound(-20_000, 20_000, 40_000, 32, T0_US * 1000)
    return TrialFacts(
        number=number,
        block=block,
        case=case or _case(TARGETS[0], len(agents)),
        started_at_ns=T0_US * 1000 + number * 10**10,
        t0_ns=T0_US * 1000,
        window_start_us=T0_US + WARM_UP_S * 1_000_000,
        window_end_us=T0_US + (WARM_UP_S + WINDOW_S) * 1_000_000,
        server=ServerFacts(
            state=ServerState.READY,
            image=DIGEST,
            container="c" * 64,
            network="host",
            ready_after_us=900_000,
            opening=counters[0],
            closing=counters[1],
            last=counters[2],
            series={name: [1.0 * at for at in range(WINDOW_S)] for name in ("at_s", "cpu_us", "memory_bytes")},
        ),
        agents=agents,
        clocks=[HostClock(host, bound, bound) for host in hosts],
        shared_host=False,
        stages_us={"prepare": 10_000, "server": 900_000, "clocks": 8_000, "arm": 50_000, "load": 9_100_000},
        hosts=[host_use(host) for host in hosts],
    )


def _facts(number: int, block: int, case: Case, agents: int) -> TrialFacts:
    return made_facts([agent_facts(f"load1/{i}") for i in range(agents)], number, block, case)


def _of(cases: list[Case], number: int) -> Case:
    return cases[(number - 1) % len(cases)]


def _case(target: str, agents: int = 1) -> Case:
    return facts.steady_case(
        name=f"{target}/steady", target=target, clients=20 * agents, agents=agents, memory_bytes=256 << 20
    )


def host_use(host: str) -> HostUse:
    """Return the resource use of a host that had little to do."""
    return facts.host_use(host=host, series={name: [0.1 * at for at in range(SECONDS)] for name in _columns()})


def _columns() -> Iterator[str]:
    yield from ("at_s", "busy_share", "busiest_core", "steal_share", "softirq_share", "received_bytes", "sent_bytes")
    yield from ("dropped_packets", "segments_sent_again", "sockets", "clock_us")
    yield from (f"cpu{core}_busy" for core in range(4))
