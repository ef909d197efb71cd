"""A fleet as a run uses it: one supervising actor per host and role for the whole run, and hosts reserved for each trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from agents.records import HostDescription, HostRole
from orchestrator.fleet.handles import CommandHandle, LoadHandle, ServerHandle, ServiceHandle, TrialHandle
from orchestrator.fleet.hosts import Placed, at_once
from orchestrator.fleet.place import Machine, Placement, pin

Notify = Callable[[str], None]


@dataclass(slots=True)
class Actors:
    """The handles to a run's actors, by host, and how each host described itself."""

    server: ServerHandle | None = None
    loads: dict[str, LoadHandle] = field(default_factory=dict)
    services: dict[str, ServiceHandle] = field(default_factory=dict)
    others: dict[str, CommandHandle] = field(default_factory=dict)
    described: list[HostDescription] = field(default_factory=list)

    def describe(self) -> None:
        """Ask every host in a trial to describe itself. Raises HostError when a host lacks what its role needs."""
        servers = [self.server] if self.server else []
        in_trials: list[TrialHandle] = [*servers, *self.services.values(), *self.loads.values()]
        self.described = at_once(lambda actor: actor.describe(), in_trials)

    def helpers(self) -> dict[str, CommandHandle]:
        """Return, for each host, an actor that can run commands there."""
        servers = [] if self.server is None else [self.server]
        return {**self.others, **self.services, **self.loads, **{server.host: server for server in servers}}

    def cores(self) -> dict[str, list[int]]:
        """Return the cores that the agents of each load host may use."""
        return {d.host: d.cores for d in self.described if d.role is HostRole.LOAD}

    def placed(self, placement: Placement, machines: Mapping[str, Machine]) -> Placed:
        """Return the hosts of one trial. Raises Shortage for a core that a host does not have."""
        server = self.server if placement.server else None
        usable = self.cores()
        cores = {
            host: pin(agents, machines[host].cores, usable.get(host, []), host == placement.server)
            for host, agents in placement.agents.items()
        }
        loads = [self.loads[host] for host in placement.agents]
        services = {name: self.services[host] for name, host in placement.services.items()}
        return Placed(server, loads, list(cores.values()), self.helpers(), services)


@dataclass(frozen=True, slots=True)
class Roles:
    """Which hosts of a run have which role. others: hosts that only run commands. services: that run services."""

    server: str | None
    loads: list[str]
    others: list[str]
    services: list[str] = field(default_factory=list)

    @staticmethod
    def of(placements: Sequence[Placement], others: Sequence[str]) -> Roles:
        """Return the roles in placements. others: hosts that are in none of them."""
        server = next((placement.server for placement in placements if placement.server), None)
        loads = dict.fromkeys(host for placement in placements for host in placement.agents)
        services = dict.fromkeys(host for placement in placements for host in placement.services.values())
        return Roles(server, list(loads), list(others), list(services))

    @property
    def hosts(self) -> list[str]:
        """Every host, once."""
        return list(dict.fromkeys([*([self.server] if self.server else []), *self.services, *self.loads, *self.others]))


class Fleet(Protocol):
    """The hosts of a run, whatever carries the calls to them. Leaving it leaves nothing behind."""

    hosts: list[str]
    actors: Actors
    accepted_keys: list[str]

    def up(self, notify: Notify) -> None:
        """Bring the hosts up, with an actor on each. Raises HostError, Several, Shortage."""

    def reserve(self, placement: Placement) -> AbstractContextManager[Placed]:
        """Reserve the hosts of one trial; yield their actors. Raises HostLost, Shortage."""

    def __enter__(self) -> Fleet:
        """Return the fleet, not up yet."""

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End and remove everything of the run. Raises HostError when that failed and nothing else did."""
