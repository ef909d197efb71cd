"""The hosts that a verb uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.campaign.hosts import Hosts


def hosts_of(inventory: Path | None) -> Hosts:
    """Return the hosts of a run: this machine, or those of an inventory. Raise ConfigurationError."""
    from orchestrator.campaign.hosts import Hosts
    from orchestrator.spec.load import load_inventory

    return Hosts() if inventory is None else Hosts(load_inventory(inventory), inventory.parent.resolve())
