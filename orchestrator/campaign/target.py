"""Search for the capacity of one target, trial by trial: choose each probe's load, take in its result. No host."""

from __future__ import annotations

from collections.abc import Mapping

from agents.generators.contract import Protocol
from orchestrator.analyse.capacity import (
    LONGEST_S,
    MOST_CONNECTIONS,
    NOTHING,
    Wanted,
    asked_of,
    conclude,
    limit_in_words,
    probe,
    within,
)
from orchestrator.analyse.people import digits
from orchestrator.campaign.connections import Connections
from orchestrator.counted import counted
from orchestrator.facts import Case
from orchestrator.plan import make_case
from orchestrator.result import QUANTILES, Probe, Saturation, Trial
from orchestrator.search.engine import Search
from orchestrator.search.records import Answer, Ask, Kind
from orchestrator.slo import Metric, Term, time_limits_us
from orchestrator.spec.agents import DEFAULT_AGENTS, AgentCount
from orchestrator.spec.loads import Load
from orchestrator.spec.models import Campaign, Saturate
from orchestrator.spec.needs import needed_by
from orchestrator.spec.requests import names_of
from orchestrator.spec.slo import terms

ESTIMATE_US = 3_000_000
# A window lasts at least as long as this many answers one after the other: a backlog shows in them.
ANSWERS = 6
# So many requests of a probe may be slower than a percentile's limit. Those of rare percentiles come in bursts, of which
# a window has to hold a few (docs/adr/0011).
SHOWN, RARE = 10, 30
# The upper limit of a search that sets none. One agent sends about as much on one core (docs/explanation/generators.md):
# above it the generators would be measured. A public server shares its network with strangers: 5,000/s over 1,000
# connections is a busy site's traffic, and more has to be asked for.
PER_AGENT_PER_S = 50_000.0
PUBLIC_PER_S, PUBLIC_CONNECTIONS = 5_000.0, 1_000
# The load that shows whether a server has recovered lasts a third of a window, but at least this long.
LIGHT_US = 1_000_000
# A search ends after this many failed starts of a fresh server in a row, whatever the rate.
GIVE_UP_AFTER = 2


def template_of(campaign: Campaign, asked: Saturate) -> Load:
    """Return the load whose protocol, request and agents the probes have."""
    return campaign.loads[asked.load or next(iter(campaign.loads))]


def wanted_of(campaign: Campaign, agents: int = DEFAULT_AGENTS, public: bool = False) -> Wanted:
    """Return what a campaign with an objective to search for searches for.

    agents: how many share its probes. public: a target is not one of our own networks: without a number in the campaign its
    rate and its connections stay low.
    """
    asked = campaign.saturation
    assert asked is not None
    objectives = terms(asked.slo)
    template = template_of(campaign, asked)
    # The clients of a closed load are its concurrency, and no limit of an open one.
    limit = template.clients if template.model == "open" else None
    return Wanted(
        asked.slo,
        objectives,
        asked.precision,
        requests_needed(objectives, shares_of(template)),
        asked.lowest or 0.0,
        asked.highest or (PUBLIC_PER_S if public else PER_AGENT_PER_S * agents),
        asked.budget,
        asked.window,
        asked.soak or 3 * asked.window,
        limit or (PUBLIC_CONNECTIONS if public else MOST_CONNECTIONS),
        Protocol(template.protocol),
    )


def shares_of(load: Load) -> dict[str, float]:
    """Return the share of each request of a load with several, by its name."""
    listed = load.listed or []
    total = sum(request.weight for request in listed)
    return {name: request.weight / total for name, request in zip(names_of(listed), listed, strict=True)}


def requests_needed(objectives: list[Term], shares: Mapping[str, float] | None = None) -> float:
    """Return how many requests a probe needs so that its percentiles are shown, and those above p99 flatter little.

    shares: of the requests of a mix, by name; those of one are only so many of all.
    """
    needed = []
    for term in objectives:
        part = term.allowed_share
        if part and (term.metric in QUANTILES or term.metric == Metric.SLOWER):
            # A share as written is a little off: 1 - 0.99 is less than 0.01.
            of_all = (shares or {}).get(term.request or "", 1.0)
            needed.append((RARE if part < 0.0099 else SHOWN) / part / of_all)
    return max(needed, default=20.0)


