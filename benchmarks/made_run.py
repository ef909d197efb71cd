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
from agents.generators.contract import Model, Protocol
from agents.histogram import HdrCounts
from agents.hostmeter import HostUse
from agents.recorder import CLASSES, OK
from agents.records import AgentFacts, Ended, HostRole, ServerFacts, ServerState
from agents.series import Series
from agents.wire import AgentResult
from orchestrator.analyse.cases import judge
from orchestrator.facts import Case, HostClock, TrialFacts
from orchestrator.stored.documents import CampaignPlan, PlannedTrial, to_document
from orchestrator.stored.folder import RunStore
from orchestrator.stored.layout import PLAN_FILE

TARGETS = ("first", "second", "third", "fourth")
T0_US = 1_795_331_418_000_000
WARM_UP_S, WINDOW_S, TAIL_S = 2, 5, 2
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
            facts = _facts(number, (number - 1) // len(cases), _of(cases, number), agents)
            results = [_result(number, agent, i, agents) for i, agent in enumerate(facts.agents)]
            store.add(name, judge(facts, results), results, b"")
        return store.path


def _result(number: int, facts: AgentFacts, i: int, agents: int) -> AgentResult:
    if agents == 1:
        return agent_result(number, facts)
    made = _shared((number * agents + i) % DISTINCT)
    return AgentResult(facts, made.service, made.series)


@functools.cache
def _shared(seed: int) -> AgentResult:
    return agent_result(seed, agent_facts("load1/0"))


def agent_result(seed: int, facts: AgentFacts) -> AgentResult:
    """Return the counters of one agent: lognormal service times with a median of 0.4 ms."""
    draw = np.random.default_rng(seed)
    service_us = draw.lognormal(6, 0.5, REQUESTS).astype(np.int64)
    at_us = np.arange(REQUESTS, dtype=np.int64) * 1_000_000 // RATE_PER_S
    service = {name: HdrCounts() for name in CLASSES}
    series = {name: Series() for name in CLASSES}
    service[OK].record(service_us)
    series[OK].record(at_us, service_us)
    return AgentResult(facts, service, series)


def agent_facts(agent: str) -> AgentFacts:
    """Return what an agent reports about a load in which all went well."""
    return AgentFacts(
        agent=agent,
        url="http://198.18.0.1:8000/",
        pid=4711,
        version="1.64",
        gate="key-log",
        ended=Ended.FINISHED,
        exit_status=0,
        released_late_us=3,
        planned=None,
        rows=9 * RATE_PER_S,
        before=2 * RATE_PER_S,
        after=2 * RATE_PER_S,
        never_sent=0,
        boundary=0,
        crossing=20,
        statuses={200: REQUESTS},
        first_start_us=T0_US + 900,
        last_end_us=T0_US + 9_000_000,
        total=9 * RATE_PER_S,
        started=9 * RATE_PER_S,
        done=9 * RATE_PER_S,
        errored=0,
        request_failures=0,
        failed_connects=0,
        sockets_fewest=20,
        sockets_most=20,
        cpu_us=900_000,
        cpu_busiest=0.12,
        clock_moved_ns=900,
        slots=20,
        protocol="http/1.1",
        due=None,
        missing=None,
        late=None,
        lower_bound=False,
        errors=[],
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
    return Case(
        name=f"{target}/steady",
        target=target,
        load="steady",
        model=Model.CLOSED,
        protocol=Protocol.HTTP1,
        clients=20 * agents,
        streams=1,
        agents=agents,
        requests=None,
        rate_per_s=None,
        duration_us=WINDOW_S * 1_000_000,
        warm_up_us=WARM_UP_S * 1_000_000,
        tail_us=TAIL_S * 1_000_000,
        cpus=1.0,
        memory_bytes=256 << 20,
    )


def host_use(host: str) -> HostUse:
    """Return the resource use of a host that had little to do."""
    seconds = WARM_UP_S + WINDOW_S + TAIL_S
    return HostUse(
        host=host,
        role=HostRole.LOAD,
        seconds=float(seconds),
        cores=4,
        busy_share=0.2,
        busiest_core=0.4,
        free_share=0.8,
        steal_share=0.0,
        softirq_share=0.01,
        link="eth0",
        link_bits_per_s=10_000_000_000,
        link_share=0.01,
        received_bytes=1_000_000,
        sent_bytes=100_000,
        packets=10_000,
        dropped_packets=0,
        sent_segments=5_000,
        segments_sent_again=0,
        opened=40,
        held=44,
        ports=28_232,
        clock_moved_ns=1_000,
        kernel="6.1",
        governor="performance",
        series={name: [0.1 * at for at in range(seconds)] for name in _columns()},
    )


def _columns() -> Iterator[str]:
    yield from ("at_s", "busy_share", "busiest_core", "steal_share", "softirq_share", "received_bytes", "sent_bytes")
    yield from ("dropped_packets", "segments_sent_again", "sockets", "clock_us")
    yield from (f"cpu{core}_busy" for core in range(4))
