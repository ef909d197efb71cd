"""Rows of a data file: read, and put into text where ${row.COLUMN} stands."""

from __future__ import annotations

import csv
import errno
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator import bounded
from orchestrator.slo import shown
from orchestrator.spec.requests import Request

MOST_ROWS = 1_000_000
MOST_BYTES = 64 * 1024 * 1024
LONGEST_NAME = 60
_COLUMN = r"[A-Za-z0-9_.-]+"
# In a URL braces may have been encoded.
PLACEHOLDER = re.compile(rf"\$(?:\{{|%7[Bb])row\.({_COLUMN})(?:\}}|%7[Dd])")
JSON_LINES = (".jsonl", ".ndjson")


class BadData(ValueError):
    """A data file cannot be used. The message is 'FILE:LINE: what' and never holds a value; hint: what to do."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Table:
    """A data file: its name for messages, columns, rows with a value for each column, and the line of each row."""

    file: str
    columns: list[str]
    rows: list[list[Any]] = field(repr=False)
    lines: list[int] = field(repr=False)


def short(name: str) -> str:
    """Return the name of a file as messages have it: of a long one its end."""
    return name if len(name) <= LONGEST_NAME else f"...{name[3 - LONGEST_NAME :]}"


def columns_in(text: str) -> list[str]:
    """Return the columns that a text names, each once, in order."""
    return list(dict.fromkeys(PLACEHOLDER.findall(text)))


def texts_of(request: Request, headers: dict[str, str], body: bytes) -> Iterator[tuple[str, str]]:
    """Yield (key, text) for what can hold placeholders in a request. headers: the load's. body: what is sent."""
    yield "path", request.path
    for text in (headers | request.headers).values():
        yield "headers", text
    yield "body", body.decode("utf-8", "replace")


def read_text(path: Path, name: str) -> str:
    """Read a text file of a campaign. name: as messages show it. Raise BadData."""
    return decoded(read_file(path, name), name)


def decoded(data: bytes, name: str) -> str:
    """Return the text of a file of a campaign. Raise BadData."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadData(f"{name}: not UTF-8 text", "save the file as UTF-8") from None


def read_file(path: Path, name: str) -> bytes:
    """Return the content of a file of a campaign, of at most MOST_BYTES. Raise BadData."""
    try:
        return bounded.read_bytes(path, MOST_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise BadData(f"{name}: more than {MOST_BYTES >> 20} MiB", "use a smaller file") from None
        reason = error.strerror
    except ValueError:
        reason = "not a path"
    raise BadData(f"{name}: cannot be read: {reason}", "check the path, relative to the campaign file")


def read_table(path: Path, name: str) -> Table:
    """Read a data file. name: as the user wrote it. Raise BadData."""
    name = short(name)
    text = read_text(path, name)
    table = _json_lines(text, name) if path.suffix.lower() in JSON_LINES else _csv(text, name)
    if not table.rows:
        raise BadData(f"{name}: holds no row", "add rows to the file")
    if len(table.rows) > MOST_ROWS:
        raise BadData(f"{name}: more than {MOST_ROWS:,} rows", "use a smaller file")
    return table


def _csv(text: str, name: str) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[Any]] = []
    lines: list[int] = []
    columns: list[str] | None = None
    begin = 1
    try:
        for fields in reader:
            line, begin = begin, reader.line_num + 1
            if not fields:
                continue
            if columns is None:
                columns = [column.strip() for column in fields]
                if len(set(columns)) < len(columns) or "" in columns:
                    raise BadData(f"{name}:{line}: a column without a name, or two with the same", "name each column")
            elif len(fields) != len(columns):
                what = f"{name}:{line}: {_several(len(fields), 'value')} for {_several(len(columns), 'column')}"
                raise BadData(what, "put values with a comma in quotes, and write one for each column")
            else:
                rows.append(list(fields))
                lines.append(line)
    except csv.Error as error:
        raise BadData(f"{name}:{begin}: not CSV: {error}", "put values with quotes or commas in quotes") from None
    if columns is None:
        raise BadData(f"{name}: is empty", "begin with a line of column names")
    return Table(name, columns, rows, lines)


def _json_lines(text: str, name: str) -> Table:
    objects: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise BadData(f"{name}:{number}: not a JSON object", 'write one object a line, such as {"id": 17}')
        objects.append((number, value))
    columns = list(objects[0][1]) if objects else []
    for number, value in objects:
        if missing := [column for column in columns if column not in value]:
            raise BadData(f"{name}:{number}: {shown(missing[0])} is missing", "give every line the keys of the first")
    return Table(name, columns, [[value[c] for c in columns] for _, value in objects], [n for n, _ in objects])


def _several(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"


def missing_columns(table: Table, texts: Sequence[str]) -> Iterator[str]:
    """Yield the columns that texts name and the table does not have."""
    for column in dict.fromkeys(column for text in texts for column in columns_in(text)):
        if column not in table.columns:
            yield column


def refuse_in_headers(table: Table, texts: Sequence[str]) -> None:
    """Raise BadData for the first value that a header cannot hold. texts: the values of headers."""
    for column in dict.fromkeys(column for text in texts for column in columns_in(text)):
        if column not in table.columns:
            continue
        k = table.columns.index(column)
        for line, row in zip(table.lines, table.rows, strict=True):
            if any(ord(letter) < 32 or ord(letter) == 127 for letter in text_of(row[k]) if letter != "\t"):
                what = f"{table.file}:{line}: {shown(column)} holds a line break or control character"
                raise BadData(what, "remove it, a header cannot hold one")


def text_of(value: Any) -> str:
    """Return a value of a row as text: text itself, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
