"""Where containers and commands reach services: ${NAME.address}, ${NAME.port}, names in /etc/hosts, variables. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from orchestrator.spec.container import HOST, Container
from orchestrator.spec.service import Service

LOOPBACK = "127.0.0.1"
# The engine's name for the host of a container, and the name under which containers resolve it.
HOST_GATEWAY, OWN_HOST = "host-gateway", "host.docker.internal"
# $${...} is the text ${...}. A colon after an address: it is followed by a port.
_REFERENCE = re.compile(r"(\$?)\$\{([A-Za-z0-9][A-Za-z0-9_.-]*)\.(address|port)\}(?=(:)?)")

C = TypeVar("C", bound=Container)


@dataclass(frozen=True, slots=True)
class At:
    """Where a service is reached. port: None for one that has none. number: its IP address, or HOST_GATEWAY."""

    address: str
    port: int | None
    number: str


def seen_from(container: Container, host: str, service: Service, at: str, number: str) -> At:
    """Return where a container on a host reaches a service.

    at: the host of the service; number: the IP address at which load reaches that host. A container with the host's network
    reaches what runs beside it at the loopback address; one on the bridge has a loopback address of its own.
    """
    if at != host:
        return At(number, service.reached, number)
    if container.network == HOST:
        return At(LOOPBACK, service.reached, LOOPBACK)
    return At(OWN_HOST, service.reached, HOST_GATEWAY)


def variables(name: str, at: At) -> dict[str, str]:
    """Return what a command finds in its environment about a service: VOLLEY_NAME_ADDRESS and VOLLEY_NAME_PORT."""
    prefix = f"VOLLEY_{re.sub(r'[^A-Z0-9]', '_', name.upper())}"
    port = {} if at.port is None else {f"{prefix}_PORT": str(at.port)}
    return {f"{prefix}_ADDRESS": at.address, **port}


def own(service: Service) -> At:
    """Return where a service is reached from within its own container."""
    return At(LOOPBACK, service.listens, LOOPBACK)


def resolved(container: C, addresses: Mapping[str, At]) -> C:
    """Return a container with the addresses of services in its texts, and their names in its /etc/hosts.

    A name that the campaign gives an address itself keeps it.
    """
    hosts = {name: at.number for name, at in addresses.items()}
    if HOST_GATEWAY in hosts.values():
        hosts[OWN_HOST] = HOST_GATEWAY
    hosts |= {name: filled(address, addresses) for name, address in container.extra_hosts.items()}
    update: dict[str, object] = {
        "environment": {name: filled(value, addresses) for name, value in container.environment.items()},
        "command": _words(container.command, addresses),
        "entrypoint": _words(container.entrypoint, addresses),
        "extra_hosts": hosts,
    }
    check = container.healthcheck
    if check is not None and check.test is not None:
        test = filled(check.test, addresses) if isinstance(check.test, str) else _words(check.test, addresses)
        update["healthcheck"] = check.model_copy(update={"test": test})
    return container.model_copy(update=update)


def filled(text: str, addresses: Mapping[str, At]) -> str:
    """Return a text with the addresses and ports of services in it; other uses of ${...} stay as they are.

    An IPv6 address that a port follows has brackets.
    """

    def value(found: re.Match[str]) -> str:
        escaped, name, part, before_port = found.groups()
        at = addresses.get(name)
        if escaped or at is None:
            return found[0].removeprefix(escaped)
        if part == "port":
            return str(at.port)
        is_bare = before_port and ":" in at.address and not found.string[: found.start()].endswith("[")
        return f"[{at.address}]" if is_bare else at.address

    return _REFERENCE.sub(value, text)


def _words(words: list[str] | None, addresses: Mapping[str, At]) -> list[str] | None:
    return None if words is None else [filled(word, addresses) for word in words]
