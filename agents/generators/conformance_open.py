"""The open loop under the conformance check: its rules and the runs that show whether they are kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from agents.generators import conformance_rules as rules
from agents.generators.conformance_data import run as data_run
from agents.generators.conformance_failures import (
    ALL_KINDS,
    HTTP_ERRORS,
    REFUSED,
    RESETS,
    TIMEOUT_US,
    TIMEOUTS,
    UNANSWERED,
    UNSENT,
)
from agents.generators.conformance_program import Outcome
from agents.generators.conformance_rules import CLOCK_MS, COMMON, LATE_MS, Ints, Rule, Seen, column, sent_rows
from agents.generators.conformance_runs import Run, base_task, busy, ended_early, general, most_under_way
from agents.generators.conformance_server import HANG
from agents.generators.contract import Arrivals, GeneratorTask, Model

DUE_US = 2
SIGMAS = 5
# Kolmogorov-Smirnov: a right generator is above this once in 10,000 times (asymptotic distribution).
KS_BOUND = math.sqrt(-math.log(1e-4 / 2) / 2)
FEW = 3


def due_us(outcome: Outcome) -> Ints:
    """Return due times after T0 in µs, sorted."""
    offsets: Ints = np.sort(column(outcome, "due_us")) - (outcome.t0_ns + outcome.wall_ns) // 1000
    return offsets


def even(outcome: Outcome) -> Seen:
    """Judge even due times: T0 + first_due_ns + k * 1e9 / rate_per_s, for every k before the end."""
    task, found = outcome.task, due_us(outcome)
    rate, last_ns = task.rate_per_s or 1.0, (task.duration_us or 0) * 1000
    count = math.ceil((last_ns - task.first_due_ns) * rate / 1e9)
    expected = (task.first_due_ns + np.arange(count) * 1e9 / rate) / 1000
    if len(found) != count:
        return Seen(False, f"{len(found)} due times before the end instead of {count}")
    off_us = np.abs(found - expected)
    worst = int(off_us.argmax())
    return Seen(
        bool(off_us[worst] <= DUE_US),
        f"due time {worst} is T0 + {found[worst]:,} us instead of T0 + {expected[worst]:,.0f} us"
        if off_us[worst] > DUE_US
        else f"all {count} within {DUE_US} us",
    )


def poisson(outcome: Outcome) -> Seen:
    """Judge the count of Poisson arrivals, and their gaps against the exponential distribution."""
    task, found = outcome.task, due_us(outcome)
    expected = (task.rate_per_s or 0.0) * (task.duration_us or 0) / 1e6
    if abs(len(found) - expected) > SIGMAS * math.sqrt(expected):
        return Seen(False, f"{len(found)} due times instead of {expected:.0f} +- {SIGMAS * math.sqrt(expected):.0f}")
    if found[0] < 0 or found[-1] >= (task.duration_us or 0):
        return Seen(False, "a due time lies before T0 or after the end")
    gaps_s = np.sort(np.diff(found, prepend=0)) / 1e6
    n = len(gaps_s)
    model = 1 - np.exp(-gaps_s * (task.rate_per_s or 0.0))
    distance = max((np.arange(1, n + 1) / n - model).max(), (model - np.arange(n) / n).max())
    bound = KS_BOUND / math.sqrt(n)
    return Seen(bool(distance <= bound), f"distance {distance:.3f} from exponential gaps; up to {bound:.3f} is chance")


def seeds(one: Outcome, other: Outcome) -> Seen:
    """Judge whether another seed gives other due times."""
    first, second = due_us(one), due_us(other)
    shared = min(len(first), len(second))
    same = bool(shared) and bool((np.abs(first[:shared] - second[:shared]) <= DUE_US).all())
    return Seen(not same, "two seeds give the same due times" if same else "two seeds give different due times")


def not_early(outcome: Outcome) -> Seen:
    """Judge whether any request was sent before it was due."""
    sent = sent_rows(outcome)
    ahead_ms = (column(outcome, "due_us")[sent] - column(outcome, "start_us")[sent]) / 1e3
    worst = float(ahead_ms.max()) if ahead_ms.size else 0.0
    return Seen(worst <= CLOCK_MS, f"sent up to {max(0.0, worst):.1f} ms before it was due")


def on_time(outcome: Outcome) -> Seen:
    """Judge send lag where there are slots enough, by the schedule itself and not by the due times in the rows."""
    task, sent = outcome.task, sent_rows(outcome)
    start_us = np.sort(column(outcome, "start_us")[sent]) - (outcome.t0_ns + outcome.wall_ns) // 1000
    schedule = task.first_due_ns / 1000 + np.arange(len(start_us)) * 1e6 / (task.rate_per_s or 1.0)
    if not len(start_us):
        return Seen(False, "no request was sent")
    lag_ms = float(np.quantile(start_us - schedule, 0.9)) / 1e3
    return Seen(lag_ms <= LATE_MS, f"9 of 10 requests were sent at most {max(0.0, lag_ms):,.1f} ms late")


def slots(outcome: Outcome) -> Seen:
    """Judge how many slots were in use at once."""
    most, allowed = max(most_under_way(outcome), outcome.most_open), outcome.task.clients
    return Seen(most <= allowed, f"up to {most} connections at once; clients = {allowed}")


def oldest_first(outcome: Outcome) -> Seen:
    """Judge the order in which waiting requests are sent."""
    sent = sent_rows(outcome)
    by_start = np.lexsort((column(outcome, "due_us")[sent], column(outcome, "start_us")[sent]))
    due = column(outcome, "due_us")[sent][by_start]
    late = int((np.maximum.accumulate(due) - due > LATE_MS * 1e3).sum())
    text = f"{late} requests were overtaken by one that was due {LATE_MS:.0f} ms later or more"
    return Seen(late == 0, text if late else "in the order of their due times")


EVEN = Rule(
    "due-times-even",
    "request k is due at T0 + first_due_ns + k / rate",
    "Compute each due time from k and write it to the row, whenever the request was sent. Do not add rounded gaps.",
    even,
    ("complete", "starts-at-t0", "nothing-before-go"),
)
POISSON = Rule(
    "due-times-poisson",
    "due times are Poisson arrivals at rate_per_s",
    "Add gaps of -ln(1 - u) / rate_per_s seconds, u uniform in [0, 1), starting at T0.",
    poisson,
    ("complete", "starts-at-t0"),
)
SEED = Rule(
    "seed",
    "another seed gives other due times",
    "Seed the random numbers with `seed`: agents with equal gaps would send in bursts.",
    poisson,
)
NOT_EARLY = Rule(
    "not-before-due",
    "sends no request before it is due",
    "Sleep until the due time; do not send a batch ahead.",
    not_early,
    ("complete", "starts-at-t0"),
)
ON_TIME = Rule(
    "sends-when-due",
    "sends when due, also while the server is slow",
    "Never wait for an answer before sending what is due: use another slot, open one if none is free.",
    on_time,
    ("complete", "starts-at-t0"),
)
SLOTS = Rule(
    "slots",
    "uses at most `clients` connections at once",
    "With `clients` slots in use, let requests wait, oldest first, until one is free.",
    slots,
)
OLDEST = Rule(
    "oldest-first",
    "waiting requests are sent oldest first",
    "Keep waiting requests in a first-in, first-out queue.",
    oldest_first,
    ("complete", "slots", "due-times-even"),
)


def open_task(rate_per_s: float, duration_ms: int, **changes: object) -> GeneratorTask:
    """Return an open loop with one GET to be completed with a URL."""
    task = replace(base_task(), model=Model.OPEN, rate_per_s=rate_per_s, duration_us=duration_ms * 1000, clients=50)
    return replace(task, **changes)  # type: ignore[arg-type]


def basic() -> Run:
    """Return the run that shows whether the open loop is supported."""
    judged = (*COMMON, EVEN, NOT_EARLY, rules.STARTS, rules.AS_GIVEN)
    return Run("even arrivals", open_task(197, 900, first_due_ns=3_456_789), judged, feature="open loop")


def runs() -> Iterator[Run]:
    """Yield the other runs."""
    random = {"arrivals": Arrivals.POISSON, "clients": 100}
    yield Run("poisson", open_task(400, 1000, seed=7, **random), (*COMMON, POISSON, NOT_EARLY), feature="poisson")
    yield Run("another seed", open_task(400, 300, seed=8, **random), COMMON, feature="poisson")
    slow = (*COMMON, EVEN, ON_TIME, NOT_EARLY, rules.STARTS, rules.SERVICE)
    yield Run("a slow server", open_task(53, 1000), slow, delay_s=0.4)
    few = (*COMMON, SLOTS, EVEN, NOT_EARLY, OLDEST)
    yield Run("too few slots", open_task(61, 900, clients=FEW), few, delay_s=0.1)
    hung = (*COMMON, SLOTS, EVEN, UNANSWERED, UNSENT)
    yield Run("a server that never answers", open_task(59, 500, clients=FEW), hung, replies=(HANG,))
    kinds = (*COMMON, HTTP_ERRORS, RESETS, TIMEOUTS)
    failures = open_task(71, 1000, timeout_us=TIMEOUT_US)
    yield Run("failures", failures, kinds, replies=ALL_KINDS, feature="timeout_us")
    yield Run("nothing listens", open_task(43, 400), (*COMMON, REFUSED, EVEN), gate=REFUSED, listening=False)
    yield from general(open_task(61, 600))
    yield data_run(open_task(61, 600))
    yield from ended_early(busy(open_task(47, 60_000)))
