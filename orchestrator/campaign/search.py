"""How much load can it take? The search of saturate.py, driven on real hosts: from a checked campaign to a stored answer."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from agents.records import to_plain
from orchestrator.analyse.capacity import LONGEST_S, in_words
from orchestrator.analyse.cases import judge
from orchestrator.campaign.origin import Origin, parts_of
from orchestrator.campaign.retry import RunRetryPolicy
from orchestrator.campaign.session import Hosts, Session, Show, another_label, planned_from, telling
from orchestrator.campaign.target import TargetSearch, wanted_of
from orchestrator.errors import HostError, UsageError
from orchestrator.fleet.place import place
from orchestrator.plan import Plan, TrialPlan
from orchestrator.report.capacity import board
from orchestrator.report.files import write_results
from orchestrator.result import Trial
from orchestrator.run.events import Event
from orchestrator.run.loop import RunContext, run_with_retries
from orchestrator.search.engine import Ask, Ending, Kind
from orchestrator.spec.load import Loaded
from orchestrator.spec.models import Saturate
from orchestrator.stored.evaluate import Finished, summarise_searches
from orchestrator.stored.folder import RunStore, read_trials


def run_saturation(loaded: Loaded, source: str, out: Path, show: Show, hosts: Hosts, origin: Origin) -> Finished:
    """Search for the capacity of every target and store it. `source` is the campaign as it was written.

    Raises VolleyError; HostError when no target could be started at all. Whatever happens, nothing is left on the hosts,
    and the probes that were finished are in the run's folder: resume_saturation goes on there.
    """
    searches = Searches(loaded, origin.only, hosts)
    store = RunStore.create(out, f"{loaded.campaign.campaign}-saturation")
    try:
        store.write_text("campaign.yaml", source)
        store.write_json(
            "plan.json", searches.document() | {"origin": to_plain(origin), "parts": parts_of(loaded.plain)}
        )
    except BaseException:
        store.close()
        raise
    names = ", ".join(target.name for target in searches.targets)
    what = f"run {store.name}: {names} under {searches.wanted.slo}, in {store.path}"
    return searches.carry_out(store, store.name, what, show)


def resume_saturation(run: Path, show: Show) -> Finished:
    """Go on with searches that were stopped; no probe is repeated: those before are told to the searches again.

    Raises VolleyError: UsageError with what has changed when the campaign, a host or an image is not what it was.
    """
    origin, loaded = planned_from(run)
    searches = Searches(loaded, origin.only, Hosts.of(origin))
    store = RunStore.reopen(run)
    done = [judge(facts, agents) for facts, agents in read_trials(run)]
    searches.begin(done)
    what = f"run {store.name} goes on: {len(done)} trials are there, in {store.path}"
    return searches.carry_out(store, another_label(store), what, show)


class Searches:
    """The searches of one run, which take turns, so that what drifts hits all of them alike."""

    def __init__(self, loaded: Loaded, only: str | None, hosts: Hosts) -> None:
        """only: a glob over targets. Raises UsageError where nothing is chosen or asked, Shortage."""
        campaign = loaded.campaign
        if (asked := campaign.saturation) is None:
            raise UsageError("the campaign does not say what has to be met", "say it: --slo 'p99<50ms'")
        self.loaded, self.hosts, self.wanted = loaded, hosts, wanted_of(asked)
        if (least := self.wanted.needed / LONGEST_S) > asked.highest:
            raise UsageError(
                f"a probe of {LONGEST_S:.0f} s at the highest rate, {asked.highest:g}/s, is too short for {asked.slo}",
                f"allow {math.ceil(least)}/s, or ask for a lower percentile",
            )
        template = campaign.loads[asked.load or next(iter(campaign.loads))]
        names = [name for name in campaign.targets if _chosen(name, asked, only)]
        if not names:
            raise UsageError("no target is chosen", f"the targets are: {', '.join(campaign.targets)}")
        agents = template.agents or campaign.agents
        self.targets = [TargetSearch(name, campaign, asked, self.wanted, agents) for name in names]
        self.trials: list[Trial] = []
        cases = [target.case(Kind.ESTIMATE, 1.0) for target in self.targets]
        self._plan = Plan(campaign.campaign, cases, [], campaign.seed, "")
        placed = place(self._plan, hosts.machines(), hosts.where(campaign))
        # A probe has another load, and so another name; it is placed as the estimate of its target is.
        self._placements = {f"{case.target}/{kind}": placed[case.name] for case in cases for kind in Kind}
        hosts.commanded(campaign, self._placements)

    def document(self) -> dict[str, Any]:
        """Give plan.json."""
        cases = [to_plain(case) for case in self._plan.cases]
        name = self.loaded.campaign.campaign
        return {"format": 1, "campaign": name, "cases": cases, "saturation": to_plain(self.wanted)}

    def begin(self, trials: list[Trial]) -> None:
        """Take in the trials that were done before."""
        by_name = {target.name: target for target in self.targets}
        for trial in trials:
            target = by_name[trial.facts.case.target]
            target.next()
            target.tell(trial)
            self.trials.append(trial)

    def carry_out(self, store: RunStore, label: str, what: str, show: Show) -> Finished:
        """Search to the end, evaluate and store it."""
        names = [target.name for target in self.targets]
        say = telling(store, show)
        try:
            say(Event("run", what))
            policy = RunRetryPolicy(self._plan, store, self.loaded.campaign.retries, say)
            if self._next() is not None:
                session = Session(self.loaded, names, self._placements, store, self.hosts, label)
                session.run(policy, say, lambda context: self._search(context, policy, say))
            summary = summarise_searches(self.document(), self.trials)
            write_results(store.path, summary, self.trials)
            for one in summary.saturation:
                say(Event("end", f"{one.target}: {in_words(one)}"))
        except BaseException:
            show(Event("unfinished", f"unfinished; go on with: volley resume {store.path}"))
            raise
        finally:
            store.close()
        if all(one.ending == Ending.NOT_STARTED for one in summary.saturation):
            raise HostError(f"{names[0]}: {self.targets[0].over}", "see that it comes up, and answers one request")
        return Finished(store.path, summary, self.trials)

    def _search(self, context: RunContext, policy: RunRetryPolicy, say: Callable[[Event], None]) -> None:
        """Probe by probe; where a host was lost, it goes on with the probe that was under way."""
        while (following := self._next()) is not None:
            target, asked = following
            number = 1 + max((trial.facts.number for trial in self.trials), default=0)
            planned = TrialPlan(number, target.told, target.case(asked.kind, asked.rate_per_s))
            say(Event("trial", f"{number}: {target.name}, {_told(asked)}", passing=True))
            item = context.input(planned, target.load(asked.kind, asked.rate_per_s))
            trial = policy.finished(planned, run_with_retries(item, context.reserve, policy, target.worked, say))
            self.trials.append(trial)
            said = target.tell(trial)
            facts = {"trial": number, "verdict": str(trial.verdict), "kind": str(asked.kind), "rate": asked.rate_per_s}
            say(Event("judged", f"{number:4d}  {said}", facts, picture=partial(self._board, target)))

    def _next(self) -> tuple[TargetSearch, Ask] | None:
        """Give whose turn it is, and what is asked: of those that are not over, the one with the fewest trials."""
        waiting = [(target, asked) for target in self.targets if (asked := target.next()) is not None]
        return min(waiting, key=lambda pair: pair[0].told, default=None)

    def _board(self, last: TargetSearch) -> Any:
        return board([target.so_far() for target in self.targets], last.name)


def _chosen(name: str, asked: Saturate, only: str | None) -> bool:
    globs = [glob for glob in (asked.targets, None if only is None else [only]) if glob is not None]
    return all(any(fnmatch.fnmatch(name, glob) for glob in those) for those in globs)


def _told(asked: Ask) -> str:
    return "as fast as it can" if asked.kind is Kind.ESTIMATE else f"{asked.kind} at {asked.rate_per_s:.0f}/s"
