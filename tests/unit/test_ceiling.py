"""Calibration without a host: the ramp, what makes a step fail, what is kept, and what a dry run makes of it."""

from dataclasses import replace

import pytest

from orchestrator.analyse.cases import judge
from orchestrator.analyse.ceiling import Limit, Ramp, failure
from orchestrator.campaign.calibrate import pairs
from orchestrator.campaign.dry_run import agents_needed
from orchestrator.facts import Case
from orchestrator.fleet import ceilings
from orchestrator.fleet.ceilings import Ceiling
from orchestrator.fleet.place import Placement
from orchestrator.spec.inventory import Inventory
from tests.unit.facts import T0_US, agent_facts, result, steady_case, trial_facts

FOUND = Ceiling("gen1", 12_000.0, Limit.GENERATOR, 50.0, 14_000.0, "gen2", "1.52", "2026-11-22T00:00:00+00:00")


def climb(ramp, limit, what=Limit.GENERATOR, bad=()):
    """Let a host with this limit answer; `bad`: steps that fail whatever the rate. Return the rates that were asked for."""
    asked = []
    while (rate := ramp.ask()) is not None:
        asked.append(rate)
        ramp.tell(what if rate > limit or len(asked) in bad else None)
        assert len(asked) < 50
    return asked


@pytest.mark.parametrize("limit", [500, 700, 12_345, 90_000])
def test_the_ceiling_is_found_within_a_fifth_and_never_above(limit):
    """Doubling, and two halvings of the last gap: 2 ** 0.25."""
    ramp = Ramp(512_000)

    climb(ramp, limit)

    assert limit / 2**0.25 <= ramp.best_per_s <= limit
    assert ramp.limited_by == Limit.GENERATOR


def test_one_bad_second_is_not_the_ceiling():
    """A step that fails is tried again."""
    ramp = Ramp(512_000)

    asked = climb(ramp, 40_000, bad=(3,))

    assert asked[2] == asked[3]
    assert ramp.best_per_s > 33_000


def test_a_ramp_that_never_fails_ends_and_says_so():
    """The rate that was asked for is not exceeded."""
    ramp = Ramp(4_000)

    assert climb(ramp, 10**9) == [500, 1000, 2000, 4000]
    assert (ramp.best_per_s, ramp.limited_by) == (4000, Limit.NOTHING)


def test_a_host_that_can_send_nothing():
    """Three tries, then the end."""
    ramp = Ramp(
        4_000,
    )

    assert climb(ramp, 0, Limit.SERVER) == [500, 500, 500]
    assert (ramp.best_per_s, ramp.limited_by) == (0, Limit.SERVER)


def step(service_us=1_000, due=500, **changes):
    agent = agent_facts(planned=None, due=due, missing=0, late=0, started=500, **changes)
    facts = trial_facts(
        case=steady_case(model="open", rate_per_s=100.0, agents=1, clients=20),
        window_start_us=T0_US + 2_000_000, window_end_us=T0_US + 7_000_000, agents=[agent],
    )  # fmt: skip
    return judge(facts, [result(agent, [service_us] * 500, seconds=5)])


@pytest.mark.parametrize(
    ("trial", "what"),
    [
        (step(), None),
        (step(cpu_busiest=0.8), Limit.GENERATOR),
        (step(waiting_share=0.9), Limit.GENERATOR),
        (step(due=600), Limit.SERVER),
        (step(service_us=9_000), Limit.SERVER),
    ],
)
def test_what_gave_way(trial, what):
    """A full core is the generator's; a rate that was not kept, or slower answers, the other side's."""
    assert failure(trial, base_p50_us=1_000) == what


def test_what_was_found_is_kept_by_inventory(tmp_path, monkeypatch):
    """Another inventory knows nothing of it; a host that is calibrated again replaces itself only."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one = Inventory.model_validate({"hosts": {"gen1": {"roles": ["load"]}}})
    other = Inventory.model_validate({"hosts": {"gen9": {"roles": ["load"]}}})
    ceilings.keep(one, [FOUND, replace(FOUND, host="gen2")])
    ceilings.keep(one, [replace(FOUND, per_s=9_000.0)])

    assert {name: each.per_s for name, each in ceilings.known(one).items()} == {"gen1": 9_000.0, "gen2": 12_000.0}
    assert ceilings.known(other) == ceilings.known(None) == {}


@pytest.mark.parametrize(("rate", "needed"), [(10_000.0, 1), (30_000.0, 3), (None, None)])
def test_a_dry_run_says_how_many_agents_a_rate_needs(rate, needed):
    """Nine tenths of the ceiling of the weakest host; nothing where there is no rate."""
    case = steady_case(model="open" if rate else "closed", rate_per_s=rate)
    assert isinstance(case, Case)
    known = {"gen1": FOUND, "gen2": replace(FOUND, host="gen2", per_s=40_000.0)}

    assert agents_needed(case, Placement("web1", {"gen1": 1, "gen2": 1}), known) == needed
    assert agents_needed(case, Placement("web1", {"gen1": 1, "gen3": 1}), known) is None


def test_a_lower_bound_is_filled_up_by_cpu_time():
    """Where the trivial server was the limit, h2load's own CPU time says more."""
    assert replace(FOUND, limited_by=Limit.SERVER).usable_per_s == 14_000
    assert FOUND.usable_per_s == 12_000


def test_each_host_is_answered_by_another_where_there_is_one():
    """In a ring; a host alone answers itself."""
    assert [(p.sender, p.answerer) for p in pairs(["a", "b", "c"])] == [("a", "b"), ("b", "c"), ("c", "a")]
    assert [(p.sender, p.answerer) for p in pairs(["a"])] == [("a", "a")]
