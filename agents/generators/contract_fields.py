"""Fields of the messages of the generator contract, read strictly. No message holds a value: it could be a secret."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

Plain = Mapping[str, object]
E = TypeVar("E", bound=Enum)
T = TypeVar("T")


class BadMessage(ValueError):
    """A line does not follow the contract. The message names the field and what is wrong with it."""


def json_object(line: str | bytes, what: str) -> Plain:
    """Return a line as a JSON object. Raise BadMessage."""
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError):
        # The decoder's own error holds the whole line.
        raise BadMessage(f"the {what} is not one line of JSON") from None
    if not isinstance(plain, dict):
        raise BadMessage(f"the {what} is not a JSON object")
    return plain


def field_of(plain: Plain, name: str, where: str = "", default: T | None = None) -> object:
    """Return a field; its default, or BadMessage, where it is missing."""
    if name in plain:
        return plain[name]
    if default is None:
        raise BadMessage(f"'{_place(where, name)}' is missing")
    return default


def _place(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def text_of(plain: Plain, name: str, where: str = "", default: str | None = None) -> str:
    """Return a text that is not empty."""
    value = field_of(plain, name, where, default)
    if not isinstance(value, str) or not value:
        raise BadMessage(f"'{_place(where, name)}' is not a text")
    return value


def blank(plain: Plain, name: str, where: str = "") -> str:
    """Return a text that can be empty, and is where it is missing."""
    value = plain.get(name, "")
    if not isinstance(value, str):
        raise BadMessage(f"'{_place(where, name)}' is not a text")
    return value


def texts(plain: Plain, name: str) -> tuple[str, ...]:
    """Return a list of texts; none where it is missing."""
    value = plain.get(name, [])
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        raise BadMessage(f"'{name}' is not a list of texts")
    return tuple(value)


def whole(plain: Plain, name: str, lowest: int | None, default: int | None = None, where: str = "") -> int:
    """Return a whole number of at least `lowest`."""
    value = field_of(plain, name, where, default)
    if type(value) is not int or (lowest is not None and value < lowest):
        bound = "" if lowest is None else f" of at least {lowest}"
        raise BadMessage(f"'{_place(where, name)}' is not a whole number{bound}")
    return value


def optional(plain: Plain, name: str, lowest: int, where: str = "") -> int | None:
    """Return a whole number, None where it is null or missing."""
    return None if plain.get(name) is None else whole(plain, name, lowest, None, where)


def flag(plain: Plain, name: str) -> bool:
    """Return true or false; false where it is missing."""
    value = plain.get(name, False)
    if not isinstance(value, bool):
        raise BadMessage(f"'{name}' is neither true nor false")
    return value


def positive(plain: Plain, name: str, where: str = "", default: float | None = None) -> float:
    """Return a finite number above 0."""
    value = field_of(plain, name, where, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise BadMessage(f"'{_place(where, name)}' is not a number above 0")
    return float(value)


def member(plain: Plain, name: str, kind: type[E], default: E | None = None) -> E:
    """Return a member of an enumeration."""
    value = field_of(plain, name, "", default)
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise BadMessage(f"'{name}' is not one of {known}") from None
