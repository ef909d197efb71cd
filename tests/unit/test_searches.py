"""The searches of a run: they take turns, outlive a lost host and can be resumed. Only the hosts are fake."""

import json
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from orchestrator.analyse.capacity import replay
from orchestrator.analyse.cases import judge
from orchestrator.campaign import session
from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.resume import resume
from orchestrator.campaign.search import run_saturation
from orchestrator.cli.search import OWN_FILE
from orchestrator.errors import HostError, UsageError
from orchestrator.fleet.hosts import HostLost
from orchestrator.report.files import write_page
from orchestrator.run import loop
from orchestrator.run.inputs import TrialOutput
from orchestrator.spec.load import from_plain
from orchestrator.stored import evaluate
from orchestrator.stored.documents import Origin
from tests.unit.facts import T0_US, agent_facts, result, trial_facts

PLAIN = {
    "campaign": "shop",
    "targets": {"quick": {"url": "http://127.0.0.1:9/"}, "slow": {"url": "http://127.0.0.1:8/"}},
    "loads": {"any": {"clients": 4, "duration": "1s"}},
    "saturation": {"slo": "p50 < 50ms", "window": "2s", "precision": "10%"},
}
LIMITS = {"quick": 800, "slow": 200}


class World:
    """Servers that answer within 5 ms up to a rate and after 80 ms above it; `after` trials `error` is raised once."""

    def __init__(self, monkeypatch):
        self.fleets, self.fired, self.texts = 0, [], []
        self.after, self.error = None, None
        monkeypatch.setattr(loop, "run_trial", self._run_trial)
        monkeypatch.setattr(loop, "PAUSE_S", 0.0)
        monkeypatch.setattr(session, "RENEWED_AFTER_S", 0.0)
        monkeypatch.setattr(session, "provide", lambda *arguments: {})
        monkeypatch.setattr(Hosts, "fleet", self._fleet)

    @contextmanager
    def _fleet(self, hosts, placements, others):
        self.fleets += 1
        actors = SimpleNamespace(server=None, services={}, described=[])
        yield SimpleNamespace(
            up=lambda tell: None, hosts=["here"], actors=actors, accepted_keys=[], reserve=self._reserve
        )

    @contextmanager
    def _reserve(self, placement):
        yield SimpleNamespace()

    def _run_trial(self, item, placed, say):
        if self.error is not None and len(self.fired) == self.after:
            error, self.error = self.error, None
            raise error
        case = item.plan.case
        self.fired.append(case.name)
        limit = LIMITS[case.target]
        rate = limit if case.rate_per_s is None else case.rate_per_s
        seconds = case.duration_us / 1e6
        each = round(rate * seconds / 2)
        counts = {
            "planned": each,
            "rows": each,
            "total": each,
            "started": each,
            "done": each,
            "due": each,
            "statuses": {200: each},
        }
        facts = trial_facts(
            number=item.plan.number, block=item.plan.block, case=case, shared_host=False,
            window_end_us=T0_US + case.duration_us,
            agents=[agent_facts(**counts), agent_facts(agent="local/1", **counts)],
        )  # fmt: skip
        took = 5_000 if rate <= limit else 80_000
        results = [result(agent, [took] * each, seconds=max(1, int(seconds))) for agent in facts.agents]
        return TrialOutput(facts, results, b"")

    def show(self, event):
        self.texts.append(event.text)

    def run(self, tmp_path, plain=PLAIN, only=None):
        loaded, source = from_plain(plain, tmp_path), json.dumps(plain)
        return run_saturation(loaded, source, tmp_path / "runs", self.show, Hosts(), Origin(OWN_FILE, [], only))


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def capacities(finished):
    return {one.target: one.capacity_per_s for one in finished.summary.saturation}


def plain_of(finished):
    return [replace(one, curve=[], verdict="VALID") for one in finished.summary.saturation]


def test_targets_take_turns_and_each_has_its_capacity(tmp_path, world, monkeypatch):
    """Drift affects both targets alike. When one search has ended, the other has every turn."""
    judged = []
    monkeypatch.setattr(evaluate, "judge", lambda facts, results: judged.append(facts.number) or judge(facts, results))
    finished = world.run(tmp_path)
    found = capacities(finished)

    assert [name.split("/")[0] for name in world.fired[:8]] == ["quick", "slow"] * 4
    assert [name.split("/")[1] for name in world.fired[:2]] == ["estimate", "estimate"]
    for target, limit in LIMITS.items():
        assert found[target].low <= limit <= found[target].high
    assert [trial.facts.number for trial in finished.trials] == list(range(1, len(world.fired) + 1))
    assert judged == [trial.facts.number for trial in finished.trials]
    assert write_page(finished.path, finished.summary, finished.trials).is_file()


