"""A trial that continues without the load hosts that it loses, if the campaign allows it."""

from dataclasses import replace
from pathlib import Path

import pytest

from agents.clock import ClockUnreachable, OffsetBound
from orchestrator.analyse.cases import case_result, judge, summarise
from orchestrator.analyse.objectives import objectives
from orchestrator.analyse.precision import Precision, Progress
from orchestrator.analyse.verdict import no_fault_of_the_server
from orchestrator.facts import Degraded
from orchestrator.fleet.hosts import Placed, gone
from orchestrator.plan import assign, make_plan
from orchestrator.result import GateState, Trial, Verdict
from orchestrator.run import load
from orchestrator.run.inputs import TrialInput
from orchestrator.run.left import driven, lost_share
from orchestrator.run.loop import RunContext
from orchestrator.run.trial import run_trial, traffic_of  # type: ignore[attr-defined]
from orchestrator.slo import Metric
from orchestrator.spec.models import Campaign
from orchestrator.spec.slo import terms
from tests.fakes.handles import NotedLoad, NotedServer
from tests.unit.facts import agent_facts, case, result, trial_facts

BOUND = OffsetBound(-10, 10, 20, 32, 0)


@pytest.fixture(autouse=True)
def _clocks(monkeypatch):
    monkeypatch.setattr(load.clock_probes, "probe_all", lambda places: [BOUND for _ in places])  # type: ignore[attr-defined]


class World:
    """A server host and three load hosts with an agent each."""

    def __init__(self, loss="degrade", **changes):
        plain = {
            "campaign": "c",
            "targets": {"t": {"image": "i", "port": 80}},
            "loads": {"l": {"clients": 7, "duration": "2s", "warm_up": "1s", "tail": "1s"} | changes},
            "agents": 3,
            "repetitions": 1,
            "on_agent_loss": loss,
        }
        self.campaign = Campaign.model_validate(plain)
        self.calls, self.events = [], []
        self.server = NotedServer(self.calls, "web")
        self.loads = [
            NotedLoad(self.calls, host, results=[result(agent_facts(agent=f"{host}/0"), [1_000] * 10, seconds=2)])
            for host in ("gen1", "gen2", "gen3")
        ]

    def run(self):
        spec = self.campaign
        context = RunContext(spec, Path(), "run", {"t": "i"}, lambda case: None)
        hosts = {host.host: host for host in (self.server, *self.loads)}
        placed = Placed(self.server, list(self.loads), [[None]] * 3, hosts)
        return run_trial(context.input(make_plan(spec).trials[0]), placed, self.events.append)

    def lose(self, host, call):
        self.loads[host].fail[call] = gone(f"gen{host + 1}", call)


