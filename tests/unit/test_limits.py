"""Do the load hosts have room for the connections of a case? Before the run, with numbers."""

import dataclasses

import pytest

from agents.records import GeneratorKind
from orchestrator.errors import ConfigurationError, Several
from orchestrator.fleet.limits import Room, known, require_room, require_room_here, shortages
from orchestrator.fleet.place import LOCAL, Placement
from tests.unit.facts import case


def wide(clients, agents=2):
    return dataclasses.replace(case(), clients=clients, agents=agents)


BOTH = Placement(None, {"a": 1, "b": 1})


def test_room_enough():
    """Also on hosts of which nothing is known."""
    rooms = [Room("a", 1064, 1000), Room("b", None, None)]

    require_room([(wide(2000), BOTH)], rooms)
    require_room([(wide(10**6), BOTH)], [])


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (Room("b", 1063, 28000), ["host b", "1,064 open files per agent", "1,063", "hard nofile 1064"]),
        (Room("b", 10**6, 999), ["host b", "1,000 connections", "999 ephemeral ports", "more load hosts"]),
    ],
)
def test_each_shortage_has_its_numbers_and_its_fix(room, words):
    """For the host that lacks something, and no other."""
    (found,) = shortages(wide(2000), BOTH, {"a": Room("a", 10**6, 28000), "b": room})

    for word in words:
        assert word in f"{found.message} {found.hint}"


def test_agents_of_one_host_share_its_ports():
    """Files are counted by process, ports by host."""
    placement = Placement(None, {"a": 4})
    room = Room("a", 600, 1900)

    (found,) = shortages(wide(2000, agents=4), placement, {"a": room})
    assert "2,000 connections" in found.message
    with pytest.raises(Several) as error:
        require_room([(wide(4000, agents=4), placement)], [room])
    assert len(error.value.errors) == 2


def test_the_open_loop_opens_only_what_it_needs():
    """The clients of paced are a bound, for which it needs files; h2load opens them all."""
    open_case = dataclasses.replace(wide(2000), rate_per_s=100.0)
    rooms = {"a": Room("a", 10**6, 999), "b": Room("b", 1063, 10**6)}

    def found(kind):
        return [each.message.partition(":")[0] for each in shortages(replaced(open_case, kind), BOTH, rooms)]

    def replaced(made, kind):
        return dataclasses.replace(made, generator=kind)

    assert found(GeneratorKind.PACED) == ["host b"]
    assert found(GeneratorKind.H2LOAD) == ["host a", "host b"]
    assert found(GeneratorKind.COMMAND) == []


def test_a_unix_socket_needs_no_ports():
    """Files it needs all the same."""
    behind = dataclasses.replace(wide(2000), unix_socket=True)

    assert shortages(behind, BOTH, {"a": Room("a", 10**6, 999)}) == []
    assert len(shortages(behind, BOTH, {"a": Room("a", 999, 999)})) == 1


def test_what_this_machine_cannot_hold_is_a_wrong_campaign():
    """Exit code 2, with the numbers: the campaign alone shows it."""
    with pytest.raises(ConfigurationError) as error:
        require_room_here([(wide(10**8), Placement(None, {LOCAL: 2}))])

    assert error.value.exit_code == 2
    assert [problem.where for problem in error.value.problems] == ["this machine"] * 2
    assert "100,000,000 connections" in error.value.problems[1].what


def test_this_machine_knows_its_room():
    """Without asking anyone."""
    (room,) = known(None)

    assert room.open_files > 64