def test_a_lost_host_costs_no_probe(tmp_path, world):
    """The hosts are restarted, and the search continues with the probe that was under way."""
    undisturbed = world.run(tmp_path / "one")
    fired = list(world.fired)
    world.fired, world.fleets = [], 0
    world.after, world.error = 5, HostLost("host gen1: its actor is gone", "see that the host is up")
    disturbed = world.run(tmp_path / "two")

    assert world.fleets == 2
    assert any("restarting the hosts" in text for text in world.texts)
    assert world.fired == fired
    assert plain_of(disturbed) == plain_of(undisturbed)


@pytest.mark.parametrize("after", [0, 1, 2, 7])
def test_an_interrupted_search_resumes_where_it_was(tmp_path, world, after):
    """Interrupted before the first trial, between the estimates or later, it gives the same answer."""
    undisturbed = world.run(tmp_path / "one")
    fired = list(world.fired)
    world.fired = []
    world.after, world.error = after, KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        world.run(tmp_path / "two")
    (run,) = (tmp_path / "two" / "runs").iterdir()
    (hint,) = [text for text in world.texts if text.startswith("interrupted")]
    resumed = resume(run, world.show)
    again = resume(run, world.show)

    assert hint == f"interrupted; continue with: volley resume {run}"
    assert world.fired == fired
    assert plain_of(resumed) == plain_of(undisturbed) == plain_of(again)
    assert [trial.facts.number for trial in again.trials] == list(range(1, len(fired) + 1))


def test_a_changed_search_is_not_resumed(tmp_path, world):
    """A search must not mix the answers to two questions."""
    finished = world.run(tmp_path)
    changed = PLAIN | {"saturation": PLAIN["saturation"] | {"slo": "p50 < 10ms"}}
    (finished.path / OWN_FILE).write_text(json.dumps(changed))

    with pytest.raises(UsageError, match="saturation changed"):
        resume(finished.path, world.show)


def test_only_some_targets(tmp_path, world):
    """--only and the campaign's globs both apply; when nothing is left, the error lists the targets."""
    assert list(capacities(world.run(tmp_path, only="sl*"))) == ["slow"]
    chosen = PLAIN | {"saturation": PLAIN["saturation"] | {"targets": ["q*"]}}
    assert list(capacities(world.run(tmp_path / "b", chosen))) == ["quick"]
    with pytest.raises(UsageError, match="no target is chosen") as caught:
        world.run(tmp_path / "c", chosen, only="slow")
    assert "quick, slow" in caught.value.hint


def test_a_search_where_nothing_starts_is_an_error_and_is_stored(tmp_path, world, monkeypatch):
    """The run folder records it as well."""
    monkeypatch.setitem(LIMITS, "quick", 0)
    monkeypatch.setitem(LIMITS, "slow", 0)

    with pytest.raises(HostError, match="quick: it answered no request"):
        world.run(tmp_path)
    (run,) = (tmp_path / "runs").iterdir()
    assert [one["ending"] for one in json.loads((run / "summary.json").read_text())["saturation"]] == [
        "not started"
    ] * 2


def test_a_highest_rate_with_too_few_requests_is_refused(tmp_path, world):
    """At 5 requests per second, two minutes do not show a p99."""
    few = PLAIN | {"saturation": {"slo": "p99 < 50ms", "highest": "5/s"}}

    with pytest.raises(UsageError, match="is too short for p99") as caught:
        world.run(tmp_path, few)
    assert "allow 9/s" in caught.value.hint
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("ending", "outcome"), [("capacity", "PASS"), ("never met", "FAIL"), ("not sustained", "FAIL")]
)
def test_the_outcome_of_a_search(tmp_path, world, monkeypatch, ending, outcome):
    """A capacity that no soak held is not good enough, like an objective that is never met."""
    monkeypatch.setattr(evaluate, "replay", lambda *given: replace(replay(*given), ending=ending))

    assert world.run(tmp_path, only="slow").summary.outcome == outcome
