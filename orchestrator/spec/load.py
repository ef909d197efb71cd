"""Read a campaign or inventory file: YAML 1.2, variables, overrides, then every problem at once with its line."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from orchestrator.errors import ConfigurationError, Problem, UsageError
from orchestrator.spec.models import Campaign
from orchestrator.spec.references import missing_files, wrong_references
from orchestrator.spec.units import as_text

if TYPE_CHECKING:
    from orchestrator.spec.inventory import Inventory

M = TypeVar("M", bound=BaseModel)


# What is set here is set before anything is put in.
VARIABLES = "variables."
_WHOLE = re.compile(r"^\$\{(\w+)\}$")


@dataclass(frozen=True, slots=True)
class Names:
    """What ${NAME} can mean: a variable of the file, else one of the environment."""

    environment: dict[str, str]
    variables: dict[str, Any] = field(default_factory=dict)

    def all(self) -> dict[str, str]:
        """Everything as text."""
        return self.environment | {name: as_text(value) for name, value in self.variables.items()}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked campaign, the folder its paths are relative to, and the resolved input as plain data."""

    campaign: Campaign
    folder: Path
    plain: dict[str, Any]


def load(
    path: Path,
    overrides: list[str] | None = None,
    environment: dict[str, str] | None = None,
    parts: Sequence[str] = (),
) -> Loaded:
    """Read and check a campaign file.

    overrides: 'path=value' as given to --set; parts: what they may go into although the file does not have it.
    Raises ConfigurationError with all problems, UsageError for a bad override.
    """
    tree = _read_yaml(path)
    problems: list[Problem] = []
    given = dict(os.environ) if environment is None else environment
    overrides = overrides or []
    for override in (o for o in overrides if o.startswith(VARIABLES)):
        tree.setdefault("variables", {})
        _override(tree, override)
    variables = _interpolate(tree.get("variables"), Names(given), path, ("variables",), problems)
    names = Names(given, variables if isinstance(variables, dict) else {})
    plain = {
        str(k): variables if k == "variables" else _interpolate(v, names, path, (k,), problems) for k, v in tree.items()
    }
    for override in (o for o in overrides if not o.startswith(VARIABLES)):
        if (part := override.partition(".")[0]) in parts:
            plain.setdefault(part, {})
        _override(plain, override)
    return Loaded(_check(plain, path, tree, problems), path.parent, plain)


def from_plain(plain: dict[str, Any], folder: Path | None = None) -> Loaded:
    """Check a campaign that was made from a command line. Raises ConfigurationError with all problems."""
    folder = folder or Path.cwd()
    return Loaded(_check(plain, folder / "command line", plain, []), folder, plain)


def with_loads(loaded: Loaded, loads: dict[str, Any], repetitions: int) -> Loaded:
    """Give a campaign with other loads, and without what is about the old ones. Raises ConfigurationError."""
    about = {"include", "exclude", "slo", "saturation", "minimum_valid"}
    plain = {key: value for key, value in loaded.plain.items() if key not in about}
    return from_plain(plain | {"loads": loads, "repetitions": repetitions}, loaded.folder)


def load_inventory(path: Path, environment: dict[str, str] | None = None) -> Inventory:
    """Read and check an inventory file. Raises ConfigurationError with all problems."""
    from orchestrator.spec.inventory import Inventory, file_of

    tree = _read_yaml(path)
    problems: list[Problem] = []
    plain = _interpolate(tree, Names(dict(os.environ) if environment is None else environment), path, (), problems)
    inventory = _model_of(Inventory, plain, path, tree, problems)
    if problems or inventory is None:
        raise ConfigurationError(problems)
    for name in inventory.hosts:
        key = inventory.access(name).key
        if key is not None and not file_of(path.parent, key).is_file():
            problems.append(Problem(f"{path}: hosts.{name}", f"there is no key file {key!r}", "name the private key"))
    if problems:
        raise ConfigurationError(problems)
    return inventory


def is_inventory(path: Path) -> bool:
    """Say whether a file is an inventory (it has hosts) and not a campaign. Raises ConfigurationError."""
    tree = _read_yaml(path)
    return "hosts" in tree and "targets" not in tree


def _check(plain: dict[str, Any], path: Path, tree: Any, problems: list[Problem]) -> Campaign:
    at = _place_in(path, tree)
    campaign = _model_of(Campaign, plain, path, tree, problems)
    problems += [Problem(at(location), what, hint) for location, what, hint in wrong_references(plain)]
    problems += [Problem(at(location), what, hint) for location, what, hint in missing_files(plain, path.parent)]
    if problems or campaign is None:
        raise ConfigurationError(problems)
    return campaign


def _place_in(path: Path, tree: Any) -> Callable[[tuple[Any, ...]], str]:
    def at(location: tuple[Any, ...]) -> str:
        return f"{path}{_line(tree, location)}: {_dotted(location)}"

    return at


