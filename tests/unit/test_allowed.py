"""Which servers may be loaded without permission, and how a permission is written and kept. No name is looked up."""

import json

import pytest

from agents import destinations
from agents.destinations import NotPermitted, Permitted, address_of, is_ours, pinned, strangers
from agents.generators.h2load import command
from agents.generators.h2load_version import capabilities
from agents.records import Assignment, from_plain, to_plain
from orchestrator.campaign import allowed
from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.resume import resume
from orchestrator.campaign.search import CapacitySearch
from orchestrator.campaign.trials import CampaignTrials
from orchestrator.errors import ConfigurationError, UsageError
from orchestrator.spec import inline
from orchestrator.spec.allowed import checked_allowed, how_to_allow, read_allowed, rules_of
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.load import from_plain as campaign_of
from orchestrator.spec.load import load
from orchestrator.stored.documents import Origin, to_document
from orchestrator.stored.folder import RunStore

PUBLIC, PRIVATE = "203.0.113.7", "10.0.0.7"
NAMES = {
    "shop.example": [PUBLIC, "2001:db8::7"],
    "inner.example": [PRIVATE],
    "mixed.example": [PRIVATE, PUBLIC],
    "localhost": ["::1", "127.0.0.1"],
}


@pytest.fixture(autouse=True)
def names(monkeypatch):
    """Resolve NAMES, and nothing else, both on the coordinator and on load hosts."""
    known = dict(NAMES)

    def resolve(host, port):
        if destinations.is_address(host):
            return [host]
        if host not in known:
            raise OSError(-2, "Name or service not known")
        return known[host]

    monkeypatch.setattr(destinations, "resolve", resolve)
    monkeypatch.setattr(allowed, "resolve", resolve)
    return known


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
     "169.254.1.1", "198.18.0.11", "198.19.255.255", "::1", "::", "fd00::1", "fe80::1%eth0", "::ffff:10.0.0.1"],
)  # fmt: skip
def test_addresses_that_no_stranger_has(address):
    """Loopback, private, link-local, carrier and benchmarking networks, also an IPv4 address that is written as IPv6."""
    assert is_ours(address_of(address))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "203.0.113.7", "172.15.255.255", "172.32.0.0", "192.169.0.1", "100.63.255.255", "100.128.0.0",
     "198.17.255.255", "198.20.0.0", "0.0.0.1", "224.0.0.1", "255.255.255.255", "2001:db8::1", "64:ff9b::a00:1",
     "::ffff:8.8.8.8", "2002:a00:1::1", "ff02::1"],
)  # fmt: skip
def test_addresses_that_need_a_permission(address):
    """The neighbours of the private networks, and addresses of IPv6 that only look as if they held a private one."""
    assert strangers([address], Permitted()) == [address]
    assert strangers([address], Permitted(networks=[str(address_of(address))])) == []


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("Shop.Example.", "shop.example"), ("bücher.example", "xn--bcher-kva.example"), (" 203.0.113.7 ", "203.0.113.7"),
     ("203.0.113.0/28", "203.0.113.0/28"), ("[2001:db8::7]", "2001:db8::7"), ("2001:DB8::/32", "2001:db8::/32")],
)  # fmt: skip
def test_what_can_be_allowed(typed, kept):
    """Names as they are sent, addresses and networks."""
    assert checked_allowed(typed) == kept


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("https://shop.example/cart", "write its host alone, shop.example"),
        ("shop.example:8080", "write it without a port"),
        ("*.example", "write each host name, or a network"),
        ("203.0.113.7/28", "write 203.0.113.0/28"),
        ("0.0.0.0/0", "too large to be yours"),
        ("::/0", "too large to be yours"),
        ("203.0.113.0/99", "is not a network"),
        ("", "is not a host"),
        ("a b", "is not a host"),
    ],
)
def test_what_cannot_be_allowed(typed, says):
    """Each is refused as the option, with what to write instead: nobody allows the whole internet by accident."""
    with pytest.raises(ConfigurationError) as caught:
        read_allowed([typed])

    (problem,) = caught.value.problems
    assert problem.where == "--allow-target"
    assert says in f"{problem.what}: {problem.hint}"


