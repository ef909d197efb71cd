"""A Ray cluster that does not belong to Volley, on hosts of the lab: started with `ray start`, with packages but no code of ours."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from orchestrator.fleet.environment import packages
from tests.integration.machine import ROOT
from tests.lab import world

HEAD = "198.18.0.1:26380"
PACKAGES, TOKEN = world.STATE / "ray-packages", world.STATE / "ray-token"
CPUS = 3
NODES = {world.SERVER: "docker=yes", world.WRONG_CLOCK: "team=perf", world.PLAIN: "team=perf"}
START = "-m ray.scripts.scripts start --block --disable-usage-stats --include-log-monitor=false --object-store-memory=80000000"
# Ray's health checks notice a lost node after a minute by default; a test does not wait that long.
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(TOKEN), "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",
    "RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "1000", "RAY_health_check_failure_threshold": "5",
}  # fmt: skip

# What a driver sees: the ids of nodes, and of live actors and groups with what they belong to.
LOOK = f"""
import json
from orchestrator.fleet.existing.nodes import _state
state = _state({HEAD!r})
print(json.dumps({{
    "nodes": sorted(n["NodeID"] for n in state.node_table() if n["Alive"]),
    "actors": sorted(key for key, a in state.actor_table(None).items() if a["State"] != "DEAD"),
    "groups": sorted(key for key, g in state.placement_group_table().items() if g["state"] != "REMOVED"),
    "free": {{id: has.get("CPU", 0.0) for id, has in sorted(state.available_resources_per_node().items())}},
}}))
"""
# Another team's job: it holds CPUs on a host in a placement group, and has an actor in it.
JOB = f"""
import sys, ray
host, cpus = sys.argv[1], int(sys.argv[2])
ray.init({HEAD!r}, _node_ip_address="198.18.0.1", log_to_driver=False)
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
group = placement_group([{{"CPU": cpus}}], bundle_label_selector=[{{"host": host}}])
assert group.wait(20)
@ray.remote(num_cpus=cpus)
class Theirs:
    def count(self):
        self.n = getattr(self, "n", 0) + 1
        return self.n
actor = Theirs.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, 0)).remote()
print(ray.get(actor.count.remote()), flush=True)
for line in sys.stdin:
    print(ray.get(actor.count.remote(), timeout=20), flush=True)
"""


def environment() -> dict[str, str]:
    """Return the environment of a driver of the cluster."""
    return {**os.environ, **ENVIRONMENT}


def python(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a script as a driver of the cluster, with pipes."""
    argv = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(
        argv,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def seen() -> dict[str, Any]:
    """Return the cluster's nodes, live actors, placement groups and free CPUs."""
    out, _ = python(LOOK).communicate(timeout=60)
    return dict(json.loads(out))


def settled(before: dict[str, Any], within_s: float = 15.0) -> None:
    """Fail when the cluster is not soon as it was before."""
    deadline = time.monotonic() + within_s
    while (now := seen()) != before:
        assert time.monotonic() < deadline, (before, now)


@contextmanager
def another_job(host: str, cpus: int) -> Iterator[subprocess.Popen[str]]:
    """Run another team's job, which holds CPUs on a host. A line to it makes its actor count."""
    job = python(JOB, host, str(cpus))
    try:
        assert job.stdout is not None
        assert job.stdout.readline() == "1\n"
        yield job
    finally:
        job.communicate(timeout=60)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a node that was started here, at once: with SIGTERM a raylet drains for half a minute."""
    with contextlib.suppress(psutil.Error):
        for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            with contextlib.suppress(psutil.Error):
                each.kill()
    process.wait(timeout=30)


def _until(log: Path, words: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while words not in (text := log.read_text(errors="replace")):
        assert process.poll() is None, text
        assert time.monotonic() < deadline, text
        time.sleep(0.1)


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Start the cluster: its head on this machine, and a node on each of three hosts of the lab."""
    PACKAGES.mkdir()
    with tarfile.open(packages().packed(zstd=False)) as archive:
        archive.extractall(PACKAGES, filter="data")
    TOKEN.write_text(secrets.token_hex(32))
    TOKEN.chmod(0o600)
    # Its path has to be short: there are sockets in it.
    session = world.STATE / "ray"
    log = folder / "head.log"
    argv = [
        sys.executable, *START.split(), "--head", "--node-ip-address=198.18.0.1", f"--port={HEAD.rpartition(':')[2]}",
        "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={session}",
    ]  # fmt: skip
    with log.open("wb") as output:
        head = subprocess.Popen(argv, env=environment(), stdout=output, stderr=output, start_new_session=True)
    members: dict[str, tuple[Path, subprocess.Popen[bytes]]] = {}
    try:
        _until(log, "Ray runtime started", head)
        for host, label in NODES.items():
            members[host] = _member(host, label, folder)
        for file, process in members.values():
            _until(file, "Ray runtime started", process)
        yield
    finally:
        for process in [process for _, process in members.values()]:
            _end(process)
        _end(head)


def _member(host: str, label: str, folder: Path) -> tuple[Path, subprocess.Popen[bytes]]:
    variables = " ".join(f"{key}={value}" for key, value in (ENVIRONMENT | {"PYTHONPATH": str(PACKAGES)}).items())
    script = (
        f"exec env {variables} python3 {START} --address={HEAD} "
        f"--node-ip-address={world.ADDRESSES[host]} --temp-dir=/tmp/theirs "
        f"--num-cpus={CPUS} --labels=host={host},{label}"
    )
    log = folder / f"{host}.log"
    with log.open("wb") as output:
        argv = [world.LAB, "exec", host, "--", "sh", "-c", script]
        return log, subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
