"""Each finding: provoked by one fact, and silent without it."""

from dataclasses import replace

import numpy as np
import pytest

from agents.cgroup import Counters
from agents.clock import OffsetBound
from agents.generators.handshakes import Handshakes
from agents.histogram import HdrCounts
from orchestrator.analyse import verdict
from orchestrator.analyse.cases import case_result, judge
from orchestrator.facts import CommandDone, Degraded, HostClock
from orchestrator.result import Severity, Verdict
from tests.unit.facts import (
    T0_NS,
    T0_US,
    agent_facts,
    case,
    host_use,
    result,
    server_facts,
    service_facts,
    steady_case,
    trial_facts,
)
from tests.unit.test_findings_in_numbers import NUMBERS

pytestmark = pytest.mark.table
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


def codes(judged):
    return {finding.code for finding in judged.findings}


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


@pytest.mark.provokes("response-mismatch")
def test_bodies_of_another_size_under_load():
    """What was checked had 13 bytes; the mean under load has 9."""
    agents = [agent_facts(body_bytes=500 * 9), agent_facts(agent="local/1", body_bytes=500 * 9)]

    assert "response-mismatch" in codes(trial(server=server_facts(body_bytes=13), agents=agents))


@pytest.mark.silent("response-mismatch")
def test_bodies_of_the_same_size_under_load():
    """Nothing to say; nor of answers that were cut off when the time was over: part of them was received, or none."""
    agents = [agent_facts(body_bytes=500 * 13), agent_facts(agent="local/1", body_bytes=510 * 13)]
    cut = [replace(agent, body_bytes=400 * 13, errored=100) for agent in agents]

    for those in (agents, cut):
        assert "response-mismatch" not in codes(trial(server=server_facts(body_bytes=13), agents=those))


@pytest.mark.provokes("generator-cpu")
@pytest.mark.parametrize(
    ("agent", "ceilings", "severity"),
    [
        ({"cpu_busiest": 0.3, "cpu_us": 300_000, "waiting_share": 0.5}, {}, "suspect"),
        ({"cpu_busiest": 0.5, "cpu_us": 500_000, "waiting_share": 0.45}, {}, "invalid"),
        ({}, {"local": 520.0}, "suspect"),
    ],
)
def test_a_generator_that_waits_for_its_core_or_is_near_its_ceiling(agent, ceilings, severity):
    """CPU alone says too little on a busy core; and calibration knows what a host can send."""
    judged = trial(agents=[agent_facts(**agent), agent_facts(agent="far/0")], ceilings_per_s=ceilings)

    assert {f.code: f.severity for f in judged.findings}["generator-cpu"] == severity


@pytest.mark.silent("generator-cpu")
def test_a_generator_far_below_its_ceiling():
    """500 a second where 5000 were seen to be possible."""
    assert "generator-cpu" not in codes(trial(ceilings_per_s={"local": 5000.0}))


@pytest.mark.provokes("shared-host")
@pytest.mark.parametrize("changes", [{"hosts": [host_use(free_share=0.01)]}, {"waiting": 0.2}])
def test_a_shared_host_without_a_free_core_is_suspect(changes):
    """Information while cores are free, a doubt when server and agents compete for them."""
    agents = [agent_facts(waiting_share=changes.pop("waiting", 0.0)), agent_facts(agent="local/1")]

    judged = trial(agents=agents, **changes)

    assert {f.code: f.severity for f in judged.findings}["shared-host"] is Severity.SUSPECT


@pytest.mark.provokes("server-throttled")
def test_a_cpu_limit_that_the_campaign_did_not_set_is_suspect():
    """Information where the campaign has the limit."""
    judged = trial(case=case(cpus=None))

    assert {f.code: f.severity for f in judged.findings}["server-throttled"] is Severity.SUSPECT


@pytest.mark.provokes("network-saturated")
@pytest.mark.parametrize("changes", [{"dropped_packets": 100}, {"segments_sent_again": 100}])
def test_a_network_that_loses_is_saturated(changes):
    """Also where no speed is known."""
    use = host_use(link_bits_per_s=None, link_share=None, **changes)

    assert "network-saturated" in codes(trial(hosts=[use]))


