"""Requests and data of a task of the generator contract: records, and how they are read and written.

A task can hold secrets: no message and no repr in this module contains a header's value, a body or a row.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from enum import StrEnum

from agents.generators.contract_fields import (  # What a request holds in place of a value of the row that it takes.
    BadMessage,
    Plain,
    field_of,
    flag,
    member,
    optional,
    positive,
    text_of,
)

PLACEHOLDER = re.compile(r"\$\{row\.([^{}]+)\}")


class DataOrder(StrEnum):
    """Which row of the data the next request takes: the one after the last, or one drawn from the seed."""

    CYCLE = "cycle"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the body of an answer must be, compared on a sample under load: every part that is set must hold.

    body: without blanks at its ends. json_text: a JSON document, compared by value. size: the body's length in bytes.
    """

    body: str | None = field(default=None, repr=False)
    json_text: str | None = field(default=None, repr=False)
    size: int | None = None


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """One request of the mix. weight: its share is weight / sum of weights.

    url, the values of headers and body can hold placeholders `${row.COLUMN}` where the task has data. timeout_us: its own;
    None for that of the task. allowed: the statuses that count as success; empty: 100 to 399. wanted: bodies of its answers
    with such a status; None: nothing is compared. binary: over WebSocket, the body is sent as a binary message.
    """

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    weight: float = 1.0
    timeout_us: int | None = None
    allowed: tuple[int, ...] = ()
    wanted: Wanted | None = None
    binary: bool = False


@dataclass(frozen=True, slots=True)
class TaskData:
    """Rows for the placeholders. A request that holds one takes one row for all of them, when it is sent.

    order: cycle goes through the rows in their order and begins again; random draws each row from the seed. Values are
    text that replaces the placeholder as it is: they are encoded for the place where they are used.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = field(repr=False)
    order: DataOrder = DataOrder.CYCLE


def plain_request(request: TaskRequest) -> dict[str, object]:
    """Return a request as JSON has it."""
    plain: dict[str, object] = {
        "url": request.url,
        "method": request.method,
        "headers": request.headers,
        "body": None if request.body is None else base64.b64encode(request.body).decode(),
        "weight": request.weight,
    }
    if request.timeout_us is not None:
        plain["timeout_us"] = request.timeout_us
    if request.allowed:
        plain["allowed"] = request.allowed
    if request.binary:
        plain["binary"] = True
    if (wanted := request.wanted) is not None:
        parts = {"body": wanted.body, "json": wanted.json_text, "size": wanted.size}
        plain["wanted"] = {name: part for name, part in parts.items() if part is not None}
    return plain


def requests_of(plain: Plain) -> tuple[TaskRequest, ...]:
    """Return the requests of a task. Raise BadMessage."""
    listed = field_of(plain, "requests")
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
        url=text_of(item, "url", where),
        method=text_of(item, "method", where, "GET"),
        headers=_headers(item.get("headers", []), f"{where}.headers"),
        body=decoded,
        weight=positive(item, "weight", where, 1.0),
        timeout_us=optional(item, "timeout_us", 1, where),
        allowed=_statuses(item.get("allowed", []), f"{where}.allowed"),
        wanted=_wanted(item.get("wanted"), f"{where}.wanted"),
        binary=flag(item, "binary"),
    )


def _statuses(listed: object, where: str) -> tuple[int, ...]:
    if not isinstance(listed, list) or not all(type(status) is int and 100 <= status <= 999 for status in listed):
        raise BadMessage(f"'{where}' is not a list of statuses")
    return tuple(listed)


def _wanted(item: object, where: str) -> Wanted | None:
    if item is None:
        return None
    if not isinstance(item, dict):
        raise BadMessage(f"'{where}' is not an object")
    texts = [item.get(name) for name in ("body", "json")]
    if not all(text is None or isinstance(text, str) for text in texts):
        raise BadMessage(f"'{where}' has a body or JSON document that is not text")
    return Wanted(texts[0], texts[1], optional(item, "size", 0, where))


def data_of(plain: Plain) -> TaskData | None:
    """Return the data of a task; None without any. Raise BadMessage."""
    item = plain.get("data")
    if item is None:
        return None
    if not isinstance(item, dict):
        raise BadMessage("'data' is not an object")
    columns, rows = item.get("columns"), item.get("rows")
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise BadMessage("'data.columns' is not a list of names")
    if not isinstance(rows, list) or not rows:
        raise BadMessage("'data.rows' is not a list with at least one row")
    for row in rows:
        if not isinstance(row, list) or len(row) != len(columns) or not all(isinstance(text, str) for text in row):
            raise BadMessage("'data.rows' has a row that is not a list with one text for each column")
    order = member(item, "order", DataOrder, DataOrder.CYCLE)
    return TaskData(tuple(columns), tuple(map(tuple, rows)), order)


def _headers(listed: object, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(listed, list):
        raise BadMessage(f"'{where}' is not a list of [name, value]")
    pairs = []
    for item in listed:
        if not isinstance(item, list) or len(item) != 2 or not all(isinstance(text, str) for text in item):
            raise BadMessage(f"'{where}' is not a list of [name, value]")
        pairs.append((item[0], item[1]))
    return tuple(pairs)