def spec(url="http://shop.example/", **more):
    return {
        "campaign": "c",
        "targets": {"a": {"url": url}},
        "loads": {"burst": {"clients": 4, "requests": 100}},
        **more,
    }


def planned(hosts=None, **more):
    return CampaignTrials.planned(campaign_of(spec(**more)), None, hosts or Hosts())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://shop.example/", f"shop.example is at {PUBLIC} and 1 more, which are public"),
        ("http://mixed.example:8080/x", f"mixed.example is at {PUBLIC}, which is public"),
        (f"http://{PUBLIC}/", f"{PUBLIC} is a public address"),
        ("https://[2001:db8::7]/", "2001:db8::7 is a public address"),
    ],
)
def test_a_stranger_is_refused_before_anything_starts(url, says):
    """Every address of a name counts. The error has the address, and the exact way to allow it."""
    with pytest.raises(ConfigurationError) as caught:
        planned(url=url)

    (problem,) = caught.value.problems
    assert says in problem.what
    assert url in problem.where
    host = url.split("/")[2].strip("[]") if "[" in url else url.split("/")[2].partition(":")[0]
    assert f"--allow-target {host}" in problem.hint
    assert "allow_targets: [" in problem.hint


@pytest.mark.parametrize("entry", ["shop.example", "SHOP.example"])
def test_an_allowed_name_may_have_any_address(entry):
    """In the campaign, once; the other forms are addresses and networks that hold all of its addresses."""
    assert planned(allow_targets=[entry]).plan.cases
    assert planned(allow_targets=["203.0.113.0/28", "2001:db8::7"]).plan.cases
    with pytest.raises(ConfigurationError):
        planned(allow_targets=["203.0.113.0/28"])


@pytest.mark.parametrize(
    "url", ["http://localhost/", f"http://{PRIVATE}/", "http://inner.example/", "http://none.example/"]
)
def test_what_needs_no_permission(url):
    """A name that cannot be resolved here is left to the load hosts, which may know it."""
    assert planned(url=url).plan.cases


def test_a_unix_socket_is_on_this_machine():
    """Its URL is only what is sent."""
    target = {"url": "http://shop.example/", "socket": "/run/app.sock"}
    assert CampaignTrials.planned(campaign_of(spec() | {"targets": {"a": target}}), None, Hosts()).plan.cases


def test_the_hosts_of_the_inventory_are_allowed():
    """At their addresses, and under their names, as long as these have the same addresses."""
    inventory = Inventory.model_validate(
        {
            "hosts": {
                "web": {"address": "shop.example", "roles": ["server"]},
                "gen": {"address": PRIVATE, "roles": ["load"]},
            }
        }
    )
    hosts = Hosts(inventory)

    assert planned(hosts).plan.cases
    assert planned(hosts, url=f"http://{PUBLIC}/").plan.cases
    with pytest.raises(ConfigurationError):
        planned(hosts, url="http://203.0.113.8/")


def test_only_chosen_targets_count():
    """A target that is not run is not loaded."""
    document = spec() | {"targets": {"a": {"url": "http://shop.example/"}, "b": {"url": f"http://{PRIVATE}/"}}}

    assert CampaignTrials.planned(campaign_of(document), "b/*", Hosts()).plan.cases
    assert [problem.where for problem in allowed.refused(campaign_of(document).campaign, ["a", "b"], Hosts())] == [
        "targets.a.url: http://shop.example/"
    ]


def test_the_option_adds_to_what_the_file_allows(tmp_path):
    """`run --allow-target`: both hold, and a resumed run has them again."""
    file = tmp_path / "c.yaml"
    file.write_text(json.dumps(spec(allow_targets=["staging.example"])))

    loaded = load(file, allowed=["Shop.Example"])

    assert loaded.campaign.allow_targets == ["staging.example", "shop.example"]
    assert CampaignTrials.planned(loaded, None, Hosts()).plan.cases


def test_resume_keeps_what_was_allowed(tmp_path):
    """From the plan. Without it the same run is refused, before any host is contacted; resume itself can allow, too."""
    file = tmp_path / "c.yaml"
    file.write_text(json.dumps(spec()))
    store = RunStore.create(tmp_path / "runs", "c")
    work = CampaignTrials.planned(load(file, allowed=["shop.example"]), None, Hosts())

    def stored(origin):
        store.write_json("plan.json", to_document(work.document(origin)))

    stored(Origin(str(file), allowed=["shop.example"]))
    # The folder is open: that is refused only after everything else.
    with pytest.raises(UsageError, match="is being written by another volley"):
        resume(store.path, lambda event: None)
    stored(Origin(str(file)))
    with pytest.raises(UsageError, match="allow_targets is gone"):
        resume(store.path, lambda event: None)
    store.close()


