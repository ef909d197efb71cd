"""${NAME} in campaign and inventory files: a variable of the file, else one of the environment."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from orchestrator.slo import shown
from orchestrator.spec.units import as_text

Location = tuple[Any, ...]
_WHOLE = re.compile(r"^\$\{(\w+)\}$")


@dataclass(frozen=True, slots=True)
class Names:
    """What ${NAME} can mean."""

    environment: dict[str, str]
    variables: dict[str, Any] = field(default_factory=dict)

    def all(self) -> dict[str, str]:
        """Return every value as text; the file's variables win."""
        return self.environment | {name: as_text(value) for name, value in self.variables.items()}


@dataclass(frozen=True, slots=True)
class Unset:
    """A ${NAME} that could not be replaced: where, why, and what to do."""

    location: Location
    what: str
    hint: str


def interpolate(value: Any, names: Names, location: Location, unset: list[Unset]) -> Any:
    """Return plain data with ${NAME} and ${NAME:-default} replaced in every string.

    A string that is nothing but a variable of the file becomes that variable's value, a number if it is one.
    """
    if isinstance(value, dict):
        return {key: interpolate(inner, names, (*location, key), unset) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolate(inner, names, (*location, i), unset) for i, inner in enumerate(value)]
    if not isinstance(value, str) or "$" not in value or _is_script(location):
        return value
    if (whole := _WHOLE.match(value)) and whole[1] in names.variables:
        return names.variables[whole[1]]
    return _expanded(value, names, location, unset)


def literal(value: Any) -> Any:
    """Return plain data whose text `interpolate` reads back as it is."""
    if isinstance(value, dict):
        return {key: literal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [literal(inner) for inner in value]
    if isinstance(value, str) and "$" in value:
        return value.replace("\\", "\\\\").replace("$", "\\$")
    return value


def _expanded(text: str, names: Names, location: Location, unset: list[Unset]) -> str:
    from expandvars import ExpandvarsException, ParameterNullOrNotSet, UnboundVariable, expand

    expander: Any = expand
    try:
        return str(expander(text, nounset=True, environ=names.all()))
    except (UnboundVariable, ParameterNullOrNotSet) as error:
        what = f"variable {shown(str(error.args[0]).partition(':')[0])} is not set"
        unset.append(Unset(location, what, "set the variable, or give a default: ${NAME:-value}"))
    except ExpandvarsException:
        what = f"{shown(text)} is not a valid use of a variable"
        unset.append(Unset(location, what, "write ${NAME} or ${NAME:-value}; write \\$ for a dollar sign"))
    return text


def _is_script(location: Location) -> bool:
    """A command's text belongs to the shell, which has the file's variables in its environment."""
    return len(location) == 3 and location[0] in ("before", "after") and location[2] == "run"
