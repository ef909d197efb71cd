"""Services of a campaign, without hosts: order, places, addresses, lifetimes, and what a failure comes to."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from agents.cgroup import Counters
from agents.command import CommandResult
from agents.records import ServerState, ServiceFacts
from orchestrator.analyse.bottleneck import bottleneck, describe
from orchestrator.analyse.sameness import Circumstances, differences
from orchestrator.campaign.origin import parts_of
from orchestrator.cli.exit import exit_code
from orchestrator.errors import HostError, Shortage
from orchestrator.fleet.hosts import Placed
from orchestrator.fleet.place import Machine, load_hosts, needs, place
from orchestrator.plan import TrialPlan, make_plan
from orchestrator.result import FindingCode, Severity, Verdict
from orchestrator.run.addresses import At, filled, own, resolved, seen_from
from orchestrator.run.services import (
    TrialServices,
    bring_up_services,
    finish_services,
    not_kept,
    services_afterwards,
    variables_for,
    why_not_up,
)
from orchestrator.spec.models import Campaign, Place
from orchestrator.spec.needs import in_order, layers, wrong_lifetimes
from orchestrator.spec.service import Service
from tests.fakes.handles import Done
from tests.unit.facts import server_facts, service_facts
from tests.unit.judged_trials import trial


def service(**keys):
    return Service.model_validate({"image": "i", "port": 5432} | keys)


def campaign(services, needs=("api",), **keys):
    plain = {
        "campaign": "c",
        "services": services,
        "targets": {"t": {"image": "i", "port": 80, "needs": list(needs)}, "bare": {"image": "i", "port": 80}},
        "loads": {"l": {"clients": 4, "requests": 10}},
        "agents": 1,
        "repetitions": 2,
    }
    return Campaign.model_validate(plain | keys)


DB, API = {"image": "i", "port": 5432}, {"image": "i", "port": 81, "depends_on": ["db"]}


def test_only_what_a_target_needs_runs_each_after_what_it_depends_on():
    """Transitively; what is independent starts at the same time."""
    spec = campaign({"api": API | {"depends_on": ["db", "cache"]}, "cache": DB, "db": DB, "other": DB})
    by_target = {case.target: [one.name for one in case.services] for case in make_plan(spec).cases}

    assert by_target == {"t": ["db", "cache", "api"], "bare": []}
    assert list(layers(in_order(["api"], spec.services))) == [["db", "cache"], ["api"]]


@pytest.mark.parametrize(("kept", "other", "wrong"), [("run", "trial", True), ("block", "run", False)])
def test_a_service_cannot_outlive_what_it_depends_on(kept, other, wrong):
    """It would lose it with every trial."""
    plain = {"services": {"api": {"lifetime": kept, "depends_on": ["db"]}, "db": {"lifetime": other}}}

    assert bool(list(wrong_lifetimes(plain))) is wrong


MACHINES = [
    Machine("web", "10.1", True, 0),
    Machine("gen", "10.2", False, 4, service=True, labels={"disk": "nvme"}),
    Machine("gen2", "10.3", False, 4),
    Machine("db", "10.4", False, 0, service=True, labels={"disk": "nvme"}),
]


def placed(services, where=None, machines=MACHINES):
    spec, where = campaign(services), where or Place()
    return place(make_plan(spec), machines, where, spec.services)


def test_services_are_with_the_target_or_on_a_host_of_their_own():
    """A host without agents is preferred; what Ray reserves has it."""
    found = placed({"api": API, "db": DB | {"place": {"disk": "nvme"}}})["t/l"]

    assert (found.server, found.services) == ("web", {"db": "db", "api": "web"})
    assert found.hosts == ["web", "db", "gen"]
    assert ("db", {"service": 1.0}) in needs([found])


def test_labels_of_the_campaign_hold_for_services_without_a_place():
    """`place: server` is a place of their own."""
    services = {"api": API | {"place": "server"}, "db": DB}

    assert placed(services, Place(service={"disk": "nvme"}))["t/l"].services == {"db": "db", "api": "web"}


def test_a_load_host_that_runs_a_service_runs_no_agent():
    """Unless the campaign allows sharing."""
    services, machines = {"api": API, "db": DB | {"place": {"disk": "nvme"}}}, MACHINES[:3]

    assert placed(services, machines=machines)["t/l"].agents == {"gen2": 1}
    assert placed(services, Place(share=True), machines)["t/l"].agents == {"gen": 1}
    assert load_hosts(campaign(services), machines, Place()) == 1
    with pytest.raises(Shortage, match="not counting gen, web, which run the server or services"):
        placed(services, machines=machines[:2])


def test_a_service_without_a_host_is_a_shortage_with_names():
    """The labels, and the hosts that have the role."""
    with pytest.raises(
        Shortage, match=r"service db needs a host with the role 'service' labelled disk=hdd; .*: gen, db"
    ):
        placed({"api": API, "db": DB | {"place": {"disk": "hdd"}}})


@pytest.mark.parametrize(
    ("network", "at", "found"),
    [
        ("host", "web", At("127.0.0.1", 15432, "127.0.0.1")),
        ("bridge", "web", At("host.docker.internal", 15432, "host-gateway")),
        ("bridge", "db", At("10.9.9.9", 15432, "10.9.9.9")),
    ],
)
def test_where_a_container_reaches_a_service(network, at, found):
    """At the loopback address where both have the host's network; through the host on the bridge; by address elsewhere."""
    db = service(network="bridge", ports=["15432:5432"])

    assert seen_from(service(network=network), "web", db, at, "10.9.9.9") == found
    assert own(db) == At("127.0.0.1", 5432, "127.0.0.1")


