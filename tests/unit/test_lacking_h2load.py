"""Which loads run on hosts without h2load, and what sends them. No host is started."""

import contextlib
import json
from dataclasses import replace

import pytest

from agents.generators import h2load_version
from agents.load_host import LoadHost
from agents.records import GeneratorKind, HostDescription, HostRole
from orchestrator.campaign import session
from orchestrator.campaign.dry_run import as_document, as_lines
from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.trials import CampaignTrials
from orchestrator.errors import HostError, Several, UsageError
from orchestrator.fleet.generators import Generators, require_generators_here
from orchestrator.fleet.place import LOCAL, Placement
from orchestrator.plan import make_plan
from orchestrator.run.loop import RunContext
from orchestrator.spec.load import from_plain
from orchestrator.spec.models import Campaign
from orchestrator.stored.folder import RunStore
from orchestrator.stored.reading import read_environment

H2LOAD, PACED = GeneratorKind.H2LOAD, GeneratorKind.PACED
CLOSED = {"clients": 4, "duration": "2s"}
OPEN = {"model": "open", "duration": "2s", "clients": 400, "agents": 2}
NONE_HERE = Generators(frozenset([LOCAL]))
HERE = Placement(None, {LOCAL: 2})


def document(**loads):
    return {"campaign": "c", "targets": {"a": {"url": "http://127.0.0.1:9/"}}, "loads": loads, "repetitions": 1}


def planned(**load):
    """The case of a load, and the load."""
    campaign = Campaign.model_validate(document(l=load))
    return make_plan(campaign).cases[0], campaign.loads["l"]


def settled(generators=NONE_HERE, placement=HERE, **load):
    return generators.settle(*planned(**load), placement)


@pytest.mark.parametrize(
    ("load", "planned_for"),
    [
        ({**CLOSED}, H2LOAD),
        ({**CLOSED, "generator": "paced"}, PACED),
        ({**OPEN, "rate": "500/s"}, PACED),
        ({**CLOSED, "protocol": "websocket"}, GeneratorKind.WEBSOCKET),
        ({**CLOSED, "generator": {"command": ["python3", "x.py"]}}, GeneratorKind.COMMAND),
    ],
)
def test_what_runs_without_h2load(load, planned_for):
    """Everything but the closed loop keeps its generator; there paced takes the place of h2load."""
    if load.get("protocol") == "websocket":
        load = {**load, "message": "hi"}
    case, _ = planned(**load)

    assert case.generator is planned_for
    assert settled(**load) == replace(case, generator=PACED if planned_for is H2LOAD else planned_for)
    assert settled(Generators(), **load) == case


@pytest.mark.parametrize(
    ("load", "hint"),
    [
        ({**CLOSED, "protocol": "http2"}, "volley doctor --fix"),
        ({**CLOSED, "generator": "h2load"}, "volley doctor --fix; or omit 'generator', so that paced sends it"),
        ({**OPEN, "rate": "500/s", "generator": "h2load"}, "; or omit 'generator', so that paced sends it"),
        ({**OPEN, "rate": "50000/s", "generator": "h2load"}, "volley doctor --fix"),
        ({**OPEN, "rate": "50000/s"}, "; or use at least 5 agents, so that paced sends it"),
    ],
)
def test_what_only_h2load_sends_is_an_error_with_both_ways_out(load, hint):
    """Installing it, and another generator where one can send the load."""
    with pytest.raises(HostError) as error:
        settled(**load)

    assert error.value.message == "this machine: a/l needs h2load, which is missing there or too old"
    assert error.value.hint.startswith("install it with: volley doctor --fix")
    assert error.value.hint.endswith(hint)


def test_one_load_host_decides_for_all_of_a_case():
    """Its agents must not have two generators. Hosts without agents of the case do not matter."""
    generators = Generators.of([described("gen1", "1.64"), described("gen2", None), described("gen3", None)])

    assert generators.lacking == {"gen2", "gen3"}
    assert settled(generators, Placement(None, {"gen1": 1}), **CLOSED).generator is H2LOAD
    assert settled(generators, Placement(None, {"gen1": 1, "gen2": 1}), **CLOSED).generator is PACED
    with pytest.raises(HostError, match="host gen2: a/l needs h2load") as error:
        settled(generators, Placement(None, {"gen1": 1, "gen2": 1}), **CLOSED, generator="h2load")
    assert error.value.hint.startswith("install nghttp2-client there")


def test_many_hosts_are_named_in_a_few_words():
    """The first ones by name."""
    hosts = [f"gen{i}" for i in range(5)]

    with pytest.raises(HostError, match="hosts gen0, gen1, gen2 and 2 more: a/l needs h2load"):
        settled(Generators(frozenset(hosts)), Placement(None, dict.fromkeys(hosts, 1)), **CLOSED, generator="h2load")
    assert "missing on hosts gen0, gen1, gen2 and 2 more: paced" in Generators(frozenset(hosts)).words(["l"])


def described(host, version):
    return HostDescription(host, HostRole.LOAD, "6.1", [0], 9, h2load=version)


