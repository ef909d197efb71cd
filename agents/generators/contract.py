"""The generator contract, version 1: what Volley writes to a generator, and what the generator writes back.

    Volley to stdin        the task, one JSON line; later `go <T0>`, T0 in ns since the Unix epoch
    generator to stdout    `ready`; at the end the summary, one JSON line
    generator to the log   a row per request: due_us, start_us, status, service_us, request; tabs between, LF at the end;
                           where the task allows 7 columns, two more can follow: first_byte_us, bytes

Unknown fields of a task or summary are ignored, because later versions add some. Everything else is strict.
A task can hold secrets: no message and no repr in this module contains a header's value or a body.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from agents.generators.contract_fields import BadMessage as BadMessage
from agents.generators.contract_fields import (
    Plain,
    blank,
    field_of,
    flag,
    json_object,
    member,
    optional,
    positive,
    text_of,
    texts,
    whole,
)
from agents.generators.contract_request import PLACEHOLDER as PLACEHOLDER
from agents.generators.contract_request import DataOrder as DataOrder
from agents.generators.contract_request import TaskData as TaskData
from agents.generators.contract_request import TaskRequest as TaskRequest
from agents.generators.contract_request import Wanted as Wanted
from agents.generators.contract_request import data_of, plain_request, requests_of
from agents.generators.handshakes import Handshakes, parse_handshakes, plain_handshakes
from agents.tls import PLAIN, Tls

VERSION = 1
READY = "ready"
# Whole numbers in the order of the columns.
ROW = b"%d\t%d\t%d\t%d\t%d\n"
# Two columns more: from sending to the first byte of the answer, -1 without one; bytes of the body that were received.
LONG_ROW = b"%d\t%d\t%d\t%d\t%d\t%d\t%d\n"
COLUMNS, LONG_COLUMNS = 5, 7
EXAMPLE_CHARACTERS = 200


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
    WEBSOCKET = "websocket"


class Arrivals(StrEnum):
    """How due times are spread in the open loop."""

    EVEN = "even"
    POISSON = "poisson"


@dataclass(frozen=True, slots=True)
class GeneratorTask:
    """What one generator is to do.

    clients: most slots in use at once. count, duration_us: what ends the load, at least one is set; duration_us runs from
    T0 and includes warm-up and tail. window: after T0, end None for the whole run. rate_per_s, first_due_ns, seed: this
    agent's own. timeout_us: per request, None for no limit. verify: check the server's certificate. columns: the most
    columns that a row of the log may have, 5 or 7. data: rows for the requests that hold placeholders. tls: what the client
    uses in TLS. socket: the path of the server's unix socket; '' for the address of the URLs. addresses: connect to one of
    these instead of resolving the URL's host; none: resolve it.
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
    columns: int = COLUMNS
    data: TaskData | None = None
    tls: Tls = PLAIN
    socket: str = ""
    addresses: tuple[str, ...] = ()
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class GeneratorSummary:
    """What a generator did. planned: due (open loop) or asked for (count), None when only time bounds a closed loop.

    done: requests with an answer. failed: by reason. The other counts are None when the generator does not keep them;
    waited_for_slot: open-loop requests that found all `clients` slots in use. rows_taken: of the task's data.
    checked: answers whose body was compared with what is wanted; unexpected: those that differ, by index of the request;
    examples: what one of them was, without anything secret. handshakes: of its connections; None where there are none.
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
    rows_taken: int | None = None
    checked: int | None = None
    unexpected: Mapping[int, int] = field(default_factory=dict)
    examples: Mapping[int, str] = field(default_factory=dict)
    handshakes: Handshakes | None = None

    @property
    def rows(self) -> int:
        """Return how many rows the log must hold."""
        return self.done + sum(self.failed.values())


OPTIONAL_COUNTS = (
    "waited_for_slot", "connects", "most_connections", "retried", "bytes_body", "rows_taken", "checked",
)  # fmt: skip


def format_row(
    due_us: int,
    start_us: int,
    status: int,
    service_us: int,
    request: int,
    first_byte_us: int | None = None,
    received: int = 0,
) -> bytes:
    """Return one row of the log; status is an HTTP status or a Failure.

    first_byte_us: from sending to the first byte, -1 without one; None for a row of 5 columns. received: bytes of the body.
    """
    if first_byte_us is None:
        return ROW % (due_us, start_us, status, service_us, request)
    return LONG_ROW % (due_us, start_us, status, service_us, request, first_byte_us, received)


def format_go(t0_ns: int) -> str:
    """Return the line that releases a generator, without its line end."""
    return f"go {t0_ns}"


# Python converts no text with more digits to a number.
_MOST_DIGITS = 4_000


def parse_go(line: str) -> int:
    """Return T0 in ns since the Unix epoch. Raise BadMessage for any other line."""
    word, _, number = line.strip().partition(" ")
    if word != "go" or not (number.isascii() and number.isdigit()) or len(number) > _MOST_DIGITS:
        raise BadMessage("the second line of the input is not 'go <T0>' with T0 in ns since the Unix epoch")
    return int(number)


def format_task(task: GeneratorTask) -> str:
    """Return a task as one JSON line, without its line end."""
    names = [name for name in GeneratorTask.__slots__ if name not in ("requests", "data", "tls")]
    plain: dict[str, object] = {name: getattr(task, name) for name in names}
    plain["tls"] = {name: getattr(task.tls, name) for name in Tls.__slots__}
    plain["requests"] = [plain_request(request) for request in task.requests]
    if task.data is not None:
        plain["data"] = {"columns": task.data.columns, "rows": task.data.rows, "order": task.data.order}
    return json.dumps(plain, separators=(",", ":"))


def parse_task(line: str | bytes) -> GeneratorTask:
    """Read a task. Raise BadMessage for a field that is missing, of the wrong type or out of range."""
    plain = json_object(line, "task")
    version = whole(plain, "version", 1)
    if version != VERSION:
        raise BadMessage(f"the task has version {version}; this generator reads version {VERSION}")
    task = GeneratorTask(
        log=text_of(plain, "log"),
        requests=requests_of(plain),
        model=member(plain, "model", Model),
        clients=whole(plain, "clients", 1),
        protocol=member(plain, "protocol", Protocol, Protocol.HTTP1),
        streams=whole(plain, "streams", 1, 1),
        count=optional(plain, "count", 1),
        duration_us=optional(plain, "duration_us", 1),
        window_start_us=whole(plain, "window_start_us", 0, 0),
        window_end_us=optional(plain, "window_end_us", 0),
        rate_per_s=None if plain.get("rate_per_s") is None else positive(plain, "rate_per_s"),
        first_due_ns=whole(plain, "first_due_ns", 0, 0),
        arrivals=member(plain, "arrivals", Arrivals, Arrivals.EVEN),
        seed=whole(plain, "seed", None, 0),
        timeout_us=optional(plain, "timeout_us", 1),
        verify=flag(plain, "verify"),
        columns=whole(plain, "columns", COLUMNS, COLUMNS),
        data=data_of(plain),
        tls=_tls(plain.get("tls", {})),
        socket=blank(plain, "socket"),
        addresses=texts(plain, "addresses"),
    )
    if task.count is None and task.duration_us is None:
        raise BadMessage("the task has neither 'count' nor 'duration_us': the load would never end")
    if task.model is Model.OPEN and task.rate_per_s is None:
        raise BadMessage("the task has no 'rate_per_s', which an open loop needs")
    return task


def format_summary(summary: GeneratorSummary) -> str:
    """Return a summary as one JSON line, without its line end. Counts that are None are left out."""
    plain: dict[str, object] = {"planned": summary.planned, "sent": summary.sent, "done": summary.done}
    plain["failed"] = {failure.name.lower(): summary.failed.get(failure, 0) for failure in Failure}
    plain |= {name: value for name in OPTIONAL_COUNTS if (value := getattr(summary, name)) is not None}
    if summary.unexpected:
        plain["unexpected"] = {str(index): count for index, count in summary.unexpected.items()}
        plain["examples"] = {str(index): text for index, text in summary.examples.items()}
    if summary.handshakes is not None:
        plain["handshakes"] = plain_handshakes(summary.handshakes)
    return json.dumps(plain, separators=(",", ":"))


def parse_summary(line: str | bytes) -> GeneratorSummary:
    """Read a summary. A reason that 'failed' does not list counts as 0. Raise BadMessage for anything wrong in it."""
    plain = json_object(line, "summary")
    return GeneratorSummary(
        planned=optional(plain, "planned", 0),
        sent=whole(plain, "sent", 0),
        done=whole(plain, "done", 0),
        failed=_failures(field_of(plain, "failed")),
        waited_for_slot=optional(plain, "waited_for_slot", 0),
        connects=optional(plain, "connects", 0),
        most_connections=optional(plain, "most_connections", 0),
        retried=optional(plain, "retried", 0),
        bytes_body=optional(plain, "bytes_body", 0),
        rows_taken=optional(plain, "rows_taken", 0),
        checked=optional(plain, "checked", 0),
        unexpected=_by_request(plain, "unexpected", lambda value: type(value) is int and value >= 0),
        examples={
            index: str(text)[:EXAMPLE_CHARACTERS]
            for index, text in _by_request(plain, "examples", lambda value: isinstance(value, str)).items()
        },
        handshakes=None if plain.get("handshakes") is None else parse_handshakes(plain["handshakes"]),
    )


def _by_request(plain: Plain, name: str, is_fine: Callable[[object], bool]) -> dict[int, Any]:
    """Return an object whose names are indexes of requests."""
    item = plain.get(name, {})
    if not isinstance(item, dict):
        raise BadMessage(f"'{name}' is not an object by index of the request")
    for index, value in item.items():
        if not (index.isascii() and index.isdigit()) or not is_fine(value):
            raise BadMessage(f"'{name}' is not an object by index of the request")
    return {int(index): value for index, value in item.items()}


def _failures(counts: object) -> dict[Failure, int]:
    if not isinstance(counts, dict):
        raise BadMessage("'failed' is not an object of counts by reason")
    known = {failure.name.lower(): failure for failure in Failure}
    if unknown := sorted(set(counts) - set(known)):
        raise BadMessage(f"'failed' has an unknown reason {unknown[0][:40]!a}: use {', '.join(known)}")
    return {failure: whole(counts, name, 0, 0, "failed") for name, failure in known.items()}


def _tls(given: object) -> Tls:
    if not isinstance(given, dict):
        raise BadMessage("'tls' is not an object")
    return Tls(**{name: blank(given, name, "tls") for name in Tls.__slots__})
