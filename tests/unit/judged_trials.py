"""Trials that are judged as good ones, closed and open, for tests to spoil."""

from dataclasses import replace

import numpy as np

from agents.cgroup import Counters
from agents.histogram import HdrCounts
from orchestrator.analyse.cases import judge
from tests.unit.facts import (
    T0_US,
    agent_facts,
    result,
    steady_case,
    trial_facts,
)

FULL = Counters(memory_peak_bytes=100 << 20, memory_limit_bytes=100 << 20, cpu_us=9_000_000, cpu_system_us=8_500_000)
STEADY = {
    "case": steady_case(),
    "window_start_us": T0_US + 2_000_000,
    "window_end_us": T0_US + 7_000_000,
}


def steady_agents(**changes):
    one = agent_facts(planned=None, started=520, crossing=20, last_end_us=T0_US + 9_000_000, **changes)
    return [one, replace(agent_facts(agent="local/1", planned=None, started=520, crossing=20))]


def open_agents(**changes):
    good = {"planned": None, "due": 500, "missing": 0, "late": 0, "late_us": 1_000, "largest_burst": 1, "started": 500}
    good |= {"generator": "paced", "waited_for_slot": 0}
    return [agent_facts(**good | changes), agent_facts(agent="local/1", **good)]


OPEN = {
    "case": steady_case(model="open", rate_per_s=200.0),
    "window_start_us": T0_US + 2_000_000,
    "window_end_us": T0_US + 7_000_000,
    "agents": open_agents(),
}


def trial(http_errors=0, lag_us=None, **changes):
    facts = trial_facts(**changes)
    # In a window of 5 s forty slots that are always busy answer a thousand requests in 200 ms each.
    timed = facts.window_end_us is not None
    service = [200_000 if timed else 1_000] * (500 - http_errors)
    results = [result(agent, service, [500] * http_errors, seconds=5 if timed else 1) for agent in facts.agents]
    if lag_us is not None:
        results = [with_lag(each, service, lag_us) for each in results]
    return judge(facts, results)


def with_lag(of_agent, service, lag_us):
    """The result of an agent that sent every request late."""
    lags = np.full(len(service), lag_us, dtype=np.int64)
    of_agent.response, of_agent.lag = HdrCounts(), HdrCounts()
    of_agent.response.record(lags + np.array(service))
    of_agent.lag.record(lags)
    return of_agent


def codes(judged):
    return {finding.code for finding in judged.findings}
