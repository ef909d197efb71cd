"""Can the load hosts hold the connections of a case? Its clients against open files and ephemeral ports.

A run asks its hosts. `--dry-run` contacts none: it uses what `hosts check` stored by inventory.
"""

from __future__ import annotations

import contextlib
import json
import math
import resource
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agents.processes import MOST_FILES, ephemeral_ports
from agents.records import GeneratorKind, HostDescription, HostRole, from_plain, to_plain
from orchestrator.errors import ConfigurationError, HostError, Problem, Several, Shortage
from orchestrator.facts import Case
from orchestrator.fleet.place import LOCAL, Placement
from orchestrator.fleet.state import digest_of, state_root
from orchestrator.spec.inventory import Inventory

# What a generator has open beside its connections: logs, pipes, its event loop, libraries.
FILES_BESIDE = 64


@dataclass(frozen=True, slots=True)
class Room:
    """What a load host has for connections: open files of a process, and ports to one place. None: not known."""

    host: str
    open_files: int | None
    ephemeral_ports: int | None


def rooms_of(described: Collection[HostDescription]) -> list[Room]:
    """Return the room on the load hosts that described themselves."""
    loads = [each for each in described if each.role is HostRole.LOAD]
    return [Room(each.host, each.open_files, each.ephemeral_ports) for each in loads]


def known(inventory: Inventory | None) -> list[Room]:
    """Return the room on this machine (None), or what `hosts check` found on the hosts of an inventory."""
    if inventory is None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        return [Room(LOCAL, MOST_FILES if hard == resource.RLIM_INFINITY else hard, ephemeral_ports())]
    with contextlib.suppress(OSError, ValueError):
        return [from_plain(Room, plain) for plain in json.loads(_file(inventory).read_text())]
    return []


def keep(inventory: Inventory, rooms: list[Room]) -> None:
    """Store the room that was found, beside that of hosts that did not answer this time."""
    merged = {room.host: room for room in [*known(inventory), *rooms]}
    file = _file(inventory)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_suffix(".part")
    draft.write_text(json.dumps([to_plain(room) for room in merged.values()]) + "\n")
    draft.rename(file)


def _file(inventory: Inventory) -> Path:
    return state_root() / "limits" / f"{digest_of(inventory)}.json"


def require_room(cases: Iterable[tuple[Case, Placement]], rooms: Collection[Room]) -> None:
    """Raise Several, with a Shortage for each host and case whose connections the host cannot hold."""
    loads = {room.host: room for room in rooms}
    errors: list[HostError] = []
    for case, placement in cases:
        errors += shortages(case, placement, loads)
    if errors:
        raise Several(errors)


def require_room_here(cases: Iterable[tuple[Case, Placement]]) -> None:
    """Raise ConfigurationError for the cases whose connections this machine cannot hold: the campaign alone shows it."""
    here = {LOCAL: known(None)[0]}
    found = [each for case, placement in cases for each in shortages(case, placement, here)]
    if found:
        # The message begins with the place.
        texts = [(each.message.partition(": "), each.hint) for each in found]
        raise ConfigurationError([Problem(where, what, hint) for (where, _, what), hint in texts])


def _most_clients(open_files: int, case: Case) -> int:
    return max(1, open_files - FILES_BESIDE) * max(1, case.agents)


def shortages(case: Case, placement: Placement, loads: Mapping[str, Room]) -> list[Shortage]:
    """Return what is missing on each load host of a case. Hosts that are not described are passed over.

    h2load and the closed loop open all their connections. In the open loop of paced `clients` is the most that it may open:
    it makes room for as many files before it starts, and uses ports as it needs them.
    """
    opens_all = case.rate_per_s is None or case.generator is GeneratorKind.H2LOAD
    if not opens_all and case.generator is not GeneratorKind.PACED:
        return []
    each = math.ceil(case.clients / max(1, case.agents))
    found = []
    for host, agents in placement.agents.items():
        if (room := loads.get(host)) is None:
            continue
        where = "this machine" if host == LOCAL else f"host {host}"
        there = "here" if host == LOCAL else f"on {host}"
        files, ports = each + FILES_BESIDE, min(agents * each, case.clients)
        if room.open_files is not None and room.open_files < files:
            found.append(
                Shortage(
                    f"{where}: {case.name} needs {files:,} open files per agent; a process there may open "
                    f"{room.open_files:,}",
                    f"raise the hard limit {there}: '* hard nofile {files}' in /etc/security/limits.conf; "
                    f"or use more agents, or at most {_most_clients(room.open_files, case):,} clients",
                )
            )
        if opens_all and not case.unix_socket and room.ephemeral_ports is not None and room.ephemeral_ports < ports:
            found.append(
                Shortage(
                    f"{where}: {case.name} opens {ports:,} connections from there to one server; the host has "
                    f"{room.ephemeral_ports:,} ephemeral ports",
                    f"use more load hosts, or {there}: sudo sysctl net.ipv4.ip_local_port_range='1024 65535'; then "
                    "'volley hosts check' shows how to reserve the inventory's ports",
                )
            )
    return found
