"""From an inventory to the members of a fleet whose nodes are not up yet."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from orchestrator.errors import HostError
from orchestrator.fleet.nodes import Member
from orchestrator.fleet.place import Machine, machines_of
from orchestrator.fleet.ssh import SshHost
from orchestrator.spec.inventory import Inventory


def members(inventory: Inventory, folder: Path, machines: list[Machine] | None = None) -> list[Member]:
    """Return members for machines of an inventory, by default for all of them.

    folder: the inventory's own, which its relative paths start from.
    """
    chosen = machines_of(inventory) if machines is None else machines
    return [Member(machine, SshHost(machine.name, inventory, folder)) for machine in chosen]


def our_address(inventory: Inventory) -> str:
    """Return the address at which the hosts reach this machine. Raises HostError."""
    if inventory.coordinator.address is not None:
        return inventory.coordinator.address
    for name in inventory.hosts:
        with contextlib.suppress(OSError):
            for family, kind, _, _, place in socket.getaddrinfo(inventory.address(name), 9, type=socket.SOCK_DGRAM):
                with contextlib.suppress(OSError), socket.socket(family, kind) as probe:
                    probe.connect(place)  # sends nothing: the kernel only chooses the route
                    return str(probe.getsockname()[0])
    first = inventory.address(next(iter(inventory.hosts)))
    raise HostError(
        f"this machine cannot resolve {first} or has no route to it",
        "set 'address' of the hosts, or coordinator.address, in the inventory",
    )
