"""Five seconds in which a host stands still cost nothing once its load is measured."""

import os
import signal
import threading
from pathlib import Path

import pytest

from agents.records import HostRole
from orchestrator.fleet import clock_probes
from orchestrator.fleet.child_process import Child
from orchestrator.fleet.hosts import Placed
from orchestrator.fleet.remote import RemoteLoad
from orchestrator.plan import make_plan
from orchestrator.run import load as run_load
from orchestrator.run.inputs import TrialInput
from orchestrator.run.trial import run_trial
from orchestrator.spec.load import from_plain
from tests.truth.harness import server

STALL_S = 5.0
RUN = f"stall-{os.getpid()}"


class World:
    """One load host that is a process of its own, and a server of known behaviour."""

    def __init__(self, url):
        plain = {
            "campaign": "c",
            "targets": {"t": {"url": url}},
            "loads": {"l": {"clients": 4, "duration": "1s", "warm_up": "100ms", "tail": "100ms"}},
            "agents": 1,
            "repetitions": 1,
        }
        spec = from_plain(plain, Path()).campaign
        self.plan = make_plan(spec)
        self.item = TrialInput(self.plan.trials[0], spec.targets["t"], spec.loads["l"], None, Path(), RUN)
        self.child = Child(HostRole.LOAD, "gen", RUN, "127.0.0.1")
        self.timers = []

    def stall(self):
        os.kill(self.child.pid, signal.SIGSTOP)
        self.timers.append(threading.Timer(STALL_S, os.kill, (self.child.pid, signal.SIGCONT)))
        self.timers[-1].start()

    def run(self, at):
        """Run a trial, and stall the host when it says something."""

        def say(event):
            if event.text.startswith(at):
                self.stall()

        return run_trial(self.item, Placed(None, [RemoteLoad(self.child)], [[None]]), say)

    def close(self):
        for timer in self.timers:
            timer.join()
        self.child.close()


@pytest.fixture
def world():
    with server("http1", delay_us=[2_000]) as url:
        made = World(url)
        yield made
        made.close()


def whole(output):
    facts = output.facts
    assert (facts.error, facts.lost, output.lost) == (None, [], None)
    assert [(agent.ended, agent.rows == agent.done) for agent in facts.agents] == [("finished", True)]
    assert [(clock.unbounded, clock.after is not None) for clock in facts.clocks] == [("", True)]


def test_a_host_that_stands_still_while_it_is_collected_costs_nothing(world):
    """Its answers come later, and its clock is bounded then."""
    output = world.run("collecting")

    whole(output)
    assert output.facts.stages_us["collect"] + output.facts.stages_us["clocks"] > STALL_S * 0.9e6


@pytest.mark.parametrize("within_s", [run_load.CLOCKS_AFTER_S, 0.0])
def test_a_host_that_stands_still_when_clocks_are_compared_again(world, monkeypatch, within_s):
    """It is probed until it answers. With no patience it is a finding, and the trial is there all the same."""
    monkeypatch.setattr(run_load, "CLOCKS_AFTER_S", within_s)
    real = clock_probes.probe_until

    def probe_until(places, seconds):
        if seconds == within_s:
            world.stall()
        return real(places, seconds)

    monkeypatch.setattr(clock_probes, "probe_until", probe_until)
    output = world.run("nothing that is said")

    if within_s:
        whole(output)
        return
    (clock,) = output.facts.clocks
    assert (output.facts.error, output.facts.lost, len(output.agents)) == (None, [], 1)
    assert "of 32 clock probes" in clock.unbounded
    assert clock.half_width_ns > clock.before.half_width_ns


@pytest.mark.parametrize(
    "call", ["collect", pytest.param("use", marks=pytest.mark.full), pytest.param("clock_port", marks=pytest.mark.full)]
)
def test_a_host_that_dies_in_a_call_of_collecting_is_recorded(world, monkeypatch, call):
    """Its process is killed when the call is made: the loss is in the facts, whichever call it is."""
    calls = []
    real = getattr(RemoteLoad, call)

    def dying(self):
        calls.append(call)
        # The port is asked for before the load, too.
        if len(calls) == (2 if call == "clock_port" else 1):
            os.kill(world.child.pid, signal.SIGKILL)
        return real(self)

    monkeypatch.setattr(RemoteLoad, call, dying)
    output = world.run("nothing that is said")

    assert output.lost is not None
    assert output.facts.lost == [output.lost.message]
    assert f"its actor is gone ({call})" in output.lost.message
    # After the clocks the first load host asks the server once more: the only one cannot.
    assert f"its actor is gone ({'check' if call == 'clock_port' else call})" in output.facts.error
