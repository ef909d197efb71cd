"""The generator contract, version 1: what Volley writes to a generator, and what the generator writes back.

    Volley to stdin        the task, one JSON line; later `go <T0>`, T0 in ns since the Unix epoch
    generator to stdout    `ready`; at the end the summary, one JSON line
    generator to the log   a row per request: due_us, start_us, status, service_us, request; tabs between, LF at the end

Unknown fields of a task or summary are ignored, because later versions add some. Everything else is strict.
A task can hold secrets: no message and no repr in this module contains a header's value or a body.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum
from typing import TypeVar

VERSION = 1
READY = "ready"
# Whole numbers in the order of the columns.
ROW = b"%d\t%d\t%d\t%d\t%d\n"

Plain = Mapping[str, object]
E = TypeVar("E", bound=Enum)
T = TypeVar("T")


class BadMessage(ValueError):
    """A line does not follow the contract. The message names the field and what is wrong with it."""


class Failure(IntEnum):
    """Why a request has no answer: the status of its row."""

    FAILED = -1
    TIMEOUT = -2
    RESET = -3
    REFUSED = -4
    PROTOCOL = -5
    UNANSWERED = -6
    UNSENT = -7


# Failures of requests that only had no answer in time. Such a request stands in the response times at its age.
WITHOUT_ANSWER = (Failure.TIMEOUT, Failure.UNANSWERED, Failure.UNSENT)


class Model(StrEnum):
    """Who decides when a request is sent: the answer before it (closed) or the schedule (open)."""

    CLOSED = "closed"
    OPEN = "open"


class Protocol(StrEnum):
    """What is spoken on a connection."""

    HTTP1 = "http1"
    HTTP2 = "http2"


class Arrivals(StrEnum):
    """How due times are spread in the open loop."""

    EVEN = "even"
    POISSON = "poisson"


class DataOrder(StrEnum):
    """Which row of the data the next request takes: the one after the last, or one drawn from the seed."""

    CYCLE = "cycle"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """One request of the mix. weight: its share is weight / sum of weights."""

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class GeneratorTask:
    """What one generator is to do.

    clients: most slots in use at once. count, duration_us: what ends the load, at least one is set; duration_us runs from
    T0 and includes warm-up and tail. window: after T0, end None for the whole run. rate_per_s, first_due_ns, seed: this
    agent's own. timeout_us: per request, None for no limit. verify: check the server's certificate.
    """

    log: str
    requests: tuple[TaskRequest, ...]
    model: Model
    clients: int
    protocol: Protocol = Protocol.HTTP1
    streams: int = 1
    count: int | None = None
    duration_us: int | None = None
    window_start_us: int = 0
    window_end_us: int | None = None
    rate_per_s: float | None = None
    first_due_ns: int = 0
    arrivals: Arrivals = Arrivals.EVEN
    seed: int = 0
    timeout_us: int | None = None
    verify: bool = False
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class GeneratorSummary:
    """What a generator did. planned: due (open loop) or asked for (count), None when only time bounds a closed loop.

    done: requests with an answer. failed: by reason. The other counts are None when the generator does not keep them;
    waited_for_slot: open-loop requests that found all `clients` slots in use.
    """

    planned: int | None
    sent: int
    done: int
    failed: Mapping[Failure, int]
    waited_for_slot: int | None = None
    connects: int | None = None
    most_connections: int | None = None
    retried: int | None = None
    bytes_body: int | None = None

    @property
    def rows(self) -> int:
        """Return how many rows the log must hold."""
        return self.done + sum(self.failed.values())


OPTIONAL_COUNTS = ("waited_for_slot", "connects", "most_connections", "retried", "bytes_body")


def format_row(due_us: int, start_us: int, status: int, service_us: int, request: int) -> bytes:
    """Return one row of the log; status is an HTTP status or a Failure."""
    return ROW % (due_us, start_us, status, service_us, request)


def format_go(t0_ns: int) -> str:
    """Return the line that releases a generator, without its line end."""
    return f"go {t0_ns}"


def parse_go(line: str) -> int:
    """Return T0 in ns since the Unix epoch. Raise BadMessage for any other line."""
    word, _, number = line.strip().partition(" ")
    if word != "go" or not (number.isascii() and number.isdigit()):
        raise BadMessage("the second line of the input is not 'go <T0>' with T0 in ns since the Unix epoch")
    return int(number)


def format_task(task: GeneratorTask) -> str:
    """Return a task as one JSON line, without its line end."""
    names = [name for name in GeneratorTask.__slots__ if name != "requests"]
    plain: dict[str, object] = {name: getattr(task, name) for name in names}
    plain["requests"] = [_plain_request(request) for request in task.requests]
    return json.dumps(plain, separators=(",", ":"))


def _plain_request(request: TaskRequest) -> dict[str, object]:
    return {
        "url": request.url,
        "method": request.method,
        "headers": request.headers,
        "body": None if request.body is None else base64.b64encode(request.body).decode(),
        "weight": request.weight,
    }


def parse_task(line: str | bytes) -> GeneratorTask:
    """Read a task. Raise BadMessage for a field that is missing, of the wrong type or out of range."""
    plain = _object(line, "task")
    version = _whole(plain, "version", 1)
    if version != VERSION:
        raise BadMessage(f"the task has version {version}; this generator reads version {VERSION}")
    task = GeneratorTask(
        log=_text(plain, "log"),
        requests=_requests(plain),
        model=_member(plain, "model", Model),
        clients=_whole(plain, "clients", 1),
        protocol=_member(plain, "protocol", Protocol, Protocol.HTTP1),
        streams=_whole(plain, "streams", 1, 1),
        count=_optional(plain, "count", 1),
        duration_us=_optional(plain, "duration_us", 1),
        window_start_us=_whole(plain, "window_start_us", 0, 0),
        window_end_us=_optional(plain, "window_end_us", 0),
        rate_per_s=None if plain.get("rate_per_s") is None else _positive(plain, "rate_per_s"),
        first_due_ns=_whole(plain, "first_due_ns", 0, 0),
        arrivals=_member(plain, "arrivals", Arrivals, Arrivals.EVEN),
        seed=_whole(plain, "seed", None, 0),
        timeout_us=_optional(plain, "timeout_us", 1),
        verify=_flag(plain, "verify"),
    )
    if task.count is None and task.duration_us is None:
        raise BadMessage("the task has neither 'count' nor 'duration_us': the load would never end")
    if task.model is Model.OPEN and task.rate_per_s is None:
        raise BadMessage("the task has no 'rate_per_s', which an open loop needs")
    return task


def _requests(plain: Plain) -> tuple[TaskRequest, ...]:
    listed = _field(plain, "requests")
    if not isinstance(listed, list) or not listed:
        raise BadMessage("'requests' is not a list with at least one request")
    return tuple(_request(item, f"requests[{i}]") for i, item in enumerate(listed))


def _request(item: object, where: str) -> TaskRequest:
    if not isinstance(item, dict):
        raise BadMessage(f"'{where}' is not an object")
    body = item.get("body")
    try:
        decoded = None if body is None else base64.b64decode(body, validate=True)
    except (TypeError, ValueError, binascii.Error):
        # The cause would show a part of the body.
        raise BadMessage(f"'{where}.body' is neither base64 text nor null") from None
    return TaskRequest(
        url=_text(item, "url", where),
        method=_text(item, "method", where, "GET"),
        headers=_headers(item.get("headers", []), f"{where}.headers"),
        body=decoded,
        weight=_positive(item, "weight", where, 1.0),
    )


def _headers(listed: object, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(listed, list):
        raise BadMessage(f"'{where}' is not a list of [name, value]")
    pairs = []
    for item in listed:
        if not isinstance(item, list) or len(item) != 2 or not all(isinstance(text, str) for text in item):
            raise BadMessage(f"'{where}' is not a list of [name, value]")
        pairs.append((item[0], item[1]))
    return tuple(pairs)


def format_summary(summary: GeneratorSummary) -> str:
    """Return a summary as one JSON line, without its line end. Counts that are None are left out."""
    plain: dict[str, object] = {"planned": summary.planned, "sent": summary.sent, "done": summary.done}
    plain["failed"] = {failure.name.lower(): summary.failed.get(failure, 0) for failure in Failure}
    plain |= {name: value for name in OPTIONAL_COUNTS if (value := getattr(summary, name)) is not None}
    return json.dumps(plain, separators=(",", ":"))


def parse_summary(line: str | bytes) -> GeneratorSummary:
    """Read a summary. A reason that 'failed' does not list counts as 0. Raise BadMessage for anything wrong in it."""
    plain = _object(line, "summary")
    return GeneratorSummary(
        planned=_optional(plain, "planned", 0),
        sent=_whole(plain, "sent", 0),
        done=_whole(plain, "done", 0),
        failed=_failures(_field(plain, "failed")),
        waited_for_slot=_optional(plain, "waited_for_slot", 0),
        connects=_optional(plain, "connects", 0),
        most_connections=_optional(plain, "most_connections", 0),
        retried=_optional(plain, "retried", 0),
        bytes_body=_optional(plain, "bytes_body", 0),
    )


def _failures(counts: object) -> dict[Failure, int]:
    if not isinstance(counts, dict):
        raise BadMessage("'failed' is not an object of counts by reason")
    known = {failure.name.lower(): failure for failure in Failure}
    if unknown := sorted(set(counts) - set(known)):
        raise BadMessage(f"'failed' has an unknown reason {unknown[0][:40]!a}: use {', '.join(known)}")
    return {failure: _whole(counts, name, 0, 0, "failed") for name, failure in known.items()}


def _object(line: str | bytes, what: str) -> Plain:
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError):
        # The decoder's own error holds the whole line.
        raise BadMessage(f"the {what} is not one line of JSON") from None
    if not isinstance(plain, dict):
        raise BadMessage(f"the {what} is not a JSON object")
    return plain


def _field(plain: Plain, name: str, where: str = "", default: T | None = None) -> object:
    if name in plain:
        return plain[name]
    if default is None:
        raise BadMessage(f"'{_place(where, name)}' is missing")
    return default


def _place(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _text(plain: Plain, name: str, where: str = "", default: str | None = None) -> str:
    value = _field(plain, name, where, default)
    if not isinstance(value, str) or not value:
        raise BadMessage(f"'{_place(where, name)}' is not a text")
    return value


def _whole(plain: Plain, name: str, lowest: int | None, default: int | None = None, where: str = "") -> int:
    value = _field(plain, name, where, default)
    if type(value) is not int or (lowest is not None and value < lowest):
        bound = "" if lowest is None else f" of at least {lowest}"
        raise BadMessage(f"'{_place(where, name)}' is not a whole number{bound}")
    return value


def _optional(plain: Plain, name: str, lowest: int) -> int | None:
    return None if plain.get(name) is None else _whole(plain, name, lowest)


def _flag(plain: Plain, name: str) -> bool:
    value = plain.get(name, False)
    if not isinstance(value, bool):
        raise BadMessage(f"'{name}' is neither true nor false")
    return value


def _positive(plain: Plain, name: str, where: str = "", default: float | None = None) -> float:
    value = _field(plain, name, where, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise BadMessage(f"'{_place(where, name)}' is not a number above 0")
    return float(value)


def _member(plain: Plain, name: str, kind: type[E], default: E | None = None) -> E:
    value = _field(plain, name, "", default)
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise BadMessage(f"'{name}' is not one of {known}") from None
