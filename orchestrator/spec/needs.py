"""Which services a target needs, and in which order they can be started. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import TopologicalSorter
from typing import Any

from orchestrator.spec.service import Service
from orchestrator.spec.target import Target

# The longer a service is kept, the higher.
LIFETIMES = {"trial": 0, "block": 1, "run": 2}


def needed_by(target: Target, services: Mapping[str, Service]) -> dict[str, Service]:
    """Return the services that a target needs, each after those that it depends on."""
    return in_order(target.needs, services)


def in_order(names: Iterable[str], services: Mapping[str, Service]) -> dict[str, Service]:
    """Return services and all that they depend on, each after those that it depends on."""
    found: dict[str, Service] = {}

    def add(name: str) -> None:
        if name not in found:
            for before in services[name].depends_on:
                add(before)
            found[name] = services[name]

    for name in names:
        add(name)
    return found


def layers(chosen: Mapping[str, Service]) -> Iterator[list[str]]:
    """Yield the names of services that can be started at the same time, once those yielded before are up."""
    sorter = TopologicalSorter({name: service.depends_on for name, service in chosen.items()})
    sorter.prepare()
    while sorter.is_active():
        ready = sorter.get_ready()
        yield [name for name in chosen if name in ready]
        sorter.done(*ready)


def wrong_lifetimes(plain: Mapping[str, Any]) -> Iterator[tuple[tuple[Any, ...], str, str]]:
    """Yield (location, what, hint) for services that outlive one that they depend on."""
    services = plain.get("services")
    entries = services if isinstance(services, dict) else {}
    lifetimes = {name: one.get("lifetime", "trial") for name, one in entries.items() if isinstance(one, dict)}
    kept = {name: lifetime for name, lifetime in lifetimes.items() if lifetime in list(LIFETIMES)}
    for name, lifetime in kept.items():
        needed = entries[name].get("depends_on")
        for other in needed if isinstance(needed, list | dict) else ():
            theirs = kept.get(str(other), "run")
            if LIFETIMES[lifetime] > LIFETIMES[theirs]:
                what = f"{name} is kept for the {lifetime}, and {other}, which it depends on, for the {theirs} only"
                yield ("services", name, "lifetime"), what, f"give {other} the lifetime {lifetime}, or {name} {theirs}"
