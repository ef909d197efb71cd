"""Which addresses a load may go to, and how a host name becomes addresses that were checked.

A load aimed at a stranger is an attack. Without permission it may go to loopback, private and benchmarking addresses
only. A name is resolved where the load is sent: it may stand for another address there than on the coordinator.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Addresses that no stranger has. 0.0.0.0/32 and ::/128 reach this machine.
OURS = (
    "0.0.0.0/32", "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1122, RFC 1918
    "100.64.0.0/10", "169.254.0.0/16", "198.18.0.0/15",  # RFC 6598, link-local, benchmarking (RFC 2544)
    "::/128", "::1/128", "fc00::/7", "fe80::/10",  # loopback, RFC 4193, link-local
)  # fmt: skip
LOCALHOST = "localhost"
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
# How the reason begins where a load may not go; the coordinator recognises it.
NOT_ALLOWED = "not allowed as a target: "


@dataclass(frozen=True, slots=True)
class Permitted:
    """What may be driven beside OURS. names: host names in lower case, whatever addresses they have.

    networks: addresses and networks, as text.
    """

    names: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)


class NotPermitted(RuntimeError):
    """A load would go to an address that nobody has allowed. Nothing was sent there."""


def is_ours(address: Address) -> bool:
    """Return whether no stranger can have an address."""
    return _within(address, _ours())


def strangers(found: list[str], permitted: Permitted) -> list[str]:
    """Return those of some addresses that need a permission and have none."""
    allowed = tuple(ipaddress.ip_network(text, strict=False) for text in permitted.networks)
    return [text for text in found if not _within(address_of(text), (*_ours(), *allowed))]


def address_of(text: str) -> Address:
    """Return an address without its scope; an IPv4 address for one that is written as IPv6. Raise ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_address(host: str) -> bool:
    """Return whether a host is an address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, the preferred one first. Raise OSError when it has none."""
    found = [info[4] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    # The scope of a link-local address is not part of its text.
    texts = [f"{at[0]}%{at[3]}" if len(at) == 4 and at[3] and "%" not in str(at[0]) else str(at[0]) for at in found]
    return list(dict.fromkeys(texts))


def is_named(host: str, permitted: Permitted) -> bool:
    """Return whether a host name itself is allowed, so that its addresses do not matter."""
    return host.lower().rstrip(".") in permitted.names


def checked(host: str, port: int, permitted: Permitted) -> list[str]:
    """Resolve a host and return its addresses, all of which may be driven. Raise NotPermitted; OSError as resolve()."""
    found = resolve(host, port)
    if not is_named(host, permitted) and (wrong := strangers(found, permitted)):
        raise NotPermitted(NOT_ALLOWED + described(host, wrong))
    return found


def described(host: str, wrong: list[str]) -> str:
    """Return which addresses of a host are a stranger's, for a person."""
    more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    if is_address(host):
        return f"{wrong[0]} is a public address"
    return f"{host} is at {wrong[0]}{more}, " + ("which are public" if more else "which is public")


def pinned(url: str, permitted: Permitted | None) -> list[str]:
    """Return the checked addresses that a generator must connect to; none where the host of the URL cannot change.

    That is an address, a name that is allowed itself, and localhost. permitted: None for a server of Volley's own.
    Raise NotPermitted, and OSError for a name without an address.
    """
    if permitted is None:
        return []
    host, port = host_and_port(url)
    if is_named(host, permitted):
        return []
    found = checked(host, port, permitted)
    return [] if is_address(host) or host.lower() == LOCALHOST else found


def host_and_port(url: str) -> tuple[str, int]:
    """Return the host of a URL and its port."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or PORTS[parts.scheme]


def connect(host: str, port: int, timeout_s: float, permitted: Permitted | None) -> socket.socket:
    """Connect to the first address of a host that accepts it. Raise NotPermitted before anything is sent, and OSError.

    permitted: None for a server of Volley's own.
    """
    if permitted is None:
        return socket.create_connection((host, port), timeout_s)
    error = OSError(f"{host} has no address")
    for address in checked(host, port, permitted):
        try:
            return socket.create_connection((address, port), timeout_s)
        except OSError as refused:
            error = refused
    raise error


def first_that_accepts(addresses: list[str], port: int, timeout_s: float) -> str:
    """Return the first of some checked addresses that accepts a connection; the first one where none does."""
    for address in addresses if len(addresses) > 1 else ():
        try:
            socket.create_connection((address, port), timeout_s).close()
        except OSError:
            continue
        return address
    return addresses[0]


@functools.cache
def _ours() -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in OURS)


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
