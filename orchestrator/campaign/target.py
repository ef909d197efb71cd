"""One target's search for capacity, trial by trial: the load of each probe, and what came of it. No host."""

from __future__ import annotations

import math

from orchestrator.analyse.capacity import LONGEST_S, NOTHING, Wanted, answer, asked_of, conclude, probe, within
from orchestrator.facts import Case
from orchestrator.plan import make_case
from orchestrator.result import QUANTILES, Probe, Saturation, Trial
from orchestrator.search.engine import Ask, Kind, Search
from orchestrator.slo import Term
from orchestrator.spec.models import Campaign, Load, Saturate
from orchestrator.spec.slo import terms

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
    if kind == Kind.ESTIMATE:
        closed = {
            "model": "closed",
            "clients": max(ESTIMATE_CLIENTS, template.agents or 1),
            "duration": min(ESTIMATE_US, wanted.window_us),
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


class TargetSearch:
    """One target's search. told: how many trials it has had; over: why there are no more of them."""

    def __init__(self, name: str, campaign: Campaign, asked: Saturate, wanted: Wanted, agents: int) -> None:
        self.name = name
        self.told = 0
        self.over: str | None = None
        self._campaign, self._asked, self._wanted = campaign, asked, wanted
        template = asked.load or next(iter(campaign.loads))
        self._template = campaign.loads[template].model_copy(update={"agents": agents})
        self._search: Search | None = None
        self._start_per_s = 0.0
        self._curve: list[Probe] = []
        self._failed_starts = 0

    @property
    def external(self) -> bool:
        """Say whether it is a server that is already up."""
        return self._campaign.targets[self.name].url is not None

    @property
    def worked(self) -> bool:
        """Say whether it has answered before."""
        return self._search is not None

    def case(self, kind: str, rate: float) -> Case:
        """Give the case of a probe."""
        load = self.load(kind, rate)
        return make_case(self.name, self._campaign.targets[self.name], kind, load, self._template.agents or 1)

    def load(self, kind: str, rate: float) -> Load:
        """Give the load of a probe."""
        return load_of(self._template, kind, rate, self._wanted, self._asked)

    def next(self) -> Ask | None:
        """Give the next probe, the same until it has been told; an estimate first; None when it is over."""
        if self.over is not None:
            return None
        if self._search is None:
            return Ask(Kind.ESTIMATE, 0.0)
        asked = self._search.ask()
        if asked is None:
            self.over = str(self._search.found().ending)
        return asked

    def tell(self, trial: Trial) -> str:
        """Take in what came of it; say it in one line."""
        self.told += 1
        if not self.external and trial.metrics is None:
            # A fresh server that does not come up does so at any rate.
            self._failed_starts += 1
            if self._failed_starts >= GIVE_UP_AFTER:
                self.over = trial.facts.error or "it did not come up"
            return f"{self.name}: {trial.facts.error}"
        self._failed_starts = 0
        if self._search is None:
            return f"{self.name}: {self._estimated(trial)}"
        asked, told = asked_of(trial), answer(trial, self._wanted.terms)
        self._search.tell(told, asked)
        self._curve.append(probe(asked, told, trial, self._wanted.terms))
        return f"{self.name}: {asked.rate_per_s:.0f}/s {_came(self._curve[-1])}; {within(self.so_far())}"

    def so_far(self) -> Saturation:
        """Give what is known by now, for whoever watches."""
        found = NOTHING if self._search is None else self._search.found()
        return conclude(self.name, self._wanted, found, self._curve, self._start_per_s)

    def _estimated(self, trial: Trial) -> str:
        if trial.metrics is None or not trial.metrics.requests.ok:
            self.over = trial.facts.error or "it answered no request"
            return self.over
        self._start_per_s = trial.metrics.throughput_per_s
        self._search = Search(self._wanted.bounds(self._start_per_s, self.external))
        return f"{self._start_per_s:.0f} req/s as fast as it can, in a closed model; the search begins there"


def _came(probe: Probe) -> str:
    if probe.limited_by is not None:
        return f"not counted: limited by the {probe.limited_by}"
    return "passed" if probe.passed else f"failed: {', '.join(probe.failed) or 'the server'}"
