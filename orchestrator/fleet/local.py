"""A fleet that is this machine alone: its actors are child processes, under a guard. No cluster, no SSH."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from orchestrator.errors import HostError
from orchestrator.fleet import claims, spawn
from orchestrator.fleet.actors import Actors, Notify, Roles
from orchestrator.fleet.child_process import Children
from orchestrator.fleet.claims import Claim
from orchestrator.fleet.hosts import HostLost, Placed, at_once
from orchestrator.fleet.place import LOOPBACK, Placement, local_machine


class LocalFleet:
    """Starts the processes, and leaves nothing behind on exit, whatever happened in between."""

    def __init__(self, claim: Claim, placements: Sequence[Placement], others: Sequence[str]) -> None:
        """others: hosts that are in no placement, for commands only."""
        self._claim = claim
        self._placements = placements
        self._roles = Roles.of(placements, others)
        self._children: Children | None = None
        machine = local_machine(LOOPBACK)
        self._machines = {machine.name: machine}
        self.hosts = self._roles.hosts
        self.actors = Actors()
        self.accepted_keys: list[str] = []

    def up(self, notify: Notify) -> None:
        """Take this machine, then start the guard and all processes at the same time. Raises HostError, Shortage."""
        roles = self._roles
        lease = claims.take_here(self._claim, notify, [spawn.AHEAD])
        try:
            self._children = children = Children(
                self._claim.mark, roles.server is not None or bool(roles.services), lease
            )
        except BaseException:
            lease.remove()
            raise
        actors = self.actors = Actors()

        def server(host: str) -> None:
            actors.server = children.server(host, LOOPBACK)

        def load(host: str) -> None:
            actors.loads[host] = children.load(host, LOOPBACK)

        def other(host: str) -> None:
            actors.others[host] = children.command(host, LOOPBACK)

        def service(host: str) -> None:
            actors.services[host] = children.services(host, LOOPBACK)

        starts: list[tuple[Callable[[str], None], str]] = [(load, host) for host in roles.loads]
        starts += [(server, roles.server)] if roles.server is not None else []
        starts += [(service, host) for host in roles.services]
        starts += [(other, host) for host in roles.others]
        at_once(lambda start: start[0](start[1]), starts)
        actors.describe()
        for placement in self._placements:
            actors.placed(placement, self._machines)

    @contextmanager
    def reserve(self, placement: Placement) -> Iterator[Placed]:
        """Yield the actors of one trial. Raises HostLost when one has died, Shortage."""
        if self._children is not None and (lost := self._children.lost()):
            raise HostLost(f"lost the process of {', '.join(lost)}", "run it again")
        yield self.actors.placed(placement, self._machines)

    def __enter__(self) -> LocalFleet:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        children, self._children = self._children, None
        cleaned = children is None or children.close()
        # The error that ended the run matters more.
        if cleaned or error is not None:
            return
        if children is not None and children.trouble:
            raise HostError(
                f"this machine could not be cleaned up: {children.trouble}",
                "start the Docker engine if it is down; then 'volley doctor' removes what is left",
            )
        raise HostError(
            "this machine could not be cleaned up in time; the guard is still working on it",
            f"check, and if necessary run: volley hosts clean --run {self._claim.name}",
        )
