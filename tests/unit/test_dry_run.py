"""What a run would do, in numbers and in words. Nothing is started."""

import json

import pytest

from agents.records import GeneratorKind
from orchestrator.campaign.capability import Capability
from orchestrator.campaign.dry_run import RequestCount, as_document, as_lines, requests_of
from orchestrator.campaign.hosts import Hosts
from orchestrator.fleet import ceilings
from orchestrator.fleet.ceilings import Ceiling, LimitedBy
from orchestrator.fleet.place import LOCAL, Placement
from orchestrator.plan import make_plan
from orchestrator.spec.generator import choose
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.load import from_plain, load
from orchestrator.spec.models import Campaign

LOADS = {
    "burst": {"clients": 4, "requests": 100},
    "open": {"model": "open", "rate": "50/s", "clients": 5, "duration": "2s", "warm_up": "1s", "tail": "1s"},
    "steady": {"clients": 4, "duration": "5s"},
}
ADAPTIVE = {"until": {"metric": "p50", "narrower_than": "5%"}, "at_least": 2, "at_most": 3}
H2LOAD, PACED = GeneratorKind.H2LOAD, GeneratorKind.PACED
CALIBRATE = "volley doctor --calibrate"


def spec(loads, **more):
    return {"campaign": "c", "targets": {"a": {"url": "http://h/"}}, "loads": loads, **more}


def test_how_many_requests():
    """Loads of a number of requests, open loads by rate, and trials of unknown count, for the least and the most blocks."""
    plan = make_plan(Campaign.model_validate(spec(LOADS, repetitions=ADAPTIVE)))

    assert requests_of(plan, 2) == RequestCount(2 * (100 + 200), 2)
    assert requests_of(plan, plan.blocks) == RequestCount(3 * (100 + 200), 3)


def ceiling(host, generator, per_s):
    return Ceiling(host, per_s, LimitedBy.GENERATOR, 50.0, per_s, host, None, "2026-11-22T00:00:00+00:00", generator)


KNOWN = {
    found.key: found
    for found in (
        ceiling("gen1", H2LOAD, 60_000.0), ceiling("gen2", H2LOAD, 40_000.0),
        ceiling("gen1", PACED, 12_000.0), ceiling("gen2", PACED, 8_000.0),
    )
}  # fmt: skip


def capability(rate, hosts=("gen1", "gen2"), known=KNOWN, **load):
    """Two agents on these hosts; without a rate a closed loop."""
    shape = {"clients": 4, "duration": "2s"} if rate is None else {"model": "open", "rate": rate, "duration": "2s"}
    campaign = Campaign.model_validate(spec({"l": {**shape, "agents": 2, **load}}))
    (case,) = make_plan(campaign).cases
    return Capability(case, campaign.loads["l"], Placement(None, dict.fromkeys(hosts, 1)), known)


@pytest.mark.parametrize(
    ("made", "needed"),
    [
        (capability(None), None),
        (capability(7_200), 1),
        (capability(7_201), 2),
        (capability(20_000), 3),
        (capability(20_000, known={}), 2),
        (capability(20_000, hosts=["gen1", "gen3"]), 2),
        (capability(20_000, generator="h2load"), 1),
        (capability(72_001), 3),
        (capability(72_001, known={}), None),
        (capability(72_001, hosts=["gen1", "gen3"]), None),
        (capability(500, generator={"command": ["x"]}), None),
    ],
)
def test_how_many_agents_a_rate_needs(made, needed):
    """Nine tenths of the ceiling of the weakest host, with the generator of the case; paced has a usual rate."""
    assert made.agents_needed() == needed


@pytest.mark.parametrize(
    ("made", "keep"),
    [
        (capability(20_000), None),
        (capability(30_000, hosts=["gen1"]), 3),
        (capability(30_000), 5),
        (capability(30_000, known={}), 3),
        (capability(30_000, generator="h2load"), None),
        (capability(30_000, generator="paced"), None),
        (capability(30_000, arrivals="poisson"), None),
        (capability(30_000, protocol="http2"), None),
        (capability(None), None),
    ],
)
def test_how_many_agents_would_keep_paced(made, keep):
    """Where nothing but the rate chose h2load: what the plan allows an agent, and what calibration found if that is less."""
    assert made.agents_to_keep_paced() == keep


@pytest.mark.parametrize("rate", [20_001.0, 30_000.0, 123_456.0])
def test_the_plan_agrees_with_the_number_of_agents_that_keeps_paced(rate):
    """One fewer, and h2load sends."""
    made = capability(rate, known={})
    keep = made.agents_to_keep_paced()

    assert [choose(made.load, agents) for agents in (keep - 1, keep)] == [H2LOAD, PACED]