@pytest.mark.process
def test_a_load_host_without_h2load_describes_itself():
    """As a server host does, which never has it."""
    host = LoadHost(program="no-such-h2load")

    assert host.describe().h2load is None
    assert Generators.of([host.describe()]).lacking == {"local"}
    assert Generators.of([HostDescription("web1", HostRole.SERVER, "6.1", [0], 9)]).lacking == frozenset()


@pytest.fixture
def nothing_here(monkeypatch):
    """This machine has no h2load."""

    def missing(program="h2load"):
        raise h2load_version.H2loadMissing("not there")

    monkeypatch.setattr(h2load_version, "detect", missing)


@pytest.mark.usefixtures("nothing_here")
def test_all_cases_are_refused_at_once_before_anything_starts():
    """This machine is known. Cases of other generators are no reason to look."""
    campaign = Campaign.model_validate(
        document(one={**CLOSED, "protocol": "http2"}, two={**CLOSED, "generator": "h2load"}, three=CLOSED)
    )
    cases = make_plan(campaign).cases
    placements = {case.name: HERE for case in cases}

    with pytest.raises(Several) as error:
        require_generators_here(cases, campaign.loads, placements)
    assert [each.message.split()[2] for each in error.value.errors] == ["a/one", "a/two"]
    require_generators_here(cases[2:], campaign.loads, placements)


@pytest.mark.usefixtures("nothing_here")
def test_a_dry_run_warns_of_it_and_refuses_what_a_run_refuses():
    """In both forms. Loads of other generators are no reason to look."""
    lacking = "h2load is missing on this machine: paced sends the load one instead"
    replaced = from_plain(document(one=CLOSED, two={**CLOSED, "generator": "paced"}))

    warnings = json.dumps(as_document(replaced, None, Hosts())["warnings"])
    lines = " ".join(" ".join(as_lines(replaced, None, Hosts())).split())
    assert warnings.count(lacking) == 1
    assert f"warning: {lacking}" in lines
    assert "h2load" not in " ".join(as_lines(from_plain(document(two={**CLOSED, "generator": "paced"})), None, Hosts()))
    refused = from_plain(document(one={**CLOSED, "protocol": "http2"}))
    with pytest.raises(Several, match="a/one needs h2load"):
        as_document(refused, None, Hosts())
    with pytest.raises(Several, match="a/one needs h2load"):
        next(as_lines(refused, None, Hosts()))


class Up:
    """A fleet that is up, with one load host."""

    def __init__(self, version):
        self.hosts, self.accepted_keys = [LOCAL], []
        self.actors = self
        self.described, self.services, self.server = [described(LOCAL, version)], {}, None

    def up(self, notify):
        """There is nothing to start."""

    def reserve(self, placement):
        return contextlib.nullcontext()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


class Run:
    """A run of a campaign with one closed load, whose trials are only looked at."""

    def __init__(self, folder, monkeypatch):
        self.loaded = from_plain(document(steady=CLOSED))
        self.store = RunStore.create(folder, "c")
        self.said: list[str] = []
        self._monkeypatch = monkeypatch

    def begin(self, version) -> RunContext:
        """Bring up a host with this version of h2load; return what its trials share."""
        self._monkeypatch.setattr(Hosts, "fleet", lambda *arguments: Up(version))
        hosts = Hosts()
        work = CampaignTrials.planned(self.loaded, None, hosts)
        made: list[RunContext] = []
        one = session.Session(
            self.loaded, work.targets, work.placements, self.store, hosts, hosts.claim("c"), work.plan.cases
        )
        one._run_once(one.claim, lambda event: self.said.append(event.text), made.append)
        self.trial = work.plan.trials[0]
        return made[0]


@pytest.fixture
def a_run(tmp_path, monkeypatch):
    made = Run(tmp_path, monkeypatch)
    yield made
    made.store.close()


def test_a_run_reports_the_loads_that_paced_sends_and_records_it_in_every_trial(a_run):
    """One line, whatever the number of trials; with h2load there is none."""
    item = a_run.begin(None).input(a_run.trial)

    (line,) = [text for text in a_run.said if "h2load" in text]
    assert line.startswith("h2load is missing on this machine: paced sends the load steady instead")
    assert line.endswith("volley doctor --fix")
    assert (a_run.trial.case.generator, item.plan.case.generator) == (H2LOAD, PACED)


def test_with_h2load_nothing_changes(a_run):
    """And the run says nothing about it."""
    item = a_run.begin("1.64").input(a_run.trial)

    assert item.plan == a_run.trial
    assert not [text for text in a_run.said if "h2load" in text]


@pytest.mark.parametrize(("first", "second"), [(None, "1.64"), ("1.64", None)])
def test_a_resumed_run_keeps_its_generator(a_run, first, second):
    """Trials of two generators must not be one case. Another version of h2load is the same generator."""
    a_run.begin(first)
    a_run.begin(first and "1.65")

    with pytest.raises(UsageError, match=r"h2load was (missing|installed) on host local when c"):
        a_run.begin(second)


def test_the_environment_of_a_run_says_that_h2load_was_missing(a_run):
    """What compare and resume read."""
    a_run.begin(None)

    stored = read_environment(a_run.store.path)
    assert stored is not None
    assert [host.h2load for host in stored.hosts] == [None]
