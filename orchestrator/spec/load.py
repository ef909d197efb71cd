"""Read a campaign or inventory file: YAML 1.2, variables, overrides, then every problem at once with its line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ConfigurationError, Problem
from orchestrator.slo import shown
from orchestrator.spec.checks import Checks, Loaded
from orchestrator.spec.document import plain, read_yaml
from orchestrator.spec.overrides import apply, read_overrides
from orchestrator.spec.places import Places
from orchestrator.spec.references import is_file
from orchestrator.spec.variables import Names, Unset, interpolate

if TYPE_CHECKING:
    from orchestrator.spec.inventory import Inventory

VARIABLES = "variables"


def load(
    path: Path,
    overrides: Sequence[str] = (),
    environment: dict[str, str] | None = None,
    parts: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
) -> Loaded:
    """Read and check a campaign file. Raise ConfigurationError with all problems.

    overrides: 'path=value' as given to --set; parts: sections that they may add to the file; options: by path, the
    option that the user typed instead of --set.
    """
    tree = read_yaml(path)
    problems: list[Problem] = []
    changes = read_overrides(overrides, options or {}, problems)
    checks = Checks(Places(path, tree, changes).name, problems)
    data = plain(tree)
    for change in changes:
        apply(change, data, (VARIABLES, *parts), checks.problems)
    data = _resolved(data, _given(environment), checks)
    return Loaded(checks.campaign(data, path.parent), path.parent, data)


def _given(environment: dict[str, str] | None) -> dict[str, str]:
    return dict(os.environ) if environment is None else environment


def _resolved(data: dict[str, Any], environment: dict[str, str], checks: Checks) -> dict[str, Any]:
    """Return the file's data with its variables replaced; those can use the environment's."""
    unset: list[Unset] = []
    variables = interpolate(data.get(VARIABLES), Names(environment), (VARIABLES,), unset)
    services = data.get("services")
    names = Names(
        environment,
        variables if isinstance(variables, dict) else {},
        with_data(data),
        tuple(services) if isinstance(services, dict) else (),
    )
    resolved = {key: variables if key == VARIABLES else interpolate(v, names, (key,), unset) for key, v in data.items()}
    checks.unset(unset)
    return resolved


def with_data(data: dict[str, Any]) -> frozenset[str]:
    """Return the loads that have rows for placeholders."""
    loads = data.get("loads")
    if not isinstance(loads, dict):
        return frozenset()
    return frozenset(name for name, load in loads.items() if isinstance(load, dict) and "data" in load)


def from_plain(data: dict[str, Any], folder: Path | None = None) -> Loaded:
    """Check a campaign that a program made as plain data. Raise ConfigurationError with all problems."""
    folder = Path.cwd() if folder is None else folder
    return Loaded(Checks(Places(Path("campaign"), data).name).campaign(data, folder), folder, data)


def load_inventory(path: Path, environment: dict[str, str] | None = None) -> Inventory:
    """Read and check an inventory file. Raise ConfigurationError with all problems."""
    from orchestrator.spec.inventory import Inventory, file_of

    tree = read_yaml(path)
    checks = Checks(Places(path, tree).name)
    unset: list[Unset] = []
    data = interpolate(plain(tree), Names(_given(environment)), (), unset)
    checks.unset(unset)
    inventory = checks.model(Inventory, data)
    if inventory is not None:
        for name in inventory.hosts:
            key = inventory.access(name).key
            if key is not None and not is_file(file_of(path.parent, key)):
                checks.add(("hosts", name), f"there is no key file {shown(key)}", "write the path of a private key")
    if inventory is None or checks.problems:
        raise ConfigurationError(checks.in_order())
    return inventory


def is_inventory(path: Path) -> bool:
    """Return whether a file is an inventory (it has hosts or a cluster), not a campaign. Raise ConfigurationError."""
    tree = read_yaml(path)
    return ("hosts" in tree or "ray" in tree) and "targets" not in tree
