"""Requests from a file, one a line, in place of `requests: {from: FILE}`; and the checks of data files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestrator.slo import legible, shown
from orchestrator.spec.loads import Load
from orchestrator.spec.models import Campaign, resolve
from orchestrator.spec.requests import MOST_REQUESTS, Request
from orchestrator.spec.rows import (
    BadData,
    Table,
    columns_in,
    missing_columns,
    read_file,
    read_table,
    read_text,
    refuse_in_headers,
    short,
    texts_of,
)
from orchestrator.spec.target import Target

Location = tuple[Any, ...]
_LINE_HINT = 'write a path such as /search, a URL, or an object such as {"path": "/search", "weight": 2}'


@dataclass(frozen=True, slots=True)
class Lines:
    """Where the requests of a load are: a file, and the line of each."""

    file: str
    numbers: list[int]


@dataclass(frozen=True, slots=True)
class Wrong:
    """A problem: where in the campaign, or in which line of another file; what it is, and what to do."""

    location: Location
    what: str
    hint: str


def expanded(data: dict[str, Any], folder: Path) -> tuple[dict[str, Any], dict[Location, Lines], list[Wrong]]:
    """Return a campaign's data with the requests of files in place of their names; where they are, and what is wrong.

    A file that cannot be used is left out, so that the rest of the campaign is checked.
    """
    lines: dict[Location, Lines] = {}
    wrong: list[Wrong] = []
    given = data.get("loads")
    loads: dict[str, Any] = given if isinstance(given, dict) else {}
    replaced: dict[str, Any] = {}
    for name, load in loads.items():
        named = load.get("requests") if isinstance(load, dict) else None
        if not isinstance(named, dict) or list(named) != ["from"] or not isinstance(named["from"], str):
            continue
        location = ("loads", name, "requests")
        try:
            items, lines[location] = _read(folder / named["from"], named["from"])
        except BadData as error:
            wrong.append(Wrong((*location, "from"), str(error), error.hint))
            items = ["/"]
        replaced[name] = load | {"requests": items}
    return (data | {"loads": loads | replaced} if replaced else data), lines, wrong


def _read(path: Path, name: str) -> tuple[list[Any], Lines]:
    name = short(name)
    text = read_text(path, name)
    items: list[Any] = []
    numbers: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        if (line := line.strip()) and not line.startswith("#"):
            items.append(_item(line, f"{name}:{number}"))
            numbers.append(number)
    if not items:
        raise BadData(f"{name}: holds no request", _LINE_HINT)
    if len(items) > MOST_REQUESTS:
        raise BadData(
            f"{name}: {len(items):,} requests are more than {MOST_REQUESTS:,}",
            "put what differs into a data file, and use ${row.COLUMN} in one request",
        )
    return items, Lines(name, numbers)


def _item(line: str, where: str) -> Any:
    if line.startswith("/"):
        return {"path": line}
    if line.startswith("{"):
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            # Without the line: it can hold secrets.
            raise BadData(f"{where}: not a JSON object", _LINE_HINT) from None
    try:
        parts = urlsplit(line)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https"):
        raise BadData(f"{where}: neither a path, nor a URL, nor a JSON object", _LINE_HINT)
    return {"path": (parts.path or "/") + (f"?{parts.query}" if parts.query else "")}


def wrong_data(campaign: Campaign, folder: Path) -> Iterator[Wrong]:
    """Yield what is wrong with the data files of a campaign and with the placeholders for their columns."""
    if all(load.data is None for load in campaign.loads.values()):
        return  # then ${row.COLUMN} is text that was meant
    for name, load in campaign.loads.items():
        location = ("loads", name)
        paths = {} if load.listed else {key: _target_path(each) for key, each in campaign.targets.items()}
        if load.data is None:
            for target, path in paths.items():
                if columns_in(path):
                    what = f"the path of target {target!r} has ${{row.{columns_in(path)[0]}}}, and this load no data"
                    yield Wrong(location, what, "add 'data: {file: FILE}', or list 'requests'")
            continue
        try:
            table = read_table(resolve(folder, load.data.file), load.data.file)
            yield from _wrong_columns(load, table, [*paths.values()], (*location, "data"), folder)
        except BadData as error:
            yield Wrong((*location, "data", "file"), str(error), error.hint)


def _wrong_columns(load: Load, table: Table, paths: list[str], location: Location, folder: Path) -> Iterator[Wrong]:
    """Yield the columns that are used and missing; a file that nothing uses. Raise BadData for unfit values."""
    requests = load.listed or [Request(path="/")]
    texts: list[tuple[str, str]] = [("path", path) for path in paths]
    for request in requests:
        texts += texts_of(request, load.headers, body_of(request if load.listed else load, folder))
    all_texts = [text for _, text in texts]
    for column in missing_columns(table, all_texts):
        known = ", ".join(table.columns[:12])
        yield Wrong((*location, "file"), f"{table.file} has no column {shown(column)}", f"its columns are: {known}")
    if not any(columns_in(text) for text in all_texts):
        what = "no request uses a column of the file"
        yield Wrong(location, what, f"write ${{row.{table.columns[0]}}} into a path, header or body, or remove 'data'")
    refuse_in_headers(table, [text for key, text in texts if key == "headers"])


def _target_path(target: Target) -> str:
    """Return the path, or the whole URL, of a target."""
    return target.path if target.url is None else target.url


def body_of(sent: Load | Request, folder: Path) -> bytes:
    """Return the body or the message of a load or a request. An unreadable file is reported elsewhere: nothing then."""
    if sent.json_ is not None or "json_" in sent.model_fields_set:
        return json.dumps(sent.json_, ensure_ascii=False, separators=(",", ":")).encode()
    message, file = (sent.message, sent.message_file) if isinstance(sent, Load) else (None, None)
    text = sent.body if message is None else message
    if text is not None:
        return text.encode()
    name = sent.body_file or file
    try:
        return b"" if name is None else read_file(resolve(folder, name), name)
    except BadData:
        return b""


def place_of(location: Location, lines: Mapping[Location, Lines]) -> str | None:
    """Return FILE:LINE: KEY of a place in a file of requests; None for a place of the campaign."""
    found = lines.get(location[:3])
    if found is None or len(location) < 4 or not isinstance(location[3], int):
        return None
    keys = legible(".".join(str(part) for part in location[4:]))
    return f"{found.file}:{found.numbers[location[3]]}" + (f": {keys}" if keys else "")
