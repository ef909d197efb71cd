"""The nodes of an existing Ray cluster: which are hosts, what a run reserves of them, and what is missing. Without Ray."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agents.cluster_node import NodeKeeper, settle
from agents.orders import RUN_VARIABLE, GuardEventKind, Order, Request, RequestKind
from agents.records import to_plain
from orchestrator.errors import EXIT_USAGE, ConfigurationError, HostError, Shortage
from orchestrator.fleet.existing import reservation
from orchestrator.fleet.existing.care import cpus_check, niceness_check, packages_check
from orchestrator.fleet.existing.keepers import install_command, packages_for
from orchestrator.fleet.existing.nodes import Node, chosen, node_here, refused
from orchestrator.fleet.existing.reservation import Reservation, bundles, missing
from orchestrator.fleet.place import Placement
from orchestrator.fleet.survey import CheckState
from orchestrator.spec.load import is_inventory, load_inventory
from orchestrator.spec.ray_cluster import RayCluster

VOLLEY = [sys.executable, "-m", "orchestrator.cli"]

DOCS = Path(__file__).parents[2] / "docs" / "how-to"
HEAD = "10.0.0.1:6379"
DRIVER = Node("d", "10.0.0.1", {}, {"CPU": 4.0}, here=True)
GEN1 = Node("1", "10.0.0.11", {"host": "gen1", "team": "perf"}, {"CPU": 4.0, "load": 2.0}, here=False)
GEN2 = Node("2", "10.0.0.12", {"team": "perf"}, {"CPU": 2.0}, here=False)
WEB = Node("3", "10.0.0.13", {"docker": "yes", "host": "web"}, {"CPU": 8.0}, here=False)
NODES = [WEB, DRIVER, GEN2, GEN1]


def hosts(**settings):
    return [(m.name, m.server, m.slots) for _, m in chosen(RayCluster(**settings), NODES, DRIVER)]


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, [("10.0.0.12", False, 2), ("gen1", False, 4), ("web", False, 8)]),
        ({"load": {"team": "perf"}}, [("10.0.0.12", False, 2), ("gen1", False, 4)]),
        ({"load": "load"}, [("gen1", False, 2)]),
        (
            {"load": {"team": "perf"}, "server": {"docker": "yes"}},
            [("10.0.0.12", False, 2), ("gen1", False, 4), ("web", True, 0)],
        ),
    ],
    ids=str,
)
def test_which_nodes_are_hosts(settings, found):
    """By labels or a resource; by default all but the driver's, and none is a server."""
    assert hosts(**settings) == found


def test_nodes_that_cannot_be_hosts():
    """Nothing is selected, nothing has a CPU, or two have one name: each says so with the numbers."""
    idle = [replace(node, resources={}) for node in NODES]
    with pytest.raises(HostError, match="none of the 4 nodes of the Ray cluster is selected"):
        hosts(load={"team": "other"})
    with pytest.raises(HostError, match="it has 4 nodes, and none but this machine has a CPU"):
        chosen(RayCluster(), idle, DRIVER)
    with pytest.raises(HostError, match="2 nodes of the Ray cluster have the name 'gen1'") as refused_:
        chosen(RayCluster(), [*NODES, replace(GEN1, id="9")], DRIVER)
    assert "--labels=host=NAME" in refused_.value.hint


def test_the_driver_needs_a_node_here():
    """The head's comes first, where several are on one machine; without any, one sentence."""
    beside = replace(GEN1, here=True)

    assert node_here([beside, DRIVER], HEAD) is DRIVER
    with pytest.raises(HostError, match=r"this machine is not a node of the Ray cluster at 10\.0\.0\.1:6379") as error:
        node_here([GEN1], HEAD)
    assert "ray start --address=HOST:PORT --num-cpus=0" in error.value.hint


def test_what_a_run_reserves():
    """A CPU per agent, the most of all its cases; the server's node whole; units of the selecting resource."""
    nodes = {"gen1": GEN1, "web": WEB}
    placements = [Placement("web", {"gen1": 1}), Placement(None, {"gen1": 2, "web": 1})]

    found = bundles(placements, nodes, RayCluster(load={"team": "perf"}, server={"docker": "yes"}))
    by_resource = bundles([Placement(None, {"gen1": 2})], nodes, RayCluster(load="load"))

    assert [(each.host, each.agents, each.resources) for each in found] == [
        ("web", 1, {"CPU": 8.0}), ("gen1", 2, {"CPU": 2.0})
    ]  # fmt: skip
    assert [each.resources for each in by_resource] == [{"CPU": 2.0, "load": 2.0}]


