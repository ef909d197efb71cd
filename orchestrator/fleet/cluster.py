"""The fleet as a run uses it: actors on the hosts, and a reservation for each trial. One machine or many, one way."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from agents.records import HostDescription, HostRole
from orchestrator.errors import HostError, Shortage
from orchestrator.fleet import keeper, raynode
from orchestrator.fleet.background import Background
from orchestrator.fleet.environment import project
from orchestrator.fleet.hosts import Actor, HostLost, Placed, at_once
from orchestrator.fleet.members import members, our_address
from orchestrator.fleet.nodes import LOOPBACK, Nodes, Tell
from orchestrator.fleet.place import Machine, Placement, local_machine, pin
from orchestrator.spec.inventory import Inventory

JOINED_WITHIN_S = 30.0
PLACED_WITHIN_S = 15.0
STAFFED_WITHIN_S = 90.0


class Hold(Protocol):
    """What keeps the nodes up: this process itself, or a keeper that was started before."""

    address: str
    ports: raynode.Ports
    loopback: bool

    @property
    def head_address(self) -> str:
        """Where the GCS listens."""

    @property
    def token_file(self) -> Path:
        """Where the token is."""

    def take(self, tell: Tell) -> None:
        """Make sure that the nodes are up. Raises HostError."""

    def release(self) -> list[str]:
        """Give the nodes back, with everything of the run removed; give the hosts where that failed."""

    def accepted_keys(self) -> list[str]:
        """Give the hosts whose keys were accepted on this occasion, without anybody having vouched for them."""


class OwnNodes:
    """Nodes that live as long as the run."""

    def __init__(self, nodes: Nodes, background: Background) -> None:
        self._nodes = nodes
        self._background = background
        self.address, self.ports, self.loopback = nodes.address, nodes.ports, nodes.loopback

    @property
    def head_address(self) -> str:
        """Where the GCS listens."""
        return self._nodes.head_address

    @property
    def token_file(self) -> Path:
        """Where the token is."""
        return self._nodes.token_file

    def take(self, tell: Tell) -> None:
        """Start the nodes. Raises HostError, Several."""
        self._background.call(self._nodes.up(tell))

    def release(self) -> list[str]:
        """End the nodes, and all that is theirs."""
        left = self._background.call(self._nodes.down())
        self._background.close()
        return left

    def accepted_keys(self) -> list[str]:
        """Give the hosts whose keys were new, and accepted."""
        return [member.ssh.name for member in self._nodes.members if member.ssh.accepted]


def own_nodes_here(run: str) -> tuple[OwnNodes, list[Machine]]:
    """One machine: the coordinator is the host, on loopback only."""
    machine = local_machine(LOOPBACK)
    nodes = Nodes(run, LOOPBACK, raynode.anywhere(LOOPBACK), machine, [])
    return OwnNodes(nodes, Background()), [machine]


def nodes_for(run: str, inventory: Inventory, folder: Path, hosts: list[str]) -> Hold:
    """Many hosts, over SSH: those of the fleet that is up, else nodes of the run's own. Raises HostError."""
    if (state := keeper.current(inventory)) is not None:
        if missing := [host for host in hosts if host not in state.hosts]:
            raise HostError(f"the fleet is up without {', '.join(missing)}", "mend them, then: volley hosts up")
        if state.project != project().name:
            raise HostError("the fleet runs another version of Volley's own code", "volley hosts up, to renew it")
        return keeper.KeptNodes(run, state)
    nodes = Nodes(run, our_address(inventory), raynode.pinned(inventory.ports), None, members(inventory, folder, hosts))
    return OwnNodes(nodes, Background())


@dataclass(slots=True)
class Staff:
    """The actors of a run, and what each host said of itself."""

    server: Actor | None = None
    loads: dict[str, Actor] = field(default_factory=dict)
    others: dict[str, Actor] = field(default_factory=dict)
    described: list[HostDescription] = field(default_factory=list)

    def helpers(self) -> dict[str, Actor]:
        """Give an actor of each host."""
        return self.others | self.loads | ({self.server.host: self.server} if self.server else {})

    def cores(self, host: str) -> list[int]:
        """The cores that a load host's agents may use."""
        return next((d.cores for d in self.described if d.host == host and d.role is HostRole.LOAD), [])


