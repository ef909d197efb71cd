"""A fleet of Ray nodes: actors on the hosts, and a placement group for the run."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from agents.processes import raise_open_files
from orchestrator.errors import HostError, Shortage
from orchestrator.fleet import certificates, keeper, raynode
from orchestrator.fleet.actors import Actors, Notify, Roles
from orchestrator.fleet.background import Background
from orchestrator.fleet.claims import Claim, not_clean
from orchestrator.fleet.environment import project
from orchestrator.fleet.hosts import HostLost, Placed
from orchestrator.fleet.members import members, our_address
from orchestrator.fleet.nodes import HEAD, Nodes
from orchestrator.fleet.place import LOOPBACK, Machine, Placement, local_machine, needs
from orchestrator.fleet.ray_actors import ActorStarter
from orchestrator.spec.inventory import Inventory

JOINED_WITHIN_S = 30.0
PLACED_WITHIN_S = 15.0


class Hold(Protocol):
    """What keeps the nodes up: this process itself, or a keeper that was started before."""

    address: str
    ports: raynode.Ports
    loopback: bool

    @property
    def encrypts(self) -> bool:
        """Whether nodes and drivers encrypt what they send each other."""

    @property
    def head_address(self) -> str:
        """Where the GCS listens."""

    @property
    def token_file(self) -> Path:
        """Where the token is."""

    def take(self, notify: Notify) -> None:
        """Start the nodes unless they are up. Raises HostError."""

    def lost(self) -> dict[str, str]:
        """Return the hosts whose nodes have died, and how; HEAD for the coordinator's own."""

    def release(self) -> list[str]:
        """Remove everything of the run and let go of the nodes; return the hosts where that failed."""

    def accepted_keys(self) -> list[str]:
        """Return the hosts whose SSH keys were new and were accepted without verification."""


class OwnNodes:
    """Nodes that live as long as the run."""

    def __init__(self, nodes: Nodes, background: Background) -> None:
        self._nodes = nodes
        self._background = background
        self.address, self.ports, self.loopback = nodes.address, nodes.ports, nodes.loopback
        self.encrypts = nodes.encrypts

    @property
    def head_address(self) -> str:
        """Where the GCS listens."""
        return self._nodes.head_address

    @property
    def token_file(self) -> Path:
        """Where the token is."""
        return self._nodes.token_file

    def take(self, notify: Notify) -> None:
        """Start the nodes. Raises HostError, Several."""
        self._background.call(self._nodes.up(notify))

    def lost(self) -> dict[str, str]:
        """Return the hosts whose nodes have died, and how; HEAD for the coordinator's own."""
        return self._nodes.lost()

    def release(self) -> list[str]:
        """End the nodes and everything that runs on them; return the hosts where that failed."""
        left = self._background.call(self._nodes.down())
        self._background.close()
        return left

    def accepted_keys(self) -> list[str]:
        """Return the hosts whose SSH keys were new and were accepted."""
        return self._nodes.accepted_keys()


def own_nodes_here(claim: Claim) -> tuple[OwnNodes, list[Machine]]:
    """Return the nodes of a run on this machine alone, where everything listens on loopback only."""
    machine = local_machine(LOOPBACK)
    nodes = Nodes(claim, LOOPBACK, raynode.anywhere(LOOPBACK), machine, [])
    return OwnNodes(nodes, Background()), [machine]


def nodes_for(claim: Claim, inventory: Inventory, folder: Path, machines: list[Machine]) -> Hold:
    """Return the nodes of a run over SSH: those of the fleet that is up, else nodes of its own. Raises HostError."""
    if (state := keeper.current(inventory)) is not None:
        if missing := [machine.name for machine in machines if machine.name not in state.hosts]:
            raise HostError(
                f"the fleet is up without {', '.join(missing)}",
                "fix these hosts, then run: volley hosts up --hosts INVENTORY",
            )
        if state.project != project().name:
            raise HostError("the fleet runs another version of Volley", "restart it: volley hosts up --hosts INVENTORY")
        return keeper.KeptNodes(claim, state)
    fleet = members(inventory, folder, machines)
    ports = raynode.pinned(inventory.ports)
    relay, encrypts = inventory.environment == "relay", inventory.encrypt
    nodes = Nodes(claim, our_address(inventory, folder), ports, None, fleet, relay=relay, encrypts=encrypts)
    return OwnNodes(nodes, Background())


_held: dict[str, str] = {}


def _certificates(folder: Path) -> dict[str, str]:
    """Return the variables for this process's own connections. A fleet that is renewed has the same authority."""
    if not _held:
        _held.update(certificates.in_memory(folder))
    return _held