@pytest.mark.parametrize(
    ("made", "sentences"),
    [
        (capability(500, known={}), ["paced sends 10,000/s per agent (not measured); this case needs ≥ 1 agent"]),
        (
            capability(20_000),
            ["with paced an agent can send: gen1 12,000/s, gen2 8,000/s; this case needs ≥ 3 agents, and it has 2"],
        ),
        (
            capability(30_000),
            [
                "h2load sends this rate; ≥ 5 agents would keep paced (7,200/s per agent)",
                "with h2load an agent can send: gen1 60,000/s, gen2 40,000/s; this case needs ≥ 1 agent",
            ],
        ),
        (capability(None, known={}), ["h2load is not calibrated; run: volley doctor --calibrate"]),
        (
            capability(None, hosts=["gen1"]),
            ["with h2load an agent can send: gen1 60,000/s; a faster server needs more agents"],
        ),
        (
            capability(500, protocol="websocket", known={}),
            ["websocket is not calibrated; run: volley doctor --calibrate"],
        ),
        (
            capability(500, generator={"command": ["x"]}),
            ["what a generator of your own can send is not known: it cannot be calibrated"],
        ),
    ],
)
def test_what_the_agents_can_send_names_the_generator(made, sentences):
    """And how many the rate needs."""
    assert list(made.sentences(CALIBRATE)) == sentences


def test_the_dry_run_of_open_loads(tmp_path, monkeypatch):
    """In words at 80 columns, and for programs: agents needed, agents that would keep paced, ceilings of both generators."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    ceilings.keep(None, [ceiling(LOCAL, H2LOAD, 60_000.0), ceiling(LOCAL, PACED, 9_000.0)])
    rates = {"slow": 500, "fast": 30_000}
    loads = {name: {"model": "open", "rate": rate, "duration": "2s"} for name, rate in rates.items()}
    loaded = from_plain(spec(loads, agents=1))

    lines = "\n".join(as_lines(loaded, None, Hosts())).splitlines()
    document = json.loads(json.dumps(as_document(loaded, None, Hosts())))

    sentences = [line for line in lines if "paced" in line or "h2load" in line]
    assert sentences == [
        "    with paced an agent can send: local 9,000/s; this case needs ≥ 1 agent",
        "    h2load sends this rate; ≥ 4 agents would keep paced (8,100/s per agent)",
        "    with h2load an agent can send: local 60,000/s; this case needs ≥ 1 agent",
    ]
    assert max(len(line) for line in sentences) <= 80
    assert document["agents_needed"] == {"a/slow": 1, "a/fast": 1}
    assert document["agents_to_keep_paced"] == {"a/slow": None, "a/fast": 4}
    assert [(each["host"], each["generator"]) for each in document["ceilings"]] == [(LOCAL, "h2load"), (LOCAL, "paced")]


def test_fewer_agents_and_idle_load_hosts_are_said_before_the_run():
    """In the words of the findings that the run would have."""
    access = {"roles": ["load"], "slots": 2}
    inventory = Inventory.model_validate(
        {"hosts": {f"gen{i}": {**access, "address": f"198.18.0.{i}"} for i in (1, 2, 3)}}
    )
    hosts = Hosts(inventory)
    small = from_plain(spec({"l": {"clients": 2, "requests": 100}}, agents=4, repetitions=1))
    lines = " ".join(" ".join(as_lines(small, None, hosts)).split())

    assert "This load has 2 agents instead of 4" in lines
    assert "No load comes from gen3" in lines
    document = as_document(small, None, hosts)
    assert document["placement"]["a/l"]["idle"] == ["gen3"]
    assert [case["agents_asked"] for case in document["cases"]] == [4]  # type: ignore[attr-defined]

    usual = from_plain(spec({"l": {"clients": 40, "requests": 100}}, repetitions=1))
    assert as_document(usual, None, hosts)["placement"]["a/l"] == {
        "server": None, "agents": {"gen1": 1, "gen2": 1, "gen3": 1}, "idle": [], "services": {},
    }  # fmt: skip


def test_services_are_shown_where_they_are_placed(tmp_path):
    """With how long each is kept, within 80 columns."""
    path = tmp_path / "services.yaml"
    path.write_text(
        "campaign: c\n"
        "services: {db: {image: i, port: 5432, lifetime: run, place: {disk: nvme}}, api: {image: i, depends_on: [db]}}\n"
        "targets: {t: {image: i, port: 80, needs: [api]}}\n"
        "loads: {l: {clients: 2, duration: 1s}}\n"
    )
    hosts = Inventory.model_validate(
        {
            "hosts": {
                "web1": {"roles": ["server"]},
                "db1": {"roles": ["service"], "labels": {"disk": "nvme"}},
                "gen1": {"roles": ["load"]},
            }
        }
    )
    lines = list(as_lines(load(path), None, Hosts(hosts)))

    assert all(len(line) <= 80 for line in lines)
    assert (
        "server on web1; services db on db1 (for the run), api on web1 (for the trial); agents on gen1 2"
        in " ".join(" ".join(lines).split())
    )
