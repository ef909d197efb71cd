"""${NAME} in campaign and inventory files: a variable of the file, else one of the environment.

Only `${` begins a variable: `$name` and `$$` are text, as in '?$filter=x'. `$${` stands for the text `${`.
`${row.COLUMN}` is left as it is where a load has `data`: its rows replace it.
${SERVICE.address} and ${SERVICE.port} stay as they are until the service is up.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.slo import shown
from orchestrator.spec.units import as_text

Location = tuple[Any, ...]
# What a value of a file can hold, for the JSON Schema.
USES_A_VARIABLE = r"\$\{"
FORMS = "write ${NAME} or ${NAME:-value}; write $${ for the text ${"
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_WHOLE = re.compile(rf"\$\{{({_NAME})\}}")
_OPENING = re.compile(r"\$\$\{|\$\{")
_HEAD = re.compile(rf"({_NAME})(\}}|:-)")
ROW = "row."
# The nearest name is looked for among all others, which takes a while.
MOST_EXPLAINED = 100
NO_DATA = "add 'data: {file: FILE}' to the load; write $${ for the text ${"
# What is known of a service once it is up.
OF_SERVICES = ("address", "port")
# Where a text is used only once the services are up: by section, the keys of its entries.
LATE = {
    "targets": ("environment", "env", "command", "entrypoint", "extra_hosts", "healthcheck"),
    "services": ("environment", "env", "command", "entrypoint", "extra_hosts", "healthcheck", "prepare"),
}


@dataclass(frozen=True, slots=True)
class Names:
    """What ${NAME} can mean."""

    environment: dict[str, str]
    variables: dict[str, Any] = field(default_factory=dict)
    with_data: frozenset[str] = frozenset()
    services: tuple[str, ...] = ()

    def keeps_rows(self, location: Location) -> bool:
        """Return whether ${row.COLUMN} there is a value of a data file. with_data: the loads that have one."""
        if location[0] == "targets":
            return bool(self.with_data) and location[-1] in ("path", "url")
        return len(location) > 2 and location[0] == "loads" and location[1] in self.with_data

    def of_service(self, name: str) -> bool:
        """Return whether a name is the address or the port of a service."""
        service, dot, part = name.rpartition(".")
        return bool(dot) and part in OF_SERVICES and service in self.services

    def all(self) -> dict[str, str]:
        """Return every value as text; the file's variables win."""
        return self.environment | {name: as_text(value) for name, value in self.variables.items()}

    def nearest(self, name: str) -> str | None:
        """Return the name that was probably meant, if one is close."""
        for known in (list(self.variables), list(self.environment)):
            close = difflib.get_close_matches(name, known, 1)
            if found := next(iter(close or [other for other in known if other.lower() == name.lower()]), None):
                return found
        return None


@dataclass(frozen=True, slots=True)
class Unset:
    """A ${NAME} that could not be replaced: where, why, and what to do."""

    location: Location
    what: str
    hint: str


