"""Placement: pure and exact; an impossible one is reported with numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import Shortage
from orchestrator.fleet.place import (
    Machine,
    Placement,
    load_hosts,
    local_machine,
    machines_of,
    needs,
    pin,
    place,
    seats,
)
from orchestrator.plan import make_plan
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.load import from_plain
from orchestrator.spec.models import Campaign, Place


def machine(name, slots=2, server=False, **more):
    return Machine(name, f"10.{name}", server, slots, **more)


FLEET = [machine("web1", 0, True), machine("gen1"), machine("gen2", 3), machine("gen3", 1)]


def plan(agents=4, targets=("a",), url=False, **load):
    target = {"url": "http://h/"} if url else {"image": "i", "port": 80}
    campaign = from_plain(
        {
            "campaign": "c",
            "targets": dict.fromkeys(targets, target),
            "loads": {"l": {"clients": 100, "requests": 1000} | load},
            "agents": agents,
        }
    ).campaign
    return make_plan(campaign)


def test_agents_are_distributed_in_turn():
    """As evenly as the slots allow, in the inventory's order."""
    assert seats(FLEET, 2, "web1", Place()) == {"gen1": 1, "gen2": 1}
    assert seats(FLEET, 5, "web1", Place()) == {"gen1": 2, "gen2": 2, "gen3": 1}
    assert seats(FLEET, 6, "web1", Place()) == {"gen1": 2, "gen2": 3, "gen3": 1}


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12), st.integers(1, 60))
def test_every_agent_has_a_slot_and_no_host_more_than_it_takes(slots, agents):
    """It is a shortage exactly when there are too few slots."""
    machines = [machine(f"g{i}", n) for i, n in enumerate(slots)]
    if agents > sum(slots):
        with pytest.raises(Shortage, match=f"needs {agents} agents at once"):
            seats(machines, agents, None, Place())
        return
    dealt = seats(machines, agents, None, Place())
    assert sum(dealt.values()) == agents
    assert all(0 < n <= slots[int(name[1:])] for name, n in dealt.items())
    # No host has two more than another that still has a slot.
    open_hosts = [dealt.get(f"g{i}", 0) for i, n in enumerate(slots) if dealt.get(f"g{i}", 0) < n]
    assert not open_hosts or max(dealt.values()) - min(open_hosts) <= 1


def test_a_shortage_has_numbers():
    """How many agents the campaign needs, how many fit, and where."""
    with pytest.raises(Shortage) as shortage:
        place(plan(agents=9), FLEET, Place())

    assert "the campaign needs 9 agents at once" in shortage.value.message
    assert "take 6 (gen1 2, gen2 3, gen3 1)" in shortage.value.message
    assert shortage.value.exit_code == 4


def test_server_and_agents_are_on_separate_hosts_unless_sharing_is_allowed():
    """The same server host for all targets."""
    both = [machine("one", 4, True), machine("two", 4, True)]

    apart = place(plan(agents=4, targets=("a", "b")), both, Place())
    assert apart == {"a/l": Placement("one", {"two": 4}), "b/l": Placement("one", {"two": 4})}
    with pytest.raises(Shortage):
        place(plan(agents=6), both, Place())
    assert place(plan(agents=6), both, Place(share=True))["a/l"] == Placement("one", {"one": 3, "two": 3})


def test_a_server_only_host_goes_before_one_that_also_loads():
    """So that no slot is wasted."""
    assert place(plan(), [machine("both", 4, True), *FLEET], Place())["a/l"].server == "web1"


def test_labels_choose():
    """`place` in the campaign, for servers and for load hosts."""
    fleet = [machine("w1", 0, True), machine("w2", 0, True, labels={"rack": "b"}), machine("g1", 9),
             machine("g2", 9, labels={"rack": "b"})]  # fmt: skip
    where = Place(server={"rack": "b"}, load={"rack": "b"})

    assert place(plan(), fleet, where)["a/l"] == Placement("w2", {"g2": 4})
    with pytest.raises(Shortage, match="no host labelled rack=c has the role 'server'"):
        place(plan(), fleet, Place(server={"rack": "c"}))


def test_a_url_needs_no_server_host():
    """Load hosts alone will do."""
    assert place(plan(url=True), FLEET[1:], Place())["a/l"].server is None
    with pytest.raises(Shortage, match="has the role 'server'"):
        place(plan(), FLEET[1:], Place())


