"""The requests of a load that has several, as checked models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import Discriminator, Field, Tag, model_validator

from orchestrator.slo import shown
from orchestrator.spec.base import Model
from orchestrator.spec.target import Expect
from orchestrator.spec.text import Body, Document, Headers, Method, Printable, Text, UrlPath
from orchestrator.spec.units import Duration

# A task is one message, and each request has its own times.
MOST_REQUESTS = 10_000


class Sent(Protocol):
    """What has a method and a body: a load, or one of its requests."""

    method: str
    body: str | None
    json_: Any
    body_file: str | None

    @property
    def model_fields_set(self) -> set[str]:
        """Return the names of the keys that were set."""


def body_keys(sent: Sent) -> list[str]:
    """Return the keys that give a body, as written in the file: at most one in a checked model."""
    given = {"body": sent.body is not None, "json": has_json(sent), "body_file": sent.body_file is not None}
    return [key for key, is_given in given.items() if is_given]


def has_json(sent: Sent) -> bool:
    """Return whether the body is a JSON document, which can be null."""
    return "json_" in sent.model_fields_set


def json_bytes(document: Any) -> bytes:
    """Return a JSON document as it is sent."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def body_bytes(sent: Sent) -> int | None:
    """Return the length of the body; None where it is in a file."""
    if sent.body_file is not None:
        return None
    return len(json_bytes(sent.json_) if has_json(sent) else (sent.body or "").encode())


def merged(headers: dict[str, str], own: dict[str, str]) -> dict[str, str]:
    """Return the headers of a request of a load: its own replace those of the load."""
    names = {name.lower() for name in own}
    return {name: value for name, value in headers.items() if name.lower() not in names} | own


def http_method(sent: Sent) -> str:
    """Return the method, the default applied."""
    return "POST" if body_keys(sent) and "method" not in sent.model_fields_set else sent.method


def refuse_two_bodies(sent: Sent) -> None:
    """Raise ValueError for more than one body."""
    if len(bodies := body_keys(sent)) > 1:
        raise ValueError(f"{', '.join(bodies)} are set together: set at most one of body, json and body_file")


class Request(Model):
    """One request of a load that has several. Text may hold ${row.COLUMN} where the load has `data`."""

    name: Printable | None = None
    """What pages and objectives call it; by default its method and path, such as GET /search."""
    path: UrlPath
    """The path to request."""
    method: Method = "GET"
    """The HTTP method; by default GET, and POST for a request with a body."""
    headers: Headers = Field(default_factory=dict)
    """Header fields, besides those of the load. Their values are never stored."""
    body: Body | None = Field(default=None, repr=False)
    """Text to send as body."""
    json_: Annotated[Document, Field(alias="json", repr=False)] = None
    """A document to send as JSON; sets Content-Type: application/json unless `headers` has a Content-Type."""
    body_file: Text | None = None
    """File to send as body, relative to the campaign file."""
    weight: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 1.0
    """Its share of the load is weight / sum of weights."""
    expect: Expect | None = None
    """What its answers must be; by default what the target's `expect` says. Checked before the load, and on a sample under
    load. A status that it allows counts as success."""
    timeout: Duration | None = None
    """A request without an answer after this time counts as failed; by default the load's timeout."""

    @model_validator(mode="after")
    def _one_body(self) -> Request:
        refuse_two_bodies(self)
        return self

    @property
    def http_method(self) -> str:
        """The method, the default applied."""
        return http_method(self)


class RequestsFrom(Model):
    """Requests from a file."""

    from_: Annotated[Text, Field(alias="from")]
    """File with one request a line, relative to the campaign file: a path, a URL, or a JSON object with the keys of a
    request. Of a URL the path is used. Empty lines are skipped, and those that begin with '#'."""


class Data(Model):
    """A file whose rows fill the placeholders ${row.COLUMN} in paths, headers and bodies."""

    file: Text
    """CSV with a line of column names, or JSON lines (.jsonl), relative to the campaign file."""
    order: Literal["cycle", "random"] = "cycle"
    """cycle: each request takes the next row, over all agents, and the first follows the last. random: each takes a row
    drawn from the campaign's seed."""


def _item_kind(value: Any) -> str:
    return "path" if isinstance(value, str) else "mapping"


def _requests_kind(value: Any) -> str:
    if isinstance(value, list):
        return "list"
    return "from" if isinstance(value, dict | RequestsFrom) else "number"


Count = Annotated[int, Field(ge=1, le=10**12)]
Item = Annotated[Annotated[UrlPath, Tag("path")] | Annotated[Request, Tag("mapping")], Discriminator(_item_kind)]
Requests = Annotated[
    Annotated[Count, Tag("number")]
    | Annotated[list[Item], Field(min_length=1, max_length=MOST_REQUESTS), Tag("list")]
    | Annotated[RequestsFrom, Tag("from")],
    Discriminator(_requests_kind),
]


def as_requests(items: Sequence[str | Request]) -> list[Request]:
    """Return the items of a list as requests: a path is a GET request to it."""
    return [Request(path=item) if isinstance(item, str) else item for item in items]


def names_of(requests: Sequence[Request]) -> list[str]:
    """Return what pages call each request: its name, else method and path; equal ones are numbered."""
    # For each name how often it was the base of one, so that thousands of equal requests take no longer than others.
    names: dict[str, int] = {}
    for request in requests:
        base = name = request.name or f"{request.http_method} {request.path}"
        while name in names:
            names[base] += 1
            name = f"{base} ({names[base]})"
        names[name] = 1
    return list(names)


def refuse_equal_names(requests: Sequence[Request]) -> None:
    """Raise ValueError when two requests were given the same name."""
    seen: set[str] = set()
    for name in (request.name for request in requests if request.name is not None):
        if name in seen:
            raise ValueError(f"two requests have the name {shown(name)}: give each its own")
        seen.add(name)
