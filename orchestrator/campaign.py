"""The whole programme on one screen: from a checked campaign to a stored, judged run."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.records import Case
from orchestrator import __version__
from orchestrator.analyse.cases import judge
from orchestrator.evaluate import Finished, summarise_run, write_results
from orchestrator.fleet import ceilings
from orchestrator.fleet.cluster import Fleet, nodes_for, own_nodes_here
from orchestrator.fleet.hosts import Placed
from orchestrator.fleet.nodes import LOOPBACK
from orchestrator.fleet.place import Machine, Placement, local_machine, machines_of, place
from orchestrator.plan import Plan, make_plan
from orchestrator.result import Trial
from orchestrator.run.events import Event
from orchestrator.run.images import provide
from orchestrator.run.loop import run_trials
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.load import Loaded
from orchestrator.spec.models import Campaign, Place
from orchestrator.store import RunStore

Show = Callable[[Event], None]


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

    def fleet(self, run: str, placements: dict[str, Placement]) -> Fleet:
        """Give the fleet, not up yet. Raises HostError."""
        chosen = list(placements.values())
        if self.inventory is None:
            hold, machines = own_nodes_here(run)
            return Fleet(run, hold, machines, chosen)
        used = list(dict.fromkeys(host for placement in chosen for host in placement.hosts))
        return Fleet(run, nodes_for(run, self.inventory, self.folder, used), self.machines(), chosen)


def run_campaign(loaded: Loaded, source: str, out: Path, only: str | None, show: Show, hosts: Hosts) -> Finished:
    """Run a campaign and store it. `source` is the campaign as it was written, without any secret put in.

    Raises VolleyError. Whatever happens, nothing is left on the hosts, and what was finished is in the run's folder.
    """
    campaign = loaded.campaign
    plan = make_plan(campaign, only)
    placements = place(plan, hosts.machines(), hosts.where(campaign))
    store = RunStore.create(out, campaign.campaign)

    def say(event: Event) -> None:
        show(event)
        if not event.passing:
            store.journal(event.kind, event.text, event.facts)

    try:
        store.write_text("campaign.yaml", source)
        store.write_json("plan.json", _plan_document(plan, loaded))
        say(Event("run", f"run {store.name}: {len(plan.trials)} trials of {len(plan.cases)} cases, in {store.path}"))
        trials = []
        with hosts.fleet(store.name, placements) as fleet:
            fleet.up(lambda text: say(Event("host", text)))
            say(Event("placed", f"hosts are up: {', '.join(fleet.hosts)}"))
            targets = {name: campaign.targets[name] for name in dict.fromkeys(case.target for case in plan.cases)}
            send = hosts.inventory is not None and hosts.inventory.images == "send"
            images = provide(targets, loaded.folder, fleet.staff.server, send, say)
            store.write_json("environment.json", environment(fleet.staff.described, images))

            def reserve(case: Case) -> AbstractContextManager[Placed]:
                return fleet.reserve(placements[case.name])

            trial_runs = run_trials(
                plan, campaign, loaded.folder, store.name, images, reserve, fleet.accepted_keys, _ceilings(hosts), say
            )
            for planned, output in trial_runs:
                trial = judge(output.facts, output.agents)
                store.add(planned.name, trial, output.agents, output.server_log)
                trials.append(trial)
                say(Event("judged", _one_line(trial), {"trial": planned.number, "verdict": str(trial.verdict)}))
            say(Event("leaving", "cleaning up", passing=True))
        summary = summarise_run(plan.to_plain() | _statistics(loaded), plan.cases, trials)
        write_results(store.path, summary, trials)
        say(Event("end", f"verdict {summary.verdict}", {"verdict": str(summary.verdict)}))
    finally:
        store.close()
    return Finished(store.path, summary, trials)


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


def _statistics(loaded: Loaded) -> dict[str, Any]:
    """What the evaluation needs of the campaign, kept in plan.json."""
    compare = loaded.campaign.compare
    return {
        "required_trials": loaded.campaign.required_trials,
        "baseline": compare.baseline if compare else None,
        "smallest_effect": compare.smallest_effect if compare else None,
    }


def _plan_document(plan: Plan, loaded: Loaded) -> dict[str, Any]:
    return plan.to_plain() | _statistics(loaded)


def _one_line(trial: Trial) -> str:
    codes = [finding.code for finding in trial.findings if finding.severity != "information"]
    number = "no load fired" if trial.metrics is None else f"{trial.metrics.throughput_per_s:.0f} req/s"
    return f"  {trial.verdict}, {number}" + (f" ({', '.join(dict.fromkeys(codes))})" if codes else "")
