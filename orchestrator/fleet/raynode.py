"""How a Ray node is started and joined: one place for every flag and variable, each for a measured reason."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path

# Ray's defaults falsify a load test (workers and their children at nice 15) or notice a lost host after a minute.
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
}
# Makes Ray take 127.0.0.1 for the node's address, so that every socket is bound to loopback. One machine only.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
OBJECT_STORE_BYTES = 80_000_000


def environment(token_file: Path, loopback: bool) -> dict[str, str]:
    """Give the variables that node and driver must share; they must be set before ray is imported."""
    return SETTINGS | {"RAY_AUTH_TOKEN_PATH": str(token_file)} | (LOOPBACK_ONLY if loopback else {})


def write_token(folder: Path) -> Path:
    """Make a fresh token that only this user can read, as whoever has it can run code."""
    path = folder / "token"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return path


def head_command(address: str, port: int, folder: Path, labels: dict[str, str], resources: dict[str, int]) -> list[str]:
    """Build the command of a head node that runs in the foreground."""
    ports = free_ports(address, 6)
    return [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        f"--port={port}",
        f"--node-ip-address={address}",
        f"--temp-dir={folder}",
        "--include-dashboard=false",
        "--include-log-monitor=false",
        "--disable-usage-stats",
        "--num-cpus=4",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        "--labels=" + ",".join(f"{key}={value}" for key, value in labels.items()),
        "--resources=" + "{" + ",".join(f'"{key}":{value}' for key, value in resources.items()) + "}",
        f"--node-manager-port={ports[0]}",
        f"--object-manager-port={ports[1]}",
        f"--runtime-env-agent-port={ports[2]}",
        f"--dashboard-agent-listen-port={ports[3]}",
        f"--dashboard-agent-grpc-port={ports[4]}",
        f"--metrics-export-port={ports[5]}",
        "--min-worker-port=0",
        "--max-worker-port=0",
    ]


def free_ports(address: str, count: int) -> list[int]:
    """Find ports that nothing listens on at present."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((address, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
