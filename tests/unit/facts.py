"""Facts of trials that went well, for tests to spoil one thing at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from agents.cgroup import Counters
from agents.clock import OffsetBound
from agents.histogram import HdrCounts
from agents.hostmeter import HostUse
from agents.recorder import CLASSES
from agents.records import AgentFacts, ServerFacts, ServerState, ServiceFacts
from agents.series import Series
from agents.wire import AgentResult
from orchestrator.facts import Case, HostClock, TrialFacts

T0_NS = 1_795_331_418_000_000_000
T0_US = T0_NS // 1000


def agent_facts(**changes: Any) -> AgentFacts:
    """One agent of two: 500 requests, 20 clients, all well."""
    facts = AgentFacts(
        agent="local/0",
        url="http://127.0.0.1:8001/",
        pid=4711,
        version="1.52",
        gate="stdout-pipe",
        ended="finished",
        exit_status=0,
        released_late_us=1,
        planned=500,
        rows=500,
        before=0,
        after=0,
        never_sent=0,
        boundary=0,
        crossing=0,
        statuses={200: 500},
        first_start_us=T0_US + 1_000,
        last_end_us=T0_US + 1_001_000,
        total=500,
        started=500,
        done=500,
        errored=0,
        request_failures=0,
        failed_connects=0,
        sockets_fewest=20,
        sockets_most=20,
        cpu_us=50_000,
        cpu_busiest=0.1,
        clock_moved_ns=100,
        slots=20,
        protocol="http/1.1",
        due=None,
        missing=None,
        late=None,
        lower_bound=False,
        errors=[],
        output="",
    )
    return replace(facts, **changes)


def case(**changes: Any) -> Case:
    """1000 requests over 40 clients and two agents."""
    made = Case("flask/burst", "flask", "burst", "closed", "http1", 40, 1, 2, 1000, None, None, 0, 0, 1.0, 100 << 20)
    return replace(made, **changes)


def steady_case(**changes: Any) -> Case:
    """40 clients for 5 s after 2 s, over two agents."""
    return case(
        **{
            "name": "flask/steady",
            "load": "steady",
            "requests": None,
            "duration_us": 5_000_000,
            "warm_up_us": 2_000_000,
            "tail_us": 2_000_000,
            **changes,
        }
    )


def server_facts(**changes: Any) -> ServerFacts:
    """A container that was well and used half a second of CPU in the window."""
    counters = Counters(cpu_us=1_000_000, periods=10, memory_peak_bytes=50 << 20, memory_limit_bytes=100 << 20)
    after = replace(counters, cpu_us=1_500_000, periods=20, throttled_periods=5, throttled_us=100_000)
    facts = ServerFacts(
        state="ready",
        image="sha256:1",
        container="c",
        network="host",
        ready_after_us=900_000,
        opening=counters,
        closing=after,
        last=after,
    )
    return replace(facts, **changes)


def service_facts(**changes: Any) -> ServiceFacts:
    """A service that was well, has a quota of one core, and used half of it."""
    server = server_facts()
    facts = ServiceFacts(
        "db", "local", ServerState.READY, image="sha256:2", running=True, cpus=1.0, memory_bytes=100 << 20,
        opening=server.opening, closing=server.opening, last=server.opening,
    )  # fmt: skip
    return replace(facts, **changes)


def host_use(**changes: Any) -> HostUse:
    """A load host of four cores for nine seconds that had little to do."""
    use = HostUse(
        host="local",
        role="load",
        seconds=9.0,
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
    )
    return replace(use, **changes)


def trial_facts(**changes: Any) -> TrialFacts:
    """A trial of case() that went well."""
    bound = OffsetBound(-20_000, 20_000, 40_000, 64, T0_NS)
    facts = TrialFacts(
        number=1,
        block=0,
        case=case(),
        started_at_ns=T0_NS - 10**9,
        t0_ns=T0_NS,
        window_start_us=T0_US,
        window_end_us=None,
        server=server_facts(),
        agents=[agent_facts(), agent_facts(agent="local/1")],
        clocks=[HostClock("local", bound, bound)],
        shared_host=True,
        hosts=[host_use()],
    )
    return replace(facts, **changes)


def result(
    facts: AgentFacts, service_us: list[int], http_error_us: list[int] | None = None, seconds: int = 1
) -> AgentResult:
    """Counters of one agent, spread evenly over the first seconds."""
    service = {name: HdrCounts() for name in CLASSES}
    series = {name: Series() for name in CLASSES}
    for name, values in (("ok", service_us), ("http_error", http_error_us or [])):
        numbers = np.array(values, dtype=np.int64)
        service[name].record(numbers)
        starts = np.arange(numbers.size, dtype=np.int64) * seconds * 1_000_000 // max(1, numbers.size)
        series[name].record(starts, numbers)
    return AgentResult(facts, service, series)