@pytest.mark.parametrize(
    "made",
    [
        lambda given: inline.bench(inline.Bench("http://shop.example/", 4, 1, 100, allowed=given)),
        lambda given: inline.bench(inline.Bench("ws://shop.example/", 4, 1, 100, allowed=given)),
        lambda given: inline.sweep("http://shop.example/", "1,2", "1s", 1, allowed=given),
    ],
)
def test_command_lines_need_the_option(made):
    """`bench` and `sweep URL`, over WebSocket too; the file in the run folder says what was allowed."""
    with pytest.raises(ConfigurationError) as caught:
        CampaignTrials.planned(made(()), None, Hosts())
    assert "shop.example" in caught.value.problems[0].where

    loaded = made(["shop.example"])
    assert CampaignTrials.planned(loaded, None, Hosts()).plan.cases
    assert json.loads(inline.source(loaded))["allow_targets"] == ["shop.example"]


def searched(url, agents=None, highest=None, allowed=()):
    asked = inline.Search("p99<50ms", highest=highest, agents=agents, allowed=allowed)
    return CapacitySearch(inline.saturate(url, asked), None, Hosts()).wanted


def test_the_upper_limit_of_a_search_suits_the_agents():
    """50,000/s for each agent; a server that had to be allowed: 5,000/s and 1,000 connections. A number of one's own wins."""
    assert searched("http://127.0.0.1/").highest == 2 * 50_000
    assert searched("http://127.0.0.1/", agents=4).highest == 4 * 50_000
    public = searched("http://shop.example/", allowed=["shop.example"])
    assert (public.highest, public.connections) == (5_000, 1_000)
    assert searched("http://shop.example/", highest="20000/s", allowed=["shop.example"]).highest == 20_000
    # Allowed without need: it is on a private network.
    assert searched("http://inner.example/", allowed=["inner.example"]).highest == 2 * 50_000
    with pytest.raises(ConfigurationError):
        searched("http://shop.example/")


def test_what_a_generator_connects_to(names):
    """A name is pinned to the addresses that were checked; an allowed name, an address and localhost need no pin."""
    here = Permitted(["shop.example"])

    assert pinned("http://inner.example/", here) == [PRIVATE]
    assert pinned("http://shop.example/", here) == []
    assert pinned("http://localhost/", here) == []
    assert pinned(f"http://{PRIVATE}/", here) == []
    assert pinned("http://shop.example/", None) == []
    names["inner.example"] = [PUBLIC]
    for url in ("http://inner.example/", f"http://{PUBLIC}/", "wss://mixed.example/"):
        with pytest.raises(NotPermitted, match="not allowed as a target"):
            pinned(url, here)


def test_h2load_connects_to_the_checked_address():
    """Host and TLS name stay those of the URL."""
    task = Assignment("a/0", "r", "https://inner.example/x", 1, 1, count=1)

    def options(*addresses):
        with_them = from_plain(Assignment, to_plain(task) | {"addresses": list(addresses)})
        return [word for word in command(with_them, capabilities((1, 64)), "log") if word.startswith("--connect-to")]

    assert options() == []
    assert options(PRIVATE) == [f"--connect-to={PRIVATE}:443"]
    assert options("fd00::7") == ["--connect-to=[fd00::7]:443"]


def test_rules_travel_to_load_hosts():
    """As plain data, in tasks and probes."""
    rules = rules_of(["shop.example", "203.0.113.0/28", "2001:db8::7"], ["198.51.100.4"])

    assert rules == Permitted(["shop.example"], ["203.0.113.0/28", "2001:db8::7", "198.51.100.4"])
    task = Assignment("a/0", "r", "http://h/", 1, 1, permitted=rules)
    assert from_plain(Assignment, to_plain(task)) == task
    assert 'allow_targets: ["2001:db8::7"]' in how_to_allow("http://[2001:db8::7]/")
