"""Does a server keep up with an open loop, or does a backlog grow? Pure.

A request belongs to the window in which it was due, and the load goes on for a tail after the
window. The tail answers a short backlog, so that the number of answers alone does not show one.
"""

from __future__ import annotations

import math
from itertools import combinations
from statistics import median

from agents.generators.contract import Arrivals, Failure
from orchestrator.result import Metrics, Trial
from orchestrator.slo import Metric

# The share of the requests that were due that a server must answer as they come.
KEEPS_UP = 0.99
# A trend of the times needs this many intervals; this share of all pairs of intervals must rise.
FEWEST_INTERVALS = 4
RISING = 2 / 3
# Windows are several times as long as a healthy server's answers take (target.ANSWERS).
LARGEST_SHARE = 0.25
# By this many requests a backlog differs between two instants of any load.
FEWEST_REQUESTS = 3


def due_of(trial: Trial) -> float:
    """Return how many requests were due in the window: as logged, else by the rate."""
    logged = sum(agent.due or 0 for agent in trial.facts.agents)
    if logged or trial.metrics is None:
        return float(logged)
    return (trial.facts.case.rate_per_s or 0.0) * trial.metrics.window_s


def growth(trial: Trial) -> float:
    """Return by how many requests the backlog grew over the window of an open loop, at least 0.

    Both signs must agree: more requests under way at the end than on average, and times that rise.
    Where the connections ran out, the wait is in the generator and the service times do not rise.
    """
    metrics = trial.metrics
    if metrics is None or metrics.window_s <= 0 or not metrics.requests.ok:
        return 0.0
    grown = _by_number(trial, metrics)
    medians_us = [row[4] for row in metrics.series if row[0] is not None and row[0] >= 0 and row[4] is not None]
    ran_out = any(agent.waited_for_slot for agent in trial.facts.agents)
    if len(medians_us) >= FEWEST_INTERVALS and not ran_out:
        grown = min(grown, _by_trend(medians_us, metrics.series_interval_s) * due_of(trial))
    return grown if grown > _chance(trial) else 0.0


def _chance(trial: Trial) -> float:
    """Return the growth that says nothing: arrivals at random are sqrt(n) more or fewer than n."""
    at_random = trial.facts.case.arrivals == Arrivals.POISSON
    return max(float(FEWEST_REQUESTS), math.sqrt(due_of(trial)) if at_random else 0.0)


def _by_number(trial: Trial, metrics: Metrics) -> float:
    """Return the growth g by the number under way at the window's end, N.

    A number that grows evenly exceeds its mean there by g / 2. Its mean is the answers that came, n - g,
    times their mean response time W over the window's length T (Little 1961), so that
    g = 2 (N - n W / T) / (1 - 2 W / T). Where W is a large part of T, the requests under way are a backlog
    that has grown since the load began, in the warm-up as well.
    """
    agents, case = trial.facts.agents, trial.facts.case
    at_end = sum(agent.crossing + agent.statuses.get(Failure.UNSENT, 0) for agent in agents)
    times = metrics.response_time_us or metrics.service_time_us
    # Those without an answer stand in the response times at their age.
    timed = metrics.requests.ok + sum(agent.missing or 0 for agent in agents)
    share = (times.get(Metric.MEAN) or 0.0) / 1e6 / metrics.window_s
    if share > LARGEST_SHARE:
        return at_end * metrics.window_s / (metrics.window_s + case.warm_up_us / 1e6)
    return max(0.0, 2 * (at_end - timed * share) / (1 - 2 * share))


def _by_trend(medians_us: list[float], interval_s: int) -> float:
    """Return the share of the requests that a server leaves behind, by the trend of its times.

    medians_us: of each interval. A server that answers X of R requests a second makes each wait
    b = R / X - 1 seconds longer for every second that passes, so 1 - X / R = b / (1 + b). b is the
    median of the slopes of all pairs (Theil 1950, Sen 1968).
    """
    pairs = combinations(enumerate(medians_us), 2)
    slopes = [(late - early) / (j - i) / (interval_s * 1e6) for (i, early), (j, late) in pairs]
    slope = median(slopes)
    if slope <= 0 or sum(each > 0 for each in slopes) < RISING * len(slopes):
        return 0.0
    return slope / (1 + slope)


def answered_per_s(trial: Trial) -> float:
    """Return how many requests a second were answered successfully as they came.

    Those of a growing backlog that the tail had time for do not count.
    """
    metrics = trial.metrics
    if metrics is None or metrics.window_s <= 0:
        return 0.0
    # Some of the backlog would have failed: the share of the answers that did.
    share = 1 - (metrics.requests.error_share or 0.0)
    return max(0.0, metrics.requests.ok - share * growth(trial)) / metrics.window_s


def left_behind(trial: Trial) -> float:
    """Return how many of the requests that were due were not answered successfully as they came."""
    if trial.metrics is None:
        return due_of(trial)
    return max(0.0, due_of(trial) - trial.metrics.requests.ok) + growth(trial)
