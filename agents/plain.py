"""Records as dictionaries, lists and scalars, and back: strictly, and fast enough for thousands of them.

What reads a class is made once, when the class is first read.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")
Reader = Callable[[Any], Any]


class BadRecord(ValueError):
    """What came is not the record that was agreed."""


def to_plain(record: Any) -> dict[str, Any]:
    """Turn a record into dictionaries, lists and scalars."""
    return dataclasses.asdict(record)


def from_plain(kind: type[T], plain: Any, where: str = "") -> T:
    """Build a record strictly: unknown, missing and wrongly typed fields raise BadRecord, which says where."""
    try:
        return typing.cast(T, _reader(typing.cast(Any, kind))(plain))
    except _Misfit as misfit:
        path = "".join(reversed(misfit.path))
        raise BadRecord(f"{where or kind.__name__}{path}: {misfit.problem}") from None


_SCALARS = (int, float, str, bool)


class _Misfit(Exception):
    """A value that does not fit. path: the steps to it, the innermost first: most values fit, and need no path."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[str] = []


@functools.cache
def _reader(hint: Any) -> Reader:
    """Return what reads values of a type. Made once: a type's hints and fields take longer to look up than to read."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _optional(_reader(next(a for a in arguments if a is not type(None))), type(None) in arguments)
    if origin is list:
        return _list(arguments[0], hint)
    if origin is dict:
        return _dict(arguments[0], _reader(arguments[1]), hint)
    if dataclasses.is_dataclass(hint):
        return _record(hint)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _enum(hint)
    return _scalar(hint)


def _record(kind: Any) -> Reader:
    hints, fields = typing.get_type_hints(kind), {f.name: f for f in dataclasses.fields(kind)}
    readers = {name: _reader(hints[name]) for name in fields}
    needed = [
        name
        for name, spec in fields.items()
        if spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
    ]

    def read(plain: Any) -> Any:
        if not isinstance(plain, dict):
            raise _Misfit(f"a {type(plain).__name__} where a record was expected")
        if not plain.keys() <= readers.keys():
            raise _Misfit(f"unknown field {min(set(plain) - set(fields), key=str)!r}")
        values = {}
        for name, value in plain.items():
            try:
                values[name] = readers[name](value)
            except _Misfit as misfit:
                misfit.path.append(f".{name}")
                raise
        for name in needed:
            if name not in values:
                raise _Misfit(f"field {name!r} is missing")
        return kind(**values)

    return read


def _optional(reader: Reader, or_none: bool) -> Reader:
    return lambda value: None if value is None and or_none else reader(value)


def _list(of: Any, hint: Any) -> Reader:
    reader = _reader(of)

    def read(plain: Any) -> Any:
        if not isinstance(plain, list):
            raise _wrong(plain, hint)
        if of in _SCALARS and not {*map(type, plain)} - {of}:
            return plain.copy()
        try:
            return [reader(item) for item in plain]
        except _Misfit:
            _name_the_place(reader, ((f"[{i}]", item) for i, item in enumerate(plain)))
            raise

    return read


def _dict(key: Any, reader: Reader, hint: Any) -> Reader:
    def read(plain: Any) -> Any:
        if not isinstance(plain, dict):
            raise _wrong(plain, hint)
        try:
            # JSON has no whole-number keys.
            return {(int(k) if key is int else k): reader(v) for k, v in plain.items()}
        except _Misfit:
            _name_the_place(reader, ((f"[{k}]", v) for k, v in plain.items()))
            raise

    return read


def _name_the_place(reader: Reader, items: Iterable[tuple[str, Any]]) -> None:
    """Read items again until one does not fit, and raise _Misfit with its place."""
    for place, item in items:
        try:
            reader(item)
        except _Misfit as misfit:
            misfit.path.append(place)
            raise misfit from None


def _enum(kind: type[StrEnum]) -> Reader:
    members = {str(member): member for member in kind}

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            raise _wrong(value, kind)
        member = members.get(value)
        if member is None:
            # An enumeration can take values that are not its members, as FindingCode does.
            try:
                return kind(value)
            except ValueError:
                raise _Misfit(f"{value[:40]!r} is not one of {', '.join(map(repr, members))}") from None
        return member

    return read


def _scalar(hint: Any) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is hint:
            return value
        if hint is float and type(value) is int:
            return float(value)
        raise _wrong(value, hint)

    return read


def _wrong(value: Any, hint: Any) -> _Misfit:
    return _Misfit(f"{type(value).__name__} {str(value)[:40]!r} where {hint} was expected")
