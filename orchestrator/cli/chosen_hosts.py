"""The hosts that a verb uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.waiting import wait_s_of

if TYPE_CHECKING:
    from orchestrator.campaign.hosts import Hosts


def start_ahead(inventory: Path | None, ray: bool) -> None:
    """Start the load host of a run on this machine, before anything else is imported or read."""
    if inventory is None and not ray:
        from orchestrator.fleet import spawn

        spawn.start_ahead()


def hosts_of(inventory: Path | None, ray: bool = False, wait: str | None = None) -> Hosts:
    """Return the hosts of a run: this machine, or those of an inventory. Raise ConfigurationError.

    wait: how long to wait for hosts that another run uses, as typed.
    """
    from orchestrator.campaign.hosts import Hosts

    wait_s = wait_s_of(wait)
    if inventory is None:
        return Hosts(ray=ray, wait_s=wait_s)
    from orchestrator.spec.load import load_inventory

    return Hosts(load_inventory(inventory), inventory.parent.resolve(), wait_s=wait_s)
