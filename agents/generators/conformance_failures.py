"""Rules about requests that fail: which status, which times, how many."""

from __future__ import annotations

from collections import Counter

import numpy as np

from agents.generators.conformance_program import Outcome
from agents.generators.conformance_rules import CLOCK_MS, LATE_MS, Rule, Seen, column, released
from agents.generators.conformance_server import Deed, Reply
from agents.generators.contract import Failure, Model

TIMEOUT_US = 250_000
# Every kind of answer and failure, round and round.
ALL_KINDS = (
    Reply(),
    Reply(status=404),
    Reply(Deed.RESET),
    Reply(status=503),
    Reply(Deed.CUT),
    Reply(status=302),
    Reply(Deed.HANG),
)


def http_errors(outcome: Outcome) -> Seen:
    """Judge the statuses of answers, count by count."""
    status = column(outcome, "status")
    came = Counter(r.reply.status for r in released(outcome) if r.reply.deed is Deed.ANSWER)
    logged = Counter(status[status > 0].tolist())
    for code in sorted(came | logged):
        # The last ones may have been under way when the run ended.
        if abs(came[code] - logged[code]) > 1:
            return Seen(False, f"{logged[code]} rows with status {code}, but the server answered so {came[code]} times")
    return Seen(True, f"{sum(logged.values())} answers with the server's own statuses")


def resets(outcome: Outcome) -> Seen:
    """Judge rows of connections that ended before the whole answer."""
    came = sum(r.reply.deed in (Deed.RESET, Deed.CUT) for r in released(outcome))
    return _counted(outcome, Failure.RESET, came, "connections that the server ended early")


def timeouts(outcome: Outcome) -> Seen:
    """Judge rows of requests that were never answered, under a timeout."""
    status, service_us = column(outcome, "status"), column(outcome, "service_us")
    came = [r for r in released(outcome) if r.reply.deed is Deed.HANG]
    # Those that were younger than the timeout when the run ended are unanswered instead.
    end_ns = outcome.end_ns if outcome.task.count is None else outcome.closed_ns
    old = sum(end_ns - r.arrived_ns > (TIMEOUT_US * 1000 + LATE_MS * 1e6) for r in came)
    late = status == Failure.TIMEOUT
    if not old <= late.sum() <= len(came):
        return Seen(False, f"{late.sum()} rows with status -2 for {old} requests that were older than the timeout")
    if not late.any():
        return Seen(False, "no row with status -2")
    shortest_ms, typical_ms = service_us[late].min() / 1e3, float(np.median(service_us[late])) / 1e3
    kept = shortest_ms >= TIMEOUT_US / 1e3 - CLOCK_MS and typical_ms <= TIMEOUT_US / 1e3 + LATE_MS
    return Seen(kept, f"timed out after {shortest_ms:.0f} ms at the earliest, half of them by {typical_ms:.0f} ms")


def _counted(outcome: Outcome, failure: Failure, came: int, what: str) -> Seen:
    logged = int((column(outcome, "status") == failure).sum())
    return Seen(abs(logged - came) <= 1, f"{logged} rows with status {failure.value} for {came} {what}")


def refused(outcome: Outcome) -> Seen:
    """Judge rows where nothing listens."""
    if outcome.not_ready:
        return Seen(False, outcome.not_ready)
    status, start_us = column(outcome, "status"), column(outcome, "start_us")
    if not len(status) or not np.isin(status, (Failure.REFUSED, Failure.UNSENT)).all():
        return Seen(False, f"{len(status)} rows with status {sorted(set(status.tolist()))}")
    if not (status == Failure.REFUSED).any():
        return Seen(False, "no row with status -4")
    if outcome.task.model is Model.OPEN:
        return Seen(not start_us.any(), f"start_us is not 0 in {np.count_nonzero(start_us)} rows of {len(status)}")
    # Whether a start lies before T0 is judged where a server sees it.
    early = start_us < (outcome.go_ns + outcome.wall_ns) // 1000
    return Seen(not early.any(), f"start_us is 0 or long before T0 in {early.sum()} rows of {len(status)}")


def unanswered(outcome: Outcome) -> Seen:
    """Judge rows of requests that were under way when the run ended."""
    under_way = column(outcome, "status") == Failure.UNANSWERED
    came = len(released(outcome))
    if under_way.sum() != came:
        return Seen(False, f"{under_way.sum()} rows with status -6 for {came} requests without an answer")
    return _aged(outcome, "start_us", under_way)


def unsent(outcome: Outcome) -> Seen:
    """Judge rows of requests that found no free slot until the run ended."""
    status, start_us = column(outcome, "status"), column(outcome, "start_us")
    waiting = status == Failure.UNSENT
    if waiting.sum() != (expected := len(status) - len(released(outcome))) or not waiting.any():
        return Seen(False, f"{waiting.sum()} rows with status -7 for {expected} requests that found no free slot")
    if start_us[waiting].any():
        return Seen(False, "start_us is not 0 in rows with status -7")
    return _aged(outcome, "due_us", waiting)


def _aged(outcome: Outcome, since: str, which: np.ndarray) -> Seen:
    """Judge whether service_us of some rows reaches from a time of theirs to the end of the run."""
    ends_us = column(outcome, since)[which] + column(outcome, "service_us")[which]
    off_ms = np.abs(ends_us * 1000 - outcome.wall_ns - outcome.end_ns) / 1e6
    worst = float(off_ms.max()) if off_ms.size else 0.0
    return Seen(worst <= 2 * LATE_MS, f"{since} + service_us is up to {worst:.0f} ms away from the end of the run")


HTTP_ERRORS = Rule(
    "http-errors",
    "an HTTP error is an answer: its row has the status",
    "Write the status that the server sent. Follow no redirect and raise no exception for 4xx and 5xx.",
    http_errors,
    ("complete", "nothing-before-go"),
)
RESETS = Rule(
    "resets",
    "status -3 when the connection ends too early",
    "Write status -3 for a reset and for an early close. Switch automatic retries off.",
    resets,
    ("complete", "nothing-before-go"),
)
TIMEOUTS = Rule(
    "timeouts",
    "status -2 when timeout_us has passed",
    "Limit each whole request to timeout_us, then close its connection and write status -2.",
    timeouts,
    # Who starts early ends early, before what was sent last is as old as the timeout.
    ("complete", "nothing-before-go", "starts-at-t0"),
)
REFUSED = Rule(
    "refused",
    "status -4 when no connection can be opened",
    "Write status -4 with start_us 0 (open loop) or when connecting began (closed loop), wait a little, try again.",
    refused,
    ("rows", "ends"),
)
UNANSWERED = Rule(
    "unanswered",
    "status -6 for requests under way at the end",
    "At T0 + duration_us write a row of status -6 per request under way; service_us is its age.",
    unanswered,
    ("complete", "nothing-before-go", "starts-at-t0", "slots"),
)
UNSENT = Rule(
    "unsent",
    "status -7 for requests that found no free slot",
    "At the end write a row of status -7 per waiting request: start_us 0, service_us the time since it was due.",
    unsent,
    ("complete", "nothing-before-go", "starts-at-t0", "slots"),
)
