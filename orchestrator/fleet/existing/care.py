"""`volley hosts check` and `clean` for the nodes of an existing Ray cluster: through Ray, on all nodes at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from agents import clock
from agents.orders import Cleaned
from agents.records import HostRole, from_plain
from orchestrator.errors import HostError, Several
from orchestrator.fleet import limits
from orchestrator.fleet.care import CLEANED_WITHIN_S, HostReport, Survey, room_of
from orchestrator.fleet.existing import connection, keepers
from orchestrator.fleet.existing.nodes import (
    CPU,
    Node,
    address_of,
    chosen,
    free_of,
    node_here,
    nodes_of,
    require_versions,
)
from orchestrator.fleet.existing.reservation import Free
from orchestrator.fleet.hosts import at_once
from orchestrator.fleet.place import Machine
from orchestrator.fleet.survey import Check, CheckState, judge, read_survey
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.ray_cluster import RayCluster

ANSWERED_WITHIN_S = 60.0


@contextmanager
def _connected(cluster: RayCluster) -> Iterator[tuple[list[tuple[Node, Machine]], Mapping[str, Any], str]]:
    """Connect to a cluster; yield its hosts, a keeper on each, and the address of the cluster. Raises HostError."""
    address = address_of(cluster)
    require_versions(address)
    nodes = nodes_of(address)
    here = node_here(nodes, address)
    hosts = chosen(cluster, nodes, here)
    connection.connect(address, here, f"volley-hosts-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    try:
        yield hosts, keepers.keepers_on({machine.name: node for node, machine in hosts}), address
    finally:
        connection.disconnect()


def check(inventory: Inventory, cluster: RayCluster) -> list[HostReport]:
    """Check every host of a cluster at the same time. A host that fails has an error in its report. Raises HostError."""
    with _connected(cluster) as (hosts, started, address):
        free = free_of(address)
        reports = at_once(lambda pair: _report(*pair, started[pair[1].name], free), hosts)
    limits.keep(inventory, [room_of(each.host, each.survey.host) for each in reports if each.survey is not None])
    return reports


def _report(node: Node, machine: Machine, keeper: Any, free: Free) -> HostReport:
    try:
        survey = _survey(node, machine, keeper, free)
        return HostReport(machine.name, machine.address, machine.roles, survey)
    except HostError as error:
        return HostReport(machine.name, machine.address, machine.roles, error=error)


def _survey(node: Node, machine: Machine, keeper: Any, free: Free) -> Survey:
    """Survey one host. Raises HostError."""
    found = read_survey(_answer(machine, keeper.survey.remote()))
    port = _answer(machine, keeper.answer_clock.remote(machine.address))
    try:
        bound = clock.probe(machine.address, port)
    except (clock.ClockUnreachable, OSError):
        raise HostError(
            f"host {machine.name}: its clock does not answer over UDP at {machine.address}",
            "allow UDP between this machine and the nodes; in Kubernetes, check the NetworkPolicy",
        ) from None
    containers, load = machine.server or machine.service, HostRole.LOAD in machine.roles
    lacking = _answer(machine, keeper.lacking.remote(list(keepers.packages_for(containers, load))))
    checks = [
        *judge(found, machine.roles),
        packages_check(lacking),
        niceness_check(_answer(machine, keeper.niceness.remote())),
        cpus_check(node, free),
    ]
    return Survey(found, bound, checks, environment_sent=not lacking)


def _answer(machine: Machine, reference: Any) -> Any:
    """Wait for the answer of a host. Raises HostError."""
    import ray

    try:
        return ray.get(reference, timeout=ANSWERED_WITHIN_S)
    except Exception as error:  # of Ray, or what the call raised there
        reason = str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
        raise HostError(f"host {machine.name}: {reason}", "check the node with 'ray status'") from error


def packages_check(lacking: list[str]) -> Check:
    """Return whether the node's Python has what agents import."""
    if lacking:
        fix = f"on the node, or in its image: {keepers.install_command(lacking)}"
        return Check("packages", CheckState.FAILURE, f"its Python lacks {', '.join(lacking)}", fix)
    return Check("packages", CheckState.OK, "all there")


def niceness_check(value: int) -> Check:
    """Return whether generators get the CPU as other programs do."""
    if value > 0:
        found = f"{value}: generators wait for other programs of the node"
        return Check("niceness", CheckState.WARNING, found, "start the nodes with RAY_worker_niceness=0")
    return Check("niceness", CheckState.OK, f"{value}")


def cpus_check(node: Node, free: Free) -> Check:
    """Return whether other jobs hold CPUs of the node."""
    total, left = node.resources.get(CPU, 0.0), free.get(node.id, {}).get(CPU, 0.0)
    if left < total:
        found = f"other jobs hold {total - left:g} of {total:g} CPUs"
        return Check(
            "reserved", CheckState.WARNING, found, "wait for them with --wait, or select nodes without other jobs"
        )
    return Check("reserved", CheckState.OK, "none of its CPUs")


def clean(cluster: RayCluster, run: str | None, force: bool) -> dict[str, Cleaned]:
    """Remove what the leases of dead runs list on the nodes; return how much, by host. The cluster itself stays as it is.

    Raises HostError, or Several, after all hosts that can be cleaned are clean.
    """
    import ray

    results: dict[str, Cleaned] = {}
    errors: list[HostError] = []
    with _connected(cluster) as (_, started, _address):
        asked = {host: keeper.clean.remote(run, force) for host, keeper in started.items()}
        for host, reference in asked.items():
            try:
                results[host] = from_plain(Cleaned, ray.get(reference, timeout=CLEANED_WITHIN_S))
            except Exception as error:
                reason = str(error).strip().splitlines()[-1][:200]
                errors.append(
                    HostError(f"host {host}: cleaning up failed: {reason}", "check the node with 'ray status'")
                )
    if errors:
        raise Several(errors)
    return results