def test_addresses_are_filled_in_and_names_resolve():
    """In every text; a shell's own variables stay, and a name that the campaign gives an address."""
    one = service(
        environment={"DB": "${db.address}:${db.port}", "HOME": "${HOME}"},
        command=["serve", "--db=${db.address}"],
        extra_hosts=["cache:10.0.0.1", "upstream:${db.address}"],
        healthcheck={"test": "nc ${db.address} ${db.port} ${X}"},
    )
    there = {"db": At("10.1.1.1", 5432, "10.1.1.1"), "cache": At("host.docker.internal", 1, "host-gateway")}
    found = resolved(one, there)

    assert found.environment == {"DB": "10.1.1.1:5432", "HOME": "${HOME}"}
    assert found.command == ["serve", "--db=10.1.1.1"]
    assert found.extra_hosts["cache"] == "10.0.0.1"
    assert found.extra_hosts["db"] == found.extra_hosts["upstream"] == "10.1.1.1"
    assert found.healthcheck is not None
    assert found.healthcheck.test == "nc 10.1.1.1 5432 ${X}"


def test_an_ipv6_address_has_brackets_where_a_port_follows():
    """As in a URL; not where the address stands alone, or has them already."""
    there = {"db": At("fd00::1", 5432, "fd00::1")}

    assert filled("${db.address}:${db.port} [${db.address}]:1 host=${db.address} $${db.address}", there) == (
        "[fd00::1]:5432 [fd00::1]:1 host=fd00::1 ${db.address}"
    )


def test_commands_find_services_in_their_environment():
    """At the loopback address beside it, else at the address for load."""
    world = World({"db": DB, "api": API})
    world.host.host, world.host.load_address = "web", "10.1.1.1"
    there, elsewhere = (variables_for(world.running(1, 0), host) for host in ("web", "gen"))

    assert there == {
        "VOLLEY_DB_ADDRESS": "127.0.0.1",
        "VOLLEY_DB_PORT": "5432",
        "VOLLEY_API_ADDRESS": "127.0.0.1",
        "VOLLEY_API_PORT": "81",
    }
    assert elsewhere["VOLLEY_DB_ADDRESS"] == "10.1.1.1"


def test_a_host_without_an_ip_address_is_an_error_with_what_to_write():
    """Not a traceback."""
    world = World({"db": DB, "api": API})
    world.host.load_address = "no-such-host.invalid"
    with pytest.raises(HostError, match=r"service db: the address no-such-host.invalid of its host") as caught:
        world.trial(1, 0)

    assert "inventory" in caught.value.hint


