"""Which host runs what. Pure: --dry-run and the run get the same answer, and every trial of a campaign the same hosts.

Ray then reserves exactly these hosts, with a placement group per trial. docs/adr/0004 explains why
Ray does not choose them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agents.records import HostRole
from orchestrator.errors import Shortage, UsageError
from orchestrator.plan import Plan
from orchestrator.spec.inventory import Inventory, slots_of
from orchestrator.spec.models import Campaign, Place
from orchestrator.spec.repeat import SERVER
from orchestrator.spec.service import Service

# The name of this machine in runs without an inventory. Agents and server share its cores.
LOCAL = "local"
LOOPBACK = "127.0.0.1"
LOCAL_SLOTS_PER_CORE = 2


@dataclass(frozen=True, slots=True)
class Machine:
    """A host as placement and nodes see it.

    address: where the coordinator and Ray reach it. load_address: where load does; None for the same.
    slots: how many agents it takes at once, 0 without the role 'load'. cores: those that agents are
    pinned to; None for any.
    """

    name: str
    address: str
    server: bool
    slots: int
    labels: dict[str, str] = field(default_factory=dict)
    cores: list[int] | None = None
    load_address: str | None = None
    service: bool = False

    @property
    def roles(self) -> list[HostRole]:
        """What the host may run."""
        may = {HostRole.SERVER: self.server, HostRole.LOAD: self.slots > 0, HostRole.SERVICE: self.service}
        return [role for role, allowed in may.items() if allowed]

    def matches(self, wanted: dict[str, str]) -> bool:
        """Return whether the host has these labels."""
        return all(self.labels.get(key) == value for key, value in wanted.items())


@dataclass(frozen=True, slots=True)
class Placement:
    """The hosts of one case: the server's host (None for a URL), and how many agents each load host runs.

    idle: load hosts that could run agents of the case, and have none. services: the host of each service.
    """

    server: str | None
    agents: dict[str, int]
    idle: list[str] = field(default_factory=list, compare=False)
    services: dict[str, str] = field(default_factory=dict)

    @property
    def hosts(self) -> list[str]:
        """Every host of the case, once."""
        return list(dict.fromkeys([*([self.server] if self.server else []), *self.services.values(), *self.agents]))


def local_machine(address: str) -> Machine:
    """Return this machine, for runs without an inventory."""
    slots = max(2, LOCAL_SLOTS_PER_CORE * len(os.sched_getaffinity(0)))
    return Machine(LOCAL, address, True, slots)


def machines_of(inventory: Inventory) -> list[Machine]:
    """Return the hosts of an inventory."""
    return [
        Machine(
            name=name,
            address=inventory.address(name),
            server=HostRole.SERVER in host.roles,
            slots=slots_of(host),
            labels=host.labels,
            cores=host.cores,
            load_address=host.load_address,
            service=HostRole.SERVICE in host.roles,
        )
        for name, host in inventory.hosts.items()
    ]


def place(
    plan: Plan, machines: list[Machine], where: Place, services: Mapping[str, Service] | None = None
) -> dict[str, Placement]:
    """Place every case of a plan, with all targets on one server host; return placements by case name.

    services: of the campaign. Each is on one host for the whole run. Raises Shortage, with the numbers.
    """
    needed = {service.name for case in plan.cases for service in case.services}
    wanted = {name: _wanted(service, where) for name, service in (services or {}).items() if name in needed}
    server, homes = None, dict[str, str]()
    if any(not case.external for case in plan.cases):
        agents = max(case.agents for case in plan.cases)
        server, homes = _container_hosts(machines, agents, where, wanted)
    # The hosts of all services, so that every case is driven from the same load hosts.
    apart = {*homes.values()}
    placements = {}
    for case in plan.cases:
        host = None if case.external else server
        taken = {*apart, host} if host is not None else apart
        dealt = _seats(machines, case.agents, taken, where)
        idle = [machine.name for machine in _able(machines, taken, where) if machine.name not in dealt]
        own = {service.name: homes[service.name] for service in case.services}
        placements[case.name] = Placement(host, dealt, idle, own)
    return placements


def _wanted(service: Service, where: Place) -> dict[str, str] | None:
    """Return the labels of the host of a service; None: the target's host."""
    if isinstance(service.place, dict):
        return where.service | service.place
    return where.service if where.service and "place" not in service.model_fields_set else None


def load_hosts(campaign: Campaign, machines: list[Machine], where: Place) -> int:
    """Return how many hosts can run the agents of a campaign, beside the host of its containers."""
    able = _able(machines, set(), where)
    servers = [machine for machine in machines if machine.server and machine.matches(where.server)]
    contained = any(target.url is None for target in campaign.targets.values())
    takes_one = contained and not where.share and bool(servers) and all(server in able for server in servers)
    labels = [_wanted(service, where) for service in campaign.services.values() if not where.share]
    # A service takes a load host only where no other host can run it.
    of_services = [[m for m in machines if m.service and m.matches(each)] for each in labels if each is not None]
    takes_more = {hosts[0].name for hosts in of_services if hosts and all(host in able for host in hosts)}
    return max(1, len(able) - takes_one - len(takes_more)) if able else 0


