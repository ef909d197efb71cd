"""Which values of a campaign are secret. Pure.

Secret are values of the environment (${NAME}) and of --set in headers, bodies, paths, containers and variables;
literal values whose name says so (Authorization, DB_PASSWORD, ?token=); and `{secret: VALUE}`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from orchestrator.slo import shown
from orchestrator.spec.units import as_text
from orchestrator.spec.variables import Location

SECRET = "secret"
_NAME = re.compile(
    r"(?i)auth(?:orization)?(?![a-z])|cookie|token|secret|passw(?:or)?d|passphrase|pwd(?![a-z])|credential"
    r"|api[-_]?key|access[-_]?key|private[-_]?key|signature|session[-_]?(?:id|key)"
)
_REFERENCE = re.compile(r"(\$?)\$\{([A-Za-z0-9_][A-Za-z0-9_.-]*)(?=\}|:-)")
# Values that say nothing: they are in the text of every page, and hidden there they would make it unreadable.
_ORDINARY = re.compile(r"[0-9]{1,7}|[0-9.]+|[0-9.:]+:[0-9]+|[a-z]{1,8}|localhost|production|development", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?i)(?:basic|bearer|token|digest|apikey)\s+(\S+)")


class Place(Enum):
    """What a value of a campaign is used for."""

    HEADER = auto()
    BODY = auto()
    ENVIRONMENT = auto()
    TEXT = auto()
    URL = auto()


def is_secret_name(name: str) -> bool:
    """Return whether the value of a header, a variable or a parameter of this name is a secret."""
    return _NAME.search(name) is not None


def place_of(location: Location) -> Place | None:
    """Return what the value at a location is used for; None where it cannot be a secret."""
    # The parts of a mapping that was merged.
    keys = tuple(part for part in location if part != "<<")
    if keys[:1] == ("variables",):
        return Place.ENVIRONMENT
    if len(keys) < 3 or keys[0] not in ("loads", "targets", "services"):
        return None
    inner = keys[2:]
    if keys[0] == "loads":
        if inner[0] == "requests":
            if len(inner) == 2:
                return Place.TEXT
            inner = inner[2:]
        return _of_request(inner)
    if inner[0] in ("environment", "env") or inner[:2] == ("build", "args"):
        return Place.ENVIRONMENT
    if inner[0] == "url":
        return Place.URL
    if inner[0] in ("command", "entrypoint", "path", "expect", "healthcheck", "prepare"):
        return Place.TEXT
    return None


def _of_request(keys: Location) -> Place | None:
    if keys[:1] == ("headers",):
        return Place.HEADER
    if keys[:1] in (("body",), ("json",), ("message",)):
        return Place.BODY
    return Place.TEXT if keys[:1] in (("path",), ("paths",), ("name",), ("expect",)) else None


def unwrapped(data: Any, location: Location = ()) -> tuple[Any, set[Location]]:
    """Return data with VALUE in place of {secret: VALUE}, and the locations where one was.

    It can stand for a header, a body, a message, a variable, and a value of environment or build arguments.
    """
    found: set[Location] = set()

    def walk(value: Any, location: Location) -> Any:
        if isinstance(value, dict):
            if list(value) == [SECRET] and isinstance(value[SECRET], str | int | float) and _may_be_wrapped(location):
                found.add(location)
                inner = value[SECRET]
                return inner if isinstance(inner, str) else as_text(inner)
            return {key: walk(inner, (*location, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner, (*location, i)) for i, inner in enumerate(value)]
        return value

    return walk(data, location), found


def _may_be_wrapped(location: Location) -> bool:
    place = place_of(location)
    if place is Place.BODY:
        return location[-1] in ("body", "message")
    # The name of a header or a variable, not the mapping of all.
    is_mapping = len(location) == 1 or location[-1] in ("headers", "environment", "env", "args")
    return place in (Place.HEADER, Place.ENVIRONMENT) and not is_mapping


@dataclass(frozen=True, slots=True)
class Written:
    """A campaign as it was written and as it was resolved.

    environment: the values of the process. typed: places that --set has replaced. wrapped: those of {secret: VALUE}.
    """

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    typed: Collection[Location] = ()
    wrapped: Collection[Location] = ()

    def known(self) -> Iterator[str]:
        """Yield values that are secret where they are used, although they may be ordinary words."""
        for location, before, after in _leaves(self.before, self.after):
            is_header = place_of(location) is Place.HEADER
            if location in self.wrapped or (is_header and self._is_given(location, before)):
                yield after

    def sought(self) -> Iterator[str]:
        """Yield the values that must not be shown anywhere."""
        used: set[str] = set()
        for location, before, after in _leaves(self.before, self.after):
            place = place_of(location)
            if location in self.wrapped:
                yield after
            if place is None:
                continue
            if location[0] != "variables":
                used.update(references(before))
            yield from self._of_place(location, place, before, after)
        variables = self.after.get("variables")
        for name, value in variables.items() if isinstance(variables, dict) else ():
            if self._is_typed(("variables", name)) and name in used and is_telling(text := as_text(value)):
                yield text

    def _of_place(self, location: Location, place: Place, before: str, after: str) -> Iterator[str]:
        """Yield what is secret of one value."""
        is_named = place in (Place.HEADER, Place.ENVIRONMENT) and is_secret_name(key_of(location, before))
        outside = [name for name in references(before) if name in self.environment]
        for name in outside:
            value = self.environment[name]
            if is_named or is_secret_name(name) or is_telling(value):
                # What a whole URL begins with is shown in every message about it.
                yield from [value] if place is not Place.URL or _is_behind_host(value, after) else []
        if is_named:
            yield from secrets_of_header(value_of(location, after))
        elif place is Place.HEADER and outside:
            yield from credentials_in(after)
        if self._is_typed(location) and place in (Place.HEADER, Place.BODY) and is_telling(after):
            yield after
        if "://" in after or place is Place.TEXT:
            yield from (value for value in secrets_of_url(after) if is_telling(value))

    def _is_given(self, location: Location, before: str) -> bool:
        """Return whether the value of a header comes from the environment or from --set, or is secret by its name."""
        return (
            any(self._is_from_outside(name) for name in references(before))
            or self._is_typed(location)
            or is_secret_name(str(location[-1]))
        )

    def _is_from_outside(self, name: str) -> bool:
        """Return whether a variable has its value from the environment, from --set, or from {secret: VALUE}."""
        variables = self.before.get("variables")
        if isinstance(variables, dict) and name in variables:
            here, text = ("variables", name), variables[name]
            outside = isinstance(text, str) and any(other in self.environment for other in references(text))
            return outside or self._is_typed(here) or here in self.wrapped or is_secret_name(name)
        return name in self.environment

    def _value(self, name: str) -> Any:
        variables = self.after.get("variables")
        here = variables.get(name) if isinstance(variables, dict) else None
        return self.environment.get(name, "") if here is None else here

    def _is_typed(self, location: Location) -> bool:
        keys = tuple(map(str, location))
        return any(keys[: len(typed)] == tuple(typed) for typed in self.typed)

    def told(self, location: Location, text: str) -> str:
        """Return the text of a problem at a location without the value there, where that is a secret or from outside."""
        before, after = _at(self.before, location), _at(self.after, location)
        outside = (
            [name for name in references(before) if self._is_from_outside(name)] if isinstance(before, str) else []
        )
        if outside:
            text = text.replace(shown(after), before)
            for name in outside:
                value = as_text(self._value(name))
                text = text.replace(shown(value), f"${{{name}}}")
                text = text.replace(value, f"${{{name}}}") if len(value) > 3 else text
        elif place_of(location) in (Place.HEADER, Place.BODY, Place.ENVIRONMENT) and isinstance(after, str):
            text = text.replace(shown(after), "the value")
        return text


def key_of(location: Location, text: str) -> str:
    """Return the name of a header or a variable: a key, or what is in front of '=' in a list."""
    return text.partition("=")[0] if isinstance(location[-1], int) else str(location[-1])


def value_of(location: Location, text: str) -> str:
    """Return the value of a header or a variable: all of a text, or what follows '=' in a list."""
    return text.partition("=")[2] if isinstance(location[-1], int) else text


def references(text: str) -> list[str]:
    """Return the names in ${NAME} and ${NAME:-value}, in order."""
    return [match[2] for match in _REFERENCE.finditer(text) if not match[1]]


def is_telling(value: str) -> bool:
    """Return whether a value is one that can be looked for in text: not a number, an address or a short word."""
    return len(value) > 3 and _ORDINARY.fullmatch(value) is None


def credentials_in(value: str) -> Iterator[str]:
    """Yield the secrets inside of the value of a header: of Authorization, and of cookies."""
    if match := _CREDENTIALS.fullmatch(value.strip()):
        yield match[1]
        if value.lower().lstrip().startswith("basic"):
            try:
                pair = base64.b64decode(match[1], validate=True).decode()
            except (binascii.Error, ValueError):
                return
            yield pair
            yield pair.partition(":")[2]
    elif "=" in value:
        for part in value.split(";"):
            yield part.partition("=")[2].strip()


def secrets_of_header(value: str) -> Iterator[str]:
    """Yield what is looked for in text of the value of a header that is secret."""
    yield from (each for each in (value, *credentials_in(value)) if is_telling(each))


def secrets_of_url(text: str) -> Iterator[str]:
    """Yield the password of a URL, and the values of parameters whose name says that they are secret."""
    try:
        parts = urlsplit(text)
        if parts.password:
            yield from {parts.password, unquote(parts.password)}
        for name, value in parse_qsl(parts.query):
            if is_secret_name(name):
                yield value
    except ValueError:
        return


def _is_behind_host(value: str, url: str) -> bool:
    """Return whether a value is in the path or the query of a URL."""
    rest = url.partition("://")[2]
    return value in rest.partition("/")[2] or value in rest.partition("?")[2]


def _leaves(before: Any, after: Any, location: Location = ()) -> Iterator[tuple[Location, str, str]]:
    """Yield each text of a campaign: where it is, as it was written, and as it is."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key, inner in before.items():
            if key in after:
                yield from _leaves(inner, after[key], (*location, key))
    elif isinstance(before, list) and isinstance(after, list):
        for i, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from _leaves(one, other, (*location, i))
    elif isinstance(before, str) and isinstance(after, str | int | float):
        yield location, before, after if isinstance(after, str) else as_text(after)


def _at(data: Any, location: Location) -> Any:
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data