class Hosts:
    """A host of services that notes its calls; every service comes up unless it is in `sick`."""

    host, address, load_address = "local", "127.0.0.1", "127.0.0.1"

    def __init__(self):
        self.calls, self.up, self.sick, self.status, self.kills = [], {}, set(), 0, 0

    def start_all(self, specs):
        self.calls.append("start " + " ".join(spec.name for spec in specs))
        state = {True: ServerState.NOT_READY, False: ServerState.READY}
        for spec in specs:
            one = ServiceFacts(spec.name, "local", state[spec.name in self.sick], "sick", running=True)
            self.up[spec.name] = one
        return Done([self.up[spec.name] for spec in specs])

    def waiting_for(self):
        return ""

    def prepare(self, name, argv, timeout_s):
        self.calls.append(f"prepare {name} {argv[-1]}")
        return Done(CommandResult(self.status, 1, "first\nno such table\n"))

    def look(self):
        return list(self.up.values())

    def finish(self):
        return [
            ServiceFacts(f.name, "local", f.state, running=f.running, last=Counters(oom_kills=self.kills))
            for f in self.up.values()
        ]

    def stop(self, names, timeout_s):
        self.calls.append("stop " + " ".join(names))
        for name in names:
            self.up.pop(name, None)


class World:
    """Trials of a campaign on one host of services."""

    def __init__(self, services):
        self.spec, self.host, self.kept, self.said = campaign(services), Hosts(), {}, []
        self.cases = {case.target: case for case in make_plan(self.spec).cases}

    def trial(self, number, block, target="t"):
        """Bring up the services of a trial, and end it; return what was called, and the facts."""
        before, running = len(self.host.calls), self.running(number, block, target)
        facts = bring_up_services(running)
        facts = finish_services(running, facts, loaded=True)
        if running.placed.services:
            self.host.stop(not_kept(running, self.host), 1.0)
        return self.host.calls[before:], facts

    def running(self, number, block, target="t"):
        """Return a trial as it begins."""
        case = self.cases[target]
        names = [one.name for one in case.services]
        services = {name: self.spec.services[name] for name in names}
        item = SimpleNamespace(
            services=TrialServices(services, dict.fromkeys(services, "i"), self.kept),
            plan=TrialPlan(number, block, case),
            folder=Path(),
        )
        placed = Placed(None, [], [], {}, dict.fromkeys(names, self.host))
        return SimpleNamespace(input=item, placed=placed, say=self.said.append)


def test_a_service_of_a_trial_is_fresh_and_one_of_a_block_is_kept_until_the_next():
    """What depends on it starts after it; commands prepare it once per start, with its own port."""
    world = World({"db": DB | {"lifetime": "block", "prepare": ["load ${db.port}"]}, "api": API})

    assert world.trial(1, 0)[0] == ["start db", "prepare db load 5432", "start api", "stop api"]
    assert world.trial(2, 0)[0] == ["start api", "stop api"]
    assert world.trial(3, 1)[0] == ["stop db", "start db", "prepare db load 5432", "start api", "stop api"]


def test_a_service_of_a_block_ends_with_the_first_trial_that_does_not_need_it():
    """One of the run stays."""
    for lifetime, calls in (("block", ["stop db"]), ("run", [])):
        world = World({"db": DB | {"lifetime": lifetime}, "api": API})
        world.trial(1, 0)
        assert world.trial(2, 0, "bare")[0] == calls


def test_a_kept_service_that_died_is_started_again_with_what_depends_on_it_and_that_is_recorded():
    """In the facts of the trial, and for a person."""
    world = World({"db": DB | {"lifetime": "run"}, "api": API | {"lifetime": "run"}})
    world.trial(1, 0)
    world.host.up["db"] = ServiceFacts("db", "local", ServerState.EXITED, "exit code 137", running=False)
    calls, facts = world.trial(2, 0)

    assert calls == ["stop db api", "start db", "start api", "stop "]
    assert {one.name: one.replaced for one in facts} == {
        "db": "exit code 137",
        "api": "db, which it depends on, was started again",
    }
    assert "service db is started again: exit code 137" in "".join(event.text for event in world.said)


