"""A fleet of nodes of a Ray cluster that is already there. Leaving it leaves the cluster as it was."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agents.cluster_node import settle
from agents.records import HostRole
from agents.shells import CommandShell, ServerShell, ServiceShell
from orchestrator.errors import HostError
from orchestrator.fleet.actors import Actors, Notify, Roles
from orchestrator.fleet.background import Background
from orchestrator.fleet.claims import Claim, not_clean
from orchestrator.fleet.existing import connection, keepers
from orchestrator.fleet.existing.nodes import Node, address_of, chosen, free_of, node_here, nodes_of, require_versions
from orchestrator.fleet.existing.reservation import Reservation, bundles
from orchestrator.fleet.guarded import Guard
from orchestrator.fleet.hosts import HostLost, Placed
from orchestrator.fleet.place import Machine, Placement
from orchestrator.fleet.ray_actors import ActorStarter
from orchestrator.fleet.take_all import take_all
from orchestrator.spec.ray_cluster import RayCluster

ROLES: dict[type[CommandShell], HostRole] = {ServerShell: HostRole.SERVER, ServiceShell: HostRole.SERVICE}
BACK_WITHIN_S = 30.0
POLL_S = 0.5
LEASES = "check that /var/tmp/volley can be written to on the node, or set VOLLEY_LEASES there"


class ExistingFleet:
    """The nodes that a run uses: reserved, guarded, with an actor per host and role."""

    def __init__(self, claim: Claim, cluster: RayCluster, placements: list[Placement], others: list[str]) -> None:
        """others: hosts that are in no placement, for commands only."""
        self._claim, self._cluster, self._placements = claim, cluster, placements
        self._roles = Roles.of(placements, others)
        self.hosts = self._roles.hosts
        self.actors = Actors()
        self.accepted_keys: list[str] = []
        self._address = ""
        self._nodes: dict[str, Node] = {}
        self._machines: dict[str, Machine] = {}
        self._connected = False
        self._reservation: Reservation | None = None
        self._starter: ActorStarter | None = None
        self._background: Background | None = None
        self._guards: list[Guard] = []

    def up(self, notify: Notify) -> None:
        """Connect, reserve the hosts, take them with a guard on each, and start the actors.

        Raises HostError, Several, Shortage.
        """
        self._address = address_of(self._cluster)
        require_versions(self._address)
        here = self._find_hosts()
        connection.connect(self._address, here, self._claim.mark)
        self._connected = True
        wanted = bundles(self._placements, self._nodes, self._cluster)
        self._reservation = reservation = Reservation(wanted, self._nodes)
        reservation.take(lambda: free_of(self._address), self._claim.wait_s, notify)
        started = keepers.keepers_on(self._nodes)
        keepers.require_packages(started, {host: self._packages(host) for host in started})
        self._background = background = Background()
        background.call(self._guard(started, notify))
        self._start_actors(reservation, notify)

    @property
    def machines(self) -> list[Machine]:
        """The hosts."""
        return list(self._machines.values())

    def lost(self) -> str:
        """Return '': the cluster is not Volley's own. Ray ends its driver when the head node is gone."""
        return ""

    def _find_hosts(self) -> Node:
        """Find the nodes of all hosts, which may be new ones after a loss; return this machine's. Raises HostError."""
        deadline = time.monotonic() + BACK_WITHIN_S
        while True:
            nodes = nodes_of(self._address)
            here = node_here(nodes, self._address)
            try:
                found = {machine.name: (node, machine) for node, machine in chosen(self._cluster, nodes, here)}
            except HostError:
                # A node that was lost may still be listed beside the one that replaces it.
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)
                continue
            gone = [host for host in self.hosts if host not in found]
            if not gone:
                self._nodes = {host: found[host][0] for host in self.hosts}
                self._machines = {host: found[host][1] for host in self.hosts}
                return here
            if time.monotonic() > deadline:
                verb = "is" if len(gone) == 1 else "are"
                raise HostError(
                    f"{', '.join(gone)} {verb} not among the nodes of the Ray cluster at {self._address}",
                    "check the nodes with 'ray status', then: volley hosts check --hosts INVENTORY",
                )
            time.sleep(POLL_S)

    def _packages(self, host: str) -> list[str]:
        containers = host == self._roles.server or host in self._roles.services
        return list(keepers.packages_for(containers, host in self._roles.loads))

    async def _guard(self, started: Mapping[str, Any], notify: Notify) -> None:
        """Start a guard on every host and take all hosts together. Raises HostError."""

        async def ask(host: str) -> None:
            guard = await keepers.guard_of(host, started[host])
            self._guards.append(guard)
            try:
                await guard.ask(keepers.order_of(self._claim))
            except HostError as error:
                raise HostError(error.message, LEASES) from error

        await asyncio.gather(*(ask(host) for host in started))
        await take_all(self._guards, self._claim, notify)
        await asyncio.gather(*(guard.start() for guard in self._guards))

    def _start_actors(self, reservation: Reservation, notify: Notify) -> None:
        mark = {"env_vars": {"VOLLEY_RUN": self._claim.mark}}

        def options(shell: type[CommandShell], host: str) -> dict[str, Any]:
            return {**reservation.options(host, ROLES.get(shell, HostRole.LOAD)), "runtime_env": mark}

        self._starter = starter = ActorStarter(self._claim.mark, self._machines, (0, 0, 0), options)
        self.actors = starter.start(self._roles)
        nice = {host: value for host, value in starter.call(settle).items() if value > 0}
        if nice:
            notify(f"generators run with a niceness of {max(nice.values())} on {', '.join(nice)}: other jobs go first")
        for placement in self._placements:
            # A core that is missing is reported before the first trial, not at it.
            self.actors.placed(placement, self._machines)

    @contextmanager
    def reserve(self, placement: Placement) -> Iterator[Placed]:
        """Yield the actors of a trial on hosts that are held for the whole run. Raises HostLost, Shortage."""
        alive = {node.id for node in nodes_of(self._address)}
        unguarded = {guard.host for guard in self._guards if guard.gone}
        gone = [host for host in placement.hosts if self._nodes[host].id not in alive or host in unguarded]
        if gone:
            raise HostLost(f"lost contact with {', '.join(gone)}", "check that the node is up, then run again", gone[0])
        yield self.actors.placed(placement, self._machines)

    def down(self) -> None:
        """End and remove everything of the run, and disconnect. Raises HostError when a host could not be cleaned up."""
        left: list[str] = []
        if self._starter is not None:
            self._starter.end()
        if self._background is not None:
            with contextlib.suppress(RuntimeError):
                left = self._background.call(_close(self._guards))
            self._background.close()
        if self._reservation is not None:
            self._reservation.release()
        if self._connected:
            connection.disconnect()
        self._starter, self._background, self._reservation, self._connected = None, None, None, False
        self._guards = []
        if left:
            raise not_clean(left, self._claim.name)

    def __enter__(self) -> ExistingFleet:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self.down()
        except HostError:
            # The error that ended the run matters more; a lost host cannot be cleaned up from here.
            if error is None:
                raise


async def _close(guards: list[Guard]) -> list[str]:
    """Have all guards clean up; return the hosts where that was not done in time."""
    cleaned = await asyncio.gather(*(guard.close() for guard in guards))
    return [guard.host for guard, done in zip(guards, cleaned, strict=True) if not done]
