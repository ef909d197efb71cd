"""The trials of a campaign, in the order of its plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.analyse.people import digits
from orchestrator.analyse.precision import Precision, Progress
from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.origin import parts_of
from orchestrator.campaign.retry import RunRetryPolicy
from orchestrator.facts import Case
from orchestrator.fleet.place import Placement, place
from orchestrator.plan import Plan, TrialPlan, make_plan
from orchestrator.result import Severity, Summary, Trial
from orchestrator.run.events import Event, Say
from orchestrator.run.loop import RunContext, run_trials
from orchestrator.slo import Metric
from orchestrator.spec.checks import Loaded
from orchestrator.spec.models import Campaign
from orchestrator.spec.repeat import Adaptive
from orchestrator.spec.slo import terms_for
from orchestrator.stored.documents import CampaignPlan, Origin, PlannedTrial


@dataclass(frozen=True, slots=True)
class CampaignTrials:
    """The work of a campaign. placements: by case."""

    loaded: Loaded
    hosts: Hosts
    plan: Plan
    placements: dict[str, Placement]

    @staticmethod
    def planned(loaded: Loaded, only: str | None, hosts: Hosts) -> CampaignTrials:
        """Plan and place a campaign. only: a glob over cases. Raises UsageError, Shortage."""
        plan = make_plan(loaded.campaign, only, hosts.load_hosts(loaded.campaign))
        placements = place(plan, hosts.machines(), hosts.where(loaded.campaign))
        hosts.commanded(loaded.campaign, placements)
        return CampaignTrials(loaded, hosts, plan, placements)

    @property
    def targets(self) -> list[str]:
        """Return the names of the targets."""
        return list(dict.fromkeys(case.target for case in self.plan.cases))

    @property
    def trials(self) -> list[TrialPlan]:
        """Return all planned trials."""
        return self.plan.trials

    def progress(self) -> Progress | None:
        """Return a new count of what an adaptive campaign has reached; None for a fixed number of repetitions."""
        campaign = self.loaded.campaign
        precision = precision_of(campaign)
        if precision is None:
            return None
        return Progress(precision, [case.name for case in self.plan.cases], campaign.cool_down or 0)

    def document(self, origin: Origin | None) -> CampaignPlan:
        """Return the content of plan.json."""
        plan, campaign = self.plan, self.loaded.campaign
        return CampaignPlan(
            campaign=plan.campaign,
            cases=plan.cases,
            digest=plan.digest,
            seed=plan.seed,
            trials=planned_trials(plan),
            origin=origin,
            parts={} if origin is None else parts_of(self.loaded.plain),
            required_trials=campaign.required_trials,
            baseline=campaign.compare.baseline if campaign.compare else None,
            smallest_effect=campaign.compare.smallest_effect if campaign.compare else None,
            slo={case.name: terms_for(campaign.slo, case.name) for case in plan.cases},
            precision=precision_of(campaign),
        )

    def summary_line(self) -> str:
        """Return what a new run will do."""
        trials, cases = len(self.plan.trials), len(self.plan.cases)
        count = f"{trials} trial{'s' * (trials != 1)} of {cases} case{'s' * (cases != 1)}"
        return count + _lasting(self.plan.cases)

    def progress_line(self, done: int) -> str:
        """Return how much of a resumed run is done."""
        return f"{done} of {len(self.plan.trials)} trials are done"

    def resume_from(self, trials: list[Trial]) -> None:
        """Take over finished trials: the retry policy has already counted them."""

    def is_finished(self, policy: RunRetryPolicy) -> bool:
        """Return whether all trials are done, or an adaptive campaign is precise enough."""
        remaining = policy.remaining()
        return not remaining or policy.is_over(remaining[0])

    def execute(self, context: RunContext, policy: RunRetryPolicy, say: Say) -> None:
        """Run the remaining trials and store each."""
        for planned, output in run_trials(self.plan, context, policy, say):
            trial = policy.finish(planned, output)
            say(Event("judged", _one_line(trial), {"trial": planned.number, "verdict": str(trial.verdict)}))

    def conclusions(self, summary: Summary) -> Iterator[Event]:
        """Yield the verdict."""
        yield Event("end", f"verdict {summary.verdict}", {"verdict": str(summary.verdict)})


def _lasting(cases: Sequence[Case]) -> str:
    """Return how long each trial is measured, in words; empty where cases differ, or a number of requests ends them."""
    times = {(case.warm_up_us, case.duration_us) for case in cases}
    if len(times) != 1:
        return ""
    ((warm_up_us, duration_us),) = times
    return "" if duration_us is None else f", each of {duration_us / 1e6:g} s after {warm_up_us / 1e6:g} s of warm-up"


def planned_trials(plan: Plan) -> list[PlannedTrial]:
    """Return the trials of a plan as plan.json lists them."""
    return [PlannedTrial(trial.number, trial.block, trial.case.name, trial.name) for trial in plan.trials]


def precision_of(campaign: Campaign) -> Precision | None:
    """Return the precision that an adaptive campaign asks for; None for a fixed number of repetitions."""
    repetitions = campaign.repetitions
    if not isinstance(repetitions, Adaptive):
        return None
    return Precision(
        metric=Metric(repetitions.until.metric),
        narrower_than=repetitions.until.narrower_than,
        at_least=repetitions.at_least,
        at_most=repetitions.at_most,
        budget_us=repetitions.budget,
    )


def _one_line(trial: Trial) -> str:
    codes = [str(finding.code) for finding in trial.findings if finding.severity is not Severity.INFORMATION]
    number = "no load ran" if trial.metrics is None else f"{digits(trial.metrics.throughput_per_s)} req/s"
    return f"  {trial.verdict}, {number}" + (f" ({', '.join(dict.fromkeys(codes))})" if codes else "")
