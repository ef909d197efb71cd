"""The Ray actors of a run: one supervising actor per host and role, for the whole run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from agents.records import HostDescription, HostRole
from agents.shells import CommandShell, LoadShell, ServerShell
from orchestrator.fleet.handles import CommandHandle, LoadHandle, ServerHandle, TrialHandle
from orchestrator.fleet.hosts import HostLost, at_once
from orchestrator.fleet.place import Machine
from orchestrator.fleet.ray_actors import RayTransport
from orchestrator.fleet.raynode import Ports
from orchestrator.fleet.remote import RemoteCommand, RemoteLoad, RemoteServer

STARTED_WITHIN_S = 90.0


@dataclass(slots=True)
class Actors:
    """The handles to a run's actors, by host, and how each host described itself."""

    server: ServerHandle | None = None
    loads: dict[str, LoadHandle] = field(default_factory=dict)
    others: dict[str, CommandHandle] = field(default_factory=dict)
    described: list[HostDescription] = field(default_factory=list)

    def helpers(self) -> dict[str, CommandHandle]:
        """Return, for each host, an actor that can run commands there."""
        servers = [] if self.server is None else [self.server]
        return {**self.others, **self.loads, **{server.host: server for server in servers}}

    def cores(self, host: str) -> list[int]:
        """Return the cores that a load host's agents may use."""
        return next((d.cores for d in self.described if d.host == host and d.role is HostRole.LOAD), [])


class ActorStarter:
    """Starts actors on the nodes of a connected Ray."""

    def __init__(self, run: str, machines: dict[str, Machine], ports: Ports) -> None:
        self._run, self._machines, self._ports = run, machines, ports
        self._started: list[RayTransport] = []

    def start(self, server: str | None, loads: Iterable[str], others: Iterable[str]) -> Actors:
        """Start an actor on every host and wait for all of them. others: hosts that only run commands.

        Raises HostLost when they do not come up, HostError when a host lacks what its role needs.
        """
        actors = Actors()
        if server is not None:
            actors.server = RemoteServer(self._transport(ServerShell, server, self._ports.clock_server))
        actors.loads = {host: RemoteLoad(self._transport(LoadShell, host, self._ports.clock_load)) for host in loads}
        actors.others = {host: RemoteCommand(self._transport(CommandShell, host, 0)) for host in others}
        self._wait()
        in_trials: list[TrialHandle] = [*([actors.server] if actors.server else []), *actors.loads.values()]
        actors.described = at_once(lambda actor: actor.describe(), in_trials)
        return actors

    def _transport(self, shell: type[CommandShell], host: str, clock_port: int) -> RayTransport:
        from agents.actors import remote

        address = self._machines[host].address
        kind = remote(shell).options(label_selector={"host": host})
        transport = RayTransport(host, address, shell, kind.remote(host, self._run, address, clock_port))
        self._started.append(transport)
        return transport

    def _wait(self) -> None:
        import ray
        from ray.exceptions import GetTimeoutError

        ready = [transport.actor.__ray_ready__.remote() for transport in self._started]
        try:
            ray.get(ready, timeout=STARTED_WITHIN_S)
        except GetTimeoutError as error:
            raise HostLost(
                f"no actor came up within {STARTED_WITHIN_S:g} s", "check whether the hosts are overloaded"
            ) from error
