"""Values of a data file on their way into requests: encoded for the place where each is used. Pure.

In a request for an agent a placeholder names its column and its place, as in ${row.url:id}: the generator replaces it by
the value of that column and encodes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, quote_plus

from agents.generators.contract import PLACEHOLDER as OF_THE_TASK
from agents.generators.contract import DataOrder
from agents.records import AssignedData, AssignedRequest
from orchestrator.spec.rows import PLACEHOLDER, Table, text_of

URL, TEXT, FORM, JSON, VALUE = "url", "text", "form", "json", "value"
# How a value becomes text, by the place where it is used. JSON: inside of a string; VALUE: in place of one.
ENCODED: dict[str, Callable[[Any], str]] = {
    URL: lambda value: quote(text_of(value), safe=""),
    TEXT: text_of,
    FORM: lambda value: quote_plus(text_of(value)),
    JSON: lambda value: json.dumps(text_of(value), ensure_ascii=False)[1:-1],
    VALUE: lambda value: json.dumps(value, ensure_ascii=False),
}
_WHOLE = re.compile(rf'"{PLACEHOLDER.pattern}"')


@dataclass(slots=True)
class Places:
    """The columns that requests use, each with the kind of its place, in order."""

    used: dict[tuple[str, str], None] = field(default_factory=dict)

    def marked(self, text: str, kind: str) -> str:
        """Return a text whose placeholders name the kind of their place, too."""
        if kind == JSON:
            text = _WHOLE.sub(lambda found: self._mark(VALUE, found[1]), text)
        return PLACEHOLDER.sub(lambda found: self._mark(kind, found[1]), text)

    def _mark(self, kind: str, column: str) -> str:
        self.used[kind, column] = None
        # With a colon, so that it is not found again as a placeholder of a campaign.
        return f"${{row.{kind}:{column}}}"

    def data(self, table: Table, order: DataOrder) -> AssignedData:
        """Return the columns that are used, encoded."""
        names = [f"{kind}:{column}" for kind, column in self.used]
        picks = [(ENCODED[kind], table.columns.index(column)) for kind, column in self.used]
        return AssignedData(names, [[encode(row[k]) for encode, k in picks] for row in table.rows], order)


def with_places(request: AssignedRequest, places: Places) -> AssignedRequest:
    """Return a request whose placeholders name the kind of their place."""
    kinds = {"content-type": ""} | {name.lower(): value.lower() for name, value in request.headers}
    body = request.body
    if b"${row." in body:
        text = body.decode("utf-8", "surrogateescape")
        body = places.marked(text, _kind_of(kinds["content-type"])).encode("utf-8", "surrogateescape")
    headers = [[name, places.marked(value, TEXT)] for name, value in request.headers]
    return replace(request, url=places.marked(request.url, URL), headers=headers, body=body)


def _kind_of(content_type: str) -> str:
    """Return how values stand in a body of a content type."""
    if "json" in content_type:
        return JSON
    return FORM if "x-www-form-urlencoded" in content_type else TEXT


def with_first_row(request: AssignedRequest, data: AssignedData | None) -> AssignedRequest:
    """Return a request as the first row of the data makes it."""
    if data is None:
        return request
    values = dict(zip(data.columns, data.rows[0], strict=True))

    def filled(text: str) -> str:
        return OF_THE_TASK.sub(lambda found: values[found[1]], text)

    body = filled(request.body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    headers = [[name, filled(value)] for name, value in request.headers]
    return replace(request, url=filled(request.url), headers=headers, body=body)
