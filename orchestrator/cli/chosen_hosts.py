"""The hosts that a verb uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.campaign.hosts import Hosts


def start_ahead(inventory: Path | None, ray: bool) -> None:
    """Start the load host of a run on this machine, before anything else is imported or read."""
    if inventory is None and not ray:
        from orchestrator.fleet import spawn

        spawn.start_ahead()


def hosts_of(inventory: Path | None, ray: bool = False) -> Hosts:
    """Return the hosts of a run: this machine, or those of an inventory. Raise ConfigurationError."""
    from orchestrator.campaign.hosts import Hosts

    if inventory is None:
        return Hosts(ray=ray)
    from orchestrator.spec.load import load_inventory

    return Hosts(load_inventory(inventory), inventory.parent.resolve())