def _model_of(model: type[M], plain: dict[str, Any], path: Path, tree: Any, problems: list[Problem]) -> M | None:
    """Validate plain data; what is wrong goes to `problems`, all of it."""
    at = _place_in(path, tree)
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        problems += [problem for detail in error.errors() for problem in _explain(detail, at, model)]
        return None


def _read_yaml(path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            [Problem(str(path), f"cannot be read: {reason}", "give the path of a file that is there")]
        ) from None
    try:
        tree = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        what = (error.problem or "is not YAML").split("\n")[0]
        raise ConfigurationError([Problem(where, what, "mend the YAML there")]) from None
    except YAMLError as error:
        raise ConfigurationError([Problem(str(path), str(error).split("\n")[0], "mend the YAML there")]) from None
    if not isinstance(tree, dict):
        raise ConfigurationError([Problem(str(path), "is not a mapping", "begin with 'campaign: NAME' (or 'hosts:')")])
    return tree


def _interpolate(value: Any, names: Names, path: Path, where: tuple[Any, ...], problems: list[Problem]) -> Any:
    """Give plain data with ${VAR} and ${VAR:-default} replaced in every string; an unset variable is a problem.

    A string that is nothing but one of the file's variables becomes its value, a number if it is one.
    """
    if isinstance(value, dict):
        return {str(k): _interpolate(v, names, path, (*where, k), problems) for k, v in value.items()}
    if isinstance(value, list):
        return [_interpolate(v, names, path, (*where, i), problems) for i, v in enumerate(value)]
    if isinstance(value, str):
        if "$" not in value or _is_script(where):
            return str(value)
        if (whole := _WHOLE.match(value)) and whole[1] in names.variables:
            return names.variables[whole[1]]
        from expandvars import ExpandvarsException, expand

        try:
            expander: Any = expand
            return str(expander(value, nounset=True, environ=names.all()))
        except ExpandvarsException as error:
            problems.append(
                Problem(f"{path}: {_dotted(where)}", str(error), "set the variable, or give a default: ${NAME:-value}")
            )
            return value
    if isinstance(value, float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return value


def _is_script(where: tuple[Any, ...]) -> bool:
    """A command's text is the shell's, which finds the file's variables in its environment."""
    return len(where) == 3 and where[0] in ("before", "after") and where[2] == "run"


def _override(plain: dict[str, Any], override: str) -> None:
    """Apply one --set path=value; the value is read as YAML."""
    from ruamel.yaml import YAML

    path, equals, text = override.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise UsageError(f"--set {override!r} is not path=value", "write it as --set loads.steady.clients=80")
    node: Any = plain
    for key in keys[:-1]:
        if not isinstance(node, dict) or not isinstance(node.get(key), dict):
            known = ", ".join(node) if isinstance(node, dict) else "nothing"
            raise UsageError(f"--set {override!r}: there is no {key!r} to go into", f"there is: {known}")
        node = node[key]
    node[keys[-1]] = YAML(typ="safe").load(text)


def _explain(detail: Any, at: Callable[[tuple[Any, ...]], str], root: type[BaseModel]) -> list[Problem]:
    """Turn one pydantic error into problems with line, path, the sentence, and what would be valid."""
    location = tuple(part for part in detail["loc"] if not _is_union_member(part))
    kind, message = detail["type"], str(detail["msg"])
    where = at(location)
    if kind == "extra_forbidden":
        known = _known_keys(root, location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"the keys here are: {', '.join(known)}"
        return [Problem(where, f"unknown key {str(location[-1])!r}", hint)]
    if kind == "missing":
        return [Problem(where, "is missing", "add it")]
    sentences = message.removeprefix("Value error, ").split("\n")
    problems = []
    for sentence in sentences:
        what, _, hint = (
            sentence.partition(": ") if kind == "value_error" and len(sentences) == 1 else (sentence, "", "")
        )
        problems.append(Problem(where, what if hint else sentence, hint))
    return problems


def _is_union_member(part: Any) -> bool:
    return isinstance(part, str) and (
        part in ("Build", "str", "count", "adaptive") or part.startswith("function-") or "[" in part
    )


def _known_keys(root: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """List the keys that the model at a place of the file knows."""
    model: Any = root
    for part in location:
        field = model.model_fields.get(str(part)) if isinstance(model, type) and issubclass(model, BaseModel) else None
        if field is not None:
            model = _model_in(field.annotation)
        # Otherwise the part is a name that the user chose, of a target or a load: the model stays.
    if isinstance(model, type) and issubclass(model, BaseModel):
        return sorted(field.alias or name for name, field in model.model_fields.items())
    return []


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def _line(tree: Any, location: tuple[Any, ...]) -> str:
    """Find the line of a place in the YAML; of its nearest parent when it is not there."""
    node, line = tree, ""
    for part in location:
        marks = getattr(node, "lc", None)
        if marks is None or not isinstance(node, dict | list):
            break
        try:
            row = marks.key(part)[0] if isinstance(node, dict) else marks.item(part)[0]
            node = node[part]
        except (KeyError, IndexError, TypeError):
            break
        line = f":{row + 1}"
    return line


def _dotted(location: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in location) or "the file"
