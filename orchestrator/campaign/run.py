"""The whole programme on one screen: from a checked campaign to a stored, judged run."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.records import to_plain
from orchestrator.analyse.cases import judge
from orchestrator.analyse.precision import Precision, Progress
from orchestrator.campaign.origin import Origin, parts_of
from orchestrator.campaign.retry import RunRetryPolicy
from orchestrator.campaign.session import Hosts, Session, Show, another_label, planned_from, telling
from orchestrator.errors import UsageError
from orchestrator.fleet.place import place
from orchestrator.plan import Plan, make_plan
from orchestrator.report.files import write_results
from orchestrator.result import Trial
from orchestrator.run.events import Event
from orchestrator.run.loop import RunContext, run_trials
from orchestrator.slo import Term
from orchestrator.spec.load import Loaded
from orchestrator.spec.models import Campaign
from orchestrator.spec.repeat import Adaptive
from orchestrator.spec.slo import terms
from orchestrator.stored.evaluate import Finished, summarise_run
from orchestrator.stored.folder import RunStore, read_plan, read_trials


def run_campaign(
    loaded: Loaded, source: str, out: Path, only: str | None, show: Show, hosts: Hosts, origin: Origin | None = None
) -> Finished:
    """Run a campaign and store it. `source` is the campaign as it was written, without any secret put in.

    origin: what was typed; without it the run cannot be resumed. Raises VolleyError. Whatever happens, nothing is left on
    the hosts, and what was finished is in the run's folder.
    """
    plan = make_plan(loaded.campaign, only)
    placements = place(plan, hosts.machines(), hosts.where(loaded.campaign))
    hosts.commanded(loaded.campaign, placements)
    store = RunStore.create(out, loaded.campaign.campaign)
    try:
        store.write_text("campaign.yaml", source)
        store.write_json("plan.json", _plan_document(plan, loaded, origin))
    except BaseException:
        store.close()
        raise
    what = f"run {store.name}: {len(plan.trials)} trials of {len(plan.cases)} cases, in {store.path}"
    session = Session(loaded, _targets(plan), placements, store, hosts, store.name)
    return _carry_out(Work(loaded, plan, session, origin is not None), [], what, show)


def resume_campaign(run: Path, show: Show) -> Finished:
    """Go on with a run that was stopped, whatever stopped it; no finished trial is repeated.

    Raises VolleyError: UsageError with what has changed when the campaign, a host or an image is not what it was.
    """
    origin, loaded = planned_from(run)
    plan = make_plan(loaded.campaign, origin.only)
    if plan.digest != read_plan(run)["digest"]:
        raise UsageError(f"the order of the trials is not that of {run.name}", "start a new run")
    hosts = Hosts.of(origin)
    placements = place(plan, hosts.machines(), hosts.where(loaded.campaign))
    store = RunStore.reopen(run)
    done = [judge(facts, agents) for facts, agents in read_trials(run)]
    what = f"run {store.name} goes on: {len(done)} of {len(plan.trials)} trials are there, in {store.path}"
    session = Session(loaded, _targets(plan), placements, store, hosts, another_label(store))
    return _carry_out(Work(loaded, plan, session, True), done, what, show)


def _targets(plan: Plan) -> list[str]:
    return list(dict.fromkeys(case.target for case in plan.cases))


@dataclass(frozen=True, slots=True)
class Work:
    """A run that has a folder: what is to be done, where, and whether it can be resumed."""

    loaded: Loaded
    plan: Plan
    session: Session
    resumable: bool

    @property
    def store(self) -> RunStore:
        """Its folder."""
        return self.session.store


def _carry_out(work: Work, done: list[Trial], what: str, show: Show) -> Finished:
    """Run the trials that are not done yet, and evaluate all of them."""
    store, plan, campaign = work.store, work.plan, work.loaded.campaign
    say = telling(store, show)
    try:
        say(Event("run", what))
        policy = RunRetryPolicy(plan, store, campaign.retries, say, _progress(campaign, plan))
        policy.resume_from(done)

        def trials(context: RunContext) -> None:
            for planned, output in run_trials(plan, context, policy, say):
                trial = policy.finished(planned, output)
                say(Event("judged", _one_line(trial), {"trial": planned.number, "verdict": str(trial.verdict)}))

        if (left := policy.remaining()) and not policy.is_over(left[0]):
            work.session.run(policy, say, trials)
        judged = [judge(facts, agents) for facts, agents in read_trials(store.path)]
        summary = summarise_run(plan.to_plain() | _statistics(campaign, plan), plan.cases, judged)
        write_results(store.path, summary, judged)
        say(Event("end", f"verdict {summary.verdict}", {"verdict": str(summary.verdict)}))
    except BaseException:
        if work.resumable:
            show(Event("unfinished", f"unfinished; go on with: volley resume {store.path}"))
        raise
    finally:
        store.close()
    return Finished(store.path, summary, judged)


def _statistics(campaign: Campaign, plan: Plan) -> dict[str, Any]:
    """What the evaluation needs of the campaign, kept in plan.json."""
    compare, precision = campaign.compare, _precision(campaign)
    return {
        "required_trials": campaign.required_trials,
        "baseline": compare.baseline if compare else None,
        "smallest_effect": compare.smallest_effect if compare else None,
        "slo": {case.name: [to_plain(term) for term in _terms(campaign, case.name)] for case in plan.cases},
        "precision": None if precision is None else to_plain(precision),
    }


def _precision(campaign: Campaign) -> Precision | None:
    asked = campaign.repetitions
    if not isinstance(asked, Adaptive):
        return None
    until = asked.until
    return Precision(until.metric, until.narrower_than, asked.at_least, asked.at_most, asked.budget)


def _progress(campaign: Campaign, plan: Plan) -> Progress | None:
    """What an adaptive campaign counts as it goes; None for a fixed number of repetitions."""
    precision = _precision(campaign)
    if precision is None:
        return None
    return Progress(precision, [case.name for case in plan.cases], campaign.cool_down or 0)


def _plan_document(plan: Plan, loaded: Loaded, origin: Origin | None) -> dict[str, Any]:
    typed = {} if origin is None else {"origin": to_plain(origin), "parts": parts_of(loaded.plain)}
    return plan.to_plain() | _statistics(loaded.campaign, plan) | typed


def _terms(campaign: Campaign, case: str) -> list[Term]:
    """All that is asked of a case."""
    return [term for glob, text in campaign.slo.items() if fnmatch.fnmatch(case, glob) for term in terms(text)]


def _one_line(trial: Trial) -> str:
    codes = [finding.code for finding in trial.findings if finding.severity != "information"]
    number = "no load fired" if trial.metrics is None else f"{trial.metrics.throughput_per_s:.0f} req/s"
    return f"  {trial.verdict}, {number}" + (f" ({', '.join(dict.fromkeys(codes))})" if codes else "")