def test_a_shortage_has_numbers(monkeypatch):
    """Of every resource that is short; a run that does not wait is refused, and one that waits says for what."""
    monkeypatch.setattr(reservation, "PATIENCE_S", 0.0)
    monkeypatch.setattr(reservation, "POLL_S", 0.01)
    nodes = {"gen1": GEN1}
    wanted = bundles([Placement(None, {"gen1": 2})], nodes, RayCluster(load="load"))
    said = []

    assert missing(wanted, nodes, {"1": {"CPU": 4.0, "load": 2.0}}) == []
    assert missing(wanted, nodes, {"1": {"CPU": 1.0}}) == [
        "gen1 has 1 of its 4 CPUs free, and the run needs 2",
        "gen1 has 0 of its 2 units of 'load' free, and the run needs 2",
    ]
    for wait_s in (0.0, 0.05):
        with pytest.raises(Shortage, match="gen1 has 1 of its 4 CPUs free") as refused_:
            Reservation(wanted, nodes).take(lambda: {"1": {"CPU": 1.0, "load": 2.0}}, wait_s, said.append)
        assert "--wait" in refused_.value.hint
    assert said == ["waiting for other jobs of the Ray cluster: gen1 has 1 of its 4 CPUs free, and the run needs 2"]


def test_a_cluster_that_refuses_this_machine():
    """A token, or whatever Ray says, in a sentence."""
    assert "refused the token" in refused(HEAD, RuntimeError("InvalidAuthToken: x")).message
    assert refused(HEAD, RuntimeError("first line\nsecond")).message.endswith(f"cluster at {HEAD}: first line")


def test_what_check_says_of_a_node():
    """Packages that are missing make it unusable; niceness and reservations of others are warnings."""
    lacking = packages_check(["numpy", "httpx"])

    assert (lacking.state, lacking.found) == (CheckState.FAILURE, "its Python lacks numpy, httpx")
    assert "pip install 'numpy>=2.2' 'httpx[http2]>=0.28'" in lacking.fix
    assert packages_check([]).state is niceness_check(0).state is CheckState.OK
    assert niceness_check(15).state is CheckState.WARNING
    assert cpus_check(GEN1, {"1": {"CPU": 1.0}}).found == "other jobs hold 3 of 4 CPUs"
    assert cpus_check(GEN1, {"1": {"CPU": 4.0}}).state is CheckState.OK


def test_the_packages_of_a_node_are_those_of_this_project():
    """The command that a user is shown installs what pyproject.toml asks for."""
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()

    for module in packages_for(containers=True, load=True):
        (package,) = [word for word in install_command([module]).split("'") if ">" in word]
        assert f'"{package}"' in project


# The keys of KubeRay's RayCluster (v1) that the manifest may use, as its Go types have them; the others are Kubernetes' own.
SPEC = {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
HEAD_GROUP = {"rayStartParams", "template"}
WORKER_GROUP = HEAD_GROUP | {"groupName", "replicas", "minReplicas", "maxReplicas"}


def test_the_manifest_of_the_docs():
    """Keys that KubeRay knows, this version of Ray, a resource that the inventory selects, and whole CPUs for each agent."""
    from ruamel.yaml import YAML

    text = (DOCS / "use-an-existing-ray-cluster.yaml").read_text()
    manifest = YAML(typ="safe").load(text)
    spec, (group,) = manifest["spec"], manifest["spec"]["workerGroupSpecs"]
    (worker,) = group["template"]["spec"]["containers"]
    (words,) = shlex.split(group["rayStartParams"]["resources"])
    pinned = re.search(r'"ray==([\d.]+)"', (Path(__file__).parents[2] / "pyproject.toml").read_text())

    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayCluster")
    assert (set(spec), set(spec["headGroupSpec"]), set(group)) == (SPEC, HEAD_GROUP, WORKER_GROUP)
    assert spec["rayVersion"] == pinned[1]
    # Ray's options are strings there, and the operator passes them on to a shell.
    for params in (spec["headGroupSpec"]["rayStartParams"], group["rayStartParams"]):
        assert all(isinstance(value, str) for value in params.values())
    assert json.loads(words) == {"load": 2}
    assert int(group["rayStartParams"]["num-cpus"]) < int(worker["resources"]["limits"]["cpu"])
    assert worker["resources"]["limits"] == worker["resources"]["requests"]


def test_the_how_to_shows_what_works(tmp_path):
    """Its inventory is valid, its image has the pinned Ray, and its command installs what nodes need."""
    text = (DOCS / "use-an-existing-ray-cluster.md").read_text()
    path = tmp_path / "cluster.yaml"
    path.write_text(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    pinned = re.search(r'"ray==([\d.]+)"', (Path(__file__).parents[2] / "pyproject.toml").read_text())

    found = load_inventory(path).ray

    assert (found.address, found.load, found.server) == ("auto", {"team": "perf"}, {"docker": "yes"})
    assert f"FROM rayproject/ray:{pinned[1]}-py311" in text
    assert install_command(list(packages_for(containers=False, load=True))) in text
    assert "pip install 'docker>=7.1'" in text


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("ray: {address: 'ray://head:10001'}", "is the address of a Ray client or dashboard"),
        ("ray: {address: head}", "'head' is not 'auto' or HOST:PORT"),
        ("ray: {address: 'head:99999'}", "is not 'auto' or HOST:PORT"),
        ("ray: {}\nhosts: {a: {roles: [load]}}", "'hosts' cannot be used with 'ray'"),
        ("ray: {}\nports: 21000\nssh_config: none", "'ports', 'ssh_config' cannot be used with 'ray'"),
        ("hosts: {}", "no hosts are listed"),
    ],
)
def test_an_inventory_that_is_wrong(tmp_path, text, what):
    """Each in one sentence."""
    path = tmp_path / "cluster.yaml"
    path.write_text(text)

    with pytest.raises(ConfigurationError) as error:
        load_inventory(path)
    assert what in error.value.problems[0].what


