"""All trials of a plan, one after the other, in the plan's order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from agents.records import Case
from orchestrator.fleet.hosts import Placed
from orchestrator.plan import Plan, TrialPlan
from orchestrator.run.events import Event, Say
from orchestrator.run.trial import UP, TrialInput, TrialOutput, not_run, run_trial
from orchestrator.spec.models import Campaign

# A target that did not come up this often in a row is not started again; its remaining trials are recorded as not run.
GIVE_UP_AFTER = 2
# The hosts of a case, reserved for one trial.
Reserve = Callable[[Case], AbstractContextManager[Placed]]


def run_trials(
    plan: Plan,
    campaign: Campaign,
    folder: Path,
    run: str,
    images: dict[str, str],
    done: set[int],
    reserve: Reserve,
    accepted_keys: list[str],
    ceilings_per_s: dict[str, float],
    say: Say,
) -> Iterator[tuple[TrialPlan, TrialOutput]]:
    """Run every planned trial that is not done, and give each as it ends, also those that are not run.

    Raises HostError when the hosts of a trial cannot be had, and for what makes every trial impossible.
    """
    began = time.monotonic()
    failures: dict[str, int] = {}
    left = [trial for trial in plan.trials if trial.number not in done]
    for position, trial in enumerate(left):
        case = trial.case
        say(_starting(trial, len(plan.trials), _left_s(position, len(left), time.monotonic() - began)))
        target, load = campaign.targets[case.target], campaign.loads[case.load]
        item = TrialInput(trial, target, load, images.get(case.target), folder, run, accepted_keys, ceilings_per_s)
        if failures.get(case.target, 0) >= GIVE_UP_AFTER:
            why = f"{case.target} did not come up {GIVE_UP_AFTER} times in a row; not started again"
            output = not_run(item, why)
        else:
            if campaign.cool_down is not None and position:
                time.sleep(campaign.cool_down / 1e6)
            with reserve(case) as placed:
                output = run_trial(item, placed, say)
            up = output.facts.server.state in UP
            failures[case.target] = 0 if up else failures.get(case.target, 0) + 1
        yield trial, output


def _left_s(position: int, total: int, elapsed_s: float) -> float | None:
    """How long the rest will take if it takes what the trials before took; None before the first is over."""
    return elapsed_s / position * (total - position) if position else None


def _starting(trial: TrialPlan, total: int, left_s: float | None) -> Event:
    left = "" if left_s is None else f", about {left_s:.0f} s left"
    facts = {"number": trial.number, "of": total, "case": trial.case.name}
    return Event("trial", f"trial {trial.number}/{total}: {trial.case.name}{left}", facts)
