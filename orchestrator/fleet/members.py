"""From an inventory to the members of a fleet that is not up yet."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from orchestrator.errors import HostError
from orchestrator.fleet.nodes import Member
from orchestrator.fleet.place import machines_of
from orchestrator.fleet.ssh import SshHost
from orchestrator.spec.inventory import Inventory


def members(inventory: Inventory, folder: Path, hosts: list[str]) -> list[Member]:
    """Give some hosts of an inventory; `folder` is where its paths begin."""
    machines = {machine.name: machine for machine in machines_of(inventory)}
    return [
        Member(machines[name], list(inventory.hosts[name].roles), SshHost(name, inventory, folder)) for name in hosts
    ]


def our_address(inventory: Inventory) -> str:
    """Give the address at which the hosts reach this machine. Raises HostError."""
    if inventory.coordinator.address is not None:
        return inventory.coordinator.address
    first = inventory.address(next(iter(inventory.hosts)))
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((first, 9))  # sends nothing: the kernel only chooses the way
        return str(probe.getsockname()[0])
    raise HostError(f"there is no way from here to {first}", "set coordinator.address in the inventory")
