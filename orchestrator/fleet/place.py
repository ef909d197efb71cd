"""Which host runs what. Pure: --dry-run and the run get the same answer, and every trial of a campaign the same hosts.

Ray then reserves exactly these hosts, with a placement group per trial. docs/adr/0004 explains why
Ray does not choose them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from agents.records import HostRole
from orchestrator.errors import Shortage, UsageError
from orchestrator.plan import Plan
from orchestrator.spec.inventory import Inventory, slots_of
from orchestrator.spec.models import Campaign, Place
from orchestrator.spec.repeat import SERVER

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

    @property
    def roles(self) -> list[HostRole]:
        """What the host may run."""
        return [*([HostRole.SERVER] if self.server else []), *([HostRole.LOAD] if self.slots else [])]

    def matches(self, wanted: dict[str, str]) -> bool:
        """Return whether the host has these labels."""
        return all(self.labels.get(key) == value for key, value in wanted.items())


@dataclass(frozen=True, slots=True)
class Placement:
    """The hosts of one case: the server's host (None for a URL), and how many agents each load host runs.

    idle: load hosts that could run agents of the case, and have none.
    """

    server: str | None
    agents: dict[str, int]
    idle: list[str] = field(default_factory=list, compare=False)

    @property
    def hosts(self) -> list[str]:
        """Every host of the case, once."""
        return list(dict.fromkeys([*([self.server] if self.server else []), *self.agents]))


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
        )
        for name, host in inventory.hosts.items()
    ]


def place(plan: Plan, machines: list[Machine], where: Place) -> dict[str, Placement]:
    """Place every case of a plan, with all targets on one server host; return placements by case name.

    Raises Shortage, with the numbers.
    """
    server = None
    if any(not case.external for case in plan.cases):
        server = _server_host(machines, max(case.agents for case in plan.cases), where)
    placements = {}
    for case in plan.cases:
        host = None if case.external else server
        dealt = seats(machines, case.agents, host, where)
        idle = [machine.name for machine in _able(machines, host, where) if machine.name not in dealt]
        placements[case.name] = Placement(host, dealt, idle)
    return placements


def load_hosts(campaign: Campaign, machines: list[Machine], where: Place) -> int:
    """Return how many hosts can run the agents of a campaign, beside the host of its containers."""
    able = _able(machines, None, where)
    servers = [machine for machine in machines if machine.server and machine.matches(where.server)]
    contained = any(target.url is None for target in campaign.targets.values())
    takes_one = contained and not where.share and bool(servers) and all(server in able for server in servers)
    return len(able) - takes_one


def needs(placements: Sequence[Placement]) -> list[tuple[str, dict[str, float]]]:
    """Return what a run needs at most of each host, over all its placements, in the resources of Ray's nodes."""
    most: dict[tuple[str, str], float] = {}
    for placement in placements:
        for host, agents in placement.agents.items():
            most[host, "agent"] = max(most.get((host, "agent"), 0.0), float(agents))
        if placement.server is not None:
            most[placement.server, "server"] = 1.0
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
    able = _able(machines, server, where)
    total = sum(m.slots for m in able)
    if total < agents:
        offers = ", ".join(f"{m.name} {m.slots}" for m in able) or "none"
        labelled = f" labelled {_labels(where.load)}" if where.load else ""
        without = "" if server is None or where.share else f" (not counting the server's host {server})"
        raise Shortage(
            f"the campaign needs {agents} agents at once; the load hosts{labelled}{without} take {total} ({offers})",
            "use fewer agents or more load hosts, or raise 'slots' on hosts with enough cores",
        )
    dealt: dict[str, int] = {}
    while (left := agents - sum(dealt.values())) > 0:
        for machine in [m for m in able if dealt.get(m.name, 0) < m.slots][:left]:
            dealt[machine.name] = dealt.get(machine.name, 0) + 1
    return {m.name: dealt[m.name] for m in able if m.name in dealt}


def _able(machines: list[Machine], server: str | None, where: Place) -> list[Machine]:
    """Return the hosts that can run agents. server: the server's host, None for a URL."""
    return [m for m in machines if m.slots and m.matches(where.load) and (where.share or m.name != server)]


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def _server_host(machines: list[Machine], agents: int, where: Place) -> str:
    """Return the server host: the first that leaves enough slots for the agents, hosts without the load role first."""
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
            seats(machines, agents, machine.name, where)
            return machine.name
        except Shortage as error:
            shortage = shortage or error
    assert shortage is not None
    raise shortage