def load_of(template: Load, ask: Ask, clients: int, usual_us: float, wanted: Wanted, asked: Saturate) -> Load:
    """Return the load of one probe.

    clients: the most connections. usual_us: how long an answer usually takes. The window grows with the requests that the
    percentiles need and with the time of an answer. The tail lasts as long as the objectives allow an answer to take, and
    no longer than the window.
    """
    if ask.kind is Kind.ESTIMATE:
        closed = {
            "model": "closed",
            "arrivals": "even",
            "clients": clients,
            "duration": min(ESTIMATE_US, wanted.window_us),
            "requests": template.requests if template.listed_key == "requests" else None,
            "count": None,
            "rate": None,
        }
        return template.model_copy(update=closed | {"warm_up": asked.warm_up, "tail": asked.tail})
    light_us = min(wanted.window_us, max(LIGHT_US, wanted.window_us // 3))
    window_us = {Kind.SOAK: wanted.soak_us, Kind.REFERENCE: light_us}.get(ask.kind, wanted.window_us)
    needed_us = 0.0 if ask.kind is Kind.REFERENCE else 1.2e6 * wanted.needed / ask.rate_per_s
    slowest_us = max(time_limits_us(wanted.terms), default=0)
    duration_us = min(LONGEST_S * 1e6, max(window_us, needed_us, ANSWERS * usual_us))
    lasting = {
        "duration": round(duration_us),
        "warm_up": max(asked.warm_up, round(min(usual_us, wanted.window_us))),
        "tail": round(max(asked.tail, min(max(slowest_us, 2 * usual_us), duration_us))),
    }
    listed = template.requests if template.listed_key == "requests" else None
    opened = {"model": "open", "clients": clients, "rate": ask.rate_per_s, "requests": listed, "count": None}
    return template.model_copy(update=opened | lasting)


class TargetSearch:
    """The search of one target. trials: how many it has had; over: why it has ended, None before that."""

    def __init__(self, name: str, campaign: Campaign, asked: Saturate, wanted: Wanted, agents: int) -> None:
        self.name = name
        self.trials = 0
        self.over: str | None = None
        self._campaign, self._asked, self._wanted = campaign, asked, wanted
        self._template = template_of(campaign, asked).model_copy(update={"agents": agents})
        self._judge = wanted.judge()
        behind = campaign.targets[name].socket is not None
        self._connections = Connections(wanted.terms, wanted.connections, agents, self._template.streams, behind)
        self._search: Search | None = None
        self._start_per_s = 0.0
        self._curve: list[Probe] = []
        self._failed_starts = 0

    @property
    def external(self) -> bool:
        """Return whether the target is a server that is already up."""
        return self._campaign.targets[self.name].url is not None

    @property
    def has_answered(self) -> bool:
        """Return whether the target has answered before."""
        return self._search is not None

    def case(self, kind: Kind, rate: float) -> Case:
        """Return the case of a probe. rate: per second."""
        load = self.load(kind, rate)
        target, agents = self._campaign.targets[self.name], AgentCount(self._template.agents or 1)
        needed = needed_by(target, self._campaign.services)
        return make_case(self.name, target, kind, load, agents, self._campaign.seed, self._wanted.terms, needed)

    def load(self, kind: Kind, rate: float) -> Load:
        """Return the load of a probe. rate: per second."""
        connections, ask = self._connections, Ask(kind, rate)
        if kind is Kind.ESTIMATE:
            return load_of(self._template, ask, connections.of_estimate(), 0.0, self._wanted, self._asked)
        load = load_of(self._template, ask, connections.at(rate), connections.usual_us, self._wanted, self._asked)
        return load.model_copy(update={"clients": connections.paced_by_h2load(load)})

    def next(self) -> Ask | None:
        """Return the next probe, the same one until tell() is called; the estimate first; None when the search is over."""
        if self.over is not None:
            return None
        if self._search is None:
            return Ask(Kind.ESTIMATE, 0.0)
        asked = self._search.ask()
        if asked is None:
            self.over = str(self._search.found().ending)
        return asked

    def tell(self, trial: Trial) -> str:
        """Take in the result of the last probe and return it in one line."""
        self.trials += 1
        if not self.external and trial.metrics is None:
            # The rate cannot be why a fresh server does not start.
            self._failed_starts += 1
            if self._failed_starts >= GIVE_UP_AFTER:
                self.over = trial.facts.error or "it did not start"
            return f"{self.name}: {trial.facts.error}"
        self._failed_starts = 0
        if self._search is None:
            return f"{self.name}: {self._estimated(trial)}"
        asked, judged = asked_of(trial), self._judge.judge(trial)
        self._connections.learn(trial, judged.answer)
        self._search.tell(judged.answer, asked)
        self._curve.append(probe(asked, judged, trial))
        return f"{self.name}: {digits(asked.rate_per_s)}/s {_outcome(self._curve[-1])}; {within(self.so_far())}"

    def so_far(self) -> Saturation:
        """Return what is known so far, for the live view."""
        found = NOTHING if self._search is None else self._search.found()
        return conclude(self.name, self._wanted, found, self._curve, self._start_per_s)

    def _estimated(self, trial: Trial) -> str:
        if trial.metrics is None or not trial.metrics.requests.ok:
            self.over = trial.facts.error or f"it answered no {counted([self._wanted.protocol]).one}"
            return self.over
        self._start_per_s = trial.metrics.throughput_per_s
        self._judge.estimated(trial)
        self._connections.learn(trial, Answer(True))
        self._search = Search(self._wanted.bounds(self._start_per_s, self.external))
        found = f"{digits(self._start_per_s)} {counted([self._wanted.protocol]).per_s}"
        return f"{found} as fast as it can, in a closed loop; the search begins there"


def _outcome(probe: Probe) -> str:
    if probe.limited_by is not None:
        return f"not counted: limited by the {limit_in_words(probe.limited_by)}"
    return "passed" if probe.passed else f"failed: {', '.join(probe.failed) or 'the server'}"