def test_this_machine_takes_a_few_agents():
    """Without an inventory."""
    here = local_machine("127.0.0.1")

    assert here.slots >= 2
    assert place(plan(agents=2), [here], Place(share=True))["a/l"] == Placement("local", {"local": 2})


@pytest.mark.parametrize(
    ("agents", "chosen", "usable", "shared", "cores"),
    [
        (2, [3, 5], [0, 3, 5], False, [3, 5]),
        (3, [3, 5], [0, 3, 5], False, [3, 5, 3]),
        (2, None, [0, 1, 2, 3], False, [2, 3]),
        (1, None, [0, 1, 2, 3], False, [None]),  # one agent may move
        (2, None, [0, 1], False, [None, None]),  # nothing would be left for the rest of the host
        (2, None, [0, 1, 2, 3], True, [None, None]),  # nor is the server's core known
    ],
)
def test_cores(agents, chosen, usable, shared, cores):
    """Several agents of one host do not share a core if there are enough."""
    assert pin(agents, chosen, usable, shared) == cores


def test_a_core_that_is_not_there():
    """Reported before anything runs."""
    with pytest.raises(Shortage, match=r"cores \[9\] are not among"):
        pin(1, [9], [0, 1], False)


def test_slots_follow_the_cores_that_are_chosen():
    """One per core, else two; a host without the role takes none."""
    inventory = Inventory.model_validate(
        {
            "hosts": {
                "a": {"roles": ["load"], "cores": [4, 5, 6]},
                "b": {"roles": ["load"]},
                "c": {"roles": ["server"], "address": "10.0.0.3"},
                "d": {"roles": ["load", "server"], "slots": 7, "cores": [1]},
            }
        }
    )

    assert [(m.name, m.slots, m.server) for m in machines_of(inventory)] == [
        ("a", 3, False), ("b", 2, False), ("c", 0, True), ("d", 7, True),
    ]  # fmt: skip
    assert [m.address for m in machines_of(inventory)] == ["a", "b", "10.0.0.3", "d"]
    assert [m.roles for m in machines_of(inventory)] == [["load"], ["load"], ["server"], ["server", "load"]]


def test_a_run_reserves_the_most_that_its_trials_need():
    """One group for all cases: of each host the largest number of agents, and the server host once."""
    wanted = [
        Placement("web", {"gen1": 2, "gen2": 1}),
        Placement("web", {"gen1": 1, "gen3": 4}),
        Placement(None, {"gen2": 3}),
    ]

    assert needs(wanted) == [
        ("gen1", {"agent": 2.0}), ("gen2", {"agent": 3.0}), ("web", {"server": 1.0}), ("gen3", {"agent": 4.0}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("machines", "url", "where", "hosts"),
    [
        ([*FLEET], False, {}, None),
        ([*FLEET], True, {}, None),
        ([machine("both", 4, True), machine("gen", 2)], False, {}, 1),
        ([machine("both", 4, True), machine("gen", 2)], True, {}, 2),
        ([machine("both", 4, True), machine("gen", 2)], False, {"share": True}, 2),
        ([machine("one", 2, True), machine("two", 2, True), machine("three", 2)], False, {}, 2),
    ],
)
def test_how_many_hosts_can_run_agents(machines, url, where, hosts):
    """All load hosts, without the one that the containers take."""
    target = {"url": "http://h/"} if url else {"image": "i", "port": 80}
    loads = {"l": {"clients": 40, "requests": 100}}
    campaign = Campaign.model_validate({"campaign": "c", "targets": {"a": target}, "loads": loads})
    expected = len([m for m in machines if m.slots]) if hosts is None else hosts

    assert load_hosts(campaign, machines, Place(**where)) == expected
    placed = place(make_plan(campaign, load_hosts=expected), machines, Place(**where))["a/l"]
    assert placed.idle == []


def test_load_hosts_without_an_agent_are_named():
    """The page says so. A host without slots or with another label is not one of them."""
    machines = [machine("web", 0, True), machine("g1", 2), machine("g2", 2), machine("g3", 2)]

    assert place(plan(agents=2), machines, Place())["a/l"].idle == ["g3"]
    assert place(plan(agents=3), machines, Place())["a/l"].idle == []
