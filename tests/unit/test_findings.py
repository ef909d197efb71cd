"""Each finding: provoked by one fact, and silent without it."""

from dataclasses import replace

import pytest

from agents.cgroup import Counters
from agents.clock import OffsetBound
from agents.generators.handshakes import Handshakes
from agents.room import FolderRoom
from orchestrator.analyse import verdict
from orchestrator.analyse.cases import case_result
from orchestrator.facts import CommandDone, Degraded, HostClock
from orchestrator.result import Severity, Verdict
from tests.unit.facts import (
    T0_NS,
    T0_US,
    agent_facts,
    case,
    host_use,
    server_facts,
    service_facts,
    steady_case,
)
from tests.unit.judged_trials import FULL, OPEN, STEADY, open_agents, steady_agents, trial
from tests.unit.test_findings_in_numbers import NUMBERS

pytestmark = pytest.mark.table


def clocks(before, after):
    return [HostClock("local", before, after)]


NEAR, WIDE = OffsetBound(-9_000, 9_000, 18_000, 64, T0_NS), OffsetBound(-50_000_000, 50_000_000, 100_000_000, 64, T0_NS)
AWAY = OffsetBound(10**9, 10**9 + 9_000, 9_000, 64, T0_NS + 10**9)

FULL_MEMORY = FolderRoom("/dev/shm", 0, 8 << 20)

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
    "handshakes-failed": (
        "suspect",
        {"agents": [agent_facts(handshakes=Handshakes({900: 40}, {403: 3})), agent_facts(agent="local/1")]},
    ),
    "unasked-messages": (
        "invalid",
        {"agents": [agent_facts(handshakes=Handshakes({900: 40}, unasked=3)), agent_facts(agent="local/1")]},
    ),
    "not-run": ("invalid", {"server": server_facts(state="not-tried"), "error": "x", "agents": [], "t0_ns": None}),
    "host-lost": ("suspect", {"lost": ["host web: its actor is gone (log)"]}),
    "agent-lost": ("invalid", {"agents": [agent_facts()]}),
    "counts-mismatch": ("invalid", {"agents": [agent_facts(done=501), agent_facts(agent="local/1")]}),
    "requests-lost": ("invalid", {**STEADY, "agents": steady_agents(), "case": steady_case(), "number": 9}),
    "clients-lost": (
        "invalid",
        {**STEADY, "case": steady_case(protocol="http2"), "agents": steady_agents(sockets_fewest=19)},
    ),
    "hung-slots": ("suspect", {**STEADY, "agents": steady_agents(hung=2)}),
    "clients-idle": ("suspect", {"agents": [agent_facts(drain_us=400_000), agent_facts(agent="local/1")]}),
    "stream-failures": ("suspect", {"agents": [agent_facts(request_failures=4), agent_facts(agent="local/1")]}),
    "generator-cpu": ("suspect", {"agents": [agent_facts(cpu_busiest=0.75), agent_facts(agent="local/1")]}),
    "clock-bound": ("suspect", {"clocks": clocks(WIDE, WIDE)}),
    "clock-step": ("invalid", {"clocks": clocks(NEAR, AWAY)}),
    "clock-unbounded": (
        "suspect",
        {"clocks": [HostClock("local", NEAR, None, "2 of 32 clock probes were answered", T0_NS + 10**10)]},
    ),
    "no-space": (
        "invalid",
        {"agents": [agent_facts(ended="no-space", done=None, no_space=FULL_MEMORY), agent_facts(agent="local/1")]},
    ),
    "start-skew": (
        "suspect",
        {"agents": [agent_facts(), agent_facts(agent="local/1", first_start_us=T0_US + 300_000)]},
    ),
    "censored-tail": ("suspect", {**STEADY, "agents": steady_agents(done=500)}),
    "bursty-arrivals": ("suspect", {**OPEN, "agents": open_agents(late=60, largest_burst=7)}),
    "rate-not-reached": ("suspect", {**OPEN, "agents": open_agents(due=400)}),
    "out-of-slots": ("suspect", {**OPEN, "agents": open_agents(waited_for_slot=2, late=500)}),
    "send-lag": ("suspect", {**OPEN, "lag_us": 30_000}),
    "other-run": ("suspect", {"hosts": [host_use(other_runs=["shop-1 of anna@laptop"])]}),
    "host-steal": ("suspect", {"hosts": [host_use(steal_share=0.2)]}),
    "network-saturated": ("suspect", {"hosts": [host_use(link_share=0.95)]}),
    "ephemeral-ports": ("invalid", {"hosts": [host_use(ports=30)]}),
    "connection-close": ("suspect", {"server": server_facts(closes=True)}),
    "keepalive-limit": (
        "suspect",
        {"agents": [agent_facts(opened_about=90), agent_facts(agent="local/1", opened_about=90)]},
    ),
    "redirected": ("suspect", {"agents": [agent_facts(statuses={302: 500}), agent_facts(agent="local/1")]}),
    "server-unresponsive": ("invalid", {"server": server_facts(afterwards="not-ready")}),
    "host-key-accepted": ("information", {"accepted_keys": ["gen1"]}),
    "shared-host": ("information", {}),
    "too-few-samples": ("information", {}),
    "no-warmup": ("information", {}),
    "server-throttled": ("information", {}),
    "service-oom-kill": ("invalid", {"services": [service_facts(last=replace(FULL, oom_kills=3))]}),
    "service-exited": (
        "invalid",
        {"services": [service_facts(running=False, exit_code=137, exited_after_us=12_300_000, detail="exit code 137")]},
    ),
    "service-not-ready": (
        "invalid",
        {"services": [service_facts(state="not-ready", detail="no answer")], "error": "x", "agents": [], "t0_ns": None},
    ),
    "service-replaced": ("information", {"services": [service_facts(replaced="exit code 137")]}),
    "service-throttled": ("information", {"services": [service_facts(closing=server_facts().closing)]}),
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


