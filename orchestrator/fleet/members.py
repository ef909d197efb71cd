"""From an inventory to the members of a fleet whose nodes are not up yet."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace
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


def numbered(machines: list[Machine], inventory: Inventory, folder: Path) -> list[Machine]:
    """Return machines with IP addresses in place of names: Ray takes no names, and hosts may know others than we do.

    A name is resolved as SSH does it, so that an alias of ssh_config works. Raises HostError.
    """
    return [replace(member.machine, address=member.ssh.number()) for member in members(inventory, folder, machines)]


def our_address(inventory: Inventory, folder: Path) -> str:
    """Return the address at which the hosts reach this machine. Raises HostError."""
    if (named := inventory.coordinator.address) is not None:
        try:
            # Ray takes no names, and the hosts may know other names than we do.
            return str(socket.getaddrinfo(named, None, type=socket.SOCK_STREAM)[0][4][0])
        except OSError:
            raise HostError(
                f"coordinator.address: this machine cannot resolve {named}",
                "write an IP address of this machine that the hosts reach",
            ) from None
    for member in members(inventory, folder):
        with contextlib.suppress(OSError, HostError):
            address = member.ssh.number()
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((address, 9))  # sends nothing: the kernel only chooses the route
                return str(probe.getsockname()[0])
    first = inventory.address(next(iter(inventory.hosts)))
    raise HostError(
        f"this machine cannot resolve {first} or has no route to it",
        "set 'address' of the hosts, or coordinator.address, in the inventory",
    )
