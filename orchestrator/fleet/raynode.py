"""The command and environment of a Ray node. Every flag and variable is set here, for a measured reason."""

from __future__ import annotations

import contextlib
import random
import socket
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import HostError
from orchestrator.fleet import certificates
from orchestrator.fleet.place import Machine
from orchestrator.spec import inventory

# Ray's defaults would falsify a load test (workers and their children run at nice 15) and notice a
# lost host only after a minute.
SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_worker_oom_score_adjustment": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_metrics_collection": "false",
    # Python 3.11.2 on a host and 3.11.7 on the coordinator work together: the packages are the same
    # files.
    "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",
    # Ray's agents and workers otherwise write their titles over their environment, in which the guard looks for the
    # mark of the run. Agents outlive a raylet that was killed by up to a minute, and have no parent then to be found by.
    "SPT_NOENV": "1",
}
# A driver without its node is ended by Ray after this time. Longer than the guards need to clean up, which it waits for.
DRIVER = {"RAY_gcs_rpc_server_reconnect_timeout_s": "20"}
# Makes Ray accept 127.0.0.1 as the node's address, so that it binds every socket to loopback. One
# machine only.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# Above the default ports of a fleet with an inventory, and below the ephemeral ports.
FIRST_FREE = 21_000
OBJECT_STORE_BYTES = 80_000_000
# What `ray start --block` prints when the node has joined.
READY = "Ray runtime started"


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that a node listens on; 0: any free port (the workers of a node on loopback)."""

    gcs: int
    node_manager: int
    object_manager: int
    runtime_env: int
    dashboard_listen: int
    dashboard_grpc: int
    metrics: int
    first_worker: int = 0
    last_worker: int = 0
    clock_server: int = 0
    clock_load: int = 0
    clock_service: int = 0
    relay: int = 0

    def firewall_rule(self) -> str:
        """Return what a firewall must allow for a fleet with pinned ports, as an imperative clause."""
        return (
            f"allow TCP ports {self.gcs}-{self.last_worker} and UDP ports {self.clock_server}-{self.clock_service} "
            "between the coordinator and the hosts, both ways"
        )


def pinned(first: int) -> Ports:
    """Return the ports of a fleet's nodes, counted from `first`: the same on every host, for firewall rules."""
    return Ports(
        gcs=first + inventory.GCS,
        node_manager=first + inventory.NODE_MANAGER,
        object_manager=first + inventory.OBJECT_MANAGER,
        runtime_env=first + inventory.RUNTIME_ENV,
        dashboard_listen=first + inventory.DASHBOARD_LISTEN,
        dashboard_grpc=first + inventory.DASHBOARD_GRPC,
        metrics=first + inventory.METRICS,
        first_worker=first + inventory.FIRST_WORKER,
        last_worker=first + inventory.FIRST_WORKER + inventory.WORKERS - 1,
        clock_server=first + inventory.CLOCK_SERVER,
        clock_load=first + inventory.CLOCK_LOAD,
        clock_service=first + inventory.CLOCK_SERVICE,
        # No node listens while another host calibrates, nor does one calibrate while nodes start.
        relay=first + inventory.TRIVIAL,
    )


def anywhere(address: str) -> Ports:
    """Return free ports below the ephemeral range, so that no outgoing connection takes them before Ray listens.

    Raises HostError when there are too few.
    """
    wanted = inventory.METRICS + 1
    free: list[int] = []
    # In random order, so that two runs that start together rarely choose the same ports.
    for port in random.sample(range(FIRST_FREE, max(FIRST_FREE + 1000, _first_ephemeral())), 1000):
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind((address, port))
            free.append(port)
        if len(free) == wanted:
            return Ports(*free)
    raise HostError(
        f"{address}: fewer than {wanted} free ports above {FIRST_FREE}", "end what listens there: ss -ltnp lists it"
    )


def _first_ephemeral() -> int:
    """Return the lowest port that the kernel gives to outgoing connections."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return 32_768


def environment(loopback: bool, token_file: str = "{folder}/token", encrypts: bool = False) -> dict[str, str]:
    """Return the variables of a node, which a driver must share. They must be set before Ray is imported.

    encrypts: the node has certificates beside its token. A driver has copies of its own.
    """
    shared = SETTINGS | {"RAY_AUTH_TOKEN_PATH": token_file} | (LOOPBACK_ONLY if loopback else {})
    return shared | (certificates.environment("{folder}") if encrypts else {})


def head_command(address: str, ports: Ports, machine: Machine | None) -> list[str]:
    """Return the command of the coordinator's own node. machine: what runs on it, None for nothing."""
    # Without the autoscaler's monitor there is one process less to wait for, and to disturb the
    # measurement.
    start = ["{python}", "-m", "ray.scripts.scripts", "start", "--head", "--no-monitor", "--include-dashboard=false"]
    return [*start, f"--port={ports.gcs}", *_common(address, ports, machine)]


def member_command(head: str, machine: Machine, ports: Ports) -> list[str]:
    """Return the command of a host's node that joins the coordinator's node at `head`."""
    return ["{python}", "-m", "ray.scripts.scripts", "start", f"--address={head}",
            *_common(machine.address, ports, machine)]  # fmt: skip


def _resources(machine: Machine) -> dict[str, int]:
    """Return what placement groups of runs reserve of a host."""
    return {"server": int(machine.server), "service": int(machine.service), "agent": machine.slots}


def _common(address: str, ports: Ports, machine: Machine | None) -> list[str]:
    labels = {} if machine is None else {**machine.labels, "host": machine.name}
    resources = {} if machine is None else _resources(machine)
    return [
        "--block",
        f"--node-ip-address={address}",
        "--temp-dir={folder}/ray",
        "--include-log-monitor=false",
        "--disable-usage-stats",
        "--num-cpus=4",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        *(["--labels=" + ",".join(f"{key}={value}" for key, value in labels.items())] if labels else []),
        "--resources=" + "{" + ",".join(f'"{key}":{value}' for key, value in resources.items() if value) + "}",
        f"--node-manager-port={ports.node_manager}",
        f"--object-manager-port={ports.object_manager}",
        f"--runtime-env-agent-port={ports.runtime_env}",
        f"--dashboard-agent-listen-port={ports.dashboard_listen}",
        f"--dashboard-agent-grpc-port={ports.dashboard_grpc}",
        f"--metrics-export-port={ports.metrics}",
        f"--min-worker-port={ports.first_worker}",
        f"--max-worker-port={ports.last_worker}",
    ]
