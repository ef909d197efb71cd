"""Resume an interrupted campaign or search from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.campaign import run as runs
from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.origin import changes, parts_of
from orchestrator.campaign.search import CapacitySearch
from orchestrator.campaign.session import Show
from orchestrator.campaign.trials import CampaignTrials
from orchestrator.errors import UsageError
from orchestrator.spec.checks import Loaded
from orchestrator.spec.load import also_allowing, load
from orchestrator.stored.documents import CampaignPlan, Origin, SearchPlan
from orchestrator.stored.evaluate import Finished
from orchestrator.stored.folder import RunStore
from orchestrator.stored.reading import read_plan


def resume(run: Path, show: Show, wait_s: float = 0.0, allowed: Sequence[str] = ()) -> Finished:
    """Resume a run, whatever interrupted it. Finished trials are not repeated. wait_s: as in Hosts.

    allowed: hosts that may be loaded beside those that the run was started with.

    Raises VolleyError: UsageError with what has changed when the campaign, a host or an image is not what it was.
    """
    plan = read_plan(run)
    origin = _origin_of(run, plan)
    loaded = also_allowing(_reload(run, plan, origin), allowed)
    if isinstance(plan, SearchPlan):
        search = CapacitySearch(loaded, origin.only, Hosts.of(origin, wait_s))
        return search.require_start(runs.resume(search, RunStore.reopen(run), show))
    trials = CampaignTrials.planned(loaded, origin.only, Hosts.of(origin, wait_s))
    if trials.plan.digest != plan.digest:
        raise UsageError(f"the order of the trials is not that of {run.name}", "start a new run")
    return runs.resume(trials, RunStore.reopen(run), show)


def _origin_of(run: Path, plan: CampaignPlan | SearchPlan) -> Origin:
    if plan.origin is None:
        raise UsageError(
            f"{run} does not record the command that started it",
            "only 'volley run CAMPAIGN' and 'volley saturate' can be resumed; not with files that came through a pipe, and "
            "not with -H or --data beside a URL, because their values are never stored",
        )
    return plan.origin


def _reload(run: Path, plan: CampaignPlan | SearchPlan, origin: Origin) -> Loaded:
    """Read the campaign again. Raises UsageError with every part that has changed since the run was planned."""
    file = run / origin.file
    if origin.left_out:
        raise UsageError(
            f"{run.name} was started with a secret that is not stored: --set {', --set '.join(origin.left_out)}",
            f"start a new run, with a variable of your environment: --set '{origin.left_out[0]}=${{NAME}}'",
        )
    loaded = load(file, origin.overrides, parts=["saturation"], allowed=origin.allowed)
    if changed := changes(plan.parts, parts_of(loaded.plain)):
        raise UsageError(f"{file} is not what {run.name} was planned from: {', '.join(changed)}", "start a new run")
    return loaded
