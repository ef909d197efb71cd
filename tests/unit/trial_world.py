"""A trial over hosts that only note what they are asked."""

from pathlib import Path

import pytest

from agents.clock import OffsetBound
from orchestrator.fleet.hosts import Placed
from orchestrator.plan import make_plan
from orchestrator.run import load
from orchestrator.run.commands import around
from orchestrator.run.inputs import TrialInput
from orchestrator.run.trial import run_trial
from orchestrator.spec.models import Campaign
from tests.fakes.handles import NotedLoad, NotedServer
from tests.unit.facts import agent_facts, result

# The host's clock is an hour ahead.
AHEAD_NS = 3_600_000_000_000
LEFT = ["gen.cancel", "gen.discard", "web.abort", "web.stop"]


@pytest.fixture(autouse=True)
def clocks(monkeypatch):
    bound = OffsetBound(AHEAD_NS - 10, AHEAD_NS + 10, 20, 32, 0)
    monkeypatch.setattr(load.clock_probes, "probe_all", lambda places: [bound for _ in places])  # type: ignore[attr-defined]


class World:
    """One server host and one load host with one agent."""

    def __init__(self, target_changes=None, **load_changes):
        timed = {} if "requests" in load_changes else {"duration": "2s", "warm_up": "1s", "tail": "1s"}
        plain = {
            "campaign": "c",
            "targets": {"t": {"image": "i", "port": 80, "path": "/x"} | (target_changes or {})},
            "loads": {"l": {"clients": 4} | timed | load_changes},
            "before": [{"run": "prepare"}],
            "after": [{"run": "tidy"}],
            "agents": 1,
            "repetitions": 1,
        }
        self.campaign = Campaign.model_validate(plain)
        self.calls = []
        self.server = NotedServer(self.calls, "web")
        self.load = NotedLoad(self.calls, "gen", results=[result(agent_facts(), [1_000] * 10)])

    def run(self, folder=Path(), say=lambda event: None, **changes):
        spec = self.campaign
        plan = make_plan(spec).trials[0]
        item = TrialInput(
            plan, spec.targets["t"], spec.loads["l"], "i", folder, "run", around=around(spec, plan.case.name), **changes
        )
        hosts = {"web": self.server, "gen": self.load}
        return run_trial(item, Placed(self.server, [self.load], [[None]], hosts), say)
