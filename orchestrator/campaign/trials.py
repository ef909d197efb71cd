"""The trials of a campaign, in the order of its plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.analyse.people import digits, milliseconds
from orchestrator.analyse.precision import Precision, Progress
from orchestrator.campaign.allowed import require_allowed
from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.origin import parts_of
from orchestrator.campaign.retry import RunRetryPolicy
from orchestrator.counted import counted
from orchestrator.facts import Case
from orchestrator.fleet.place import Placement, place
from orchestrator.plan import Plan, TrialPlan, make_plan
from orchestrator.result import Severity, Summary, Trial
from orchestrator.run.events import Event, Say
from orchestrator.run.loop import RunContext, run_trials
from orchestrator.run.pace import expected_of_all_s, in_time
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
        """Plan and place a campaign. only: a glob over cases. Raises UsageError, Shortage, ConfigurationError."""
        plan = make_plan(loaded.campaign, only, hosts.load_hosts(loaded.campaign))
        placements = place(plan, hosts.machines(), hosts.where(loaded.campaign), hosts.services(loaded.campaign))
        hosts.commanded(loaded.campaign, placements)
        require_allowed(loaded.campaign, {case.target for case in plan.cases}, hosts)
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
        count = f"{trials} trial{'s' * (trials != 1)}{_lasting(self.plan.cases)}"
        count += f" for {cases} cases" if cases > 1 else ""
        pause_s = (self.loaded.campaign.cool_down or 0) / 1e6
        whole_s = expected_of_all_s([trial.case for trial in self.plan.trials], pause_s)
        most = "at most " if self.loaded.campaign.least_repetitions < self.loaded.campaign.most_repetitions else ""
        return f"{most}{count}" + ("" if whole_s is None else f", {most or 'about '}{in_time(whole_s)} in all")

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
            say(_judged(trial, len(self.plan.trials)))

    def conclusions(self, summary: Summary) -> Iterator[Event]:
        """Yield the verdict."""
        yield Event("end", f"verdict {summary.verdict}", {"verdict": str(summary.verdict)})


def _lasting(cases: Sequence[Case]) -> str:
    """Return how long each trial is measured, in words; empty where cases differ, or a number of requests ends them."""
    times = {(case.warm_up_us, case.duration_us) for case in cases}
    if len(times) != 1:
        return ""
    ((warm_up_us, duration_us),) = times
    if duration_us is None:
        (requests,) = {case.requests for case in cases} if len({case.requests for case in cases}) == 1 else (None,)
        return "" if requests is None else f" of {requests:,} {counted(case.protocol for case in cases).many}"
    return f" of {duration_us / 1e6:g} s after {warm_up_us / 1e6:g} s of warm-up"


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


def _judged(trial: Trial, total: int) -> Event:
    """Return one finished trial in one line, which stands alone in a log."""
    codes = codes_of(trial)
    number, case = trial.facts.number, trial.facts.case
    facts = {"trial": number, "verdict": str(trial.verdict), "findings": codes}
    found = f" ({', '.join(codes)})" if codes else ""
    return Event("judged", f"trial {number} of {total}: {case.name}: {_measured(trial)}: {trial.verdict}{found}", facts)


def codes_of(trial: Trial) -> list[str]:
    """Return the codes of the findings that are more than information, each once."""
    return list(dict.fromkeys(str(f.code) for f in trial.findings if f.severity is not Severity.INFORMATION))


def _measured(trial: Trial) -> str:
    if trial.metrics is None:
        return "no load ran"
    open_loop = trial.facts.case.rate_per_s is not None
    times = trial.metrics.response_time_us if open_loop else trial.metrics.service_time_us
    p99 = None if times is None else times.get(Metric.P99)
    word = "response" if open_loop else "service"
    return f"{digits(trial.metrics.throughput_per_s)} {counted([trial.facts.case.protocol]).per_s}" + (
        "" if p99 is None else f", p99 {word} time {milliseconds(p99)}"
    )
