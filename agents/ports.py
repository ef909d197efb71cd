"""Ports of this host: is one free, does something listen there?"""

from __future__ import annotations

import errno
import socket

from agents.container import ContainerSpec

CONNECTED_WITHIN_S = 1.0


class PortInUse(RuntimeError):
    """Something else listens on the port of a container."""


def require_free(port: int) -> None:
    """Raise PortInUse when something listens on the port."""
    for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            trial = socket.socket(family, socket.SOCK_STREAM)
        except OSError:  # a machine without this family
            continue
        with trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                trial.bind((any_address, port))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise PortInUse(f"port {port} is in use on {socket.gethostname()}: {error.strerror}") from error


def require_ports(spec: ContainerSpec, port: int | None) -> None:
    """Raise PortInUse when something listens on a port that a container will use. port: its main one, of this host."""
    used = list(spec.ports.values()) if spec.network != "host" else [port] if port is not None else []
    for one in used:
        require_free(one)


def is_open(addresses: list[str], port: int) -> bool:
    """Return whether something listens on the port at one of these addresses."""
    for address in addresses:
        try:
            socket.create_connection((address, port), CONNECTED_WITHIN_S).close()
        except OSError:
            continue
        return True
    return False
