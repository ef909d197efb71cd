"""The rules that every run of a generator must keep, whatever its model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agents.generators.conformance_program import Outcome
from agents.generators.conformance_server import Receipt
from agents.generators.contract import Failure, Model

# A generator and this check read the same clocks, each once.
CLOCK_MS = 1.0
LATE_MS = 100.0
# More than T0 is ahead of `go`: who starts too early ends too early, and is judged for the former.
EARLY_S = 0.3
NEVER_SENT = (Failure.REFUSED, Failure.UNSENT)
# Requests whose rows may exist although the server never saw them: their connection ended meanwhile.
UNCERTAIN = (Failure.UNANSWERED, Failure.RESET, Failure.TIMEOUT, Failure.FAILED)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen in one run, in words."""

    kept: bool
    text: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the contract. fix: what to do when it is broken. needs: rules without which it cannot be judged."""

    name: str
    expected: str
    fix: str
    judge: Callable[[Outcome], Seen]
    needs: tuple[str, ...] = ()


def column(outcome: Outcome, name: str) -> Ints:
    """Return a column of the rows, of shape (n,)."""
    assert outcome.rows is not None, "a run that was released has rows"
    values: Ints = getattr(outcome.rows, name)
    return values


def released(outcome: Outcome) -> list[Receipt]:
    """Return what the server received after `go`."""
    return [receipt for receipt in outcome.receipts if receipt.arrived_ns >= outcome.go_ns]


def sent_rows(outcome: Outcome) -> npt.NDArray[np.bool_]:
    """Return which rows, shape (n,), are of requests that were written to a connection."""
    return ~np.isin(column(outcome, "status"), NEVER_SENT)


def ready(outcome: Outcome) -> Seen:
    """Judge whether the program got ready."""
    return Seen(not outcome.not_ready, outcome.not_ready or f"ready after {outcome.ready_s:.2f} s")


def quiet(outcome: Outcome) -> Seen:
    """Judge what came before `go`."""
    early = len(outcome.receipts) - len(released(outcome))
    return Seen(early == 0, f"{early} requests arrived before 'go'" if early else "no request before 'go'")


def from_t0(outcome: Outcome) -> Seen:
    """Judge when the first request came; lateness only where the server is there and the schedule is even."""
    first_ns = min((receipt.arrived_ns for receipt in released(outcome)), default=None)
    if first_ns is None:
        return Seen(bool(outcome.task.duration_us), "no request arrived")
    late_ms = (first_ns - outcome.t0_ns - outcome.task.first_due_ns) / 1e6
    if (first_ns - outcome.t0_ns) / 1e6 < -CLOCK_MS:
        return Seen(False, f"the first request came {(outcome.t0_ns - first_ns) / 1e6:.0f} ms before T0")
    even = outcome.task.model is Model.CLOSED or outcome.task.arrivals == "even"
    return Seen(not even or late_ms <= LATE_MS, f"the first request came {late_ms:.1f} ms after it was due")


def rows(outcome: Outcome) -> Seen:
    """Judge whether every line of the log is a row."""
    return Seen(not outcome.malformed, outcome.malformed or f"{len(column(outcome, 'status'))} rows")


def summary(outcome: Outcome) -> Seen:
    """Judge whether the last line is a summary."""
    return Seen(outcome.summary is not None, outcome.no_summary or "a summary")


def exit_status(outcome: Outcome) -> Seen:
    """Judge the exit status."""
    return Seen(outcome.exit_status == 0, f"exit status {outcome.exit_status}")


def ends(outcome: Outcome) -> Seen:
    """Judge whether it ended in time, and sent nothing after the end."""
    if outcome.exit_status is None:
        return Seen(False, "it was still running and had to be killed")
    if outcome.left_over:
        return Seen(False, f"processes that it started outlived it: {outcome.left_over[0]}")
    late = sum(receipt.arrived_ns > outcome.end_ns + LATE_MS * 1e6 for receipt in released(outcome))
    took_s = (outcome.closed_ns - outcome.end_ns) / 1e9
    if late:
        return Seen(False, f"{late} requests came after the end")
    if outcome.task.duration_us and took_s < -EARLY_S:
        return Seen(False, f"it exited {-took_s:.2f} s before the end, with status {outcome.exit_status}")
    return Seen(True, f"it exited {max(0.0, took_s):.2f} s after the end")


def complete(outcome: Outcome) -> Seen:
    """Judge the log against the summary and against what the server received."""
    problem = (_against_summary(outcome) if outcome.summary else "") or _against_server(outcome)
    return Seen(not problem, problem or f"{len(column(outcome, 'status'))} rows, none missing")


def _against_summary(outcome: Outcome) -> str:
    said, status = outcome.summary, column(outcome, "status")
    assert said is not None
    if said.rows != len(status):
        return f"{len(status)} rows, but done + failed = {said.rows} in the summary"
    for failure, count in said.failed.items():
        if count != (found := int((status == failure).sum())):
            name = failure.name.lower()
            return f"{found} rows with status {failure.value}, but failed.{name} = {count} in the summary"
    sent = int(sent_rows(outcome).sum())
    if said.sent != sent:
        return f"{sent} rows of requests that were sent, but sent = {said.sent} in the summary"
    if outcome.task.model is Model.OPEN and said.planned != len(status):
        return f"{len(status)} rows, but planned = {said.planned} in the summary"
    return ""


def _against_server(outcome: Outcome) -> str:
    status = column(outcome, "status")
    received, sent = len(released(outcome)), int(sent_rows(outcome).sum())
    retried = (outcome.summary.retried or 0) if outcome.summary else 0
    uncertain = int(np.isin(status, UNCERTAIN).sum())
    if received - retried > sent:
        return f"the server received {received} requests, and {sent} rows are of requests that were sent"
    if sent > received + uncertain:
        return f"{sent} rows are of requests that were sent, but the server received only {received}"
    return ""


def starts(outcome: Outcome) -> Seen:
    """Judge start times against arrivals at the server; both by rank, because the log need not be in order."""
    sent = sent_rows(outcome)
    start_ns = np.sort(column(outcome, "start_us")[sent]) * 1000 - outcome.wall_ns
    arrived_ns = np.sort(np.array([receipt.arrived_ns for receipt in released(outcome)], dtype=np.int64))
    shared = min(len(start_ns), len(arrived_ns))
    if not shared:
        return Seen(False, "no request was sent")
    off_ms = np.abs(arrived_ns[:shared] - start_ns[:shared]) / 1e6
    text = f"median of {_ms(float(np.median(off_ms)))} between start_us and the arrival at the server"
    return Seen(float(np.median(off_ms)) <= LATE_MS / 2, text)


def service_times(outcome: Outcome) -> Seen:
    """Judge service times of answers against how long the server took."""
    answered = column(outcome, "status") > 0
    if not answered.any():
        return Seen(False, "no request was answered")
    median_ms = float(np.median(column(outcome, "service_us")[answered])) / 1e3
    took = [r.ended_ns - r.arrived_ns for r in released(outcome) if r.ended_ns - r.arrived_ns < 1e12]
    server_ms = float(np.median(took)) / 1e6
    kept = server_ms - CLOCK_MS <= median_ms <= server_ms + LATE_MS / 2
    return Seen(kept, f"median service time {_ms(median_ms)}; the server took {_ms(server_ms)}")


def _ms(value_ms: float) -> str:
    return f"{value_ms:,.1f} ms" if value_ms < 1e5 else f"{value_ms / 1e3:,.0f} s"


def as_given(outcome: Outcome) -> Seen:
    """Judge method, path, headers and body as they came to the server."""
    request, came = outcome.task.requests[0], released(outcome)
    path = request.url.split("/", 3)[3]
    wrong = "no request arrived" if not came else ""
    for receipt in came:
        if receipt.method != request.method:
            wrong = f"method {receipt.method[:20]} instead of {request.method}"
        elif receipt.target != f"/{path}":
            wrong = f"'{receipt.target[:40]}' instead of '/{path}'"
        elif missing := [name for name, value in request.headers if (name.lower(), value) not in receipt.headers]:
            wrong = f"the header {missing[0]} is missing or has another value"
        elif receipt.body != (request.body or b""):
            wrong = (
                f"a body of {len(receipt.body)} bytes that is not the one given, of {len(request.body or b'')} bytes"
            )
    return Seen(not wrong, wrong or "method, path, headers and body as given")


def mix(outcome: Outcome) -> Seen:
    """Judge the request index of rows against the paths at the server, and the shares against the weights."""
    indices = column(outcome, "request")[sent_rows(outcome)]
    weights = np.array([request.weight for request in outcome.task.requests])
    for i, request in enumerate(outcome.task.requests):
        path = "/" + request.url.split("/", 3)[3]
        logged, came = int((indices == i).sum()), sum(r.target == path for r in released(outcome))
        share = weights[i] / weights.sum()
        expected, sigma = share * len(indices), np.sqrt(len(indices) * share * (1 - share))
        if abs(logged - came) > 2:
            return Seen(False, f"{logged} rows of request {i}, but the server received {came}")
        if abs(came - expected) > 5 * sigma:
            return Seen(False, f"{came} of {len(indices)} requests are request {i}: expected about {expected:.0f}")
    return Seen(True, f"{len(indices)} requests in the asked shares")


def in_time(outcome: Outcome) -> Seen:
    """Judge how soon a row is in the log."""
    after_s = outcome.row_after_s
    if after_s is None:
        return Seen(False, "no row in the log while the load was under way")
    return Seen(after_s <= 2.0, f"the first row came {after_s:.2f} s after the first answer")


def secrets(outcome: Outcome) -> Seen:
    """Judge whether a header's value can be seen by others."""
    return Seen(not outcome.leaked, f"a header's value is in {outcome.leaked[0]}" if outcome.leaked else "not found")


