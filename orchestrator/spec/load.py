"""Read a campaign or inventory file: YAML 1.2, variables, overrides, then every problem at once with its line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from orchestrator.errors import ConfigurationError, Problem
from orchestrator.redact import keep_secret
from orchestrator.slo import shown
from orchestrator.spec.allowed import read_allowed
from orchestrator.spec.checks import Checks, Loaded
from orchestrator.spec.document import Document, plain, read_document
from orchestrator.spec.overrides import apply, read_overrides
from orchestrator.spec.places import Places
from orchestrator.spec.references import is_file
from orchestrator.spec.secrets import Written, unwrapped
from orchestrator.spec.variables import Names, Unset, interpolate

if TYPE_CHECKING:
    from orchestrator.spec.inventory import Inventory

VARIABLES, ALLOWED = "variables", "allow_targets"


def load(
    file: Path | Document,
    overrides: Sequence[str] = (),
    environment: dict[str, str] | None = None,
    parts: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
    allowed: Sequence[str] = (),
) -> Loaded:
    """Read and check a campaign file. Raise ConfigurationError with all problems.

    file: its path, or what was read of it.
    overrides: 'path=value' as given to --set; parts: sections that they may add to the file; options: by path, the
    option that the user typed instead of --set; allowed: as given to --allow-target, beside what the file allows.
    """
    more = read_allowed(allowed)
    document = _document(file)
    if is_inventory(document):
        _refuse(document, "is an inventory, not a campaign", "name a campaign file; an inventory follows --hosts")
    problems: list[Problem] = []
    changes = read_overrides(overrides, options or {}, problems)
    checks = Checks(Places(document.path, document.tree, changes).name, problems)
    data = plain(document.tree)
    for change in changes:
        apply(change, data, (VARIABLES, *parts), checks.problems)
    if more and isinstance(there := data.get(ALLOWED, []), list):
        data[ALLOWED] = [*there, *more]
    written, wrapped = unwrapped(data)
    data = _resolved(written, _given(environment), checks)
    checks.written = Written(written, data, _given(environment), [change.keys for change in changes], wrapped)
    keep_secret(checks.written.known(), sought=False)
    keep_secret(checks.written.sought())
    folder = document.folder
    return Loaded(checks.campaign(data, folder), folder, data, document)


def _document(file: Path | Document) -> Document:
    return file if isinstance(file, Document) else read_document(file)


def _refuse(document: Document, what: str, hint: str) -> NoReturn:
    raise ConfigurationError([Problem(str(document.path), what, hint)])


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


def also_allowing(loaded: Loaded, allowed: Sequence[str]) -> Loaded:
    """Return a campaign that allows more targets. allowed: as given to --allow-target. Raise ConfigurationError."""
    if not allowed:
        return loaded
    campaign = loaded.campaign
    every = [*campaign.allow_targets, *read_allowed(allowed)]
    return replace(loaded, campaign=campaign.model_copy(update={ALLOWED: every}))


def from_plain(data: dict[str, Any], folder: Path | None = None) -> Loaded:
    """Check a campaign that a program made as plain data. Raise ConfigurationError with all problems."""
    folder = Path.cwd() if folder is None else folder
    data, wrapped = unwrapped(data)
    keep_secret(Written(data, data, wrapped=wrapped).sought())
    return Loaded(Checks(Places(Path("campaign"), data).name).campaign(data, folder), folder, data)


def load_inventory(file: Path | Document, environment: dict[str, str] | None = None) -> Inventory:
    """Read and check an inventory file. Raise ConfigurationError with all problems."""
    from orchestrator.spec.inventory import Inventory, file_of

    document = _document(file)
    if "targets" in document.tree and "hosts" not in document.tree:
        _refuse(document, "is a campaign, not an inventory", "name a file with 'hosts'")
    checks = Checks(Places(document.path, document.tree).name)
    unset: list[Unset] = []
    given = _given(environment)
    data = interpolate(plain(document.tree), Names(given), (), unset)
    checks.written = Written(plain(document.tree), data, given)
    checks.unset(unset)
    inventory = checks.model(Inventory, data)
    if inventory is not None:
        for name in inventory.hosts:
            key = inventory.access(name).key
            if key is not None and not is_file(file_of(document.folder, key)):
                checks.add(("hosts", name), f"there is no key file {shown(key)}", "write the path of a private key")
    if inventory is None or checks.problems:
        raise ConfigurationError(checks.in_order())
    return inventory


def is_inventory(file: Path | Document) -> bool:
    """Return whether a file is an inventory (it has hosts or a cluster), not a campaign. Raise ConfigurationError."""
    tree = _document(file).tree
    return ("hosts" in tree or "ray" in tree) and "targets" not in tree
