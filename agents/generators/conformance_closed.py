"""The closed loop under the conformance check: its rules and the runs that show whether they are kept."""

from __future__ import annotations

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
)
from agents.generators.conformance_open import SLOTS
from agents.generators.conformance_program import Outcome
from agents.generators.conformance_rules import COMMON, Rule, Seen, column, released
from agents.generators.conformance_runs import Run, base_task, busy, ended_early, general, mean_under_way
from agents.generators.conformance_server import HANG
from agents.generators.contract import GeneratorTask

CLIENTS = 4
COUNT = 42
# Sending the next request takes a moment, more on a busy machine.
BUSY_SHARE = 0.7


def no_due_times(outcome: Outcome) -> Seen:
    """Judge the first column."""
    wrong = int(np.count_nonzero(column(outcome, "due_us")))
    return Seen(wrong == 0, f"due_us is not 0 in {wrong} rows" if wrong else "due_us is 0 in every row")


def keeps_busy(outcome: Outcome) -> Seen:
    """Judge how many requests were under way, on average from T0 to the end."""
    mean = mean_under_way(outcome)
    return Seen(mean >= BUSY_SHARE * outcome.task.clients, f"{mean:.1f} under way on average")


def counted(outcome: Outcome) -> Seen:
    """Judge how many requests a load of `count` requests made."""
    logged, came = len(column(outcome, "status")), len(released(outcome))
    wanted, said = outcome.task.count, outcome.summary.planned if outcome.summary else outcome.task.count
    text = f"{came} requests at the server, {logged} rows, planned = {said}, instead of {wanted}"
    return Seen(logged == came == wanted == said, text)


NO_DUE = Rule(
    "due-us-zero",
    "due_us is 0: nothing is due in the closed loop",
    "Write 0 as the first number of every row.",
    no_due_times,
    ("rows", "ends"),
)
KEEPS = Rule(
    "keeps-clients-busy",
    "keeps `clients` requests under way until the end",
    "Start `clients` slots at T0; each sends its next request as soon as the one before has ended.",
    keeps_busy,
    ("complete", "starts-at-t0"),
)
COUNTED = Rule(
    "count",
    "makes exactly `count` requests, then ends",
    "Count requests over all slots, failed ones too; end at `count`, also before the duration is over.",
    counted,
    ("complete", "nothing-before-go"),
)


def closed_task(duration_ms: int | None, **changes: object) -> GeneratorTask:
    """Return a closed loop with one GET to be completed with a URL."""
    task = replace(base_task(), clients=CLIENTS, duration_us=None if duration_ms is None else duration_ms * 1000)
    return replace(task, **changes)  # type: ignore[arg-type]


def basic() -> Run:
    """Return the run that shows whether the closed loop is supported."""
    judged = (*COMMON, SLOTS, NO_DUE, KEEPS, rules.STARTS, rules.SERVICE, rules.AS_GIVEN)
    return Run("four clients", closed_task(1000), judged, delay_s=0.1, feature="closed loop")


def runs() -> Iterator[Run]:
    """Yield the other runs."""
    yield Run("a number of requests", closed_task(None, count=COUNT), (*COMMON, COUNTED, SLOTS, NO_DUE))
    yield Run(
        "failures",
        closed_task(1000, timeout_us=TIMEOUT_US),
        (*COMMON, NO_DUE, HTTP_ERRORS, RESETS, TIMEOUTS),
        replies=ALL_KINDS,
        delay_s=0.01,
        feature="timeout_us",
    )
    hung = (*COMMON, SLOTS, NO_DUE, UNANSWERED)
    yield Run("a server that never answers", closed_task(400), hung, replies=(HANG,))
    yield Run("nothing listens", closed_task(400), (*COMMON, NO_DUE, REFUSED), gate=REFUSED, listening=False)
    yield from general(closed_task(None, count=60))
    yield data_run(closed_task(None, count=60))
    yield from ended_early(busy(closed_task(60_000)))
