"""Campaigns and searches, new and resumed, end in one way: from their folder. The hosts are made up, nothing else is."""

import json
import math
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from orchestrator.analyse.cases import judge
from orchestrator.campaign import session
from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.resume import resume
from orchestrator.campaign.run import run_campaign
from orchestrator.errors import StoredRunError
from orchestrator.fleet.hosts import HostLost
from orchestrator.run import loop
from orchestrator.run.trial import TrialOutput  # type: ignore[attr-defined]
from orchestrator.spec.load import from_plain
from orchestrator.stored import evaluate
from orchestrator.stored.documents import Origin
from orchestrator.stored.evaluate import Judgements, evaluate_run
from orchestrator.stored.layout import CAMPAIGN_FILE
from orchestrator.stored.reading import read_trial
from tests.unit.facts import agent_facts, result, trial_facts

PLAIN = {
    "campaign": "shop",
    "targets": {"flask": {"url": "http://127.0.0.1:9/"}, "fastapi": {"url": "http://127.0.0.1:8/"}},
    "loads": {"burst": {"clients": 40, "requests": 1000}},
    "repetitions": 3,
    "compare": {"baseline": "flask"},
}
DIED = [agent_facts(ended="died", exit_status=-9, output="killed\n"), agent_facts(agent="local/1")]


class World:
    """Hosts on which every trial goes well, except where `errors` (raised) or `agents` (by position) say otherwise."""

    def __init__(self, monkeypatch):
        self.fired, self.shown, self.labels, self.judged, self.claims = [], [], [], [], []
        self.errors, self.agents = {}, {}
        monkeypatch.setattr(loop, "run_trial", self._run_trial)
        monkeypatch.setattr(loop, "PAUSE_S", 0.0)
        monkeypatch.setattr(session, "RENEWED_AFTER_S", 0.0)
        monkeypatch.setattr(session, "provide", lambda *arguments: {})
        monkeypatch.setattr(Hosts, "fleet", self._fleet)
        monkeypatch.setattr(evaluate, "judge", self._judge)

    @contextmanager
    def _fleet(self, claim, placements, others):
        self.labels.append(claim.mark)
        self.claims.append(claim)
        actors = SimpleNamespace(server=None, services={}, described=[])
        yield SimpleNamespace(
            up=lambda tell: None, hosts=["here"], actors=actors, accepted_keys=[], reserve=self._reserve
        )

    @contextmanager
    def _reserve(self, placement):
        yield SimpleNamespace()

    def _run_trial(self, item, placed, say):
        position = len(self.fired)
        if (error := self.errors.pop(position, None)) is not None:
            raise error
        self.fired.append(item.plan.number)
        facts = trial_facts(number=item.plan.number, block=item.plan.block, case=item.plan.case)
        facts = replace(facts, agents=self.agents.get(position, facts.agents))
        service_us = 1_000 + 10 * position + (500 if item.plan.case.target == "fastapi" else 0)
        return TrialOutput(facts, [result(agent, [service_us] * 500) for agent in facts.agents], b"log")

    def _judge(self, facts, results):
        self.judged.append(facts.number)
        return judge(facts, results)

    def run(self, folder):
        folder.mkdir()
        (folder / CAMPAIGN_FILE).write_text(json.dumps(PLAIN))
        origin = Origin(str(folder / CAMPAIGN_FILE))
        loaded = from_plain(PLAIN, folder)
        return run_campaign(loaded, json.dumps(PLAIN), folder / "runs", None, self.shown.append, Hosts(), origin)

    def interrupted(self, folder, after):
        self.errors[after] = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            self.run(folder)
        (run,) = (folder / "runs").iterdir()
        return run


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_the_results_of_a_run_are_those_of_its_folder(tmp_path, world):
    """What the run returned and wrote, and what anybody makes of the folder later."""
    finished = world.run(tmp_path / "one")
    later = evaluate_run(finished.path)

    assert later.summary == finished.summary
    assert later.trials == finished.trials
    assert [c.baseline for c in finished.summary.comparisons][:1] == ["flask"]
    assert json.loads((finished.path / "summary.json").read_text())["verdict"] == str(finished.summary.verdict)


