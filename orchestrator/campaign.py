"""The whole programme on one screen: from a checked campaign to a stored, judged run."""

from __future__ import annotations

import fnmatch
import os
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.records import BadRecord, Case, from_plain, to_plain
from orchestrator import __version__
from orchestrator.analyse.cases import judge
from orchestrator.analyse.precision import Precision, Progress
from orchestrator.course import Course
from orchestrator.errors import UsageError
from orchestrator.evaluate import Finished, summarise_run, write_results
from orchestrator.fleet import ceilings
from orchestrator.fleet.cluster import Fleet, nodes_for, own_nodes_here
from orchestrator.fleet.hosts import HostLost, Placed
from orchestrator.fleet.nodes import LOOPBACK
from orchestrator.fleet.place import Machine, Placement, commanded, local_machine, machines_of, place
from orchestrator.origin import Origin, changes, parts_of
from orchestrator.plan import Plan, make_plan
from orchestrator.result import Trial
from orchestrator.run.events import Event
from orchestrator.run.images import provide
from orchestrator.run.loop import Scene, run_trials
from orchestrator.slo import Term
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.load import Loaded, load, load_inventory
from orchestrator.spec.models import Campaign, Place
from orchestrator.spec.repeat import Adaptive
from orchestrator.spec.slo import terms
from orchestrator.store import RunStore, read_environment, read_plan, read_trials

