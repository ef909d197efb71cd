"""What a run reserves on an existing Ray cluster: one placement group, a bundle per host, which other jobs respect."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.records import HostRole
from orchestrator.errors import Shortage
from orchestrator.fleet.actors import Notify
from orchestrator.fleet.existing.nodes import CPU, NODE_ID_LABEL, Node
from orchestrator.fleet.place import Placement
from orchestrator.spec.ray_cluster import RayCluster

# Ray's view of what is free is late by up to a second, for example after the run before.
PATIENCE_S = 3.0
PLACED_WITHIN_S = 15.0
POLL_S = 0.25
Free = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a run reserves on one host. agents: the most that run there at once."""

    host: str
    agents: int
    resources: dict[str, float]


def bundles(placements: Sequence[Placement], nodes: Mapping[str, Node], cluster: RayCluster) -> list[Bundle]:
    """Return what a run needs at most of each host. nodes: by host.

    A CPU per agent, and all CPUs of the nodes of server and services: whatever else ran there would be in the measured
    numbers.
    """
    agents: dict[str, int] = {}
    servers = {placement.server for placement in placements if placement.server is not None}
    services = {host for placement in placements for host in placement.services.values()}
    for placement in placements:
        for host, count in placement.agents.items():
            agents[host] = max(agents.get(host, 0), count)
    found = []
    for host in dict.fromkeys([*sorted(servers | services), *agents]):
        count = agents.get(host, 0)
        resources = {CPU: max(float(count), nodes[host].resources.get(CPU, 0.0) if host in servers | services else 0.0)}
        if isinstance(cluster.load, str) and count:
            resources[cluster.load] = float(count)
        if isinstance(cluster.server, str) and host in servers:
            resources[cluster.server] = max(resources.get(cluster.server, 0.0), 1.0)
        if isinstance(cluster.service, str) and host in services - servers:
            resources[cluster.service] = max(resources.get(cluster.service, 0.0), 1.0)
        found.append(Bundle(host, count, {name: number for name, number in resources.items() if number}))
    return found


def missing(wanted: Sequence[Bundle], nodes: Mapping[str, Node], free: Free) -> list[str]:
    """Return, in words, what the hosts do not have free."""
    found = []
    for bundle in wanted:
        node = nodes[bundle.host]
        for name, count in bundle.resources.items():
            left = free.get(node.id, {}).get(name, 0.0)
            if left < count:
                total = node.resources.get(name, 0.0)
                found.append(
                    f"{bundle.host} has {left:g} of its {total:g} {_unit(name)} free, and the run needs {count:g}"
                )
    return found


def _unit(resource: str) -> str:
    return "CPUs" if resource == CPU else f"units of {resource!r}"


class Reservation:
    """A placement group of a run, held until release()."""

    def __init__(self, wanted: Sequence[Bundle], nodes: Mapping[str, Node]) -> None:
        self._wanted, self._nodes = list(wanted), nodes
        self._group: Any = None

    def take(self, free: Callable[[], Free], wait_s: float, notify: Notify) -> None:
        """Reserve everything together. free: asks the cluster; wait_s: how long to wait for other jobs. Raises Shortage."""
        if not self._wanted:
            return
        began, is_said = time.monotonic(), False
        while True:
            short = missing(self._wanted, self._nodes, free())
            if not short and self._created():
                return
            if time.monotonic() - began > max(wait_s, PATIENCE_S):
                raise Shortage(
                    f"other jobs of the Ray cluster hold what the run needs: {'; '.join(short) or 'it was taken meanwhile'}",
                    "wait for them with --wait, use fewer agents, or select other nodes in the inventory",
                )
            if wait_s > 0 and short and not is_said:
                is_said = True
                notify(f"waiting for other jobs of the Ray cluster: {'; '.join(short)}")
            time.sleep(POLL_S)

    def _created(self) -> bool:
        """Create the group; return whether Ray could reserve it."""
        from ray.util.placement_group import placement_group

        self._group = placement_group(
            [bundle.resources for bundle in self._wanted],
            bundle_label_selector=[{NODE_ID_LABEL: self._nodes[bundle.host].id} for bundle in self._wanted],
            name="volley",
        )
        if self._group.wait(PLACED_WITHIN_S):
            return True
        self.release()
        return False

    def options(self, host: str, part: HostRole) -> dict[str, Any]:
        """Return the options of an actor that runs on a host's share. The server's has all CPUs but those of the agents.

        An actor of services has none of its own: it can be beside the server's, and the host is reserved all the same.
        """
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        for index, bundle in enumerate(self._wanted):
            if bundle.host == host:
                cpus = bundle.resources.get(CPU, 0.0)
                rest = max(0.0, cpus - bundle.agents)
                share = {HostRole.SERVER: rest, HostRole.SERVICE: 0.0}.get(part, float(bundle.agents))
                return {
                    "num_cpus": share,
                    "scheduling_strategy": PlacementGroupSchedulingStrategy(self._group, index),
                }
        return {"num_cpus": 0, "label_selector": {NODE_ID_LABEL: self._nodes[host].id}}

    def release(self) -> None:
        """Give everything back."""
        from ray.util.placement_group import remove_placement_group

        group, self._group = self._group, None
        if group is not None:
            with contextlib.suppress(Exception):  # a cluster that is gone holds nothing any more
                remove_placement_group(group)