def test_an_inventory_of_a_cluster(tmp_path):
    """It is an inventory, and the default is the cluster of this machine."""
    path = tmp_path / "cluster.yaml"
    path.write_text("ray: {load: load}\nimages: send\n")

    assert is_inventory(path)
    assert load_inventory(path).ray == RayCluster(address="auto", load="load")


@pytest.mark.process
@pytest.mark.parametrize("verb", ["up", "down", "trust"])
def test_the_verbs_that_do_not_apply(tmp_path, verb):
    """One sentence, before anything is connected."""
    path = tmp_path / "cluster.yaml"
    path.write_text("ray: {address: '127.0.0.1:9'}")

    done = subprocess.run([*VOLLEY, "hosts", verb, "--hosts", str(path)], capture_output=True, text=True)

    assert done.returncode == EXIT_USAGE
    assert f"'hosts {verb}' does not apply to it" in done.stderr


@pytest.mark.process
def test_nothing_answers_at_the_address(tmp_path):
    """A sentence instead of Ray's retries."""
    path = tmp_path / "cluster.yaml"
    path.write_text("ray: {address: '127.0.0.1:9'}")

    done = subprocess.run(
        [*VOLLEY, "bench", "http://127.0.0.1:9/", "--hosts", str(path), "--out", str(tmp_path)],
        capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 4
    assert "no Ray cluster answers at " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.process
def test_a_keeper_holds_a_guard_that_outlives_it(tmp_path, monkeypatch):
    """The guard takes the lease, is no child of the keeper, and ends what carries the mark once its input has ended."""
    monkeypatch.setenv("VOLLEY_LEASES", str(tmp_path))
    monkeypatch.setenv(RUN_VARIABLE, "not-for-the-guard")
    mark = f"kept-{os.getpid()}"
    keeper = NodeKeeper()
    keeper.start_guard()
    order = Order(mark, [], {}, "", "", 30.0, containers=False, name="kept", owner="me", alone=True, stamp_ns=1)
    keeper.write(json.dumps(to_plain(order)).encode() + b"\n")
    load = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={**os.environ, RUN_VARIABLE: mark}
    )

    def event():
        return json.loads(keeper.read_line())["event"]

    assert event() == GuardEventKind.FREE
    for request in (RequestKind.TAKE, RequestKind.START):
        keeper.write(json.dumps(to_plain(Request(request))).encode() + b"\n")
    assert [event(), event()] == [GuardEventKind.TAKEN, GuardEventKind.STARTED]
    assert len(list(tmp_path.glob("*.lease"))) == 1
    assert load.poll() is None
    keeper.end_input()
    assert event() == GuardEventKind.CLEANED
    assert keeper.read_line() == b""
    assert load.wait(timeout=10) < 0
    assert list(tmp_path.glob("*.lease")) == []
    keeper.write(b"\n")  # to a guard that is gone: nothing happens


@pytest.mark.process
def test_what_a_node_says_of_itself():
    """Modules that are missing, the survey, a clock, and the niceness of its processes."""
    keeper = NodeKeeper()

    assert keeper.lacking(["json", "no_such_module", "no.such.module"]) == ["no_such_module", "no.such.module"]
    assert keeper.survey()["python"][:2] == list(sys.version_info[:2])
    assert keeper.answer_clock("127.0.0.1") == keeper.answer_clock("127.0.0.1") > 0
    assert settle(None) == keeper.niceness()