def needs(placements: Sequence[Placement]) -> list[tuple[str, dict[str, float]]]:
    """Return what a run needs at most of each host, over all its placements, in the resources of Ray's nodes."""
    most: dict[tuple[str, str], float] = {}
    for placement in placements:
        for host, agents in placement.agents.items():
            most[host, "agent"] = max(most.get((host, "agent"), 0.0), float(agents))
        if placement.server is not None:
            most[placement.server, "server"] = 1.0
        for host in placement.services.values():
            if host != placement.server:
                most[host, "service"] = 1.0
    return [(host, {resource: count}) for (host, resource), count in most.items()]


def commanded(campaign: Campaign, placements: dict[str, Placement], names: list[str]) -> list[str]:
    """Return the hosts that commands need and no placement uses. Raises UsageError for an unknown one."""
    placed = {host for placement in placements.values() for host in placement.hosts}
    wanted = [command.host for command in [*campaign.before, *campaign.after] if command.host != SERVER]
    if unknown := [host for host in wanted if host not in names]:
        raise UsageError(
            f"a command is for host {unknown[0]!r}, which is not in the inventory",
            f"use one of: {', '.join(names)}, or '{SERVER}'",
        )
    return [host for host in dict.fromkeys(wanted) if host not in placed]


def pin(agents: int, chosen: list[int] | None, usable: list[int], shared: bool) -> list[int | None]:
    """Return the core of each agent of one host; None: any core.

    chosen: the inventory's `cores`. Without it, several agents get a core each if one core remains
    for the rest of the host; nothing is pinned on a host that is shared with the server. Raises
    Shortage for a core that the host does not have.
    """
    if chosen is not None:
        missing = sorted(set(chosen) - set(usable))
        if missing:
            raise Shortage(f"cores {missing} are not among the host's cores {usable}", "fix 'cores' in the inventory")
        return [chosen[i % len(chosen)] for i in range(agents)]
    if shared or agents < 2 or agents >= len(usable):
        return [None] * agents
    return list(usable[-agents:])


def seats(machines: list[Machine], agents: int, server: str | None, where: Place) -> dict[str, int]:
    """Return how many agents each load host runs: one each in turn, as long as slots are free. Raises Shortage.

    The server's own host takes none unless `where` allows sharing.
    """
    return _seats(machines, agents, set() if server is None else {server}, where)


def _seats(machines: list[Machine], agents: int, taken: set[str], where: Place) -> dict[str, int]:
    """Return the same where hosts of services are taken, too."""
    able = _able(machines, taken, where)
    total = sum(m.slots for m in able)
    if total < agents:
        offers = ", ".join(f"{m.name} {m.slots}" for m in able) or "none"
        labelled = f" labelled {_labels(where.load)}" if where.load else ""
        without = ""
        if taken and not where.share:
            others = f"{', '.join(sorted(taken))}, which {'runs' if len(taken) == 1 else 'run'}"
            without = f" (not counting {others} the server or services)"
        raise Shortage(
            f"the campaign needs {agents} agents at once; the load hosts{labelled}{without} take {total} ({offers})",
            "use fewer agents or more load hosts, or raise 'slots' on hosts with enough cores",
        )
    dealt: dict[str, int] = {}
    while (left := agents - sum(dealt.values())) > 0:
        for machine in [m for m in able if dealt.get(m.name, 0) < m.slots][:left]:
            dealt[machine.name] = dealt.get(machine.name, 0) + 1
    return {m.name: dealt[m.name] for m in able if m.name in dealt}


def _able(machines: list[Machine], taken: set[str], where: Place) -> list[Machine]:
    """Return the hosts that can run agents. taken: the hosts of the server and of services."""
    return [m for m in machines if m.slots and m.matches(where.load) and (where.share or m.name not in taken)]


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def _container_hosts(
    machines: list[Machine], agents: int, where: Place, wanted: Mapping[str, dict[str, str] | None]
) -> tuple[str, dict[str, str]]:
    """Return the server host and the host of each service; those that leave enough slots for the agents.

    Hosts without the load role come first. wanted: the labels of a service's host, by service; None: the server's host.
    """
    able = sorted((m for m in machines if m.server and m.matches(where.server)), key=lambda m: m.slots > 0)
    if not able:
        labelled = f" labelled {_labels(where.server)}" if where.server else ""
        raise Shortage(
            f"no host{labelled} has the role 'server' (hosts: {', '.join(m.name for m in machines)})",
            "add 'server' to the roles of a host in the inventory",
        )
    shortage: Shortage | None = None
    for machine in able:
        try:
            homes = {
                name: machine.name if labels is None else _service_host(machines, name, labels, machine.name)
                for name, labels in wanted.items()
            }
            _seats(machines, agents, {machine.name, *homes.values()}, where)
            return machine.name, homes
        except Shortage as error:
            shortage = shortage or error
    assert shortage is not None
    raise shortage


def _service_host(machines: list[Machine], name: str, labels: dict[str, str], server: str) -> str:
    """Return the host of a service: apart from the server and from load hosts where that is possible."""
    able = [machine for machine in machines if machine.service and machine.matches(labels)]
    if not able:
        having = [machine.name for machine in machines if machine.service]
        labelled = f" labelled {_labels(labels)}" if labels else ""
        raise Shortage(
            f"service {name} needs a host with the role 'service'{labelled}; hosts with this role: "
            f"{', '.join(having) or 'none'}",
            "add the role and the labels to a host in the inventory, or write 'place: server' for the service",
        )
    return min(able, key=lambda machine: (machine.name == server, machine.slots > 0)).name
