"""Check what targets and services say about services: names, order, addresses. Works on plain data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from orchestrator.slo import shown
from orchestrator.spec.variables import LATE, OF_SERVICES, is_script

Location = tuple[Any, ...]
_REFERENCE = re.compile(rf"(?<!\$)\$\{{([A-Za-z0-9][A-Za-z0-9_.-]*)\.({'|'.join(OF_SERVICES)})\}}")


def wrong_service_references(plain: Mapping[str, Any]) -> Iterator[tuple[Location, str, str]]:
    """Yield (location, what, hint) for services that are not there, are not waited for, or wait for each other."""
    services = _mappings(plain, "services")
    before = {name: _names(service.get("depends_on")) for name, service in services.items()}
    for name, service in services.items():
        yield from _unknown(("services", name, "depends_on"), before[name], services)
        yield from _unreachable(("services", name), service, before[name], before, services, own=name)
    try:
        known = {name: [other for other in names if other in services] for name, names in before.items()}
        TopologicalSorter(known).prepare()
    except CycleError as error:
        cycle = [str(name) for name in error.args[1]]
        what = f"services wait for each other: {' → '.join(reversed(cycle))}"
        yield ("services", cycle[0], "depends_on"), what, "remove one of these dependencies"
    yield from _in_commands(plain, services)
    for name, target in _mappings(plain, "targets").items():
        needs = _names(target.get("needs"))
        yield from _unknown(("targets", name, "needs"), needs, services)
        yield from _unreachable(("targets", name), target, needs, before, services)
        yield from _same_port(name, target, [one for one in _all_before(needs, before) if one in services], plain)


def _in_commands(plain: Mapping[str, Any], services: Mapping[str, Any]) -> Iterator[tuple[Location, str, str]]:
    """Yield the references in commands around trials: their text is the shell's, which has variables for them."""
    for section in ("before", "after"):
        commands = plain.get(section)
        for index, command in enumerate(commands if isinstance(commands, list) else ()):
            text = command.get("run") if isinstance(command, dict) else None
            for name, part in dict.fromkeys(_REFERENCE.findall(text if isinstance(text, str) else "")):
                if name in services:
                    what = f"a shell cannot read ${{{name}.{part}}}"
                    variable = f"VOLLEY_{re.sub('[^A-Z0-9]', '_', name.upper())}_{part.upper()}"
                    yield (section, index, "run"), what, f"write ${variable}"


def _same_port(
    name: str, target: Mapping[str, Any], needed: list[str], plain: Mapping[str, Any]
) -> Iterator[tuple[Location, str, str]]:
    """Yield the services of a target that use a port of its host which it, or another of them, uses."""
    services, place = _mappings(plain, "services"), plain.get("place")
    elsewhere = isinstance(place, dict) and "service" in place
    used = dict.fromkeys(_host_ports(target), f"target {name}")
    for one in sorted(needed, key=list(services).index):
        if services[one].get("place", None if elsewhere else "server") != "server":
            continue
        for port in _host_ports(services[one]):
            other = used.setdefault(port, f"service {one}")
            if other != f"service {one}":
                yield ("services", one), f"port {port} is also that of {other}, on the same host", "use another port"


def _host_ports(container: Mapping[str, Any]) -> set[int]:
    """Return the ports of its host that a container uses, as far as they are written as such."""
    main, found = container.get("port"), dict[int, int]()
    ports = container.get("ports")
    for text in ports if isinstance(ports, list) else ():
        if pair := re.fullmatch(r"(?:(\d+):)?(\d+)(?:/tcp)?", str(text)):
            found[int(pair[2])] = int(pair[1] or pair[2])
    if isinstance(main, int):
        found.setdefault(main, main)
    # With the host's network nothing is published: the main port is the one that is used.
    if container.get("network") != "bridge":
        return set(list(found.values())[:1]) if not isinstance(main, int) else {main}
    return set(found.values())


def _unknown(location: Location, names: list[str], services: Mapping[str, Any]) -> Iterator[tuple[Location, str, str]]:
    for name in names:
        if name not in services:
            known = f"the services are: {', '.join(services)}" if services else "add it to 'services'"
            yield location, f"there is no service {shown(name)}", known


def _unreachable(
    location: Location,
    container: Mapping[str, Any],
    waits_for: list[str],
    before: Mapping[str, list[str]],
    services: Mapping[str, Any],
    own: str = "",
) -> Iterator[tuple[Location, str, str]]:
    """Yield the references to services that may not be up when a container is created, and to ports that are not named.

    own: the service whose container it is; its commands can name itself.
    """
    up = _all_before(waits_for, before)
    key = "depends_on" if own else "needs"
    reported: set[tuple[str, str]] = set()
    late = LATE[location[0]]
    for where, text in _texts({name: value for name, value in container.items() if name in late}, ()):
        for name, part in _REFERENCE.findall(text):
            if (name, part) in reported:
                continue
            reported.add((name, part))
            if name not in services:
                # In other texts that is an unset variable, which is reported already.
                if is_script((*location, *where)):
                    yield (*location, *where), f"there is no service {shown(name)}", "add it to 'services'"
            elif name not in up and not (name == own and where[0] in ("prepare", "healthcheck")):
                yield (*location, *where), f"service {name} may not be up here", f"add {name} to {key!r}"
            elif part == "port" and not (services[name].get("port") or services[name].get("ports")):
                yield ("services", name), f"${{{name}.port}} is used, and service {name} has no port", "add 'port'"


def _all_before(names: list[str], before: Mapping[str, list[str]]) -> set[str]:
    found: set[str] = set()
    pending = list(names)
    while pending:
        if (name := pending.pop()) not in found:
            found.add(name)
            pending += before.get(name, [])
    return found


def _texts(value: Any, where: Location) -> Iterator[tuple[Location, str]]:
    """Yield every text of a container with its place."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(inner, (*where, key))


def _mappings(plain: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    value = plain.get(key)
    entries = value.items() if isinstance(value, dict) else ()
    return {name: inner for name, inner in entries if isinstance(inner, dict)}


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list | dict) else []
