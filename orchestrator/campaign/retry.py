"""Decide how a run continues: which trials are left, when they are enough, what is retried. Store every result."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from agents.wire import AgentResult
from orchestrator.analyse.precision import Progress
from orchestrator.analyse.verdict import no_fault_of_the_server
from orchestrator.facts import TrialFacts
from orchestrator.plan import TrialPlan
from orchestrator.result import Trial
from orchestrator.run.events import COUNTED, Event, Say
from orchestrator.stored.evaluate import Judgements
from orchestrator.stored.folder import RunStore


class Output(Protocol):
    """What a trial leaves behind."""

    @property
    def facts(self) -> TrialFacts:
        """Return what was observed."""

    @property
    def agents(self) -> Collection[AgentResult]:
        """Return the counters of each agent."""

    @property
    def server_log(self) -> bytes:
        """Return the last part of the server's log."""

    @property
    def service_logs(self) -> Mapping[str, bytes]:
        """Return the last part of each service's log."""


@dataclass(slots=True)
class RunRetryPolicy:
    """The retry policy of one run. trials: all planned trials; a search plans none.

    retries: how often a trial is retried, and how often in a row the hosts are restarted without a finished trial.
    judgements: each attempt is judged once and remembered here.
    """

    trials: Sequence[TrialPlan]
    store: RunStore
    retries: int
    say: Say
    judgements: Judgements = field(default_factory=Judgements)
    progress: Progress | None = None
    done: set[int] = field(default_factory=set)
    blocks: set[int] = field(default_factory=set)
    restarts: int = 0
    _attempts: dict[int, int] = field(default_factory=dict)

    def resume_from(self, trials: list[Trial]) -> None:
        """Count the trials that an earlier process finished."""
        for trial in trials:
            self._count(trial)

    def remaining(self) -> list[TrialPlan]:
        """Return the trials that are not done, in order."""
        return [trial for trial in self.trials if trial.number not in self.done]

    def is_over(self, trial: TrialPlan) -> bool:
        """Return whether the campaign ends before this trial, the first of a block: precise enough, or out of time."""
        if self.progress is None or trial.block in self.blocks:
            return False
        reason = self.progress.enough(len(self.blocks))
        if reason is not None:
            self.say(Event("enough", reason, {"repetitions": len(self.blocks)}))
        return reason is not None

    def should_retry(self, trial: TrialPlan, output: Output) -> bool:
        """Return whether to retry a trial that failed through no fault of the server. If so, store this attempt."""
        judged = self._judge(trial, output)
        reason = no_fault_of_the_server(judged)
        attempts = self._attempts.get(trial.number, 0)
        if reason is None or attempts >= self.retries:
            return False
        self._attempts[trial.number] = attempts + 1
        self.store.add_try(trial.name, judged, output.agents, output.server_log, output.service_logs)
        facts = {"trial": trial.number, "why": reason}
        self.say(Event("again", f"  {reason}: trial {trial.number} is retried", facts))
        return True

    def finish(self, trial: TrialPlan, output: Output) -> Trial:
        """Store the result of a trial and return it, judged."""
        judged = self._judge(trial, output)
        self.store.add(trial.name, judged, output.agents, output.server_log, output.service_logs)
        self._count(judged)
        self.restarts = 0
        self.say(_counted(judged, output))
        return judged

    def may_restart_hosts(self) -> bool:
        """Return whether to restart the hosts after one was lost, and count the restart."""
        self.restarts += 1
        return self.restarts <= self.retries

    def _judge(self, trial: TrialPlan, output: Output) -> Trial:
        facts = replace(output.facts, tries=self.store.tries(trial.name))
        return self.judgements.of(facts, output.agents)

    def _count(self, trial: Trial) -> None:
        self.done.add(trial.facts.number)
        self.blocks.add(trial.facts.block)
        if self.progress is not None:
            self.progress.add(trial)


def _counted(trial: Trial, output: Output) -> Event:
    case, metrics = trial.facts.case, trial.metrics
    facts = {
        "case": case.name,
        "target": case.target,
        "load": case.load,
        "verdict": str(trial.verdict),
        "requests": None if metrics is None else metrics.requests,
        "agents": output.agents,
    }
    return Event(COUNTED, "", facts, passing=True)
