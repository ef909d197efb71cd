"""Who may be loaded: what `allow_targets` and --allow-target hold, as rules for agents.destinations. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from agents.destinations import LOCALHOST, Permitted, is_address
from orchestrator.errors import ConfigurationError, Problem
from orchestrator.slo import shown
from orchestrator.spec.urls import ascii_host

OPTION = "--allow-target"
# Larger networks hold strangers: a permission for the whole internet says nothing. By version of IP.
WIDEST = {4: 8, 6: 19}
FORM = "write a host name, an address or a network, e.g. staging.example.com or 203.0.113.0/28"


def checked_allowed(value: str) -> str:
    """Return a host name, address or network as it is compared. Raise ValueError that says what to write instead."""
    text = value.strip()
    if "://" in text:
        host = _host_of(text)
        raise ValueError(f"{shown(text)} is a URL: " + (f"write its host alone, {host}" if host else FORM))
    if "*" in text:
        raise ValueError(f"{shown(text)} is a pattern: write each host name, or a network")
    if "/" in text:
        return str(_network(text))
    bare = text.removeprefix("[").removesuffix("]")
    if ":" in bare and not is_address(bare):
        raise ValueError(f"{shown(text)} is not a host: write it without a port")
    try:
        return ascii_host(bare).lower().rstrip(".")
    except ValueError:
        raise ValueError(f"{shown(text)} is not a host: {FORM}") from None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{shown(text)} is not a network: {FORM}") from None
        raise ValueError(f"{shown(text)} is an address within a network: write {meant}") from None
    if network.prefixlen < (widest := WIDEST[network.version]):
        raise ValueError(f"{shown(text)} is too large to be yours: write networks of at most /{widest}")
    return network


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


Allowed = Annotated[str, AfterValidator(checked_allowed)]


def read_allowed(texts: Sequence[str]) -> list[str]:
    """Return what --allow-target was given. Raise ConfigurationError with all that is wrong."""
    found, problems = [], []
    for text in texts:
        try:
            found.append(checked_allowed(text))
        except ValueError as error:
            what, _, hint = str(error).rpartition(": ")
            problems.append(Problem(OPTION, what, hint))
    if problems:
        raise ConfigurationError(problems)
    return found


def rules_of(allowed: Iterable[str], ours: Iterable[str] = ()) -> Permitted:
    """Return checked texts as rules. ours: further addresses that may be loaded: the hosts of the run."""
    names, networks = list[str](), list[str]()
    for text in allowed:
        (networks if "/" in text or is_address(text) else names).append(text)
    return Permitted(names, [*networks, *ours])


def how_to_allow(url: str) -> str:
    """Return what to do where a load on a URL was refused, as an imperative."""
    host = urlsplit(url).hostname or "HOST"
    return (
        f"if you are responsible for this server, add {OPTION} {host}, or write it once into the campaign: "
        f"allow_targets: [{_quoted(host)}]"
    )


def _quoted(host: str) -> str:
    # A list of YAML takes a colon for a mapping.
    return f'"{host}"' if ":" in host else host


def needs_no_look(host: str, rules: Permitted) -> bool:
    """Return whether a host may be loaded whatever addresses its name has, as far as the coordinator knows."""
    return host.lower() == LOCALHOST or host.lower().rstrip(".") in rules.names