class _KeepingRows(Mapping[str, str]):
    """Values of variables, and for each column of a row its own placeholder."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        return f"${{{name}}}" if name.startswith(ROW) else self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return (isinstance(name, str) and name.startswith(ROW)) or name in self._values


class _Unreadable(ValueError):
    """A ${ that does not begin a variable."""


def interpolate(value: Any, names: Names, location: Location, unset: list[Unset]) -> Any:
    """Return plain data with ${NAME} and ${NAME:-default} replaced in every string.

    A string that is nothing but a variable of the file becomes that variable's value, a number if it is one.
    """
    if isinstance(value, dict):
        return {key: interpolate(inner, names, (*location, key), unset) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolate(inner, names, (*location, i), unset) for i, inner in enumerate(value)]
    if not isinstance(value, str) or "${" not in value or is_script(location):
        return value
    if (whole := _WHOLE.fullmatch(value)) and whole[1] in names.variables:
        return names.variables[whole[1]]
    return _expanded(value, names, location, unset)


def literal(value: Any) -> Any:
    """Return plain data whose text `interpolate` reads back as it is."""
    if isinstance(value, dict):
        return {key: literal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [literal(inner) for inner in value]
    return value.replace("${", "$${") if isinstance(value, str) else value


def _expanded(text: str, names: Names, location: Location, unset: list[Unset]) -> str:
    missing: list[str] = []
    try:
        result, _ = _read(text, 0, _values(text, names, location), missing, inside=False)
    except _Unreadable:
        # Without the text: it can be a secret.
        unset.append(Unset(location, "'${' begins no valid variable here", FORMS))
        return text
    for name in dict.fromkeys(missing):
        what, hint = (
            _why_unset(name, names) if len(unset) < MOST_EXPLAINED else (f"variable {shown(name)} is not set", "")
        )
        unset.append(Unset(location, what, hint))
    return text if missing else result


def _values(text: str, names: Names, location: Location) -> Mapping[str, str]:
    """Return the values of names in a text. A placeholder that is filled later stands for itself."""
    values = names.all()
    if _is_late(location):
        values |= {f"{name}.{part}": f"${{{name}.{part}}}" for name in names.services for part in OF_SERVICES}
    else:
        values = {name: value for name, value in values.items() if not names.of_service(name)}
    return _KeepingRows(values) if "${row." in text and names.keeps_rows(location) else values


def _why_unset(name: str, names: Names) -> tuple[str, str]:
    """Return what is wrong with a name that has no value, and what to do."""
    if name.startswith(ROW):
        return f"{shown(name)} is a column of a data file, and there is none here", NO_DATA
    service, _, part = name.rpartition(".")
    if names.of_service(name):
        return f"the {part} of service {service} is not known here", "use it in environment, command or extra_hosts"
    if service in names.services:
        return f"service {service} has no {shown(part)}", f"write ${{{service}.address}} or ${{{service}.port}}"
    if service and part in OF_SERVICES:
        close = difflib.get_close_matches(service, names.services, 1, cutoff=0.5)
        known = f"the services are: {', '.join(names.services)}" if names.services else "add it to 'services'"
        return f"there is no service {shown(service)}", f"did you mean ${{{close[0]}.{part}}}?" if close else known
    near = names.nearest(name)
    hint = f"did you mean ${{{near}}}?" if near else "set the variable, or give a default: ${NAME:-value}"
    return f"variable {shown(name)} is not set", hint


def _read(text: str, start: int, values: Mapping[str, str], missing: list[str], inside: bool) -> tuple[str, int]:
    """Return the text from `start` on with its variables replaced, and where it ends.

    inside: it is a default, which ends at the first '}' of its own. missing: takes the names without a value.
    """
    parts: list[str] = []
    at = start
    while True:
        opening = _OPENING.search(text, at)
        closing = text.find("}", at) if inside else -1
        if closing >= 0 and (opening is None or closing < opening.start()):
            return "".join([*parts, text[at:closing]]), closing + 1
        if opening is None:
            if inside:
                raise _Unreadable
            return "".join([*parts, text[at:]]), len(text)
        parts.append(text[at : opening.start()])
        if opening[0] == "$${":
            # What is filled in later is kept as it is until then.
            head = _HEAD.match(text, opening.end())
            is_late = head is not None and _stands_for_itself(head[1], values)
            parts.append("$${" if is_late else "${")
            at = opening.end()
        else:
            value, at = _variable(text, opening.end(), values, missing)
            parts.append(value)


def _stands_for_itself(name: str, values: Mapping[str, str]) -> bool:
    """Return whether a name is the address or port of a service, which is filled in once the service is up."""
    return name.endswith(OF_SERVICES) and values.get(name) == f"${{{name}}}"


def _variable(text: str, start: int, values: Mapping[str, str], missing: list[str]) -> tuple[str, int]:
    """Return the value of the variable whose name begins at `start`, and where it ends."""
    head = _HEAD.match(text, start)
    if head is None:
        raise _Unreadable
    name, end = head[1], head.end()
    if head[2] == "}":
        if name not in values:
            missing.append(name)
        return values.get(name, ""), end
    # As in a shell: a default is also for a variable that is empty, and is read only where it is needed.
    unused: list[str] = []
    default, end = _read(text, end, values, unused, inside=True)
    if not (value := values.get(name, "")):
        missing += unused
    return value or default, end


def is_script(location: Location) -> bool:
    """Return whether a text is a script, in which ${NAME} is not replaced.

    A command's text belongs to the shell, which has the file's variables or the container's in its
    environment.
    """
    if location[0] in ("before", "after"):
        return len(location) == 3 and location[2] == "run"
    if location[0] == "services" and location[2:3] == ("prepare",):
        return len(location) == 4
    return location[0] in LATE and location[2:] == ("healthcheck", "test")


def _is_late(location: Location) -> bool:
    return len(location) > 2 and location[2] in LATE.get(location[0], ())
