"""How a run continues: what is retried and stored, what ends it, what a lost host does. tests/chaos kills real hosts."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from agents.records import ServerState
from agents.room import FolderRoom
from orchestrator.analyse.precision import Precision, Progress
from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.retry import RunRetryPolicy
from orchestrator.campaign.trials import CampaignTrials
from orchestrator.errors import HostError
from orchestrator.facts import CommandDone
from orchestrator.fleet.hosts import HostLost
from orchestrator.plan import make_plan
from orchestrator.run import loop
from orchestrator.run.inputs import TrialOutput
from orchestrator.slo import Metric
from orchestrator.spec.checks import Loaded
from orchestrator.spec.models import Campaign
from orchestrator.stored.documents import to_document
from orchestrator.stored.evaluate import Judgements
from orchestrator.stored.folder import RunStore
from orchestrator.stored.reading import read_trials
from tests.unit.facts import agent_facts, result, server_facts, trial_facts

SPEC = Campaign.model_validate(
    {
        "campaign": "c",
        "targets": {"flask": {"image": "i", "port": 1}},
        "loads": {"burst": {"clients": 40, "requests": 1000}},
        "repetitions": 2,
    }
)


URL = "http://127.0.0.1:9/"
REFUSED = {"server": server_facts(state=ServerState.NOT_READY, detail="Connection refused")}


class World:
    """A run whose trials end as a test says; everything else is real."""

    def __init__(self, tmp_path, monkeypatch, retries=1, progress=None, spec=None):
        spec = self.spec = SPEC if spec is None else spec
        self.plan = make_plan(spec)
        self.store = RunStore.create(tmp_path, "c")
        work = CampaignTrials(Loaded(spec, tmp_path, {}), Hosts(), self.plan, {})
        self.store.write_json("plan.json", to_document(work.document(None)))
        self.events = []
        self.policy = RunRetryPolicy(self.plan.trials, self.store, retries, self.events.append, Judgements(), progress)
        self.outcomes = []
        monkeypatch.setattr(loop, "run_trial", self._run_trial)
        monkeypatch.setattr(loop, "PAUSE_S", 0.0)

    def _run_trial(self, item, placed, say):
        outcome = self.outcomes.pop(0) if self.outcomes else {}
        if isinstance(outcome, Exception):
            raise outcome
        facts = trial_facts(number=item.plan.number, block=item.plan.block, stages_us={"load": 1_000_000})
        facts = replace(facts, **outcome)
        lost = HostLost(facts.lost[0]) if facts.lost else None
        return TrialOutput(facts, [result(a, [1_000] * 500) for a in facts.agents], b"", lost)

    def run(self, *outcomes):
        self.outcomes = list(outcomes)

        @contextmanager
        def reserve(case):
            yield SimpleNamespace()

        context = loop.RunContext(self.spec, self.store.path, "run", {}, reserve)
        for planned, output in loop.run_trials(self.plan, context, self.policy, lambda event: None):
            self.policy.finish(planned, output)
        return [facts for facts, _ in read_trials(self.store.path)]

    def kept(self):
        return sorted(path.name for path in (self.store.path / "tries").glob("*"))


LOST = {"agents": [agent_facts(ended="died", exit_status=-9), agent_facts(agent="local/1")]}
HUNG = {"agents": [agent_facts(ended="watchdog", exit_status=-15), agent_facts(agent="local/1")]}
KILLED = {"server": server_facts(last=replace(server_facts().last, oom_kills=3))}


def test_a_lost_agent_is_retried_and_the_attempt_is_stored(tmp_path, monkeypatch):
    """The result is that of the second attempt and says so; the first is stored beside it, complete."""
    world = World(tmp_path, monkeypatch)

    first, second = world.run(LOST)

    assert (first.number, second.number) == (1, 2)
    assert first.agents[0].ended == "finished"
    assert first.tries == ["agent-lost"]
    assert second.tries == []
    assert world.kept() == ["0001-flask-burst-try1"]
    assert [e.kind for e in world.events if e.text] == ["again"]


def test_retries_are_limited(tmp_path, monkeypatch):
    """After the last retry the attempt is the result, INVALID. The next trial has retries of its own."""
    world = World(tmp_path, monkeypatch, retries=2)

    first, second = world.run(LOST, LOST, LOST, LOST)

    assert first.agents[0].ended == "died"
    assert first.tries == ["agent-lost", "agent-lost"]
    assert (second.agents[0].ended, len(second.tries)) == ("finished", 1)
    assert len(world.kept()) == 3


@pytest.mark.parametrize(
    "outcome",
    [
        HUNG,
        KILLED,
        {**LOST, **KILLED},
        {"server": server_facts(state="exited"), "error": "x", "agents": [], "t0_ns": None},
    ],
)
def test_what_the_server_did_is_a_result(tmp_path, monkeypatch, outcome):
    """A trial whose server hangs, is killed or exits is not retried until it looks better."""
    world = World(tmp_path, monkeypatch)

    world.run(outcome)

    assert world.kept() == []


def test_a_failed_command_is_retried(tmp_path, monkeypatch):
    """Such as one that waits for a database."""
    failed = {
        "commands": [CommandDone("before", "db", 1, 5, "no")], "server": server_facts(state="not-started"),
        "error": "a command before it failed", "agents": [], "t0_ns": None,
    }  # fmt: skip
    world = World(tmp_path, monkeypatch)

    first, _ = world.run(failed)

    assert first.tries == ["a command before it failed"]


def test_an_engine_that_fails_is_retried_once_it_has_worked(tmp_path, monkeypatch):
    """An error before the first success ends the run at once; resuming continues with that trial."""
    world = World(tmp_path, monkeypatch)
    with pytest.raises(HostError, match="port"):
        world.run(HostError("port in use"))
    assert world.kept() == []

    first, second = world.run({}, HostError("engine gone"))
    assert (first.tries, second.tries) == ([], ["engine gone"])


def test_a_lost_host_ends_the_loop_and_restarts_are_limited(tmp_path, monkeypatch):
    """The policy limits how often the hosts are restarted without a finished trial in between."""
    world = World(tmp_path, monkeypatch, retries=2)

    with pytest.raises(HostLost):
        world.run({}, HostLost("gen1 is gone"))

    assert world.policy.remaining()[0].number == 2
    assert [world.policy.may_restart_hosts() for _ in range(3)] == [True, True, False]
    world.run()
    assert world.policy.restarts == 0
    assert world.policy.remaining() == []


GONE = {"lost": ["host web: its actor is gone (finish)"], "error": "host web: its actor is gone (finish)", "agents": []}
GONE_AFTER = {"lost": ["host web: its actor is gone (stop)"]}


def test_a_trial_in_which_a_host_was_lost_is_stored_before_the_hosts_are_restarted(tmp_path, monkeypatch):
    """The attempt is kept, and the result says that there was one."""
    world = World(tmp_path, monkeypatch)
    with pytest.raises(HostLost, match=r"host web: its actor is gone \(finish\)"):
        world.run(GONE)
    assert world.kept() == ["0001-flask-burst-try1"]

    first, second = world.run()
    assert (first.tries, second.tries) == (["host web: its actor is gone (finish)"], [])


def test_the_hosts_are_restarted_before_the_next_trial(tmp_path, monkeypatch):
    """Where the trial is not retried: its numbers were complete, or its attempts are used up. The last needs no host."""
    world = World(tmp_path, monkeypatch)
    with pytest.raises(HostLost, match="stop"):
        world.run(GONE_AFTER)
    assert (world.kept(), [trial.number for trial in world.policy.remaining()]) == ([], [2])

    first, second = world.run(GONE_AFTER)
    assert [facts.lost for facts in (first, second)] == [GONE_AFTER["lost"]] * 2

    spent = World(tmp_path / "spent", monkeypatch, retries=0)
    with pytest.raises(HostLost, match="finish"):
        spent.run(GONE)
    assert [trial.number for trial in spent.policy.remaining()] == [2]


def test_an_adaptive_run_ends_between_blocks_and_resumes_where_it_was(tmp_path, monkeypatch):
    """Precise enough after two of ten blocks; a resumed run ends without another trial."""
    monkeypatch.setattr("tests.unit.test_retry.SPEC", SPEC.model_copy(update={"repetitions": 10}))
    wanted = Precision(Metric.THROUGHPUT, 0.5, at_least=2, at_most=10)
    world = World(tmp_path, monkeypatch, progress=Progress(wanted, ["flask/burst"]))

    assert len(world.run()) == 2
    assert [e.kind for e in world.events if e.text] == ["enough"]

    resumed = RunRetryPolicy(
        world.plan.trials, world.store, 1, world.events.append, Judgements(), Progress(wanted, ["flask/burst"])
    )
    resumed.resume_from(Judgements().of_run(world.store.path))
    assert resumed.is_over(resumed.remaining()[0])


def test_the_only_url_that_does_not_answer_ends_the_run(tmp_path, monkeypatch):
    """In one sentence: nothing can be measured. Where a trial was measured before, it is a result like any other."""
    spec = Campaign.model_validate(SPEC.model_dump(exclude_unset=True) | {"targets": {"flask": {"url": URL}}})
    world = World(tmp_path, monkeypatch, spec=spec)
    with pytest.raises(HostError, match=f"^{URL} does not answer: Connection refused$") as raised:
        world.run(REFUSED)
    later = World(tmp_path, monkeypatch, spec=spec).run({}, REFUSED)

    assert "start the server" in raised.value.hint
    assert [facts.server.state for facts in later] == [ServerState.READY, ServerState.NOT_READY]


def test_one_of_several_urls_that_does_not_answer_is_a_result(tmp_path, monkeypatch):
    """The others are measured."""
    targets = {"flask": {"url": URL}, "other": {"url": "http://127.0.0.1:8/"}}
    spec = Campaign.model_validate(SPEC.model_dump(exclude_unset=True) | {"targets": targets})

    states = [facts.server.state for facts in World(tmp_path, monkeypatch, spec=spec).run(REFUSED)]

    assert states == [ServerState.NOT_READY, *[ServerState.READY] * 3]


@pytest.mark.parametrize(
    "agent",
    [
        {"stopped_us": 4_000_000},
        {"stopped_us": 4_000_000, "ended": "watchdog", "exit_status": -15},
        {"ended": "no-space", "no_space": FolderRoom("/dev/shm", 0, 8 << 20), "done": None},
    ],
)
def test_a_generator_that_was_stopped_or_found_no_room_is_retried(tmp_path, monkeypatch, agent):
    """Even where its watchdog ended it; a server that was killed meanwhile is a result all the same."""
    world = World(tmp_path, monkeypatch)
    spoiled = {"agents": [agent_facts(**agent), agent_facts(agent="local/1")]}

    first, _ = world.run(spoiled)
    assert len(first.tries) == 1
    assert first.tries[0] in ("agent-lost", "no-space")

    again = World(tmp_path, monkeypatch)
    again.run({**spoiled, **KILLED})
    assert again.kept() == []
