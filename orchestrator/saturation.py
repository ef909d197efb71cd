"""How much load can it take? The search of saturate.py, driven on real hosts: from a checked campaign to a stored answer."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from agents.records import Case, to_plain
from orchestrator.analyse.saturation import LONGEST_S, Wanted, answer, failed_terms, in_words
from orchestrator.campaign import Hosts, Show, environment
from orchestrator.course import Course
from orchestrator.errors import HostError, UsageError
from orchestrator.evaluate import Finished, summarise_searches, write_results
from orchestrator.fleet.cluster import Fleet
from orchestrator.fleet.hosts import Placed
from orchestrator.fleet.place import Placement, place
from orchestrator.plan import Plan, TrialPlan, make_case
from orchestrator.result import QUANTILES, Trial
from orchestrator.run.commands import around
from orchestrator.run.events import Event
from orchestrator.run.images import provide
from orchestrator.run.loop import tried
from orchestrator.run.trial import TrialInput
from orchestrator.saturate import Ask, Ending, Kind, Search
from orchestrator.slo import Term
from orchestrator.spec.load import Loaded
from orchestrator.spec.models import Campaign, Load, Saturate
from orchestrator.spec.slo import terms
from orchestrator.store import RunStore

ESTIMATE = "estimate"
ESTIMATE_CLIENTS, ESTIMATE_US = 32, 3_000_000
# The load that shows whether a server has recovered: a third of a window, and so long where that is less.
LIGHT_US = 1_000_000
# A connection of the open model sends so many a second: fewer than h2load's timer would bunch.
PER_CLIENT = 10.0
MOST_CLIENTS = 2_000
# Starts of a fresh server in a row that fail, whatever the rate.
GIVE_UP_AFTER = 2


def wanted_of(asked: Saturate) -> Wanted:
    """Read what is searched for."""
    meant = terms(asked.slo)
    return Wanted(
        asked.slo,
        meant,
        asked.precision,
        requests_needed(meant),
        asked.lowest or 0.0,
        asked.highest,
        asked.budget,
        asked.window,
        asked.soak or 3 * asked.window,
    )


def requests_needed(meant: list[Term]) -> float:
    """How many requests a probe must have for its percentiles to be shown."""
    return max((10 / (1 - QUANTILES[term.metric]) for term in meant if term.metric in QUANTILES), default=20.0)


def load_of(template: Load, kind: str, rate: float, wanted: Wanted, asked: Saturate) -> Load:
    """Make the load of one probe. Clients grow with the rate; the window with what its percentiles need."""
    if kind == ESTIMATE:
        closed = {
            "model": "closed",
            "clients": max(ESTIMATE_CLIENTS, template.agents or 1),
            "duration": ESTIMATE_US,
            "requests": None,
            "rate": None,
        }
        return template.model_copy(update=closed | {"warm_up": asked.warm_up, "tail": asked.tail})
    light_us = min(wanted.window_us, max(LIGHT_US, wanted.window_us // 3))
    window = {Kind.SOAK: wanted.soak_us, Kind.REFERENCE: light_us}.get(Kind(kind), wanted.window_us)
    needed_us = 0.0 if kind == Kind.REFERENCE else 1.2e6 * wanted.needed / rate
    clients = min(MOST_CLIENTS, max(template.agents or 1, math.ceil(rate / PER_CLIENT)))
    opened = {"model": "open", "clients": clients, "rate": rate, "requests": None}
    lasting = {
        "duration": round(min(LONGEST_S * 1e6, max(window, needed_us))),
        "warm_up": asked.warm_up,
        "tail": asked.tail,
    }
    return template.model_copy(update=opened | lasting)


class Searched:
    """One target's search, trial by trial."""

    def __init__(self, name: str, campaign: Campaign, asked: Saturate, wanted: Wanted, agents: int) -> None:
        self.name = name
        self.trials: list[Trial] = []
        self.over: str | None = None
        self._campaign, self._asked, self._wanted = campaign, asked, wanted
        template = asked.load or next(iter(campaign.loads))
        self._template = campaign.loads[template].model_copy(update={"agents": agents})
        self._search: Search | None = None
        self._failed_starts = 0

    @property
    def external(self) -> bool:
        """Say whether it is a server that is already up."""
        return self._campaign.targets[self.name].url is not None

    def case(self, kind: str, rate: float) -> Case:
        """Give the case of a probe."""
        load = self.load(kind, rate)
        return make_case(self.name, self._campaign.targets[self.name], kind, load, self._template.agents or 1)

    def load(self, kind: str, rate: float) -> Load:
        """Give the load of a probe."""
        return load_of(self._template, kind, rate, self._wanted, self._asked)

    def next(self) -> Ask | None:
        """Give the next probe; an estimate first; None when it is over."""
        if self.over is not None:
            return None
        if self._search is None:
            return Ask(Kind.PROBE, 0.0)
        asked = self._search.ask()
        if asked is None:
            self.over = str(self._search.found().ending)
        return asked

    @property
    def estimating(self) -> bool:
        """Say whether the closed-model estimate comes next."""
        return self._search is None

    def tell(self, trial: Trial) -> str:
        """Take in what came of it; say it in one line."""
        if not self.external and trial.metrics is None:
            # A fresh server that does not come up does so at any rate.
            self._failed_starts += 1
            if self._failed_starts >= GIVE_UP_AFTER:
                self.over = trial.facts.error or "it did not come up"
            return f"{self.name}: {trial.facts.error}"
        self._failed_starts = 0
        self.trials.append(trial)
        if self._search is None:
            if trial.metrics is None or not trial.metrics.requests.ok:
                self.over = trial.facts.error or "it answered no request"
                return f"{self.name}: {self.over}"
            start = trial.metrics.throughput_per_s
            self._search = Search(self._wanted.bounds(start, self.external))
            return f"{self.name}: {start:.0f} req/s as fast as it can, in a closed model; the search begins there"
        told = answer(trial, self._wanted.terms)
        self._search.tell(told)
        found = self._search.found()
        state = (
            "passed" if told.passed else f"failed: {', '.join(failed_terms(trial, self._wanted.terms)) or 'the server'}"
        )
        if told.limited_by is not None:
            state = f"not counted: limited by the {told.limited_by}"
        known = "" if found.low is None else f"; capacity {found.low:.0f} to {found.high:.0f}/s"
        return f"{self.name}: {trial.facts.case.rate_per_s:.0f}/s {state}{known}"


