"""The keepers of a cluster's nodes, as Ray actors, and the guards that they hold."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from agents.cluster_node import NodeKeeper
from agents.orders import Cleaned, Order
from agents.records import from_plain
from orchestrator.errors import HostError, Several
from orchestrator.fleet.claims import Claim, owner
from orchestrator.fleet.existing.nodes import NODE_ID_LABEL, Node
from orchestrator.fleet.guarded import LEASE_S, Guard
from orchestrator.fleet.hosts import HostLost

STARTED_WITHIN_S = 60.0
READING, WRITING = "reading", "writing"
# What agents import beside the standard library and Volley's own modules, and the package that has it.
LOAD_PACKAGES = {
    "numpy": "numpy>=2.2",
    "msgpack": "msgpack>=1.1,<2",
    "httpx": "httpx[http2]>=0.28",
    "uvloop": "uvloop>=0.22",
    "httptools": "httptools>=0.7",
    "websockets": "websockets>=15",
}
SERVER_PACKAGES = {
    "docker": "docker>=7.1",
    "httpx": "httpx[http2]>=0.28",
    "msgpack": "msgpack>=1.1,<2",
    "websockets": "websockets>=15",
}


def packages_for(containers: bool, load: bool) -> dict[str, str]:
    """Return the modules that a node needs for its roles, and the packages that have them."""
    return (SERVER_PACKAGES if containers else {}) | (LOAD_PACKAGES if load else {})


def install_command(modules: Sequence[str]) -> str:
    """Return the command that installs what a node lacks."""
    known = SERVER_PACKAGES | LOAD_PACKAGES
    return "pip install " + " ".join(f"'{known[name]}'" for name in modules)


def keepers_on(nodes: Mapping[str, Node]) -> dict[str, Any]:
    """Start a keeper on each node, by host, and wait for all of them. Raises HostLost, naming those that do not come up."""
    import ray

    # Reading waits for the guard; writing must not wait behind it, and stays in order.
    make: Any = ray.remote
    groups = {READING: 1, WRITING: 1}
    kind = make(num_cpus=0, max_restarts=0, max_task_retries=0, concurrency_groups=groups)(_grouped())
    keepers = {host: kind.options(label_selector={NODE_ID_LABEL: node.id}).remote() for host, node in nodes.items()}
    ready = {keeper.__ray_ready__.remote(): host for host, keeper in keepers.items()}
    done, late = ray.wait(list(ready), num_returns=len(ready), timeout=STARTED_WITHIN_S)
    lost = [ready[each] for each in late]
    for each in done:
        try:
            ray.get(each)
        except Exception as error:
            reason = str(error).strip().splitlines()[-1][:200]
            raise HostLost(
                f"host {ready[each]}: Ray could not start an actor there: {reason}",
                "check the node with 'ray status' and the logs of its session",
                ready[each],
            ) from error
    if lost:
        raise HostLost(
            f"no actor came up on {', '.join(lost)} within {STARTED_WITHIN_S:g} s",
            "check the nodes with 'ray status' and the logs of their sessions",
        )
    return keepers


def _grouped() -> type[NodeKeeper]:
    import ray

    ray.method(concurrency_group=READING)(NodeKeeper.read_line)
    for method in (NodeKeeper.write, NodeKeeper.end_input):
        ray.method(concurrency_group=WRITING)(method)
    return NodeKeeper


def require_packages(keepers: Mapping[str, Any], wanted: Mapping[str, Sequence[str]]) -> None:
    """Check that every node has the modules that it needs, by host. Raises HostError, or Several: one for each node."""
    import ray

    asked = {host: keepers[host].lacking.remote(list(wanted[host])) for host in keepers}
    answers = ray.get(list(asked.values()), timeout=STARTED_WITHIN_S)
    errors = [
        HostError(
            f"host {host}: the Python of its Ray node lacks {', '.join(lacking)}",
            f"on the node, or in its image: {install_command(lacking)}",
        )
        for host, lacking in zip(asked, answers, strict=True)
        if lacking
    ]
    if errors:
        raise errors[0] if len(errors) == 1 else Several(list(errors))


class _Input:
    """The guard's standard input, behind its keeper."""

    def __init__(self, keeper: Any) -> None:
        self._keeper = keeper

    def write(self, data: bytes) -> None:
        """Send bytes on their way; they arrive in the order of the calls."""
        self._keeper.write.remote(data)

    def write_eof(self) -> None:
        """Close the input after what is queued."""
        self._keeper.end_input.remote()


class _Output:
    """The guard's standard output, behind its keeper."""

    def __init__(self, keeper: Any) -> None:
        self._keeper = keeper

    async def readline(self) -> bytes:
        """Return the next line; empty at the end. Raises what Ray raises for a keeper that is gone."""
        line: bytes = await asyncio.wrap_future(self._keeper.read_line.remote().future())
        return line


async def guard_of(host: str, keeper: Any) -> Guard:
    """Start the guard of a node through its keeper. Its lease is renewed by calls to the keeper. Raises HostError."""
    try:
        await asyncio.wrap_future(keeper.start_guard.remote().future())
    except Exception as error:
        raise HostLost(
            f"host {host}: the guard did not start: {error}", "check the node with 'ray status'", host
        ) from error

    async def clean(run: str) -> Cleaned:
        try:
            return from_plain(Cleaned, await asyncio.wrap_future(keeper.clean.remote(run, False).future()))
        except Exception as error:
            raise HostLost(f"host {host}: its node does not answer: {error}", host=host) from error

    return Guard(host, _Input(keeper), _Output(keeper), LEASE_S, lambda: None, clean)


def order_of(claim: Claim) -> Order:
    """Return the order to the guards of a run: they take their hosts for it, and start no node."""
    return Order(
        claim.mark,
        [],
        {},
        "",
        "",
        LEASE_S,
        name=claim.name,
        owner=owner(),
        alone=True,
        share=claim.share,
        stamp_ns=claim.stamp_ns,
    )
