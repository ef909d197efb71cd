"""The search for capacity on real servers of known capacity, with the real generator; everything but Ray."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.analyse.capacity import in_words, replay
from orchestrator.analyse.cases import judge
from orchestrator.campaign.target import TargetSearch, wanted_of
from orchestrator.fleet.hosts import Placed
from orchestrator.plan import TrialPlan
from orchestrator.result import Saturation, Trial
from orchestrator.run.inputs import TrialInput
from orchestrator.run.trial import run_trial
from orchestrator.search.records import Ending
from orchestrator.spec.load import from_plain
from tests.fakes.handles import load_here
from tests.integration.machine import FREE, STOLEN, WAITING
from tests.truth.nginx import nginx
from tests.truth.zoo import serve

QUICK = {"window": "1s", "warm_up": "300ms", "tail": "200ms", "soak": "2s", "precision": "5%", "budget": 40}
LOAD = {"clients": 10, "duration": "1s"}
MESSAGES = {"load": LOAD | {"protocol": "websocket"}}


@dataclass
class Searched:
    """A finished search, and whether the machine was busy meanwhile: that may have cost it some."""

    found: Saturation
    trials: list[Trial] = field(repr=False)

    @property
    def busy(self) -> bool:
        """Return whether agents waited for a core. The estimate, as fast as it can, makes any machine busy."""
        uses = [use for trial in self.trials[1:] for use in trial.facts.hosts]
        waited = max(agent.waiting_share for trial in self.trials[1:] for agent in trial.facts.agents)
        return waited > WAITING or any(use.steal_share > STOLEN or use.free_share < FREE for use in uses)

    def disturbed_below(self, rate: float) -> bool:
        """Return whether a busy machine made a probe fail, or not count, that the server could answer."""
        return self.busy and any(not p.passed and p.rate_per_s < rate for p in self.found.curve)

    def told(self) -> str:
        """Return every probe, for a failed assertion."""
        rows = [
            f"{p.kind} {p.rate_per_s:.1f} {'passed' if p.passed else p.limited_by or p.failed} {p.answered_per_s or 0:.1f}"
            for p in self.found.curve
        ]
        return "\n".join([in_words(self.found), f"busy: {self.busy}", *rows])


def search(url: str, slo: str, **changes: object) -> Searched:
    """Follow a search to its end; return it replayed from its trials."""
    plain = {
        "campaign": "capacity",
        "targets": {"t": {"url": url}},
        "loads": {"l": changes.pop("load", LOAD)},
        "agents": 1,
        "saturation": {"slo": slo, **QUICK, **changes},
    }
    campaign = from_plain(plain).campaign
    target = TargetSearch("t", campaign, campaign.saturation, wanted_of(campaign), 1)
    host, trials = load_here(), []
    while (ask := target.next()) is not None:
        plan = TrialPlan(len(trials) + 1, 0, target.case(ask.kind, ask.rate_per_s))
        load = target.load(ask.kind, ask.rate_per_s)
        item = TrialInput(plan, campaign.targets["t"], load, None, Path.cwd(), "truth")
        output = run_trial(item, Placed(None, [host], [[None]]), lambda event: None)
        trials.append(judge(output.facts, output.agents))
        target.tell(trials[-1])
    return Searched(replay("t", trials, wanted_of(campaign)), trials)


@contextmanager
def zoo(behaviour: str, scheme: str = "http", **parameters: float) -> Iterator[str]:
    """Run a server of the zoo; return its URL."""
    with serve(behaviour, **parameters) as server:
        yield server.url.replace("http", scheme, 1)


@dataclass(frozen=True)
class Row:
    """A server, an objective and the truth: requests a second. highest: of a server without a limit, where the search ends."""

    server: Callable[[], AbstractContextManager[str]]
    slo: str
    capacity_per_s: float
    changes: dict[str, object] = field(default_factory=dict)
    unlimited: bool = False


# All of them send few requests, so they are searched at once. Even arrivals.
ROWS = {
    "one at a time": Row(lambda: zoo("one-at-a-time", service_us=4_000), "errors < 1%", 250),
    "4 workers": Row(lambda: zoo("workers", workers=4, service_us=16_000), "p50 < 50ms", 250),
    "429 limiter": Row(lambda: zoo("limit", rate_per_s=400, burst=8), "errors < 1%", 400, {"window": "2s"}),
    "unlimited, 150 ms": Row(
        lambda: zoo("fixed", service_us=150_000), "p99 < 300ms", 400, {"highest": "400/s"}, unlimited=True
    ),
    "messages, one at a time": Row(lambda: zoo("one-at-a-time", "ws", service_us=4_000), "errors < 1%", 250, MESSAGES),
    "messages, 4 workers": Row(lambda: zoo("workers", "ws", workers=4, service_us=16_000), "p50 < 50ms", 250, MESSAGES),
    # Slow enough that a window is longer than asked for: it grows with the limit.
    "endpoint of 200 ms": Row(lambda: zoo("workers", workers=60, service_us=200_000), "p90 < 400ms", 300),
}
NGINX = Row(lambda: nginx(2_300, 50), "errors < 0.1%", 2_300)


def run(row: Row) -> Searched:
    """Start the server and search."""
    with row.server() as url:
        return search(url, row.slo, **row.changes)


@pytest.fixture(scope="module")
def searches() -> dict[str, Searched]:
    """Return the finished searches of ROWS."""
    with ThreadPoolExecutor(len(ROWS)) as pool:
        return dict(zip(ROWS, pool.map(run, ROWS.values()), strict=True))


def is_right(row: Row, searched: Searched) -> None:
    """Assert the truth within 5 %, or "at least" a rate below it. A busy machine may have cost it some, and adds nothing."""
    found, told = searched.found, searched.told()
    assert found.probes == len(found.curve) == len(searched.trials) - 1, told
    assert found.held_per_s is not None, told
    assert found.held_per_s <= 1.05 * row.capacity_per_s, told
    if row.unlimited:
        assert found.capacity_per_s is None or searched.busy, told
        assert searched.busy or (found.ending is Ending.ALWAYS_MET and "at least" in in_words(found)), told
        assert found.held_per_s >= (0.3 if searched.busy else 0.99) * row.capacity_per_s, told
        return
    if found.capacity_per_s is None:
        assert searched.busy or found.ending is Ending.LIMITED, told
        return
    estimate, least = found.capacity_per_s.estimate, 0.95 * row.capacity_per_s
    assert estimate <= 1.05 * row.capacity_per_s, told
    assert estimate >= (0.7 * row.capacity_per_s if searched.disturbed_below(row.capacity_per_s) else least), told


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ROWS)
def test_the_capacity_of_a_server_that_is_known_is_found(name, searches, record_property):
    """Or a lower bound where it has none: never above what the server answers."""
    is_right(ROWS[name], searches[name])

    found = searches[name].found
    record_property("print", f"{name}: {in_words(found)}, {found.probes} probes, busy: {searches[name].busy}")
    # Its light loads are answered after their windows, which does not mean that the server failed to recover.
    assert found.ending is not Ending.NOT_RECOVERED or searches[name].busy, searches[name].told()


@pytest.mark.full
@pytest.mark.timeout(300)
def test_the_rate_limit_of_nginx_is_found(record_property):
    """Its bucket holds 50 requests, 22 ms: arrivals in bunches would overflow it below its limit."""
    searched = run(NGINX)

    is_right(NGINX, searched)
    record_property(
        "print", f"nginx: {in_words(searched.found)}, {searched.found.probes} probes, busy: {searched.busy}"
    )