PROVOKED["command-failed"] = (
    "invalid",
    {**STEADY, "agents": steady_agents(), "commands": [CommandDone("before", "db", 1, 5, "no such table")]},
)
PROVOKED["degraded"] = (
    "suspect",
    {
        "case": case(agents=1, clients=20, requests=500),
        "agents": [agent_facts()],
        "lost": ["host gen2: its actor is gone (wait)"],
        "degraded": Degraded(case(), ["gen2/0"], 0.5, 3_200_000, ["host gen2: its actor is gone (wait)"]),
    },
)
PROVOKED["fewer-agents"] = (
    "information",
    {**STEADY, "agents": steady_agents(), "case": steady_case(agents_asked=40)},
)
PROVOKED["idle-hosts"] = ("information", {**STEADY, "agents": steady_agents(), "idle_hosts": ["gen3"]})
PROVOKED["retried"] = ("information", {**STEADY, "agents": steady_agents(), "tries": ["agent-lost (local/0)"]})


def provoked():
    return [pytest.param(code, marks=pytest.mark.provokes(code)) for code in PROVOKED]


@pytest.mark.parametrize("code", provoked())
def test_a_finding_is_provoked_with_its_severity(code):
    """One fact out of order, one finding more; and the verdict follows."""
    severity, changes = PROVOKED[code]

    judged = trial(**changes)
    found = {f.code: f for f in judged.findings}

    assert code in found
    assert found[code].severity == severity
    assert found[code].hint
    assert judged.verdict == {"invalid": "INVALID", "suspect": "SUSPECT", "information": "VALID"}[severity]


@pytest.mark.provokes("host-changed")
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"hosts": [host_use(kernel="6.2")]}, "kernel of local"),
        ({"hosts": [host_use(governor="powersave")]}, "governor of local"),
        ({"server": server_facts(image="sha256:2")}, "image"),
    ],
)
def test_a_host_that_changes_between_repetitions(changes, what):
    """The case is SUSPECT and names the trials that are unlike the first."""
    trials = [trial(**STEADY, agents=steady_agents()), trial(**STEADY, agents=steady_agents(), number=2, **changes)]

    summed = case_result(trials[0].facts.case, trials, required=1)
    found = [f for f in summed.findings if f.code == "host-changed"]

    assert summed.verdict is Verdict.SUSPECT
    assert [f.trials for f in found] == [[2]]
    assert list(found[0].facts) == [what]


@pytest.mark.silent("host-changed")
def test_repetitions_on_the_same_hosts_are_repetitions():
    """Nothing to say."""
    trials = [trial(**STEADY, agents=steady_agents(), number=n) for n in (1, 2)]

    assert "host-changed" not in {f.code for f in case_result(trials[0].facts.case, trials, required=1).findings}


@pytest.mark.silent(*PROVOKED, *NUMBERS, "errors", "no-success", but=["too-few-samples"])
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


def test_verdict_of_a_case():
    """As good as what remains; INVALID when too little remains."""
    valid, suspect = trial(**STEADY, agents=steady_agents()), trial(**STEADY, agents=steady_agents(hung=2))
    invalid = trial(agents=[agent_facts(cpu_busiest=0.9), agent_facts(agent="local/1")])

    assert [t.verdict for t in (valid, suspect, invalid)] == [Verdict.VALID, Verdict.SUSPECT, Verdict.INVALID]
    assert verdict.of_case([valid, valid, invalid], 2) is Verdict.VALID
    assert verdict.of_case([valid, suspect, invalid], 2) is Verdict.SUSPECT
    assert verdict.of_case([valid, invalid, invalid], 2) is Verdict.INVALID
    assert verdict.of_case([], 1) is Verdict.INVALID


FAILED = {
    "killed": {"server": server_facts(last=Counters(oom_kills=1, memory_peak_bytes=100, memory_limit_bytes=100))},
    "exited": {"server": server_facts(state="exited")},
    "unresponsive": {"server": server_facts(afterwards="not-ready")},
    "hung": {**STEADY, "agents": steady_agents(hung=30)},
    "ended": {"agents": [agent_facts(ended="watchdog"), agent_facts(agent="local/1")]},
}


@pytest.mark.parametrize("how", FAILED)
def test_a_case_in_which_the_server_failed_is_at_most_suspect(how):
    """In one of three trials: the other two are those in which it happened not to. Its finding shows on the page."""
    valid, failed = trial(**STEADY, agents=steady_agents()), trial(**FAILED[how], number=2)
    summed = case_result(valid.facts.case, [valid, failed, valid], required=2)

    assert (valid.verdict, failed.verdict) == (Verdict.VALID, Verdict.INVALID)
    assert (summed.used, summed.verdict) == (2, Verdict.SUSPECT)
    assert summed.findings[0].trials == [2]


def test_severity_is_a_word_in_files():
    """What programs compare with."""
    assert [str(s) for s in Severity] == ["information", "suspect", "invalid"]
