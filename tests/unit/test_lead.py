"""T0 is far enough ahead for many hosts that are far away."""

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.clock import OffsetBound
from agents.load_host import Progress
from orchestrator.fleet.hosts import Placed, at_once
from orchestrator.plan import make_plan
from orchestrator.run import lead, load
from orchestrator.run.inputs import RunningTrial, Stages, TrialInput
from orchestrator.run.left import LoadsLeft
from orchestrator.run.trial import traffic_of  # type: ignore[attr-defined]
from orchestrator.spec.models import Campaign
from tests.fakes.handles import NotedLoad
from tests.unit.facts import trial_facts

HOSTS, ROUND_TRIP_S = 500, 0.04


@dataclass
class FarLoad(NotedLoad):
    """A load host that a call takes ROUND_TRIP_S to reach and return from; it notes when it heard of T0."""

    heard_ns: int = 0

    def progress(self):
        time.sleep(ROUND_TRIP_S)
        return Progress({"a": 2}, True)

    def release_at(self, t0_ns):
        time.sleep(ROUND_TRIP_S)
        self.t0_ns, self.heard_ns = t0_ns, time.time_ns()


def far_away():
    return [FarLoad([], f"gen{number}") for number in range(HOSTS)]


def all_of(loads):
    return LoadsLeft(loads, False, lambda error: None, lambda event: None)


def running(loads):
    plain = {"campaign": "c", "targets": {"t": {"url": "http://198.18.0.1/"}},
             "loads": {"l": {"clients": HOSTS, "requests": HOSTS}}, "agents": HOSTS, "repetitions": 1}  # fmt: skip
    spec = Campaign.model_validate(plain)
    item = TrialInput(make_plan(spec).trials[0], spec.targets["t"], spec.loads["l"], None, Path(), "run")
    traffic = traffic_of(item.target, item.load, "", Path())
    return RunningTrial(item, traffic, Placed(None, loads, []), None, Stages(), lambda event: None)


def test_no_host_of_500_hears_of_t0_late():
    """Each is 40 ms away, and T0 is still ahead when the last one hears of it.

    A machine whose cores stand still for a moment is given another try.
    """
    for _ in range(3):
        loads = far_away()
        bound = OffsetBound(-10, 10, round(ROUND_TRIP_S * 1e9), 32, 0)
        facts = load._release(running(loads), trial_facts(), {id(host): bound for host in loads})
        assert {host.t0_ns for host in loads} == {facts.t0_ns}
        if max(host.heard_ns for host in loads) < facts.t0_ns:
            return
    pytest.fail("in each of three tries a host heard of T0 late")


def test_hosts_are_asked_at_once():
    """Asking 500 hosts takes a few round trips, not 500; all their rows are counted."""
    loads = far_away()
    began = time.monotonic()

    assert {name: progress.rows for name, progress in lead.progress_of(all_of(loads)).items()} == {
        f"gen{number}": {"a": 2} for number in range(HOSTS)
    }
    assert time.monotonic() - began < HOSTS * ROUND_TRIP_S / 4


def test_the_time_to_tell_hosts_grows_with_their_distance():
    """At least TIMES the round trip."""
    assert lead.telling_ns(all_of(far_away()[:2])) >= lead.TIMES * ROUND_TRIP_S * 1e9


def test_results_of_many_hosts_are_in_their_order():
    """Whoever answers first."""
    assert at_once(lambda number: number, list(range(HOSTS))) == list(range(HOSTS))
