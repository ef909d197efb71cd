"""The nodes of a Ray cluster, as its head node lists them, and which of them are hosts.

Reading the list starts nothing in the cluster. Ray's public functions need a driver, which is a job of the cluster, so
this uses the functions below them; the version of Ray is pinned.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import HostError
from orchestrator.fleet.place import Machine
from orchestrator.spec.ray_cluster import AUTO, RayCluster, Selector

REACHED_WITHIN_S = 3.0
HOST_LABEL = "host"
NODE_ID_LABEL = "ray.io/node-id"
CPU = "CPU"
# Ray and driver may differ in Python's patch level. Must be set before Ray is imported.
ENVIRONMENT = {"RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor", "RAY_USAGE_STATS_ENABLED": "0"}
_START = "start one with 'ray start --address=HOST:PORT --num-cpus=0', or run Volley on a node of the cluster"


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is alive. here: it runs on this machine."""

    id: str
    address: str
    labels: dict[str, str]
    resources: dict[str, float]
    here: bool

    @property
    def name(self) -> str:
        """The node's name as a host: its label `host`, else its address."""
        return self.labels.get(HOST_LABEL) or self.address

    def matches(self, selector: Selector) -> bool:
        """Return whether the node has the labels, or the custom resource, of a selector."""
        if isinstance(selector, str):
            return self.resources.get(selector, 0.0) >= 1
        return all(self.labels.get(key) == value for key, value in selector.items())

    def slots(self, selector: Selector | None) -> int:
        """Return how many agents the node takes: its CPUs, or the units of the selecting resource if those are fewer."""
        cpus = int(self.resources.get(CPU, 0.0))
        return min(cpus, int(self.resources[selector])) if isinstance(selector, str) else cpus


def address_of(cluster: RayCluster) -> str:
    """Return HOST:PORT of the cluster's GCS. Raises HostError when no cluster is found, or nothing answers there."""
    os.environ.update(ENVIRONMENT)
    from ray._private.services import canonicalize_bootstrap_address_or_die

    try:
        address = str(canonicalize_bootstrap_address_or_die(cluster.address))
    except (ConnectionError, ValueError) as error:
        several = "multiple" in str(error)
        raise HostError(
            f"this machine runs {'nodes of several Ray clusters' if several else 'no node of a Ray cluster'}",
            "name the cluster in the inventory: ray: {address: HOST:PORT}"
            if several or cluster.address != AUTO
            else _START,
        ) from error
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACHED_WITHIN_S).close()
    except OSError as error:
        reason = error.strerror or "no answer in time"
        raise HostError(
            f"no Ray cluster answers at {address}: {reason}",
            "check ray.address in the inventory: HOST:PORT of the head node's GCS, usually port 6379",
        ) from error
    return address


def require_versions(address: str) -> None:
    """Check that the cluster runs this version of Ray and Python. Raises HostError."""
    import ray
    from ray._common.usage.usage_lib import get_cluster_metadata

    raylet: Any = importlib.import_module("ray._raylet")
    try:
        metadata: dict[str, Any] = get_cluster_metadata(raylet.GcsClient(address=address)) or {}
    except Exception as error:
        raise refused(address, error) from error
    theirs = metadata.get("ray_version", ray.__version__), metadata.get("python_version", platform.python_version())
    ours = ray.__version__, platform.python_version()
    if theirs[0] != ours[0] or theirs[1].split(".")[:2] != ours[1].split(".")[:2]:
        minor = ".".join(ours[1].split(".")[:2])
        raise HostError(
            f"the cluster at {address} runs Ray {theirs[0]} on Python {theirs[1]}; Volley here runs Ray {ours[0]} on "
            f"Python {ours[1]}",
            f"use a cluster with Ray {ours[0]} and Python {minor}: all nodes and drivers must have the same versions",
        )


def refused(address: str, error: Exception) -> HostError:
    """Return the error about a cluster that answers, and does not let this machine in."""
    text = str(error)
    if "InvalidAuthToken" in text or "uthenticat" in text or "oken" in text:
        return HostError(
            f"the Ray cluster at {address} refused the token of this machine",
            "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=FILE with the cluster's own token",
        )
    reason = text.strip().splitlines()[0][:120] if text.strip() else type(error).__name__
    return HostError(
        f"cannot talk to the Ray cluster at {address}: {reason}",
        "check that its head node is healthy ('ray status'); if it requires a token: RAY_AUTH_MODE=token and "
        "RAY_AUTH_TOKEN_PATH=FILE",
    )