def test_each_trial_is_judged_once(tmp_path, world):
    """Also one whose first attempt lost an agent: each attempt once; reading the folder back adds no judgement."""
    world.agents[1] = DIED
    finished = world.run(tmp_path / "one")

    assert sorted(world.judged) == sorted(world.fired)
    assert sorted(world.fired) == [1, 2, 2, 3, 4, 5, 6]
    assert [trial.facts.tries for trial in finished.trials if trial.facts.number == 2] == [["agent-lost"]]


@pytest.mark.parametrize("after", [0, 1, 4])
def test_an_interrupted_campaign_resumes_where_it_was(tmp_path, world, after):
    """No trial is repeated, each is judged once by each process, and the hint says what to type."""
    run = world.interrupted(tmp_path / "one", after)
    (hint,) = [event.text for event in world.shown if event.kind == "unfinished"]
    done, world.judged[:] = list(world.fired), []
    finished = resume(run, world.shown.append)

    assert hint == f"interrupted; continue with: volley resume {run}"
    assert f"resumed: {after} of 6 trials are done" in "\n".join(event.text for event in world.shown)
    assert sorted(world.fired) == [1, 2, 3, 4, 5, 6]
    assert world.fired[: len(done)] == done
    assert sorted(world.judged) == [1, 2, 3, 4, 5, 6]
    assert len(set(world.labels)) == len(world.labels)
    assert len({claim.name for claim in world.claims}) == 1
    assert evaluate_run(run).summary == finished.summary


def test_a_run_that_is_finished_is_evaluated_again_without_hosts(tmp_path, world):
    """Resuming it brings no host up and changes nothing."""
    finished = world.run(tmp_path / "one")
    hosts_up = len(world.labels)

    assert resume(finished.path, world.shown.append).summary == finished.summary
    assert len(world.labels) == hosts_up


def test_a_lost_host_costs_no_trial(tmp_path, world):
    """The hosts are started again under another label, and the run continues."""
    world.errors[2] = HostLost("host gen1: its actor is gone", "see that the host is up")
    finished = world.run(tmp_path / "one")

    assert world.fired == [trial.facts.number for trial in finished.trials]
    assert len(set(world.labels)) == 2
    # It keeps its place in the queue for the hosts, and waits for it.
    assert len({claim.stamp_ns for claim in world.claims}) == 1
    assert [claim.wait_s for claim in world.claims] == [0.0, math.inf]


def test_a_folder_that_lost_a_trial_is_not_evaluated_from_memory(tmp_path, world):
    """Judgements are reused for what was read, never instead of reading."""
    run = world.interrupted(tmp_path / "one", 4)
    judgements = Judgements()
    judgements.of_run(run)
    first = next(path for path in sorted((run / "trials").iterdir()))
    (first / "agents.msgpack").unlink()

    with pytest.raises(StoredRunError, match=first.name):
        evaluate_run(run, judgements)


def test_facts_that_changed_are_judged_again():
    """A judgement is of the facts, not of the number."""
    facts, judgements = trial_facts(), Judgements()
    results = [result(agent, [1_000] * 500) for agent in facts.agents]
    first = judgements.of(facts, results)
    died = replace(facts, agents=DIED)

    assert judgements.of(facts, results) is first
    assert judgements.of(died, results).verdict != first.verdict


def test_a_stored_trial_is_read_again_only_when_it_was_written_since(tmp_path, world, monkeypatch):
    """By the same judgements: a folder that is as it was is known, one whose file was written is not."""
    run = world.interrupted(tmp_path / "one", 4)
    judgements, read = Judgements(), []
    monkeypatch.setattr(evaluate, "read_trial", lambda folder: read.append(folder.name) or read_trial(folder))

    first = judgements.of_run(run)
    again = judgements.of_run(run)
    written = sorted((run / "trials").iterdir())[2]
    (written / "trial.json").write_text((written / "trial.json").read_text() + " ")
    (written / "checksums.json").unlink()
    last = judgements.of_run(run)

    assert first == again == last
    assert read == [*(folder.name for folder in sorted((run / "trials").iterdir())), written.name]
