"""How a run goes on: what is done, when it is enough, what is tried again. Between the loop and the judgement."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

from agents.wire import AgentResult
from orchestrator.analyse.cases import judge
from orchestrator.analyse.precision import Progress
from orchestrator.analyse.verdict import no_fault_of_the_server
from orchestrator.facts import TrialFacts
from orchestrator.plan import Plan, TrialPlan
from orchestrator.result import Trial
from orchestrator.run.events import Event, Say
from orchestrator.stored.folder import RunStore


class Output(Protocol):
    """What a trial left."""

    @property
    def facts(self) -> TrialFacts:
        """Facts."""

    @property
    def agents(self) -> list[AgentResult]:
        """Counters."""

    @property
    def server_log(self) -> bytes:
        """The end of the server's log."""


@dataclass(slots=True)
class RunRetryPolicy:
    """The policy of one run. retries: how often a trial, and in between the fleet, is tried again."""

    plan: Plan
    store: RunStore
    retries: int
    say: Say
    progress: Progress | None = None
    done: set[int] = field(default_factory=set)
    blocks: set[int] = field(default_factory=set)
    renewals: int = 0
    _tries: dict[int, int] = field(default_factory=dict)

    def resume_from(self, trials: list[Trial]) -> None:
        """Take in the trials that were done before."""
        for trial in trials:
            self._count(trial)

    def remaining(self) -> list[TrialPlan]:
        """Give the trials that are not done, in order."""
        return [trial for trial in self.plan.trials if trial.number not in self.done]

    def is_over(self, trial: TrialPlan) -> bool:
        """Say, before the first trial of a block, whether the campaign is precise enough, or out of time, without it."""
        if self.progress is None or trial.block in self.blocks:
            return False
        why = self.progress.enough(len(self.blocks))
        if why is not None:
            self.say(Event("enough", why, {"repetitions": len(self.blocks)}))
        return why is not None

    def should_retry(self, trial: TrialPlan, output: Output) -> bool:
        """Keep a try that failed for no fault of the server, as long as there are tries left."""
        judged = judge(output.facts, output.agents)
        why = no_fault_of_the_server(judged)
        tries = self._tries.get(trial.number, 0)
        if why is None or tries >= self.retries:
            return False
        self._tries[trial.number] = tries + 1
        self.store.add_try(trial.name, judged, output.agents, output.server_log)
        self.say(Event("again", f"  {why}: trial {trial.number} is tried again", {"trial": trial.number, "why": why}))
        return True

    def finished(self, trial: TrialPlan, output: Output) -> Trial:
        """Judge and store a trial that is not tried again."""
        facts = replace(output.facts, tries=self.store.tries(trial.name))
        judged = judge(facts, output.agents)
        self.store.add(trial.name, judged, output.agents, output.server_log)
        self._count(judged)
        self.renewals = 0
        return judged

    def renew(self) -> bool:
        """Say whether the fleet, of which a host was lost, is brought up again; so often without a finished trial."""
        self.renewals += 1
        return self.renewals <= self.retries

    def _count(self, trial: Trial) -> None:
        self.done.add(trial.facts.number)
        self.blocks.add(trial.facts.block)
        if self.progress is not None:
            self.progress.add(trial)
