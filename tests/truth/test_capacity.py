"""The search for capacity on real servers of known capacity, with the real h2load; everything but Ray."""

from pathlib import Path

import pytest

from orchestrator.analyse.capacity import in_words, replay
from orchestrator.analyse.cases import judge
from orchestrator.campaign.target import TargetSearch, wanted_of
from orchestrator.fleet.hosts import Placed
from orchestrator.plan import TrialPlan
from orchestrator.run.inputs import TrialInput
from orchestrator.run.trial import run_trial
from orchestrator.spec.load import from_plain
from tests.fakes.handles import load_here
from tests.integration.machine import FREE, STOLEN, WAITING
from tests.truth.harness import server


def search(url, slo):
    """Follow a search to its end; give it played again from its trials, and whether the machine was busy meanwhile."""
    plain = {
        "campaign": "capacity",
        "targets": {"t": {"url": url}},
        "loads": {"l": {"clients": 10, "duration": "1s"}},
        "agents": 2,
        "saturation": {
            "slo": slo, "precision": "5%", "window": "1s", "warm_up": "300ms", "tail": "200ms", "soak": "2s",
            "budget": 40,
        },
    }  # fmt: skip
    campaign = from_plain(plain).campaign
    asked = campaign.saturation
    target = TargetSearch("t", campaign, asked, wanted_of(campaign), 2)
    host = load_here()
    trials = []
    while (ask := target.next()) is not None:
        plan = TrialPlan(len(trials) + 1, 0, target.case(ask.kind, ask.rate_per_s))
        load = target.load(ask.kind, ask.rate_per_s)
        item = TrialInput(plan, campaign.targets["t"], load, None, Path.cwd(), "truth")
        output = run_trial(item, Placed(None, [host], [[None] * 2]), lambda event: None)
        trials.append(judge(output.facts, output.agents))
        target.tell(trials[-1])
    # The estimate, as fast as it can, makes any machine busy.
    uses = [use for trial in trials[1:] for use in trial.facts.hosts]
    waited = max(agent.waiting_share for trial in trials[1:] for agent in trial.facts.agents)
    busy = waited > WAITING or any(use.steal_share > STOLEN or use.free_share < FREE for use in uses)
    return replay("t", trials, wanted_of(campaign)), busy


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("options", "slo", "capacity", "gave_way"),
    [
        # One worker, 4 ms each. Arrivals are even, so a queue that is there half of the time is one that grows: at 5 more
        # a second than it can answer, the middle of a window of 1 s waits 16 ms.
        ({"serial_us": 4_000}, "p50 < 20ms", 250.0, {"p50 < 20ms", "answers >= 99% of the rate"}),
        ({"shed_above": 300}, "errors < 1%", 300.0, {"errors < 1%"}),
    ],
)
def test_the_capacity_of_a_server_that_is_known_is_found(options, slo, capacity, gave_way, record_property):
    """Within 5 %, with what gave way first; a machine that was busy meanwhile may have cost it some."""
    with server("http1", **options) as url:
        found, busy = search(url, slo)
    told = (
        found.ending,
        found.capacity_per_s,
        found.held_per_s,
        [(p.kind, p.rate_per_s, p.passed) for p in found.curve],
    )

    record_property(
        "print", f"capacity {capacity:.0f}/s: {in_words(found)}, {found.probes} probes, machine busy: {busy}"
    )
    if found.capacity_per_s is None:
        assert busy, told
        return
    off = abs(found.capacity_per_s.estimate / capacity - 1)
    assert off <= (0.3 if busy else 0.05), told
    assert busy or found.ending == "capacity", told
    assert busy or found.gave_way in gave_way, told
