"""Each finding: provoked by one fact, and silent without it."""

from dataclasses import replace

import pytest

from agents.clock import OffsetBound
from agents.meter import Counters
from agents.records import HostClock
from orchestrator.analyse import verdict
from orchestrator.analyse.cases import judge
from orchestrator.result import Severity, Verdict
from tests.unit.facts import T0_NS, T0_US, agent_facts, result, server_facts, steady_case, trial_facts

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
    good = {"planned": None, "due": 500, "missing": 0, "late": 0, "started": 500}
    return [agent_facts(**good | changes), agent_facts(agent="local/1", **good)]


OPEN = {"window_start_us": T0_US + 2_000_000, "window_end_us": T0_US + 7_000_000, "agents": open_agents()}


def trial(http_errors=0, **changes):
    facts = trial_facts(**changes)
    service = [1000] * (500 - http_errors)
    results = [result(agent, service, [500] * http_errors) for agent in facts.agents]
    return judge(facts, results)


def clocks(before, after):
    return [HostClock("local", before, after)]


NEAR, WIDE = OffsetBound(-9_000, 9_000, 18_000, 64, T0_NS), OffsetBound(-50_000_000, 50_000_000, 100_000_000, 64, T0_NS)
AWAY = OffsetBound(10**9, 10**9 + 9_000, 9_000, 64, T0_NS + 10**9)

PROVOKED = {
    "server-oom-kill": ("invalid", {"server": server_facts(last=replace(FULL, oom_kills=3))}),
    "server-memory-thrash": (
        "invalid",
        {
            "server": server_facts(state="not-ready", opening=None, last=replace(FULL, major_faults=23_000)),
            "error": "x",
            "agents": [],
        },
    ),
    "server-not-ready": (
        "invalid",
        {"server": server_facts(state="not-ready"), "error": "x", "agents": [], "t0_ns": None},
    ),
    "server-exited": ("invalid", {"server": server_facts(running=False, exit_code=1)}),
    "server-restarted": ("invalid", {"server": server_facts(restarts=1)}),
    "response-mismatch": (
        "invalid",
        {"server": server_facts(state="mismatch"), "error": "x", "agents": [], "t0_ns": None},
    ),
    "not-run": ("invalid", {"server": server_facts(state="not-tried"), "error": "x", "agents": [], "t0_ns": None}),
    "agent-lost": ("invalid", {"agents": [agent_facts()]}),
    "counts-mismatch": ("invalid", {"agents": [agent_facts(done=501), agent_facts(agent="local/1")]}),
    "requests-lost": ("invalid", {**STEADY, "agents": steady_agents(), "case": steady_case(), "number": 9}),
    "clients-lost": ("invalid", {**STEADY, "agents": steady_agents(sockets_fewest=19)}),
    "stream-failures": ("suspect", {"agents": [agent_facts(request_failures=4), agent_facts(agent="local/1")]}),
    "generator-cpu": ("suspect", {"agents": [agent_facts(cpu_busiest=0.75), agent_facts(agent="local/1")]}),
    "clock-bound": ("suspect", {"clocks": clocks(WIDE, WIDE)}),
    "clock-step": ("invalid", {"clocks": clocks(NEAR, AWAY)}),
    "start-skew": (
        "suspect",
        {"agents": [agent_facts(), agent_facts(agent="local/1", first_start_us=T0_US + 300_000)]},
    ),
    "censored-tail": ("suspect", {**STEADY, "agents": steady_agents(done=500)}),
    "bursty-arrivals": ("suspect", {"case": steady_case(model="open", rate_per_s=8000.0), **OPEN}),
    "rate-not-reached": (
        "suspect",
        {
            "case": steady_case(model="open", rate_per_s=100.0),
            **OPEN,
            "agents": open_agents(rows=400, done=400, started=400),
        },
    ),
    "send-lag": (
        "suspect",
        {"case": steady_case(model="open", rate_per_s=100.0), **OPEN, "agents": open_agents(late=50, lower_bound=True)},
    ),
    "host-key-accepted": ("information", {"accepted_keys": ["gen1"]}),
    "shared-host": ("information", {}),
    "too-few-samples": ("information", {}),
    "no-warmup": ("information", {}),
    "server-throttled": ("information", {}),
}
# These need more than one changed fact.
PROVOKED["requests-lost"] = (
    "invalid",
    {**STEADY, "agents": [replace(steady_agents()[0], started=600), steady_agents()[1]]},
)
PROVOKED["censored-tail"] = (
    "suspect",
    {**STEADY, "agents": [replace(a, crossing=0) for a in steady_agents()]},
)


@pytest.mark.parametrize("code", PROVOKED)
def test_a_finding_is_provoked_with_its_severity(code):
    """One fact out of order, one finding more; and the verdict follows."""
    severity, changes = PROVOKED[code]

    judged = trial(**changes)
    found = {f.code: f for f in judged.findings}

    assert code in found
    assert found[code].severity == severity
    assert found[code].hint
    assert judged.verdict == {"invalid": "INVALID", "suspect": "SUSPECT", "information": "VALID"}[severity]


def test_a_good_trial_has_no_finding_above_information():
    """The control for all of them, with a warm-up and a metered server on another machine."""
    quiet = server_facts(closing=replace(server_facts().closing, throttled_periods=0))
    judged = trial(**STEADY, agents=steady_agents(), shared_host=False, server=quiet)

    assert [f.code for f in judged.findings] == ["too-few-samples"]
    assert judged.verdict is Verdict.VALID


def test_the_cause_is_told_and_not_what_follows_from_it():
    """A server that is not ready because it has no memory has one finding, not two."""
    changes = {"error": "x", "agents": [], "t0_ns": None}

    judged = trial(server=server_facts(state="not-ready", last=replace(FULL, oom_kills=10)), **changes)

    assert [f.code for f in judged.findings] == ["server-oom-kill"]


def test_thrashing_needs_faults_and_a_full_limit():
    """Not ready with memory to spare is another finding."""
    spare = replace(FULL, memory_peak_bytes=50 << 20, major_faults=23_000)

    judged = trial(server=server_facts(state="not-ready", opening=None, last=spare), error="x", agents=[], t0_ns=None)

    assert [f.code for f in judged.findings] == ["server-not-ready"]


@pytest.mark.parametrize(("errors", "severity"), [(1, "information"), (50, "suspect"), (500, "invalid")])
def test_errors_weigh_by_their_share(errors, severity):
    """A few are counted; many make another workload; nothing but errors is no measurement."""
    judged = trial(http_errors=errors)
    found = [f for f in judged.findings if f.code in ("errors", "no-success")]

    assert [f.severity for f in found] == [severity]
    assert judged.metrics.requests.http_error == 2 * errors


def test_generator_at_the_end_of_its_core_is_invalid():
    """Above 85 % the number is about h2load."""
    judged = trial(agents=[agent_facts(cpu_busiest=0.9), agent_facts(agent="local/1")])

    assert judged.verdict is Verdict.INVALID


def test_verdict_of_a_case():
    """As good as what remains; INVALID when too little remains."""
    valid, suspect, invalid = Verdict.VALID, Verdict.SUSPECT, Verdict.INVALID

    assert verdict.of_case([valid, valid, invalid], 2) is valid
    assert verdict.of_case([valid, suspect, invalid], 2) is suspect
    assert verdict.of_case([valid, invalid, invalid], 2) is invalid
    assert verdict.of_case([], 1) is invalid


def test_severity_is_a_word_in_files():
    """What programs compare with."""
    assert [str(s) for s in Severity] == ["information", "suspect", "invalid"]
