"""What one host costs the coordinator while it comes up, call by call: over a real sshd, with a real node.

python -m benchmarks.ssh_costs: needs root, as the lab does. benchmarks/hosts_scale.py repeats these times for 1,000 hosts.
A mini host (tests/mini_hosts.py) is an sshd in a network namespace of this machine, so the round trip is zero: what a
call takes beyond its round trips is measured. CPU time is the coordinator's own, one call after the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest import mock

from orchestrator.fleet import preflight, provision
from orchestrator.fleet.claims import Claim
from orchestrator.fleet.environment import archives, have_zstd
from orchestrator.fleet.guarded import Guard
from orchestrator.fleet.members import members
from orchestrator.fleet.nodes import Nodes
from orchestrator.fleet.raynode import pinned
from orchestrator.fleet.ssh import SshHost
from orchestrator.spec.load import load_inventory
from tests.mini_hosts import MiniHosts

HOSTS, FIRST_PORT = 3, 20700
# What is timed: the name of the step, and where it is.
STEPS: dict[str, tuple[Any, str]] = {
    "connect": (SshHost, "connect"),
    "survey": (provision, "survey"),
    "prepare": (preflight, "prepare"),
    "send": (provision, "send"),
    "claim": (Guard, "ask"),
    "take": (Guard, "take"),
    "route": (provision, "require_route"),
    "start": (Guard, "start"),
    "ready": (Nodes, "_ready"),
    "route back": (Nodes, "_require_route_back"),
}
Costs = dict[str, list[tuple[float, float]]]


def _timed(name: str, real: Callable[..., Awaitable[Any]], costs: Costs) -> Callable[..., Awaitable[Any]]:
    async def call(*arguments: Any, **named: Any) -> Any:
        began, cpu = time.monotonic(), time.process_time()
        try:
            return await real(*arguments, **named)
        finally:
            costs.setdefault(name, []).append((time.monotonic() - began, time.process_time() - cpu))

    return call


async def _up(inventory: Path, address: str) -> Costs:
    costs: Costs = {}
    loaded = load_inventory(inventory)
    claim = Claim("costs", "costs")
    fleet = Nodes(claim, address, pinned(loaded.ports), None, members(loaded, inventory.parent))
    patches = [
        mock.patch.object(place, what, _timed(name, getattr(place, what), costs))
        for name, (place, what) in STEPS.items()
    ]
    for patch in patches:
        patch.start()
    try:
        await fleet.up(lambda text: None)
    finally:
        for patch in patches:
            patch.stop()
        await fleet.down()
    return costs


def measure() -> Costs:
    """Bring a host up HOSTS times, with nothing of ours there; return (seconds, CPU seconds) of each call, by step."""
    found: Costs = {}
    for archive in archives():
        archive.packed(have_zstd())
    for number in range(HOSTS):
        with tempfile.TemporaryDirectory(prefix="volley-bench-") as folder:
            home = Path(folder) / "us"
            (home / ".ssh").mkdir(parents=True)
            cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
            hosts = MiniHosts(Path(folder))
            with mock.patch.dict(os.environ, {"HOME": str(home), "XDG_CACHE_HOME": cache, "XDG_STATE_HOME": str(home)}):
                try:
                    host = hosts.start("gen", network=4)
                    (home / ".ssh" / "known_hosts").write_text(host.known())
                    inventory = hosts.inventory(
                        {"gen": {"address": host.address}},
                        coordinator={"address": host.coordinator},
                        ports=FIRST_PORT + 100 * number,
                    )
                    for name, costs in asyncio.run(_up(inventory, host.coordinator)).items():
                        found.setdefault(name, []).extend(costs)
                finally:
                    hosts.stop()
    return found


def main() -> None:
    """Print the costs, a line for each step."""
    print(json.dumps({name: [[round(s, 4) for s in each] for each in costs] for name, costs in measure().items()}))


if __name__ == "__main__":
    main()