class RayFleet:
    """Brings the nodes up, and leaves nothing behind on exit, whatever happened in between."""

    def __init__(
        self, claim: Claim, hold: Hold, machines: list[Machine], placements: list[Placement], others: list[str]
    ) -> None:
        """others: hosts that are in no placement, for commands only."""
        self._claim, self._run = claim, claim.mark
        self._hold = hold
        self._machines = {machine.name: machine for machine in machines}
        self._connected = False
        self._held = False
        self._placements = placements
        self._roles = Roles.of(placements, others)
        self.hosts = self._roles.hosts
        self.actors = Actors()
        self.accepted_keys: list[str] = []
        self._group: Any = None

    def up(self, notify: Notify) -> None:
        """Start the nodes, connect, and start an actor on every host. Raises HostError, Several, Shortage."""
        require_no_stranger()
        # Ray has connections to every host.
        raise_open_files()
        self._held = True
        # What has to be set before Ray is imported, which takes as long as half a node does: meanwhile.
        os.environ.update(raynode.environment(self._hold.loopback, "") | raynode.DRIVER)
        importing = threading.Thread(target=_import_ray, name="import-ray", daemon=True)
        if not self._hold.encrypts:
            importing.start()
        self._hold.take(notify)
        self.accepted_keys = self._hold.accepted_keys()
        if self._hold.encrypts:
            # The certificates are there only now.
            os.environ.update(_certificates(self._hold.token_file.parent))
            importing.start()
        importing.join()
        os.environ.update(raynode.environment(self._hold.loopback, str(self._hold.token_file)) | raynode.DRIVER)
        self._connect()
        self._wait_for_hosts()
        self._start_actors()

    @property
    def machines(self) -> list[Machine]:
        """The hosts."""
        return list(self._machines.values())

    def lost(self) -> str:
        """Return why the coordinator's node, and with it every actor, is lost; empty while it is up."""
        why = self._hold.lost().get(HEAD)
        return f"lost this machine's Ray node: {why}" if why else ""

    def _require_nodes(self) -> None:
        """Raise HostLost for a host whose node has died: Ray would wait for an actor there."""
        for host, why in self._hold.lost().items():
            raise HostLost(f"host {host}: {why}", "check that the host is up, then run again", host)

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
            raise HostError(f"cannot connect to the Ray node: {error}", "run 'volley doctor'") from error
        finally:
            signal.signal(signal.SIGTERM, previous)  # ray.init() puts its own in place
        self._connected = True

    def _alive(self) -> set[str]:
        import ray

        known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return {node["Labels"].get("host", "") for node in known if node["Alive"]}

    def _wait_for_hosts(self) -> None:
        deadline = time.monotonic() + JOINED_WITHIN_S
        self._require_nodes()
        while missing := sorted(set(self.hosts) - self._alive()):
            if time.monotonic() > deadline:
                raise HostError(
                    f"{', '.join(missing)} did not join the coordinator's node within {JOINED_WITHIN_S:g} s",
                    "check them: volley hosts check --hosts INVENTORY",
                )
            time.sleep(0.02)
            self._require_nodes()

    def _start_actors(self) -> None:
        ports = self._hold.ports
        starter = ActorStarter(self._run, self._machines, (ports.clock_server, ports.clock_load, ports.clock_service))
        self.actors = starter.start(self._roles, self._require_nodes)
        for placement in self._placements:
            # A core that is missing is reported before the first trial, not at it.
            self.actors.placed(placement, self._machines)

    @contextmanager
    def reserve(self, placement: Placement) -> Iterator[Placed]:
        """Yield the actors of a trial on hosts that are held for the whole run. Raises HostLost, Shortage."""
        self._require(placement)
        if self._group is None:
            self._group = self._hold_hosts(placement)
        yield self.actors.placed(placement, self._machines)

    def _hold_hosts(self, placement: Placement) -> Any:
        """Reserve all that the run needs with one placement group, until down(); return it. Raises HostLost, Shortage."""
        from ray.util.placement_group import placement_group, remove_placement_group

        parts = needs([*self._placements, placement])
        group = placement_group(
            [resources for _, resources in parts], bundle_label_selector=[{"host": host} for host, _ in parts]
        )
        if not group.wait(PLACED_WITHIN_S):
            with contextlib.suppress(Exception):  # a Ray that is gone holds nothing any more
                remove_placement_group(group)
            self._require(placement)
            raise Shortage(
                f"Ray could not reserve {parts} within {PLACED_WITHIN_S:g} s",
                "wait until no other run uses these hosts",
            )
        return group

    def _let_hosts_go(self) -> None:
        from ray.util.placement_group import remove_placement_group

        group, self._group = self._group, None
        if group is not None:
            with contextlib.suppress(Exception):  # a Ray that is gone holds nothing any more
                remove_placement_group(group)

    def _require(self, placement: Placement) -> None:
        """Check that all hosts are connected: Ray would wait for one that is not. Raises HostLost."""
        alive = self._alive()
        if gone := [host for host in placement.hosts if host not in alive]:
            raise HostLost(f"lost contact with {', '.join(gone)}", "check that the host is up, then run again")

    def down(self) -> None:
        """Disconnect, then end and remove everything of the run. Raises HostError when a host could not be cleaned up."""
        if self._connected:
            import ray

            self._connected = False
            # Both would wait for a node that has died.
            if not self.lost():
                self._let_hosts_go()
                ray.shutdown()
        if self._held:
            self._held = False
            left = self._hold.release()
            if left:
                raise not_clean(left, self._claim.name)

    def __enter__(self) -> RayFleet:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self.down()
        except HostError:
            # The error that ended the run matters more; a lost host cannot be cleaned up from here.
            if error is None:
                raise


def _import_ray() -> None:
    import agents.actors  # noqa: F401


def require_no_stranger() -> None:
    """Refuse to connect twice from one process: Ray would silently use the first connection."""
    ray: Any = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        raise HostError("this process is already connected to a Ray cluster", "run Volley in a process of its own")