Show = Callable[[Event], None]
# A host that was lost has a moment to come back.
RENEWED_AFTER_S = 5.0


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts of a run: an inventory and the folder its paths are relative to; by default this machine alone."""

    inventory: Inventory | None = None
    folder: Path = Path()

    def machines(self) -> list[Machine]:
        """Give the hosts as the placement sees them."""
        return [local_machine(LOOPBACK)] if self.inventory is None else machines_of(self.inventory)

    def where(self, campaign: Campaign) -> Place:
        """Give what the placement must respect; one machine is always shared."""
        return Place(share=True) if self.inventory is None else campaign.place

    def commanded(self, campaign: Campaign, placements: dict[str, Placement]) -> list[str]:
        """Give the hosts that are only there for commands. Raises UsageError for one that is in no inventory."""
        return commanded(campaign, placements, [machine.name for machine in self.machines()])

    def fleet(self, run: str, placements: dict[str, Placement], others: list[str]) -> Fleet:
        """Give the fleet, not up yet; others: hosts beside those of the placements. Raises HostError."""
        chosen = list(placements.values())
        if self.inventory is None:
            hold, machines = own_nodes_here(run)
            return Fleet(run, hold, machines, chosen, others)
        used = list(dict.fromkeys([*(host for placement in chosen for host in placement.hosts), *others]))
        return Fleet(run, nodes_for(run, self.inventory, self.folder, used), self.machines(), chosen, others)


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
    return _carry_out(Work(loaded, plan, placements, store, hosts, origin is not None, store.name), [], what, show)


def resume_campaign(run: Path, show: Show) -> Finished:
    """Go on with a run that was stopped, whatever stopped it; no finished trial is repeated.

    Raises VolleyError: UsageError with what has changed when the campaign, a host or an image is not what it was.
    """
    document = read_plan(run)
    try:
        origin = from_plain(Origin, document.get("origin"))
    except BadRecord:
        raise UsageError(
            f"{run} does not say what it was made from", "only 'volley run CAMPAIGN' can be resumed"
        ) from None
    loaded = load(Path(origin.file), origin.overrides)
    plan = make_plan(loaded.campaign, origin.only)
    changed = changes(document.get("parts", {}), parts_of(loaded.plain))
    if changed or plan.digest != document["digest"]:
        what = ", ".join(changed) or "the order of the trials"
        raise UsageError(
            f"{origin.file} is not what {run.name} was planned from: {what}", "volley run starts a new one"
        )
    hosts = Hosts()
    if origin.hosts is not None:
        hosts = Hosts(load_inventory(Path(origin.hosts)), Path(origin.hosts).parent)
    placements = place(plan, hosts.machines(), hosts.where(loaded.campaign))
    store = RunStore.reopen(run)
    done = [judge(facts, agents) for facts, agents in read_trials(run)]
    what = f"run {store.name} goes on: {len(done)} of {len(plan.trials)} trials are there, in {store.path}"
    # Another label: the guards of the run that was stopped may still be cleaning up after the first.
    label = f"resumed-{os.getpid()}-{store.name}"
    return _carry_out(Work(loaded, plan, placements, store, hosts, True, label), done, what, show)


@dataclass(frozen=True, slots=True)
class Work:
    """A run that has a folder: what is to be done, where, whether it can be resumed, and the label of its processes."""

    loaded: Loaded
    plan: Plan
    placements: dict[str, Placement]
    store: RunStore
    hosts: Hosts
    resumable: bool
    label: str


def _carry_out(work: Work, done: list[Trial], what: str, show: Show) -> Finished:
    """Run the trials that are not done yet, and evaluate all of them."""
    store, plan, campaign = work.store, work.plan, work.loaded.campaign

    def say(event: Event) -> None:
        show(event)
        if not event.passing:
            store.journal(event.kind, event.text, event.facts)

    try:
        say(Event("run", what))
        course = Course(plan, store, campaign.retries, say, _progress(campaign, plan))
        course.begin(done)
        _run_what_is_left(work, course, say)
        trials = [judge(facts, agents) for facts, agents in read_trials(store.path)]
        summary = summarise_run(plan.to_plain() | _statistics(campaign, plan), plan.cases, trials)
        write_results(store.path, summary, trials)
        say(Event("end", f"verdict {summary.verdict}", {"verdict": str(summary.verdict)}))
    except BaseException:
        if work.resumable:
            show(Event("unfinished", f"unfinished; go on with: volley resume {store.path}"))
        raise
    finally:
        store.close()
    return Finished(store.path, summary, trials)


def _run_what_is_left(work: Work, course: Course, say: Show) -> None:
    """Bring the fleet up and run; once more where a host was lost, as often as the campaign allows."""
    label = work.label
    while (left := course.left()) and not course.over(left[0]):
        try:
            _run_on_a_fleet(work, label, course, say)
            return
        except HostLost as error:
            if not course.renew():
                raise
            say(Event("renew", f"{error.message}; the hosts are brought up again in {RENEWED_AFTER_S:.0f} s"))
            time.sleep(RENEWED_AFTER_S)
            # Another label: the guards of the fleet that was lost may still be cleaning up after the first.
            label = f"again{course.renewals}-{os.getpid()}-{work.store.name}"


def _run_on_a_fleet(work: Work, label: str, course: Course, say: Show) -> None:
    store, plan, loaded, hosts = work.store, work.plan, work.loaded, work.hosts
    campaign = loaded.campaign
    with hosts.fleet(label, work.placements, hosts.commanded(campaign, work.placements)) as fleet:
        fleet.up(lambda text: say(Event("host", text)))
        say(Event("placed", f"hosts are up: {', '.join(fleet.hosts)}"))
        targets = {name: campaign.targets[name] for name in dict.fromkeys(case.target for case in plan.cases)}
        send = hosts.inventory is not None and hosts.inventory.images == "send"
        images = provide(targets, loaded.folder, fleet.staff.server, send, say)
        _same_images(store, images)
        store.write_json("environment.json", environment(fleet.staff.described, images))

        def reserve(case: Case) -> AbstractContextManager[Placed]:
            return fleet.reserve(work.placements[case.name])

        scene = Scene(campaign, loaded.folder, label, images, reserve, fleet.accepted_keys, _ceilings(hosts))
        for planned, output in run_trials(plan, scene, course, say):
            trial = course.finished(planned, output)
            say(Event("judged", _one_line(trial), {"trial": planned.number, "verdict": str(trial.verdict)}))
        say(Event("leaving", "cleaning up", passing=True))


def _same_images(store: RunStore, images: dict[str, str]) -> None:
    """Refuse to go on with other images than the trials before had. Raises UsageError."""
    before = read_environment(store.path).get("images", images)
    different = [f"{name} was {before.get(name)}" for name in images if before.get(name) != images[name]]
    if different:
        raise UsageError(
            f"images changed since {store.name} began: {'; '.join(different)}", "volley run starts a new one"
        )


def _ceilings(hosts: Hosts) -> dict[str, float]:
    """What agents can send at the most, where calibration saw the generator itself give way."""
    found = ceilings.known(hosts.inventory)
    return {name: each.per_s for name, each in found.items() if each.limited_by == ceilings.GENERATOR}


def environment(hosts: list[dict[str, Any]], images: dict[str, str]) -> dict[str, Any]:
    """Gather what a reader in a year will want to know of the hosts."""
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "format": 1,
        "volley": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "governor": governor.read_text().strip() if governor.exists() else None,
        "hosts": hosts,
        "images": images,
    }


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
