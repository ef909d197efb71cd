"""The whole programme on one screen: from a checked campaign to a stored, judged run."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator import __version__
from orchestrator.analyse.cases import judge
from orchestrator.evaluate import Finished, summarise_run, write_results
from orchestrator.fleet.local import LocalFleet, require_placeable
from orchestrator.plan import Plan, make_plan
from orchestrator.result import Trial
from orchestrator.run.events import Event
from orchestrator.run.loop import run_trials
from orchestrator.run.targets import build_all
from orchestrator.spec.load import Loaded
from orchestrator.store import RunStore

Show = Callable[[Event], None]


def run_campaign(loaded: Loaded, source: str, out: Path, only: str | None, show: Show) -> Finished:
    """Run a campaign and store it. `source` is the campaign as it was written, without any secret put in.

    Raises VolleyError. Whatever happens, nothing is left on the hosts, and what was finished is in the run's folder.
    """
    campaign = loaded.campaign
    plan = make_plan(campaign, only)
    require_placeable(plan.agents)
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
        with LocalFleet(store.name) as fleet:
            needed = {name: campaign.targets[name] for name in dict.fromkeys(case.target for case in plan.cases)}
            placed = fleet.place(plan.agents, with_server=any(target.url is None for target in needed.values()))
            say(Event("placed", f"hosts are up: {', '.join(fleet.host_names)}"))
            hosts = [{"host": actor.host, **actor.call("describe")} for actor in placed.actors]
            images = build_all(needed, loaded.folder, placed, say)
            store.write_json("environment.json", environment(hosts, images))
            for planned, output in run_trials(plan, campaign, loaded.folder, store.name, images, placed, say):
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