@pytest.mark.silent("network-saturated")
def test_a_speed_that_an_interface_only_states_is_not_believed():
    """Virtual interfaces say 10 Mbit/s and carry a hundred times that."""
    assert "network-saturated" not in codes(trial(hosts=[host_use(link_share=90.0)]))


@pytest.mark.provokes("keepalive-limit")
def test_http2_connections_that_go_away_under_a_living_server():
    """h2load does not reopen them: the server answers, and clients are lost."""
    judged = trial(
        **{**STEADY, "case": steady_case(protocol="http2")},
        agents=steady_agents(sockets_fewest=3),
        server=server_facts(afterwards="ready"),
    )

    assert {"clients-lost", "keepalive-limit"} <= codes(judged)


@pytest.mark.silent("bursty-arrivals", "send-lag", "out-of-slots", "rate-not-reached", "hung-slots", "clients-idle")
def test_an_open_loop_that_is_on_time_has_no_doubts():
    """A few late requests, and what every timer adds; a closed load whose clients end together."""
    judged = trial(**OPEN | {"agents": open_agents(late=20, largest_burst=2)}, lag_us=900)

    assert codes(judged) <= {"too-few-samples", "shared-host", "server-throttled"}
    assert "clients-idle" not in codes(trial(agents=[agent_facts(drain_us=60_000), agent_facts(agent="local/1")]))


@pytest.mark.parametrize(
    ("changes", "lag_us", "severity", "words"),
    [
        ({"agents": open_agents(early=3)}, 0, "suspect", "before they were due"),
        ({"agents": open_agents(off_schedule=3)}, 0, "suspect", "not on the schedule"),
        ({"agents": open_agents(late=300, generator="h2load")}, 0, "suspect", "10 ms timer of h2load"),
        ({}, 300_000, "invalid", "p50 of the send lag is 300 ms of a response time of 500 ms"),
    ],
)
@pytest.mark.provokes("bursty-arrivals", "send-lag")
def test_arrivals_that_are_not_those_of_the_schedule(changes, lag_us, severity, words):
    """Whatever the generator, and with the reason in words."""
    judged = trial(**OPEN | changes, lag_us=lag_us)
    found = [f for f in judged.findings if f.code in ("bursty-arrivals", "send-lag")]

    assert [f.severity for f in found] == [severity]
    assert words in found[0].sentence


def test_no_free_slot_explains_late_sends():
    """Its finding stands alone: the generator's timing is not to blame."""
    judged = trial(**OPEN | {"agents": open_agents(waited_for_slot=50, late=400)}, lag_us=300_000)

    assert {"bursty-arrivals", "send-lag", "out-of-slots"} & codes(judged) == {"out-of-slots"}


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


def test_thrashing_needs_faults_and_a_full_limit():
    """Not ready with memory to spare is another finding."""
    spare = replace(FULL, memory_peak_bytes=50 << 20, major_faults=23_000)

    judged = trial(server=server_facts(state="not-ready", opening=None, last=spare), error="x", agents=[], t0_ns=None)

    assert [f.code for f in judged.findings] == ["server-not-ready"]


@pytest.mark.provokes("errors", "no-success")
@pytest.mark.parametrize(("errors", "severity"), [(1, "information"), (50, "suspect"), (500, "invalid")])
def test_errors_weigh_by_their_share(errors, severity):
    """A few are counted; many make another workload; nothing but errors measures nothing."""
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


def test_an_h2load_that_ended_its_load_and_does_not_exit():
    """Its log is complete and its count is missing: a doubt, not a lost agent. With an error in the log it is lost."""
    stopped = {"ended": "watchdog", "output": "Stopped all clients for thread #0\n", "done": None, "started": None}
    suspect = trial(**STEADY, agents=[replace(steady_agents()[0], **stopped), steady_agents()[1]])
    broken = trial(**STEADY, agents=[replace(steady_agents()[0], **stopped, errors=["torn"]), steady_agents()[1]])

    assert [f.severity for f in suspect.findings if f.code == "agent-lost"] == ["suspect"]
    assert [f.severity for f in broken.findings if f.code == "agent-lost"] == ["invalid"]
