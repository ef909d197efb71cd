"""Calibration without a host: the ramp, what makes a step fail, what is kept, and who shows it."""

import json
from dataclasses import replace

import pytest

from agents.records import GeneratorKind
from orchestrator.analyse.cases import judge
from orchestrator.analyse.ceiling import Limit, Ramp, cpu_share, failure, is_certain
from orchestrator.campaign.calibrate import pairs
from orchestrator.campaign.hosts import Hosts
from orchestrator.cli.hosts import _sentence
from orchestrator.fleet import ceilings, doctor
from orchestrator.fleet.ceilings import Ceiling
from orchestrator.fleet.place import LOCAL
from orchestrator.plan import make_plan
from orchestrator.run.loop import RunContext
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.models import Campaign
from tests.unit.facts import T0_US, agent_facts, result, steady_case, trial_facts

FOUND = Ceiling("gen1", 12_000.0, Limit.GENERATOR, 50.0, 14_000.0, "gen2", "1.52", "2026-11-22T00:00:00+00:00")
OF_PACED = replace(FOUND, per_s=9_500.0, h2load=None, generator=GeneratorKind.PACED)
OF_WEBSOCKET = replace(OF_PACED, per_s=30_000.0, generator=GeneratorKind.WEBSOCKET)
H2LOAD, PACED = GeneratorKind.H2LOAD, GeneratorKind.PACED


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
    """Quadrupling, and three halvings of the last gap: 2 ** 0.25."""
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

    assert climb(ramp, 10**9) == [500, 2000, 4000]
    assert (ramp.best_per_s, ramp.limited_by) == (4000, Limit.NOTHING)


def test_the_rate_that_was_allowed_is_refined_below_when_it_fails():
    """It is the last step up."""
    ramp = Ramp(4_000)

    assert climb(ramp, 3_000)[:3] == [500, 2000, 4000]
    assert 3_000 / 2**0.25 <= ramp.best_per_s <= 3_000


def test_a_failure_beyond_doubt_is_not_tried_again():
    """Where others are."""
    certain, doubtful = Ramp(512_000), Ramp(512_000)
    for ramp in (certain, doubtful):
        ramp.tell(None)
    certain.tell(Limit.GENERATOR, certain=True)
    doubtful.tell(Limit.GENERATOR)

    assert (certain.ask(), doubtful.ask()) == (1_000, 2_000)


def test_a_host_that_can_send_nothing():
    """Two tries, then the end."""
    ramp = Ramp(4_000)

    assert climb(ramp, 0, Limit.SERVER) == [500, 500]
    assert (ramp.best_per_s, ramp.limited_by) == (0, Limit.SERVER)


def step(service_us=1_000, due=500, answered=500, **changes):
    agent = agent_facts(**{"planned": None, "due": due, "missing": 0, "late": 0, "started": 500, **changes})
    facts = trial_facts(
        case=steady_case(model="open", rate_per_s=100.0, agents=1, clients=20),
        window_start_us=T0_US + 2_000_000, window_end_us=T0_US + 7_000_000, agents=[agent],
    )  # fmt: skip
    return judge(facts, [result(agent, [service_us] * answered, seconds=5)])


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


def paced_step(**changes):
    return step(**{"generator": PACED, "late_us": 1_000, "waited_for_slot": 0, **changes})


@pytest.mark.parametrize(
    ("trial", "what"),
    [
        (paced_step(), None),
        (paced_step(late=25), None),
        (paced_step(late=26), Limit.GENERATOR),
        (paced_step(late=26, waited_for_slot=1), None),
        (paced_step(late=26, waited_for_slot=None), Limit.GENERATOR),
        (paced_step(late=500, late_us=None), None),
        (paced_step(cpu_busiest=0.8), Limit.GENERATOR),
        (paced_step(answered=475), None),
        (paced_step(answered=474), Limit.SERVER),
        (paced_step(answered=474, late=26, waited_for_slot=300), Limit.SERVER),
        (paced_step(service_us=9_000), Limit.SERVER),
        (step(late=500, late_us=1_000, waited_for_slot=0), None),
    ],
)
def test_what_reached_its_limit_under_paced(trial, what):
    """Late sends are the generator's while it has slots; missing answers the server's. h2load is late by its timer."""
    assert failure(trial, base_p50_us=1_000) == what


@pytest.mark.parametrize(
    ("trial", "certain"),
    [
        (paced_step(late=250), False),
        (paced_step(late=251), True),
        (paced_step(late=251, waited_for_slot=1), False),
        (paced_step(cpu_busiest=0.86), True),
        (paced_step(answered=350), False),
        (paced_step(answered=349), True),
        (judge(trial_facts(agents=[], error="lost"), []), False),
    ],
)
def test_what_would_fail_again(trial, certain):
    """A full core, far too few answers, most requests late; one bad second is none of that."""
    assert is_certain(trial) == certain