STAGES = ["clock_port", "arm", "progress", "release_at", "wait", "collect", "use"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("host", [0, 2])
def test_a_host_that_is_lost_costs_its_own_part(stage, host):
    """At whichever stage: the others' results are there, the load is what they drove, and the share is stated."""
    world = World()
    world.lose(host, stage)
    output = world.run()
    facts, judged = output.facts, judge(output.facts, output.agents)

    left = [f"gen{number}/0" for number in (1, 2, 3) if number != host + 1]
    clients = {0: 4, 2: 5}[host]
    assert [agent.agent for agent in facts.agents] == [each.facts.agent for each in output.agents] == left
    assert (facts.error, len(output.agents), len(facts.clocks)) == (None, 2, 3)
    assert (facts.case.agents, facts.case.clients) == (2, clients)
    assert (facts.degraded.planned.agents, facts.degraded.planned.clients) == (3, 7)
    assert facts.degraded.share == pytest.approx(1 - clients / 7)
    assert facts.degraded.agents == [f"gen{host + 1}/0"]
    # The hosts are brought up before the next trial; this one is not retried.
    assert output.lost is world.loads[host].fail[stage]
    assert judged.verdict is Verdict.SUSPECT
    assert no_fault_of_the_server(judged) is None
    codes = [f.code for f in judged.findings]
    assert "degraded" in codes
    assert not {"host-lost", "agent-lost"} & set(codes)
    assert [e.text for e in world.events if e.kind == "host-lost"] == [
        f"  host gen{host + 1}: its actor is gone ({stage}); the trial continues with 2 load hosts"
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_by_default_the_trial_fails(stage):
    """on_agent_loss: fail."""
    world = World(loss="fail")
    world.lose(1, stage)
    output = world.run()

    assert output.facts.error == f"host gen2: its actor is gone ({stage})"
    assert (output.facts.degraded, output.facts.agents) == (None, [])
    assert no_fault_of_the_server(judge(output.facts, output.agents)) is not None


@pytest.mark.parametrize("stage", STAGES)
def test_a_trial_that_loses_all_its_load_hosts_fails(stage):
    """Whether one after the other or at once."""
    world = World()
    for host in range(3):
        world.lose(host, stage)
    output = world.run()

    assert output.facts.error is not None
    assert (output.facts.degraded, len(output.agents)) == (None, 0)
    assert judge(output.facts, output.agents).verdict is Verdict.INVALID


def test_two_of_three_hosts_are_lost_at_different_stages():
    """One before T0, one in the load: both are named, and the third has its result."""
    world = World()
    world.lose(0, "arm")
    world.lose(1, "wait")
    output = world.run()

    assert output.facts.degraded.agents == ["gen1/0", "gen2/0"]
    assert output.facts.lost == ["host gen1: its actor is gone (arm)", "host gen2: its actor is gone (wait)"]
    assert output.facts.case.clients == 2
    assert "gen1.release_at" not in world.calls
    assert "gen2.collect" not in world.calls


@pytest.mark.parametrize("call", ["start", "ready", "clock_port", "meter", "use", "finish"])
def test_a_server_host_that_is_lost_fails_the_trial(call):
    """There is nothing left to measure."""
    world = World()
    world.server.fail[call] = gone("web", call)
    output = world.run()

    assert output.facts.error == f"host web: its actor is gone ({call})"
    assert output.facts.degraded is None


def test_the_next_host_asks_the_server_when_the_first_is_lost():
    """Before the load; the first has no part in the trial then."""
    world = World(paths=["/x", "/y"])
    asked = next(
        call for call in _calls_of(World(paths=["/x", "/y"])) if call.startswith("gen1.check") and call.endswith("/y")
    )
    world.lose(0, asked.removeprefix("gen1."))
    output = world.run()

    assert asked.replace("gen1", "gen2") in world.calls
    assert output.facts.degraded.agents == ["gen1/0"]
    assert "gen1.arm" not in world.calls


def _calls_of(world):
    world.run()
    return world.calls


def test_a_host_that_is_lost_once_everything_was_collected_keeps_its_part():
    """The server is asked once more after the load: the numbers are whole, and the loss is noted beside them."""
    asked = [call for call in _calls_of(World()) if call.startswith("gen1.check")][-1]
    world = World()
    world.lose(0, asked.removeprefix("gen1."))
    output = world.run()

    assert asked.replace("gen1", "gen2") in world.calls
    assert (output.facts.degraded, len(output.agents)) == (None, 3)
    assert "host-lost" in [f.code for f in judge(output.facts, output.agents).findings if f.severity == "suspect"]


def test_a_clock_that_does_not_answer_after_the_load_costs_nothing_but_trust(monkeypatch):
    """What that host measured is placed by the comparison before the load."""
    asked = []

    def probe(address, port):
        asked.append(address)
        if address == "198.18.0.2" and asked.count(address) >= 2:
            return ClockUnreachable("1 of 64 clock probes were answered")
        return BOUND

    monkeypatch.setattr(load.clock_probes, "probe_all", lambda places: [probe(*place) for place in places])  # type: ignore[attr-defined]
    monkeypatch.setattr(load, "CLOCKS_AFTER_S", 0.0)
    world = World()
    world.loads[1].address = "198.18.0.2"
    output = world.run()

    assert (output.facts.degraded, output.facts.lost) == (None, [])
    assert [agent.agent for agent in output.facts.agents] == ["gen1/0", "gen2/0", "gen3/0"]
    assert [clock.host for clock in output.facts.clocks if clock.unbounded] == ["gen2"]
    assert judge(output.facts, output.agents).verdict is Verdict.SUSPECT


def test_an_agent_that_dies_costs_its_own_part():
    """Its counters stop early, so they are left out; what it last printed is kept."""
    world = World()
    (dead,) = world.loads[1].results
    world.loads[1].results = [replace(dead, facts=replace(dead.facts, ended="died", output="a\nKilled\n\n"))]
    output = world.run()

    assert [each.facts.agent for each in output.agents] == ["gen1/0", "gen3/0"]
    assert len(output.agents) == len(output.facts.agents) == 2
    assert output.facts.degraded.why == ["load agent gen2/0 died: Killed"]
    # All hosts are well: none has to be brought up again.
    assert output.lost is None
    assert judge(output.facts, output.agents).verdict is Verdict.SUSPECT


def test_all_agents_that_die_are_no_part():
    """Then something else is wrong, and the trial is INVALID as before."""
    world = World()
    for host in world.loads:
        host.results = [replace(each, facts=replace(each.facts, ended="died")) for each in host.results]
    output = world.run()

    assert (output.facts.degraded, len(output.agents)) == (None, 3)
    assert judge(output.facts, output.agents).verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("changes", "left", "share"),
    [
        ({"clients": 7, "duration": "2s"}, (5, None, None), 2 / 7),
        ({"clients": 7, "requests": 100}, (5, 67, None), 0.33),
        ({"model": "open", "clients": 9, "rate": "300/s", "duration": "2s"}, (6, None, 200.0), 1 / 3),
    ],
)
def test_what_is_left_is_what_the_others_drive(changes, left, share):
    """Of clients, of requests, or of the rate."""
    spec = World(**{"duration": None, "warm_up": None, "tail": None} | changes).campaign
    planned, load_spec = make_plan(spec).trials[0].case, spec.loads["l"]
    traffic = traffic_of(spec.targets["t"], load_spec, "198.18.0.1", Path())
    shares = assign(planned, traffic, 10**7, "run", 1, {"a": [None], "b": [None], "c": [None]})
    case_left = driven(planned, shares, ["c/0"])

    assert (case_left.clients, case_left.requests, case_left.rate_per_s) == left
    assert lost_share(planned, shares, ["c/0"]) == pytest.approx(share)


def whole(number, **changes):
    """A trial with all of its load."""
    facts = trial_facts(number=number, block=number - 1, **changes)
    return judge(facts, [result(agent, [1_000] * 500) for agent in facts.agents])


def part(number):
    """A trial that lost half of its load, and answered faster for it."""
    lost = Degraded(case(), ["local/1"], 0.5, 1_000_000, ["host gone"])
    facts = trial_facts(number=number, block=number - 1, case=case(agents=1, clients=20, requests=500), degraded=lost,
                        agents=[agent_facts()])  # fmt: skip
    return judge(facts, [result(agent_facts(), [500] * 500)])


def test_the_numbers_of_a_case_come_from_its_whole_trials():
    """The other one makes the case SUSPECT, and nothing else."""
    found = case_result(case(), [whole(1), part(2), whole(3)], 2)

    assert (found.used, found.trials, found.load_lost) == (2, 3, None)
    assert found.verdict is Verdict.SUSPECT
    assert found.service_time_us["mean"].estimate == pytest.approx(1_000)


def test_a_case_of_parts_alone_has_numbers_and_no_objective_is_judged_by_them():
    """They are of less load than the objective is about."""
    found = case_result(case(), [part(1), part(2)], 2)
    (judged,) = objectives(found, terms("p90 < 50ms"))

    assert (found.used, found.load_lost, found.verdict) == (2, 0.5, Verdict.SUSPECT)
    assert (judged.state, judged.passed, judged.reason) == (GateState.NOT_JUDGED, False, "50 % of the load was lost")


def test_comparisons_and_precision_leave_a_part_out():
    """Two blocks of three remain for a comparison; the precision counts the time alone."""
    others = [
        replace(each, facts=replace(each.facts, case=case(name="b/burst", target="b")))
        for each in map(whole, (1, 2, 3))
    ]
    cases = [case(), case(name="b/burst", target="b")]
    summary = summarise("c", cases, [whole(1), part(2), whole(3), *others], 2, "flask", 0.03)
    progress = Progress(Precision(Metric.MEAN, 0.1, 2, 5, None), ["flask/burst"])
    progress.add(part(1))

    assert {comparison.trials for comparison in summary.comparisons} <= {2, None}
    assert (progress.trials, progress._values) == (1, {})


def test_cpu_per_request_is_unknown_when_requests_of_lost_agents_are_not_counted():
    """The server's counters include them."""
    assert whole(1, window_end_us=trial_facts().window_start_us + 10**6).metrics.server.cpu_us_per_request is not None
    trial: Trial = part(1)

    assert trial.metrics.server.cpu_us_per_request is None
    assert trial.metrics.server.cpu_s is not None


def test_a_search_repeats_its_probe():
    """TrialInput degrades only where a campaign asks for it."""
    spec = World().campaign
    context = RunContext(spec, Path(), "run", {"t": "i"}, lambda case: None)

    assert context.input(make_plan(spec).trials[0]).degrade
    assert not TrialInput(make_plan(spec).trials[0], spec.targets["t"], spec.loads["l"], "i", Path(), "run").degrade
