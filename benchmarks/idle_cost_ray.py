"""The same as idle_cost.py of a host that Ray reaches, as with --hosts: Ray's processes and the actor, by process.

On this machine the node is also the head of the cluster. What only the head has (gcs_server, dashboard) is counted apart.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.cpu_time import tree_ns
from benchmarks.figures import Figure
from benchmarks.idle_cost import during
from orchestrator.campaign.hosts import Hosts
from orchestrator.fleet.claims import Claim
from orchestrator.fleet.place import place
from orchestrator.plan import make_plan
from orchestrator.spec.load import from_plain

HEAD, OTHER = "head only", "guard and others"
# What a process is called, by what its command line has; the first that matches. The raylet names its agents in its own.
KINDS = {
    "/gcs_server ": HEAD,
    "/dashboard.py ": HEAD,
    "/raylet ": "raylet",
    "ray.scripts": "ray start",
    "ray::DashboardAgent": "Ray's agents",
    "ray::RuntimeEnvAgent": "Ray's agents",
    "ray::IDLE": "idle worker",
    "ray::": "actor",
}
UNITS = {"CPU": "s", "processes": ""}


def measure() -> list[Figure]:
    """Measure a host with one agent, once."""
    campaign = from_plain(
        {
            "campaign": "idle",
            "targets": {"t": {"url": "http://127.0.0.1:9/"}},
            "loads": {"l": {"clients": 1, "requests": 1}},
            "agents": 1,
        }
    ).campaign
    run, hosts, plan = f"bench-idle-ray-{os.getpid()}", Hosts(ray=True), make_plan(campaign)
    placements = place(plan, hosts.machines(), campaign.place)
    before = set(_below(os.getpid()))
    began_ns: dict[int, int] = {}
    with hosts.fleet(Claim(run, run), placements, []) as fleet:
        fleet.up(lambda text: None)
        with fleet.reserve(placements[plan.trials[0].case.name]) as placed:

            def own(generators: list[int]) -> dict[int, str]:
                kinds = {pid: _kind(pid) for pid in _below(os.getpid()) if pid not in before | set(generators)}
                return {pid: kind for pid, kind in kinds.items() if kind}

            def own_ns(generators: list[int]) -> int:
                each_ns = {pid: _single_ns(pid) for pid in own(generators)}
                for pid, used_ns in each_ns.items():
                    began_ns.setdefault(pid, used_ns)
                return sum(used_ns for pid, used_ns in each_ns.items() if _kind(pid) != HEAD)

            def memory(generators: list[int]) -> dict[str, float]:
                found: dict[str, float] = {}
                for pid, kind in own(generators).items():
                    used_s = max(0, _single_ns(pid) - began_ns.get(pid, 0)) / 1e9
                    for name, more in ((f"{kind}, CPU", used_s), (f"{kind}, processes", 1.0)):
                        found[name] = found.get(name, 0.0) + more
                    for what, kb in _memory_kb(pid).items():
                        found[f"{kind}, {what}"] = found.get(f"{kind}, {what}", 0.0) + kb / 1024
                return found

            found = during(placed.loads[0], 1, run, own_ns, memory)
    cores = found.pop("cores")
    sums = {
        what: sum(mb for name, mb in found.items() if name.endswith(what) and not name.startswith(HEAD))
        for what in ("Pss", "Rss")
    }
    return [
        Figure("Ray worker host, one agent", "cores", [cores]),
        *(Figure(f"Ray worker host, {what}", "MB", [mb]) for what, mb in sums.items()),
        *(Figure(name, UNITS.get(name.rpartition(" ")[2], "MB"), [value]) for name, value in sorted(found.items())),
    ]


def _below(pid: int) -> list[int]:
    """Return the process ids of all living descendants."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *_below(child)]
    return found


def _kind(pid: int) -> str:
    """Return what a process is; '' for one that has ended and for the server of the benchmark."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
    if not line or "agents.trivial" in line:
        return ""
    return next((kind for word, kind in KINDS.items() if word in line), OTHER)


def _single_ns(pid: int) -> int:
    """Return the CPU time of a process without those that it started."""
    return tree_ns(pid) - sum(tree_ns(child) for child in _children(pid))


def _children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").glob("*") for child in (task / "children").read_text().split()
    ]


def _memory_kb(pid: int) -> dict[str, int]:
    """Return the resident memory of a process, and its proportional share of what processes share."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("Pss:", "Rss:"))}


if __name__ == "__main__":
    began = time.monotonic()
    for each in measure():
        print(each.name, round(each.value, 4), each.unit)
    print(f"{time.monotonic() - began:.1f} s")
