"""Which host runs what. Pure: the same for --dry-run and for the run, and the same hosts for every trial of a campaign.

Ray then reserves exactly this, by a placement group per trial; docs/adr/0004 says why it does not choose.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from orchestrator.errors import Shortage, UsageError
from orchestrator.plan import Plan
from orchestrator.spec.inventory import Inventory, slots_of
from orchestrator.spec.models import Campaign, Place
from orchestrator.spec.repeat import SERVER

# One machine as a fleet: agents and server share its cores anyway.
LOCAL = "local"
LOCAL_SLOTS_PER_CORE = 2


@dataclass(frozen=True, slots=True)
class Machine:
    """A host as the placement sees it. slots: how many agents it takes at once; cores: to pin them to, None for any."""

    name: str
    address: str
    server: bool
    slots: int
    labels: dict[str, str] = field(default_factory=dict)
    cores: list[int] | None = None

    def matches(self, wanted: dict[str, str]) -> bool:
        """Say whether the host has these labels."""
        return all(self.labels.get(key) == value for key, value in wanted.items())


@dataclass(frozen=True, slots=True)
class Placement:
    """Who runs what in one case: the server's host (None for a URL), and how many agents each load host runs."""

    server: str | None
    agents: dict[str, int]

    @property
    def hosts(self) -> list[str]:
        """Every host in use, once."""
        return list(dict.fromkeys([*([self.server] if self.server else []), *self.agents]))


def local_machine(address: str) -> Machine:
    """This machine, for runs without an inventory."""
    slots = max(2, LOCAL_SLOTS_PER_CORE * len(os.sched_getaffinity(0)))
    return Machine(LOCAL, address, True, slots)


def machines_of(inventory: Inventory) -> list[Machine]:
    """The hosts of an inventory."""
    return [
        Machine(name, inventory.address(name), "server" in host.roles, slots_of(host), host.labels, host.cores)
        for name, host in inventory.hosts.items()
    ]


def place(plan: Plan, machines: list[Machine], where: Place) -> dict[str, Placement]:
    """Place every case of a plan; all targets on one server host. Raises Shortage, in numbers.

    Gives placements by case name.
    """
    server = None
    if any(not case.external for case in plan.cases):
        server = _server_host(machines, max(case.agents for case in plan.cases), where)
    placements = {}
    for case in plan.cases:
        host = None if case.external else server
        placements[case.name] = Placement(host, seats(machines, case.agents, host, where))
    return placements


def commanded(campaign: Campaign, placements: dict[str, Placement], names: list[str]) -> list[str]:
    """Give the hosts that commands need and no placement has. Raises UsageError for one that is not there."""
    placed = {host for placement in placements.values() for host in placement.hosts}
    wanted = [command.host for command in [*campaign.before, *campaign.after] if command.host != SERVER]
    if unknown := [host for host in wanted if host not in names]:
        raise UsageError(
            f"a command is for host {unknown[0]!r}, which is not there",
            f"the hosts are: {', '.join(names)}, or '{SERVER}'",
        )
    return [host for host in dict.fromkeys(wanted) if host not in placed]


def pin(agents: int, chosen: list[int] | None, usable: list[int], shared: bool) -> list[int | None]:
    """Give each agent of one host its core; None: any.

    chosen: the inventory's. Without it several agents get cores of their own where one is left over for the rest of
    the host; beside a server (shared) nothing is pinned. Raises Shortage for a core that the host has not.
    """
    if chosen is not None:
        missing = sorted(set(chosen) - set(usable))
        if missing:
            raise Shortage(f"cores {missing} are not among the host's {usable}", "mend 'cores' in the inventory")
        return [chosen[i % len(chosen)] for i in range(agents)]
    if shared or agents < 2 or agents >= len(usable):
        return [None] * agents
    return list(usable[-agents:])


def seats(machines: list[Machine], agents: int, server: str | None, where: Place) -> dict[str, int]:
    """Deal agents out over the load hosts, one each and round again, as the slots allow. Raises Shortage.

    The server's own host is left out unless it may be shared.
    """
    able = [m for m in machines if m.slots and m.matches(where.load) and (where.share or m.name != server)]
    total = sum(m.slots for m in able)
    if total < agents:
        offers = ", ".join(f"{m.name} {m.slots}" for m in able) or "none"
        of = f"load hosts with {where.load}" if where.load else "load hosts"
        beside = "" if server is None or where.share else f", beside the server on {server},"
        raise Shortage(
            f"{agents} agents are wanted at once; the {of}{beside} take {total} ({offers})",
            "use fewer agents, more load hosts, or more 'slots' on those that have the cores",
        )
    dealt: dict[str, int] = {}
    while (left := agents - sum(dealt.values())) > 0:
        for machine in [m for m in able if dealt.get(m.name, 0) < m.slots][:left]:
            dealt[machine.name] = dealt.get(machine.name, 0) + 1
    return {m.name: dealt[m.name] for m in able if m.name in dealt}


def _server_host(machines: list[Machine], agents: int, where: Place) -> str:
    """Choose the one server host: the first that leaves enough slots for the agents, those without load first."""
    able = sorted((m for m in machines if m.server and m.matches(where.server)), key=lambda m: m.slots > 0)
    if not able:
        label = f" with {where.server}" if where.server else ""
        raise Shortage(
            f"no host{label} has the role 'server' (hosts: {', '.join(m.name for m in machines)})",
            "give one the role, in the inventory",
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
