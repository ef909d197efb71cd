"""Problems that pydantic finds, in Volley's words: what is wrong, and what to write."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from orchestrator.slo import shown
from orchestrator.spec.compose import ELSEWHERE
from orchestrator.spec.container import Container

Location = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong with the data: the keys that lead there, what it is, what would be right."""

    location: Location
    what: str
    hint: str = ""


def mistakes(error: ValidationError, data: Any, root: type[BaseModel]) -> Iterator[Mistake]:
    """Yield every mistake in `data` that a validation by `root` reported."""
    for detail in error.errors(include_url=False):
        location = _in_data(detail["loc"], data, detail["type"])
        if detail["type"] == "extra_forbidden":
            yield _unknown_key(location, root)
        elif detail["type"] == "value_error":
            yield from _own(location, detail["msg"].removeprefix("Value error, "))
        else:
            what, hint = sentence(detail["type"], detail.get("ctx", {}), detail["input"])
            yield Mistake(location, what, _EXAMPLES.get((_key(location), hint), hint))


def _key(location: Location) -> str:
    """Return the key that a location is of, or the entry of a list as 'key.N'."""
    if len(location) > 1 and isinstance(location[-1], int):
        return f"{location[-2]}.N"
    return str(location[-1]) if location else ""


def _in_data(location: Location, data: Any, kind: str) -> Location:
    """Return a location without what pydantic adds: the branch of a union, and '[key]' behind a key."""
    found: list[Any] = []
    node = data
    for i, part in enumerate(location):
        in_list = isinstance(node, list) and isinstance(part, int)
        if in_list or (isinstance(node, dict) and part in node):
            found.append(part)
            node = node[part]
        elif kind == "missing" and i == len(location) - 1:
            found.append(part)
    return tuple(found)


def _own(location: Location, text: str) -> Iterator[Mistake]:
    """Yield a mistake that a validator of ours reported as 'what: what to write'."""
    what, _, hint = text.partition(": ")
    yield Mistake(location, what, hint)


def sentence(kind: str, limits: Mapping[str, Any], value: Any) -> tuple[str, str]:
    """Return what is wrong and what to write, for a kind of error that pydantic reports."""
    speak = _KINDS.get(kind)
    return (f"{shown(value)} is not accepted here", "check the value") if speak is None else speak(limits, value)


def _not(what: str, hint: str) -> Callable[[Mapping[str, Any], Any], tuple[str, str]]:
    return lambda limits, value: ("is empty" if value is None else f"{shown(value)} is not {what}", hint)


def _bound(words: str, key: str) -> Callable[[Mapping[str, Any], Any], tuple[str, str]]:
    def speak(limits: Mapping[str, Any], value: Any) -> tuple[str, str]:
        limit = f"{limits[key]:,}" if isinstance(limits[key], int) else f"{limits[key]:g}"
        return f"{shown(value)} is out of range", f"write a number {words} {limit}"

    return speak


def _one_of(limits: Mapping[str, Any], value: Any) -> tuple[str, str]:
    choices = [choice.strip("'") for choice in limits["expected"].replace(" or ", ", ").split(", ")]
    listed = f"{', '.join(choices[:-1])} or {choices[-1]}" if choices[1:] else choices[0]
    return f"{shown(value)} is not one of the choices here", f"write {listed}"


def _text(limits: Mapping[str, Any], value: Any) -> tuple[str, str]:
    return f"{shown(value)} is not text", "put it in quotes" if isinstance(value, int | float) else "write text"


def _empty(limits: Mapping[str, Any], value: Any) -> tuple[str, str]:
    return "is empty", "write at least one entry, or remove the key"


def several(count: int, thing: str) -> str:
    """Return a count with its noun: 1 case, 1,200 cases."""
    return f"{count:,} {thing}{'s' * (count != 1)}"


_WHOLE = _not("a whole number", "write digits only, e.g. 40")
_NUMBER = _not("a number", "write a number, e.g. 1.5")
_BOOLEAN = _not("true or false", "write true or false")
_AS_MAPPING = "write 'key: value' pairs"
_MAPPING = _not("a mapping", _AS_MAPPING)
_LIST = _not("a list", "write it as [a, b], or one '- entry' a line")

# What to write for a key whose values have a form of their own, in place of the hint for its type.
_EXAMPLES = {
    ("requests", "write digits only, e.g. 40"): "write a number, or a list of requests: [/, /search]",
    ("requests.N", _AS_MAPPING): "write a path, or a mapping: {path: /search}",
    ("slo", _AS_MAPPING): "write the cases and their objectives: {'*': 'p99 < 50ms'}",
}

_KINDS: dict[str, Callable[[Mapping[str, Any], Any], tuple[str, str]]] = {
    "missing": lambda limits, value: ("is missing", "add it"),
    "literal_error": _one_of,
    "greater_than": _bound("above", "gt"),
    "greater_than_equal": _bound("of at least", "ge"),
    "less_than": _bound("below", "lt"),
    "less_than_equal": _bound("of at most", "le"),
    "finite_number": _NUMBER,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": _not("a whole number", "write a smaller number"),
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "string_type": _text,
    "string_too_short": lambda limits, value: ("is empty", "write a value, or remove the key"),
    "string_unicode": _not("text", "write text"),
    "too_short": _empty,
    "too_long": lambda limits, value: (
        f"has {limits['actual_length'] or 'too many'} entries",
        f"write at most {limits['max_length']:,}",
    ),
    "list_type": _LIST,
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
}


def _unknown_key(location: Location, root: type[BaseModel]) -> Mistake:
    key = str(location[-1])
    if is_container(model_at(root, location[:-1])) and key in ELSEWHERE:
        return Mistake(location, f"{shown(key)} is not a key of containers here", ELSEWHERE[key])
    known = known_keys(root, location[:-1])
    close = difflib.get_close_matches(key, known, 1)
    if key in root.model_fields and len(location) > 1 and not close:
        return Mistake(
            location, f"unknown key {shown(key)}", f"write {key!r} at the top of the file, not in a part of it"
        )
    hint = f"did you mean {close[0]!r}?" if close else f"the keys here are: {', '.join(known)}"
    return Mistake(location, f"unknown key {shown(key)}", hint)


def known_keys(root: type[BaseModel], location: Location) -> list[str]:
    """Return the keys that the model at a place of the file knows."""
    model = model_at(root, location)
    return sorted(field.alias or name for name, field in model.model_fields.items()) if _is_model(model) else []


def is_container(model: Any) -> bool:
    """Return whether a model has Compose's vocabulary."""
    return _is_model(model) and issubclass(model, Container)


def model_at(root: type[BaseModel], location: Location) -> Any:
    """Return the model at a place of the file; something else where there is none."""
    model: Any = root
    for i, part in enumerate(location):
        field = model.model_fields.get(str(part)) if _is_model(model) else None
        if field is not None:
            # A mapping directly there is none of the entries of a list.
            direct = None if i + 1 < len(location) else _model_in(field.annotation, in_lists=False)
            model = direct or _model_in(field.annotation)
        # Otherwise the part is a name that the user chose, of a target or a load: the model stays.
    return model


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _model_in(annotation: Any, in_lists: bool = True) -> Any:
    if _is_model(annotation):
        return annotation
    if not in_lists and get_origin(annotation) is list:
        return None
    return next((found for part in get_args(annotation) if (found := _model_in(part, in_lists)) is not None), None)