def unreleased(outcome: Outcome) -> Seen:
    """Judge a run whose input ended before `go`."""
    if outcome.exit_status is None:
        return Seen(False, "before 'go': it was still running 2 s after its input had ended")
    sent = len(released(outcome))
    return Seen(not sent, f"before 'go': {sent} requests although it was never released")


def stops(outcome: Outcome) -> Seen:
    """Judge a run that was ended while requests were under way."""
    if outcome.exit_status is None:
        return Seen(False, "it was still running 2 s later and had to be killed")
    if outcome.left_over:
        return Seen(False, f"a process that it started outlived it: {outcome.left_over[0]}")
    return Seen(True, f"it exited after {(outcome.closed_ns - outcome.end_ns) / 1e9:.2f} s")


def rows_when_stopped(outcome: Outcome) -> Seen:
    """Judge the rows of what was under way when the run was ended."""
    problem = _against_server(outcome)
    return Seen(not problem, problem or "no row is missing")


READY = Rule(
    "ready",
    "prints the line 'ready' within 10 s",
    "Print 'ready' once prepared, then flush standard output. Exit non-zero only for a task that is impossible.",
    ready,
)
UNKNOWN = Rule(
    "unknown-fields",
    "ignores fields of the task that it does not know",
    "Read the fields you need and ignore the rest: later versions of the contract add fields.",
    ready,
)
QUIET = Rule(
    "nothing-before-go",
    "sends no request before the line 'go'",
    "Open connections before 'go' if you like, but send no warm-up request.",
    quiet,
)
T0 = Rule(
    "starts-at-t0",
    "sends nothing before T0, the first request in time",
    "Sleep until the T0 of the line 'go T0' (ns since the Unix epoch), then start at once.",
    from_t0,
)
ROWS = Rule(
    "rows",
    "every line of the log is a row of five whole numbers",
    "Write due_us, start_us, status, service_us, request as whole numbers separated by one tab, in whole lines.",
    rows,
)
SUMMARY = Rule(
    "summary",
    "prints a summary, one line of JSON, as its last line",
    'At the end print {"planned", "sent", "done", "failed": {...}} on one line and flush standard output.',
    summary,
    ("ends",),
)
EXIT = Rule(
    "exit-status",
    "exits with status 0, also when requests have failed",
    "Exit with status 0 after the summary. Failed requests are rows, not errors of the generator.",
    exit_status,
    ("ends",),
)
ENDS = Rule(
    "ends",
    "stops at the end of the load and exits within 2 s",
    "Stop at T0 + duration_us, or when `count` requests are finished. Do not wait for outstanding answers.",
    ends,
)
COMPLETE = Rule(
    "complete",
    "one row per request: rows = done + failed",
    "Write a row for every request that was due or sent, also for failures and at the end. Retry nothing silently.",
    complete,
    ("rows", "ends"),
)
STARTS = Rule(
    "start-times",
    "start_us is when the request was written",
    "Read wall clock minus monotonic clock once; start_us = (monotonic ns + that difference) / 1000.",
    starts,
    ("complete", "nothing-before-go"),
)
SERVICE = Rule(
    "service-times",
    "service_us lasts from the write to the answer's end",
    "Use the monotonic clock, in microseconds, from the write to the last byte of the answer; leave out connecting.",
    service_times,
    ("rows", "ends"),
)
AS_GIVEN = Rule(
    "request-as-given",
    "sends method, path, headers and body as given",
    "Decode the body from base64, send every pair of `headers`, and change nothing.",
    as_given,
    ("nothing-before-go",),
)
MIX = Rule(
    "mix",
    "draws requests by weight and logs which one it was",
    "Draw the index with probability weight / sum of weights and write it as the fifth number of the row.",
    mix,
    ("complete", "nothing-before-go"),
)
IN_TIME = Rule(
    "rows-in-time",
    "rows are in the log about 1 s after the answer",
    "Flush the log at least once per second, in whole lines: live progress and breakers read it.",
    in_time,
    ("ready",),
)
SECRETS = Rule(
    "secrets",
    "shows no header's value in output or arguments",
    "Pass headers to other programs by a file of mode 0600 or a pipe, and print none.",
    secrets,
)
SIGTERM = Rule(
    "sigterm",
    "exits within 2 s after SIGTERM",
    "Handle SIGTERM: stop sending, write the outstanding rows, end child processes, exit.",
    stops,
)
SIGTERM_ROWS = Rule(
    "sigterm-rows",
    "after SIGTERM, the rows of requests under way are there",
    "On SIGTERM, write a row of status -6 per request under way and of status -7 per waiting one before you exit.",
    rows_when_stopped,
    ("rows", "complete", "sigterm"),
)
INPUT_ENDS = Rule(
    "end-of-input",
    "exits within 2 s when its standard input ends",
    "Keep reading standard input after 'go'. Its end means that Volley is gone: stop sending and exit.",
    stops,
)
UNRELEASED = Rule(INPUT_ENDS.name, INPUT_ENDS.expected, INPUT_ENDS.fix, unreleased)
COMMON = (READY, QUIET, T0, ROWS, ENDS, SUMMARY, EXIT, COMPLETE)