class Fleet:
    """Brings the hosts up on entry and leaves nothing behind on exit, whatever happened in between."""

    def __init__(
        self, run: str, hold: Hold, machines: list[Machine], placements: list[Placement], others: list[str]
    ) -> None:
        """others: hosts that are in no placement, for commands only."""
        self._run = run
        self._hold = hold
        self._machines = {machine.name: machine for machine in machines}
        self._placements = placements
        self._connected = False
        self._held = False
        self._others = others
        self.hosts = list(dict.fromkeys([*(host for placement in placements for host in placement.hosts), *others]))
        self.staff = Staff()
        self.accepted_keys: list[str] = []

    def up(self, tell: Tell) -> None:
        """Start the nodes, connect, and put an actor on every host. Raises HostError, Several, Shortage."""
        require_no_stranger()
        self._held = True
        # What has to be set before Ray is imported, which takes as long as half a node does: meanwhile.
        os.environ.update(raynode.environment(self._hold.loopback, ""))
        importing = threading.Thread(target=_import_ray, name="import-ray", daemon=True)
        importing.start()
        self._hold.take(tell)
        self.accepted_keys = self._hold.accepted_keys()
        importing.join()
        os.environ.update(raynode.environment(self._hold.loopback, str(self._hold.token_file)))
        self._connect()
        self._wait_for_hosts()
        self._hire()

    def _connect(self) -> None:
        import ray

        previous = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                address=self._hold.head_address,
                _node_ip_address=self._hold.address,
                namespace=self._run,
                log_to_driver=False,
                configure_logging=False,
            )
        except (ConnectionError, RuntimeError) as error:
            raise HostError(f"Ray's node does not let us in: {error}", "run 'volley doctor'") from error
        finally:
            signal.signal(signal.SIGTERM, previous)  # ray.init() puts its own in place
        self._connected = True

    def _alive(self) -> set[str]:
        import ray

        known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return {node["Labels"].get("host", "") for node in known if node["Alive"]}

    def _wait_for_hosts(self) -> None:
        deadline = time.monotonic() + JOINED_WITHIN_S
        while missing := [host for host in self.hosts if host not in self._alive()]:
            if time.monotonic() > deadline:
                raise HostError(
                    f"{', '.join(missing)} did not join the coordinator's node within {JOINED_WITHIN_S:g} s",
                    "look at them with 'volley hosts check'",
                )
            time.sleep(0.02)

    def _hire(self) -> None:
        """One supervising actor per host and role, for the whole run."""
        import ray
        from ray.exceptions import GetTimeoutError

        from agents.actors import LoadActor, PlainActor, ServerActor, remote

        ports = self._hold.ports
        server = next((placement.server for placement in self._placements if placement.server), None)
        loads = list(dict.fromkeys(host for placement in self._placements for host in placement.agents))
        if server is not None:
            self.staff.server = self._actor(remote(ServerActor), server, ports.clock_server)
        self.staff.loads = {host: self._actor(remote(LoadActor), host, ports.clock_load) for host in loads}
        self.staff.others = {host: self._actor(remote(PlainActor), host, 0) for host in self._others}
        actors = [*([self.staff.server] if self.staff.server else []), *self.staff.loads.values()]
        ready = [actor.handle.__ray_ready__.remote() for actor in [*actors, *self.staff.others.values()]]
        try:
            ray.get(ready, timeout=STAFFED_WITHIN_S)
        except GetTimeoutError as error:
            raise HostLost(f"no actor came up within {STAFFED_WITHIN_S:g} s", "are the hosts overloaded?") from error
        self.staff.described = at_once(self._describe, actors)
        for placement in self._placements:
            self._placed(placement)  # a core that is not there is told before the first trial, not at it

    def _describe(self, actor: Actor) -> HostDescription:
        """Return what a host says about itself, with the role that it has here."""
        role = HostRole.SERVER if actor is self.staff.server else HostRole.LOAD
        return HostDescription(host=actor.host, role=role, **actor.call("describe"))

    def _actor(self, kind: Any, host: str, clock_port: int) -> Actor:
        address = self._machines[host].address
        handle = kind.options(label_selector={"host": host}).remote(self._run, address, clock_port)
        return Actor(host, address, handle)

    @contextmanager
    def reserve(self, placement: Placement) -> Iterator[Placed]:
        """Reserve the hosts of one trial, by a placement group; give their actors. Raises HostLost, Shortage."""
        from ray.util.placement_group import placement_group, remove_placement_group

        self._require(placement)
        parts: list[tuple[str, dict[str, float]]] = [(h, {"agent": float(n)}) for h, n in placement.agents.items()]
        if placement.server is not None:
            parts.append((placement.server, {"server": 1.0}))
        group = placement_group(
            [needs for _, needs in parts], bundle_label_selector=[{"host": host} for host, _ in parts]
        )
        try:
            if not group.wait(PLACED_WITHIN_S):
                self._require(placement)
                raise Shortage(
                    f"Ray could not reserve {parts} within {PLACED_WITHIN_S:g} s", "is another run using it?"
                )
            yield self._placed(placement)
        finally:
            with contextlib.suppress(Exception):  # a Ray that is gone holds nothing any more
                remove_placement_group(group)

    def _require(self, placement: Placement) -> None:
        """See that all hosts are there: Ray would wait for one that is not. Raises HostLost."""
        alive = self._alive()
        if gone := [host for host in placement.hosts if host not in alive]:
            raise HostLost(f"{', '.join(gone)} is gone from the fleet", "see that the host is up, and run again")

    def _placed(self, placement: Placement) -> Placed:
        server = self.staff.server if placement.server else None
        cores = {
            host: pin(agents, self._machines[host].cores, self.staff.cores(host), host == placement.server)
            for host, agents in placement.agents.items()
        }
        loads = [self.staff.loads[host] for host in placement.agents]
        return Placed(server, loads, list(cores.values()), self.staff.helpers())

    def down(self) -> None:
        """Disconnect, and have everything ended and removed. Raises HostError when a host could not be cleaned."""
        if self._connected:
            import ray

            ray.shutdown()
            self._connected = False
        if self._held:
            self._held = False
            left = self._hold.release()
            if left:
                raise HostError(
                    f"{', '.join(left)} could not be cleaned in time; the guard there goes on with it",
                    f"look, and if need be: volley hosts clean --run {self._run}",
                )

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self.down()
        except HostError:
            # What ended the run is the news; a host that is lost cannot be cleaned from here.
            if error is None:
                raise


def _import_ray() -> None:
    import agents.actors  # noqa: F401


def require_no_stranger() -> None:
    """Refuse to connect twice from one process: Ray would silently use the first connection."""
    ray: Any = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        raise HostError("this process is already connected to a Ray cluster", "run Volley in a process of its own")