def _state(address: str) -> Any:
    options: Any = importlib.import_module("ray._raylet").GcsClientOptions
    state: Any = importlib.import_module("ray._private.state").GlobalState()
    state._initialize_global_state(
        options.create(address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
    )
    return state


def nodes_of(address: str) -> list[Node]:
    """Return the nodes of a cluster that are alive. Raises HostError."""
    try:
        known: list[dict[str, Any]] = _state(address).node_table()
    except Exception as error:
        raise refused(address, error) from error
    return [
        Node(
            each["NodeID"],
            each["NodeManagerAddress"],
            dict(each["Labels"]),
            dict(each["Resources"]),
            is_here(each["NodeManagerAddress"]),
        )
        for each in known
        if each["Alive"]
    ]


def free_of(address: str) -> dict[str, dict[str, float]]:
    """Return the resources of each node that nobody has reserved, by the node's id. Raises HostError."""
    try:
        free: dict[str, dict[str, float]] = _state(address).available_resources_per_node()
    except Exception as error:
        raise refused(address, error) from error
    return free


def is_here(address: str) -> bool:
    """Return whether an address is one of this machine's."""
    with contextlib.suppress(OSError):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.bind((address, 0))
            return True
    return False


def node_here(nodes: Sequence[Node], address: str) -> Node:
    """Return the node of this machine, which every driver of a cluster needs. Raises HostError.

    Of several, as in tests on one machine, the one at the head's address comes first.
    """
    head = address.rpartition(":")[0].strip("[]")
    ours = sorted((node for node in nodes if node.here), key=lambda node: node.address != head)
    if not ours:
        raise HostError(f"this machine is not a node of the Ray cluster at {address}", _START)
    return ours[0]


def chosen(cluster: RayCluster, nodes: Sequence[Node], driver: Node) -> list[tuple[Node, Machine]]:
    """Return the nodes that are hosts, each as the placement sees it, in the order of their names.

    driver: the node of this machine, not a load host unless it is selected. Raises HostError.
    """
    found = []
    for node in nodes:
        loads = node.id != driver.id if cluster.load is None else node.matches(cluster.load)
        slots = node.slots(cluster.load) if loads else 0
        serves = cluster.server is not None and node.matches(cluster.server)
        runs_services = cluster.service is not None and node.matches(cluster.service)
        if slots or serves or runs_services:
            machine = Machine(node.name, node.address, serves, slots, node.labels, service=runs_services)
            found.append((node, machine))
    if not found:
        raise HostError(*_nothing_chosen(cluster, nodes))
    names = Counter(machine.name for _, machine in found)
    if twice := [name for name, count in names.items() if count > 1]:
        raise HostError(
            f"{names[twice[0]]} nodes of the Ray cluster have the name {twice[0]!r}",
            f"give each its own label: ray start --labels={HOST_LABEL}=NAME",
        )
    return sorted(found, key=lambda pair: pair[1].name)


def _nothing_chosen(cluster: RayCluster, nodes: Sequence[Node]) -> tuple[str, str]:
    count = f"{len(nodes)} node{'s' * (len(nodes) != 1)}"
    if cluster.load is None and cluster.server is None and cluster.service is None:
        return (
            f"no node of the Ray cluster can be a load host: it has {count}, and none but this machine has a CPU",
            "add nodes; or select the nodes in the inventory, this machine too: ray: {load: {LABEL: VALUE}}",
        )
    return (
        f"none of the {count} of the Ray cluster is selected by ray.load, ray.server or ray.service",
        "compare them with the labels and resources of the nodes: ray start --labels=... --resources=...",
    )


def machines_of_cluster(cluster: RayCluster) -> list[Machine]:
    """Return the hosts of a cluster as it is now. Starts nothing there. Raises HostError."""
    address = address_of(cluster)
    require_versions(address)
    nodes = nodes_of(address)
    return [machine for _, machine in chosen(cluster, nodes, node_here(nodes, address))]