def test_cpu_time_of_the_start_is_not_that_of_the_load():
    """One second of load at half a core, by two threads, and 0.3 s before it; without a sample, what is known."""
    agent = agent_facts(cpu_us=800_000, cpu_busiest=0.41, thread_cpu={1: [0.39, 0.41], 2: [0.1, 0.1], 3: []})

    assert cpu_share(agent) == pytest.approx(0.5)
    assert cpu_share(agent_facts(cpu_us=800_000, cpu_busiest=0.41)) == 0.41
    assert failure(paced_step(cpu_us=1_000_000, waiting_share=0.1, thread_cpu={1: [0.5]}), None) is None
    assert failure(paced_step(cpu_us=1_000_000, waiting_share=0.3, thread_cpu={1: [0.5]}), None) is Limit.GENERATOR


def test_what_was_found_is_kept_by_inventory(tmp_path, monkeypatch):
    """Another inventory knows nothing of it; a host that is calibrated again replaces itself only."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one = Inventory.model_validate({"hosts": {"gen1": {"roles": ["load"]}}})
    other = Inventory.model_validate({"hosts": {"gen9": {"roles": ["load"]}}})
    ceilings.keep(one, [FOUND, OF_PACED, replace(FOUND, host="gen2")])
    ceilings.keep(one, [replace(FOUND, per_s=9_000.0)])

    assert {key: each.per_s for key, each in ceilings.known(one).items()} == {
        ("gen1", H2LOAD): 9_000.0, ("gen1", PACED): 9_500.0, ("gen2", H2LOAD): 12_000.0,
    }  # fmt: skip
    assert ceilings.known(one)["gen1", PACED] == OF_PACED
    assert ceilings.known(other) == ceilings.known(None) == {}


def test_a_file_from_before_paced_reads_as_h2load(tmp_path, monkeypatch):
    """It has no generator."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = ceilings.keep(None, [FOUND])
    stored = json.loads(file.read_text())
    del stored[0]["generator"]
    file.write_text(json.dumps(stored))

    assert ceilings.known(None) == {("gen1", H2LOAD): FOUND}


def test_a_trial_stores_the_ceilings_of_its_generator(tmp_path, monkeypatch):
    """Those that are no lower bounds; none for a program of the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    ceilings.keep(None, [FOUND, OF_PACED, replace(FOUND, host="gen2", limited_by=Limit.SERVER)])
    loads = {
        "steady": {"clients": 4, "duration": "5s"},
        "open": {"model": "open", "rate": "50/s", "duration": "2s"},
        "own": {"model": "open", "rate": "50/s", "duration": "2s", "generator": {"command": ["x"]}},
    }
    campaign = Campaign.model_validate({"campaign": "c", "targets": {"a": {"url": "http://h/"}}, "loads": loads})
    context = RunContext(campaign, tmp_path, "run", {}, pytest.fail, ceilings_per_s=Hosts().ceilings_per_s())

    stored = {trial.case.load: context.input(trial).ceilings_per_s for trial in make_plan(campaign).trials}

    assert stored == {"steady": {"gen1": 12_000.0}, "open": {"gen1": 9_500.0}, "own": {}}


@pytest.mark.parametrize("found", [FOUND, OF_PACED, OF_WEBSOCKET, replace(OF_PACED, limited_by=Limit.SERVER)])
def test_a_ceiling_is_one_sentence_that_names_its_generator(found):
    """At 80 columns; a lower bound says why it is one."""
    lines = _sentence(found).splitlines()

    assert lines[0].startswith(f"gen1: one agent of {found.generator} can send ")
    assert max(len(line) for line in lines) <= 80
    assert ("msg/s" in lines[0], "req/s" in lines[0]) == ((True, False) if found is OF_WEBSOCKET else (False, True))
    assert ("the trivial server on gen2" in " ".join(lines)) == (found.limited_by == Limit.SERVER)


def test_the_doctor_has_one_line_for_each_generator(tmp_path, monkeypatch):
    """What was measured here, or the command that measures it; 23 columns are before it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    ceilings.keep(None, [replace(found, host=LOCAL) for found in (OF_PACED, OF_WEBSOCKET)])

    lines = [check.found for check in doctor.ceiling_checks()]

    assert lines == [
        "h2load is not measured yet: volley doctor --calibrate",
        "one agent of paced can send 9,500 req/s (2026-11-22)",
        "one agent of websocket can send 30,000 msg/s (2026-11-22)",
    ]
    assert all(len(line) <= 80 - 23 for line in lines)


def test_a_lower_bound_is_filled_up_by_cpu_time():
    """Where the trivial server was the limit, h2load's own CPU time says more."""
    assert replace(FOUND, limited_by=Limit.SERVER).usable_per_s == 14_000
    assert FOUND.usable_per_s == 12_000


def test_each_host_is_answered_by_another_where_there_is_one():
    """In a ring; a host alone answers itself."""
    assert [(p.sender, p.answerer) for p in pairs(["a", "b", "c"])] == [("a", "b"), ("b", "c"), ("c", "a")]
    assert [(p.sender, p.answerer) for p in pairs(["a"])] == [("a", "a")]
