"""Live metrics of a run: counters that grow while it lasts, from its events.

Counters never fall. A running trial contributes what its agents have counted so far; when it is over, its exact counts
take their place. Requests of an attempt that is retried stay counted: they were sent.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from agents.recorder import OK
from agents.totals import LiveCounts, buckets_of
from orchestrator import __version__
from orchestrator.merge import merge
from orchestrator.metrics import families
from orchestrator.metrics.families import LABELS, Load, add_times, times_family
from orchestrator.result import Requests, Verdict

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


# How long the last counts wait for a monitor that scrapes: GAPS of its longest gaps and WAIT_S, at most LONGEST_WAIT_S.
GAPS = 1.2
WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
# The usual interval of Prometheus.
UNKNOWN_GAP_S = 15.0


class Happening(Protocol):
    """What the metrics need to know of an event."""

    @property
    def kind(self) -> str:
        """The kind of event, for programs."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What happened, for programs."""


@dataclass(slots=True)
class _CaseCounts:
    """What one case has counted. over: trials that are over; now: the running one. trials: by verdict."""

    over: LiveCounts = field(default_factory=LiveCounts)
    now: LiveCounts = field(default_factory=LiveCounts)
    trials: Counter[str] = field(default_factory=Counter)
    rate_per_s: float | None = None

    def close(self) -> None:
        """Keep what the running trial, or an attempt that was lost, has counted."""
        self.over, self.now = self.over + self.now, LiveCounts()


class LiveMetrics:
    """Follows the events of one run, and is a collector of prometheus_client. Both may happen in different threads."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._scrapes = 0
        self._scraped_at = 0.0
        self._longest_gap_s = 0.0
        self._campaign = self._run = ""
        self._cases: dict[tuple[str, str, str], _CaseCounts] = {}
        self._running: tuple[str, str, str] | None = None
        self._planned: int | None = None
        self._retries = 0

    def show(self, event: Happening) -> None:
        """Take in one event."""
        follow = {
            "run": self._begin,
            "trial": self._plan,
            "released": self._release,
            "counters": self._count,
            "counted": self._finish,
            "again": self._retry,
            "renew": self._lose,
        }.get(event.kind)
        if follow is None:
            return
        # A trial's counters are added up outside the lock, because a scrape must not wait for that.
        facts = {**event.facts, "final": _final(event.facts)} if event.kind == "counted" else event.facts
        with self._lock:
            follow(facts)

    def _begin(self, facts: Mapping[str, Any]) -> None:
        self._campaign, self._run = facts.get("campaign", ""), facts.get("run", "")

    def _plan(self, facts: Mapping[str, Any]) -> None:
        self._planned = facts.get("of", self._planned)

    def _release(self, facts: Mapping[str, Any]) -> None:
        self._running = _key(facts)
        own = self._of(facts)
        own.close()
        own.rate_per_s = facts.get("rate_per_s")

    def _count(self, facts: Mapping[str, Any]) -> None:
        own = self._of(facts)
        own.now = own.now.at_least(facts["live"])

    def _finish(self, facts: Mapping[str, Any]) -> None:
        own = self._of(facts)
        if facts["final"] is not None:
            own.now = own.now.at_least(facts["final"])
        own.close()
        own.trials[facts["verdict"]] += 1
        self._running = None

    def _retry(self, facts: Mapping[str, Any]) -> None:
        self._retries += 1
        self._running = None

    def _lose(self, facts: Mapping[str, Any]) -> None:
        self._running = None

    def _of(self, facts: Mapping[str, Any]) -> _CaseCounts:
        return self._cases.setdefault(_key(facts), _CaseCounts())

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, as of now."""
        with self._lock:
            metrics = list(self._metrics())
            now = time.monotonic()
            if self._scrapes:
                self._longest_gap_s = max(self._longest_gap_s, now - self._scraped_at)
            self._scrapes, self._scraped_at = self._scrapes + 1, now
            self._lock.notify_all()
        yield from metrics

    def patience_s(self) -> float:
        """Return how long the next scrape may take: somewhat longer than the longest gap so far; 0 where none was seen.

        After a single scrape no gap is known.
        """
        with self._lock:
            if not self._scrapes:
                return 0.0
            gap_s = self._longest_gap_s if self._scrapes > 1 else UNKNOWN_GAP_S
            return min(LONGEST_WAIT_S, GAPS * gap_s + WAIT_S)

    def wait_for_scrape(self, timeout_s: float) -> bool:
        """Wait up to timeout_s for one more scrape; return whether it came."""
        with self._lock:
            seen = self._scrapes
            return self._lock.wait_for(lambda: self._scrapes > seen, timeout_s)

    def _metrics(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        if not self._run:
            return  # Without a campaign every series would have a wrong label.
        info = InfoMetricFamily(families.INFO, "The run that is being carried out.")
        info.add_metric([], {"campaign": self._campaign, "run": self._run, "volley_version": __version__})
        yield info
        requests = CounterMetricFamily(
            families.REQUESTS, "Requests of the measurement windows, by outcome.", labels=[*LABELS, "outcome"]
        )
        logged = CounterMetricFamily(
            families.LOGGED, "All requests that the generators logged, warm-up and tail included.", labels=LABELS
        )
        trials = CounterMetricFamily(families.TRIALS, "Trials that are over, by verdict.", labels=[*LABELS, "verdict"])
        running = GaugeMetricFamily(families.RUNNING, "1 while load is sent to this case.", labels=LABELS)
        rate = GaugeMetricFamily(families.RATE, "Open loop: requests due per second.", labels=LABELS)
        service = times_family(families.SERVICE_TIME, "Service time (done - sent) of successful answers.")
        response = times_family(
            families.RESPONSE_TIME, "Open loop: response time (done - due); without an answer, at its age."
        )
        for key, own in self._cases.items():
            load, counts = Load(self._campaign, *key), own.over + own.now
            for outcome, number in zip(families.OUTCOMES, (counts.ok.n, counts.http_error, counts.failed), strict=True):
                requests.add_metric([*load.labels, outcome], number)
            logged.add_metric(load.labels, counts.rows)
            for verdict in Verdict:
                trials.add_metric([*load.labels, str(verdict)], own.trials[str(verdict)])
            running.add_metric(load.labels, float(key == self._running))
            add_times(service, load, counts.ok)
            if own.rate_per_s is not None:
                rate.add_metric(load.labels, own.rate_per_s)
                add_times(response, load, counts.response)
        yield from (requests, logged, service, response, trials, running, rate)
        retries = CounterMetricFamily(families.RETRIES, "Trials that were retried.", labels=["campaign"])
        retries.add_metric([self._campaign], self._retries)
        yield retries
        if self._planned is not None:
            planned = GaugeMetricFamily(families.PLANNED, "Trials of the campaign.", labels=["campaign"])
            planned.add_metric([self._campaign], self._planned)
            yield planned


def _key(facts: Mapping[str, Any]) -> tuple[str, str, str]:
    return facts["case"], facts["target"], facts["load"]


def _final(facts: Mapping[str, Any]) -> LiveCounts | None:
    """Return the exact counts of a trial that is over, from the counters of its agents; None when no load ran."""
    requests: Requests | None = facts["requests"]
    if requests is None:
        return None
    merged = merge(facts["agents"])
    return LiveCounts(
        ok=buckets_of(merged.service[OK]),
        http_error=requests.http_error,
        failed=requests.failed,
        response=buckets_of(merged.response),
        rows=sum(part.facts.rows for part in merged.parts),
    )