def test_kills_for_memory_in_a_kept_service_count_in_the_trial_where_they_happen():
    """The engine counts those since the start."""
    world, found = World({"db": DB | {"lifetime": "run"}, "api": API}), []
    for number, kills in ((1, 2), (2, 2), (3, 3)):
        world.host.kills = kills
        found.append(world.trial(number, 0)[1][0].last.oom_kills)

    assert found == [2, 0, 1]


def test_a_service_that_does_not_come_up_ends_the_start_and_is_not_kept():
    """What depends on it is not started."""
    world = World({"db": DB | {"lifetime": "run"}, "api": API})
    world.host.sick = {"db"}
    calls, facts = world.trial(1, 0)

    assert calls == ["start db", "stop db api"]
    assert why_not_up(facts) == "service db did not come up: sick"


def test_a_command_that_fails_to_prepare_is_the_reason_with_its_last_lines():
    """As for commands before a trial."""
    world = World({"db": DB | {"prepare": ["load"]}, "api": API})
    world.host.status = 3

    assert why_not_up(world.trial(1, 0)[1]) == (
        "service db did not come up: prepare command 1 failed with exit status 3: first | no such table"
    )


def test_what_happened_to_a_service_is_what_limited_the_server():
    """In words with its name; a service that is throttled less than the server is not it."""
    throttled = service_facts(closing=server_facts(opening=None).closing)
    ended = trial(services=[service_facts(running=False, detail="exit code 7")])
    busier = trial(services=[throttled], server=server_facts(closing=server_facts().opening))

    assert describe(bottleneck(ended), ended) == "db: it ended or did not come up"
    assert describe(bottleneck(busier), busier) == "db: CPU quota of 1 core"
    assert not describe(bottleneck(trial()), trial()).startswith("db")


@pytest.mark.parametrize(
    ("code", "measured", "expected"),
    [
        (FindingCode.SERVICE_NOT_READY, False, 4),
        (FindingCode.SERVICE_EXITED, False, 4),
        (FindingCode.SERVICE_EXITED, True, 3),
    ],
)
def test_a_service_that_does_not_start_ends_the_command_as_a_server_does(code, measured, expected):
    """With 4: could not be started; one that ends under the load makes the result INVALID."""
    case = SimpleNamespace(findings=[SimpleNamespace(code=code, severity=Severity.INVALID)])
    finished = SimpleNamespace(
        summary=SimpleNamespace(saturation=[], verdict=Verdict.INVALID, cases=[case]),
        trials=[trial() if measured else SimpleNamespace(metrics=None)],
    )

    assert exit_code(finished) == expected


def test_a_service_is_part_of_what_makes_two_runs_comparable():
    """Its limits, by value; its environment, which can hold secrets, as changed only; nothing of one that is not needed."""
    old = campaign({"db": DB, "api": API, "other": DB})
    changed = {"environment": {"MODE": "fast"}, "limits": {"cpus": 2}}
    new = campaign({"db": DB | changed, "api": API, "other": DB | changed})
    base, now = (
        Circumstances({case.name: case for case in make_plan(spec).cases}, parts_of(spec.model_dump(mode="json")))
        for spec in (old, new)
    )

    assert {d.key for d in differences(base, now, "t/l")} == {"cpus of db", "services.db.environment"}
    assert differences(base, now, "bare/l") == []


def test_a_service_that_ends_after_the_load_is_named_and_keeps_its_counters():
    """The target answers otherwise then; the other service is as it was at the end of the load."""
    world = World({"db": DB, "api": API})
    running = world.running(1, 0, "t")
    facts = finish_services(running, bring_up_services(running), loaded=True)
    gone = replace(world.host.up["db"], state=ServerState.EXITED, running=False, exit_code=137, detail="killed")
    world.host.up["db"] = gone

    afterwards = {service.name: service for service in services_afterwards(running, facts)}

    before = {service.name: service for service in facts}
    assert afterwards["api"] == before["api"]
    assert (afterwards["db"].state, afterwards["db"].exit_code) == (ServerState.EXITED, 137)
    assert afterwards["db"].last == before["db"].last == Counters(oom_kills=0)
