"""Values from the command line that replace values of a campaign file: --set PATH=VALUE."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import ConfigurationError, Problem
from orchestrator.slo import legible, shown
from orchestrator.spec.document import read_value


@dataclass(frozen=True, slots=True)
class Override:
    """One value for one place of the file. option: what the user typed, without the value, which can be a secret."""

    keys: tuple[str, ...]
    value: Any
    option: str


def read_overrides(texts: Sequence[str], options: Mapping[str, str], problems: list[Problem]) -> list[Override]:
    """Return the overrides, in the order given. They are applied before any ${NAME} is replaced.

    texts: 'path=value', the value as YAML; options: the option that stands for a path, where it is not --set.
    """
    return [override for text in texts if (override := _read(text, options, problems)) is not None]


def _read(text: str, options: Mapping[str, str], problems: list[Problem]) -> Override | None:
    path, equals, value = text.partition("=")
    keys = tuple(path.split("."))
    # Without '=' the value follows somewhere, and can be a secret.
    named = path if equals else re.split(r"[^A-Za-z0-9_.-]", path, maxsplit=1)[0]
    option = options.get(path, f"--set {legible(named)}")
    if not equals or not all(keys):
        problems.append(Problem(option, "is not PATH=VALUE", "write it as --set loads.steady.clients=80"))
        return None
    try:
        return Override(keys, read_value(value), option)
    except ConfigurationError as error:
        hint = f"quote the value: --set '{legible(path)}=\"...\"'"
        problems.append(Problem(option, f"the value is not YAML: {error.problems[0].what}", hint))
        return None


def apply(override: Override, tree: dict[str, Any], parts: Sequence[str], problems: list[Problem]) -> None:
    """Put a value where it belongs. parts: what may be added at the top of a file that does not have it."""
    if len(override.keys) > 1 and override.keys[0] in parts and tree.get(override.keys[0]) is None:
        tree[override.keys[0]] = {}
    node: Any = tree
    for key in override.keys[:-1]:
        if not isinstance(node.get(key), dict):
            known = ", ".join(map(str, node)) or "none"
            what = f"unknown key {shown(key)}"
            problems.append(Problem(override.option, what, f"the keys there are: {legible(known)}"))
            return
        node = node[key]
    node[override.keys[-1]] = override.value