def run_saturation(
    loaded: Loaded, source: str, out: Path, only: str | None, show: Show, hosts: Hosts, asked: Saturate
) -> Finished:
    """Search for the capacity of every target and store it. `source` is the campaign as it was written.

    only: a glob over targets. Raises VolleyError; HostError when no target could be started at all.
    """
    campaign, wanted = loaded.campaign, wanted_of(asked)
    template = campaign.loads[asked.load or next(iter(campaign.loads))]
    agents = template.agents or campaign.agents
    names = [n for n in campaign.targets if _chosen(n, asked.targets) and (only is None or fnmatch.fnmatch(n, only))]
    if not names:
        raise UsageError("no target is chosen", f"the targets are: {', '.join(campaign.targets)}")
    targets = [Searched(name, campaign, asked, wanted, agents) for name in names]
    plan = Plan(campaign.campaign, [target.case(ESTIMATE, 1.0) for target in targets], [], campaign.seed, "")
    placed = place(plan, hosts.machines(), hosts.where(campaign))
    placements = {case.target: placed[case.name] for case in plan.cases}
    document = {"format": 1, "campaign": campaign.campaign, "cases": [to_plain(case) for case in plan.cases]}
    document["saturation"] = to_plain(wanted)
    store = RunStore.create(out, f"{campaign.campaign}-saturation")

    def say(event: Event) -> None:
        show(event)
        if not event.passing:
            store.journal(event.kind, event.text, event.facts)

    try:
        store.write_text("campaign.yaml", source)
        store.write_json("plan.json", document)
        say(Event("run", f"run {store.name}: {', '.join(names)} under {wanted.slo}, in {store.path}"))
        course = Course(plan, store, campaign.retries, say)
        with hosts.fleet(store.name, placements, hosts.commanded(campaign, placements)) as fleet:
            _on_a_fleet(fleet, loaded, targets, course, store, hosts, placements, say)
        trials = [trial for target in targets for trial in target.trials]
        summary = summarise_searches(document, trials)
        write_results(store.path, summary, sorted(trials, key=lambda trial: trial.facts.number))
        for one in summary.saturation:
            say(Event("end", f"{one.target}: {in_words(one)}"))
        if all(one.ending == Ending.NOT_STARTED for one in summary.saturation):
            raise HostError(f"{targets[0].name}: {targets[0].over}", "see that it comes up, and answers one request")
    finally:
        store.close()
    return Finished(store.path, summary, trials)


def _chosen(name: str, globs: list[str] | None) -> bool:
    return globs is None or any(fnmatch.fnmatch(name, glob) for glob in globs)


def _on_a_fleet(
    fleet: Fleet, loaded: Loaded, targets: list[Searched], course: Course, store: RunStore, hosts: Hosts,
    placements: dict[str, Placement], say: Callable[[Event], None],
) -> None:  # fmt: skip
    """Probe by probe, the targets taking turns, so that what drifts hits all of them alike."""
    campaign = loaded.campaign
    fleet.up(lambda text: say(Event("host", text)))
    say(Event("placed", f"hosts are up: {', '.join(fleet.hosts)}"))
    chosen = {target.name: campaign.targets[target.name] for target in targets}
    send = hosts.inventory is not None and hosts.inventory.images == "send"
    images = provide(chosen, loaded.folder, fleet.staff.server, send, say)
    store.write_json("environment.json", environment(fleet.staff.described, images))
    number = turn = 0
    while any(target.over is None for target in targets):
        for target in targets:
            asked = target.next()
            if asked is None:
                continue
            number += 1
            kind = ESTIMATE if target.estimating else str(asked.kind)
            trial = TrialPlan(number, turn, target.case(kind, asked.rate_per_s))
            say(Event("trial", f"{number}: {target.name}, {_told(kind, asked)}", passing=True))
            item = TrialInput(
                trial, chosen[target.name], target.load(kind, asked.rate_per_s), images.get(target.name), loaded.folder,
                store.name, fleet.accepted_keys, {}, around(campaign, trial.case.name),
            )  # fmt: skip

            def reserve(case: Case) -> AbstractContextManager[Placed]:
                return fleet.reserve(placements[case.target])

            judged = course.finished(trial, tried(item, reserve, course, bool(target.trials), say))
            said = target.tell(judged)
            say(Event("judged", f"{number:4d}  {said}", {"trial": number, "verdict": str(judged.verdict)}))
        turn += 1
    say(Event("leaving", "cleaning up", passing=True))


def _told(kind: str, asked: Ask) -> str:
    return "as fast as it can" if kind == ESTIMATE else f"{kind} at {asked.rate_per_s:.0f}/s"
