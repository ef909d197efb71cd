"""Hosts and clocks that are lost during a trial: what is a result, what a finding, and what is raised."""

import json

import pytest

from agents.clock import ClockUnreachable, OffsetBound
from agents.records import from_plain, to_plain
from orchestrator.analyse.cases import judge
from orchestrator.analyse.verdict import no_fault_of_the_server
from orchestrator.errors import HostError
from orchestrator.fleet import clock_probes
from orchestrator.fleet.hosts import gone
from orchestrator.run import load
from tests.unit.trial_world import AHEAD_NS, LEFT, World, clocks  # noqa: F401

UP_TO_THE_END = [
    *(("server", call) for call in ("run_command prepare", "start", "ready", "clock_port", "meter", "use", "finish")),
    *(("load", call) for call in ("check GET http://198.18.0.1:80/y", "clock_port", "arm", "progress", "release_at")),
    *(("load", call) for call in ("wait", "collect", "use", "check GET http://198.18.0.1:80/x")),
]
ONCE_MEASURED = [
    *(("server", call) for call in ("run_command tidy", "log", "abort", "stop")),
    *(("load", call) for call in ("cancel", "discard")),
]


@pytest.mark.parametrize(("host", "at"), UP_TO_THE_END)
def test_a_host_that_is_lost_is_a_result_without_numbers(host, at):
    """Whichever call fails: the error names the host, the hosts are to be restarted, the others are left as they were."""
    world = World(paths=["/x", "/y"])
    lost = getattr(world, host)
    lost.fail[at] = gone(lost.host, at)
    output = world.run()

    message = f"host {lost.host}: its actor is gone ({at})"
    assert (output.facts.error, output.facts.lost, output.lost) == (message, [message], lost.fail[at])
    assert (output.facts.agents, output.agents) == ([], [])
    judged = judge(output.facts, output.agents)
    assert [f.code for f in judged.findings if f.severity == "invalid"] == ["host-lost"]
    assert no_fault_of_the_server(judged) == f"host-lost ({message})"
    assert "web.run_command tidy" in world.calls
    assert sorted(world.calls[-4:]) == LEFT


@pytest.mark.parametrize(("host", "at"), ONCE_MEASURED)
def test_a_host_that_is_lost_once_everything_was_measured_is_noted_beside_the_numbers(host, at):
    """The trial keeps its numbers and is SUSPECT; the hosts are to be restarted."""
    world = World()
    lost = getattr(world, host)
    lost.fail[at] = gone(lost.host, at)
    output = world.run()

    message = f"host {lost.host}: its actor is gone ({at})"
    assert (output.facts.error, output.facts.lost, output.lost) == (None, [message], lost.fail[at])
    assert len(output.agents) == 1
    judged = judge(output.facts, output.agents)
    assert {f.code: f.severity for f in judged.findings}["host-lost"] == "suspect"


def test_a_host_that_stays_lost_is_counted_once():
    """Its log cannot be read either, nor its container be removed; a second host is counted, too."""
    world = World()
    for call in ("finish", "log", "abort"):
        world.server.fail[call] = gone("web", call)
    world.load.fail["discard"] = gone("gen", "discard")
    output = world.run()

    assert output.facts.lost == ["host web: its actor is gone (finish)", "host gen: its actor is gone (discard)"]
    assert b"the log could not be read" in output.server_log


TOO_FEW = ClockUnreachable("2 of 32 clock probes were answered")


def rounds_of_probes(monkeypatch, *rounds, within_s=60.0):
    """Make each round of probes come to what a test says, the last one again and again; return the places asked in each."""
    asked, left = [], list(rounds)

    def probe_all(places):
        asked.append(list(places))
        outcome = left.pop(0) if len(left) > 1 else left[0]
        return [outcome] * len(places)

    monkeypatch.setattr(clock_probes, "probe_all", probe_all)
    monkeypatch.setattr(clock_probes, "PAUSE_S", 0.0)
    monkeypatch.setattr(load, "CLOCKS_AFTER_S", within_s)
    return asked


def test_clocks_that_stand_still_for_some_rounds_cost_nothing(monkeypatch):
    """Before the load and after it."""
    bound = OffsetBound(-10, 10, 20, 32, 0)
    asked = rounds_of_probes(monkeypatch, TOO_FEW, bound, TOO_FEW, TOO_FEW, bound)
    facts = World().run().facts

    assert [len(places) for places in asked] == [2] * 5
    assert [(clock.after, clock.unbounded) for clock in facts.clocks] == [(bound, "")] * 2
    assert (facts.error, facts.lost) == (None, [])


@pytest.mark.provokes("clock-unbounded")
def test_a_clock_that_does_not_answer_after_the_load_is_a_finding(monkeypatch):
    """The trial keeps its numbers; the bound is that from before the load, with the drift that is possible since."""
    rounds_of_probes(monkeypatch, OffsetBound(-10, 10, 20, 32, 0), TOO_FEW, within_s=0.0)
    output = World().run()
    facts, judged = output.facts, judge(output.facts, output.agents)

    assert (facts.error, facts.lost, output.lost, len(output.agents)) == (None, [], None, 1)
    assert [(clock.after, clock.unbounded) for clock in facts.clocks] == [(None, str(TOO_FEW))] * 2
    # 500 ppm of the time since the comparison, whose own instant is 0 here.
    for clock in facts.clocks:
        assert clock.until_ns > facts.started_at_ns
        assert clock.half_width_ns == 10 + int(500e-6 * clock.until_ns)
    assert {f.code: f.severity for f in judged.findings}["clock-unbounded"] == "suspect"
    assert no_fault_of_the_server(judged) is None
    from_disk = from_plain(type(facts), json.loads(json.dumps(to_plain(facts))))
    assert from_disk.clocks == facts.clocks


def test_without_a_clock_before_the_load_there_is_no_t0(monkeypatch):
    """The error says what to open."""
    monkeypatch.setattr(load, "CLOCKS_BEFORE_S", 0.0)
    rounds_of_probes(monkeypatch, TOO_FEW)
    world = World()
    with pytest.raises(HostError, match="host gen: 2 of 32 clock probes") as caught:
        world.run()

    assert "allow UDP to port 9" in caught.value.hint
    assert "gen.arm" not in world.calls


@pytest.mark.parametrize("host", ["server", "load"])
def test_a_host_that_is_lost_before_its_clock_is_compared_again_is_noted_beside_the_numbers(host, monkeypatch):
    """Everything was measured and is here: nobody waits for its clock, and the others are compared."""
    world = World()
    lost = getattr(world, host)
    answers = iter([9])

    def clock_port():
        if (port := next(answers, None)) is None:
            raise gone(lost.host, "clock_port")
        return port

    monkeypatch.setattr(lost, "clock_port", clock_port, raising=False)
    output = world.run()
    facts, message = output.facts, f"host {lost.host}: its actor is gone (clock_port)"

    assert (facts.error, facts.lost, len(output.agents)) == (None, [message], 1)
    assert {clock.host: clock.unbounded for clock in facts.clocks if clock.after is None} == {lost.host: message}
    findings = {f.code: f.severity for f in judge(facts, output.agents).findings}
    assert (findings["clock-unbounded"], findings["host-lost"]) == ("suspect", "suspect")
    assert output.lost is not None


def test_what_makes_every_trial_impossible_is_raised_after_all_was_left():
    """No h2load, no engine: the next trial would end in the same way."""
    world = World()
    world.load.fail["arm"] = HostError("host gen: h2load is missing")
    with pytest.raises(HostError, match="h2load is missing"):
        world.run()

    assert sorted(world.calls[-4:]) == LEFT
