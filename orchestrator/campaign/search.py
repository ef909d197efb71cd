"""Search for the capacity of every target, on real hosts: from a checked campaign to a stored answer."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.analyse.capacity import LONGEST_S, in_words, within
from orchestrator.analyse.people import digits
from orchestrator.analyse.precision import Progress
from orchestrator.campaign.allowed import had_to_be_allowed, require_allowed
from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.origin import parts_of
from orchestrator.campaign.retry import RunRetryPolicy
from orchestrator.campaign.run import start
from orchestrator.campaign.session import Show
from orchestrator.campaign.target import TargetSearch, template_of, wanted_of
from orchestrator.campaign.trials import codes_of
from orchestrator.errors import HostError, UsageError
from orchestrator.fleet.generators import require_generators_here
from orchestrator.fleet.place import place
from orchestrator.plan import Plan, TrialPlan
from orchestrator.report.capacity import board
from orchestrator.result import Summary, Trial
from orchestrator.run.events import Event, Say
from orchestrator.run.loop import RunContext, run_with_retries
from orchestrator.run.pace import expected_s
from orchestrator.search.records import Ask, Ending, Kind
from orchestrator.spec.agents import agents_for_search
from orchestrator.spec.checks import Loaded
from orchestrator.spec.models import Saturate
from orchestrator.stored.documents import Origin, SearchPlan
from orchestrator.stored.evaluate import Finished
from orchestrator.stored.folder import RunStore


def run_saturation(
    loaded: Loaded, source: str, out: Path, show: Show, hosts: Hosts, origin: Origin, resumable: bool = True
) -> Finished:
    """Search for the capacity of every target and store it. source: the campaign as it was written.

    resumable: the source says all that the search needs.

    Raises VolleyError; HostError when no target could be started at all. Whatever happens, nothing is left on the
    hosts, and finished probes are kept in the run folder: resume() continues there.
    """
    search = CapacitySearch(loaded, origin.only, hosts)
    search.require_generators()
    store = RunStore.create(out, f"{loaded.campaign.campaign}-saturation")
    return search.require_start(start(search, store, source, origin if resumable else None, show))


class CapacitySearch:
    """The searches of one run. The targets take turns, so that drift affects all of them alike."""

    # Each probe depends on those before it, so none is planned.
    trials: Sequence[TrialPlan] = ()

    def __init__(self, loaded: Loaded, only: str | None, hosts: Hosts) -> None:
        """Place the searches. only: a glob over targets. Raises UsageError, Shortage, ConfigurationError."""
        campaign = loaded.campaign
        if (saturate := campaign.saturation) is None:
            raise UsageError("the campaign has no objective to search for", "add one: --slo 'p99<50ms'")
        self.loaded, self.hosts = loaded, hosts
        template = template_of(campaign, saturate)
        self.targets = [name for name in campaign.targets if _chosen(name, saturate, only)]
        if not self.targets:
            raise UsageError("no target is chosen", f"the targets are: {', '.join(campaign.targets)}")
        require_allowed(campaign, self.targets, hosts)
        agents = agents_for_search(campaign, template, hosts.load_hosts(campaign))
        self.wanted = wanted_of(campaign, agents, had_to_be_allowed(campaign, self.targets, hosts))
        self._require_room(saturate)
        self._searches = [TargetSearch(name, campaign, saturate, self.wanted, agents) for name in self.targets]
        self._last_number = 0
        self._cases = [search.case(Kind.ESTIMATE, 1.0) for search in self._searches]
        plan = Plan(campaign.campaign, self._cases, [], campaign.seed, "")
        placed = place(plan, hosts.machines(), hosts.where(campaign), hosts.services(campaign))
        # A probe has another load, and so another name; it is placed like the estimate of its target.
        self.placements = {f"{case.target}/{kind}": placed[case.name] for case in self._cases for kind in Kind}
        hosts.commanded(campaign, self.placements)

    def _require_room(self, saturate: Saturate) -> None:
        """Raise UsageError where the limits of the search leave it no rate."""
        highest = self.wanted.highest
        if self.wanted.lowest >= highest:
            raise UsageError(
                f"lowest, {self.wanted.lowest:,g}/s, is not below the default upper limit, {highest:,g}/s",
                "set the upper limit: --highest RATE",
            )
        if (least := self.wanted.needed / LONGEST_S) > highest:
            raise UsageError(
                f"a probe of {LONGEST_S:.0f} s at the highest rate, {highest:,g}/s, is too short for {saturate.slo}",
                f"allow {math.ceil(least)}/s with --highest, or ask for a lower percentile",
            )

    def require_generators(self) -> None:
        """Raise Several where this machine alone is to send the searches, and cannot send their first probes."""
        if self.hosts.inventory is None:
            loads = {str(Kind.ESTIMATE): self._searches[0].load(Kind.ESTIMATE, 1.0)}
            require_generators_here(self._cases, loads, self.placements)

    def document(self, origin: Origin | None) -> SearchPlan:
        """Return the content of plan.json."""
        return SearchPlan(
            campaign=self.loaded.campaign.campaign,
            cases=self._cases,
            origin=origin,
            parts={} if origin is None else parts_of(self.loaded.plain),
            saturation=self.wanted,
        )

    def summary_line(self) -> str:
        """Return what a new run will do."""
        return f"{', '.join(self.targets)} under {self.wanted.slo}"

    def progress_line(self, done: int) -> str:
        """Return how much of a resumed run is done."""
        return f"{done} trials are done"

    def progress(self) -> Progress | None:
        """Return None: a search ends by itself."""
        return None

    def resume_from(self, trials: list[Trial]) -> None:
        """Replay the trials that an earlier process finished."""
        by_name = {search.name: search for search in self._searches}
        for trial in trials:
            search = by_name[trial.facts.case.target]
            search.next()
            self._take_in(search, trial)

    def is_finished(self, policy: RunRetryPolicy) -> bool:
        """Return whether every search has ended."""
        return self._next() is None

    def execute(self, context: RunContext, policy: RunRetryPolicy, say: Say) -> None:
        """Run probe after probe. After a lost host it continues with the probe that was under way."""
        while (following := self._next()) is not None:
            search, asked = following
            load = search.load(asked.kind, asked.rate_per_s)
            planned = TrialPlan(self._last_number + 1, search.trials, search.case(asked.kind, asked.rate_per_s))
            say(self._starting(search, asked, planned))
            # A probe with less load than was asked would answer another question: it is repeated.
            item = replace(context.input(planned, load), degrade=False)
            if (sender := item.plan.case.generator) is not planned.case.generator:
                say(
                    Event("generator", f"{planned.case.generator} is missing on a load host: {sender} sends this probe")
                )
            output = run_with_retries(item, context.reserve, policy, search.has_answered, say)
            trial = policy.finish(planned, output)
            line = self._take_in(search, trial)
            facts = {
                "trial": planned.number,
                "verdict": str(trial.verdict),
                "kind": str(asked.kind),
                "rate": asked.rate_per_s,
                "findings": codes_of(trial),
            }
            picture = partial(self._board, search)
            say(Event("judged", f"{planned.number:4d}  {line}", facts, picture=picture))
            if output.lost is not None and self._next() is not None:
                raise output.lost

    def _starting(self, search: TargetSearch, asked: Ask, planned: TrialPlan) -> Event:
        facts = {
            "number": planned.number,
            "case": f"{search.name}, {_in_words(asked)}",
            "expected_s": expected_s(planned.case),
            "probe": search.trials + 1,
            "at_most": self.wanted.budget,
            "so_far": within(search.so_far()),
        }
        return Event("trial", f"probe {planned.number}: {search.name}, {_in_words(asked)}", facts, passing=True)

    def conclusions(self, summary: Summary) -> Iterator[Event]:
        """Yield the capacity of each target."""
        for found in summary.saturation:
            yield Event("end", f"{found.target}: {in_words(found)}")

    def require_start(self, finished: Finished) -> Finished:
        """Return a finished search. Raises HostError when no target could be started at all."""
        if all(found.ending == Ending.NOT_STARTED for found in finished.summary.saturation):
            raise HostError(
                f"{self.targets[0]}: {self._searches[0].over}", "check that it starts and answers one request"
            )
        return finished

    def _take_in(self, search: TargetSearch, trial: Trial) -> str:
        self._last_number = max(self._last_number, trial.facts.number)
        return search.tell(trial)

    def _next(self) -> tuple[TargetSearch, Ask] | None:
        """Return the search whose turn it is and its next probe: of those that are not over, the one with the fewest."""
        waiting = [(search, asked) for search in self._searches if (asked := search.next()) is not None]
        return min(waiting, key=lambda pair: pair[0].trials, default=None)

    def _board(self, last: TargetSearch, lines: int) -> Any:
        return board([search.so_far() for search in self._searches], last.name, lines)


def _chosen(name: str, saturate: Saturate, only: str | None) -> bool:
    choices = [globs for globs in (saturate.targets, None if only is None else [only]) if globs is not None]
    return all(any(fnmatch.fnmatch(name, glob) for glob in globs) for globs in choices)


def _in_words(asked: Ask) -> str:
    return "as fast as it can" if asked.kind is Kind.ESTIMATE else f"{asked.kind} at {digits(asked.rate_per_s)}/s"
