"""Results of agents on their way from a host to the run's folder: as bytes, decoded one by one."""

import tracemalloc

import pytest

from agents.wire import BadFrame, encode_stream, pack_result
from orchestrator.analyse.cases import judge
from orchestrator.fleet.frames import Frames
from orchestrator.run.collected import OnOurClock
from orchestrator.stored.folder import RunStore
from tests.unit.facts import T0_US, agent_facts, result, trial_facts

AGENTS = 40


def stream(name="here", agents=AGENTS):
    return encode_stream(
        pack_result(result(agent_facts(agent=f"{name}/{n}"), range(500, 1000 + n))) for n in range(agents)
    )


def test_results_are_read_as_often_as_they_are_needed():
    """Each time the same, in the order of the assignments."""
    frames = Frames(stream())

    assert len(frames) == AGENTS
    assert [each.facts.agent for each in frames] == [f"here/{n}" for n in range(AGENTS)]
    assert [each.service["ok"].n for each in frames] == [500 + n for n in range(AGENTS)]
    assert next(iter(frames)) in frames


@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: data.replace(b"VLYF", b"VLYG")])
def test_a_stream_that_was_damaged_is_refused_when_it_is_read(spoil):
    """Nothing of it is added up."""
    with pytest.raises(BadFrame):
        list(Frames(spoil(stream())))


def test_results_of_all_hosts_are_on_our_clock():
    """Each host's clock has its own lead; what has not started has no instant."""
    idle = result(agent_facts(agent="idle", first_start_us=0), [])
    results = OnOurClock([(Frames(stream("a", 1)), 1_000), (Frames(stream("b", 1)), -2_000), ([idle], 5)])

    assert len(results) == 3
    assert [each.facts.agent for each in results] == ["a/0", "b/0", "idle"]
    assert [each.facts.first_start_us for each in results] == [T0_US, T0_US + 3_000, 0]


def test_a_trial_is_stored_agent_by_agent(tmp_path):
    """As it arrived, in less memory than all agents' frames take; joined, they took that three times."""
    service_us = [round(1.002**k) for k in range(9000)]
    sent = encode_stream(pack_result(result(agent_facts(agent=f"here/{n}"), service_us)) for n in range(AGENTS))
    frames = Frames(sent)
    judged = judge(trial_facts(agents=[each.facts for each in frames]), frames)
    store = RunStore.create(tmp_path, "c")
    tracemalloc.start()
    folder = store.add("0001-a-b", judged, frames, b"")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (folder / "agents.msgpack").read_bytes() == sent
    assert most < len(sent)
