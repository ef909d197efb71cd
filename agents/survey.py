"""What a host has, as one JSON document: `python3 - < survey.py` works before Volley sends anything there.

It needs the standard library only and runs on Python 3.7, so that a host with an old Python can
report its version. Nothing is judged here. A value that cannot be found out is null or, for a tool
that fails, {"error": ...}; the other values are reported all the same.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from pathlib import Path


def read(path: str) -> str | None:
    """Return a small file's text without surrounding whitespace; None when it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError):
        return None


def ask(*command: str) -> str | dict[str, str] | None:
    """Return what a command prints; None when it is not installed; {"error": ...} when it fails."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return {"error": str(error)[:200]}
    text = done.stdout.decode(errors="replace").strip()
    return text if done.returncode == 0 else {"error": (text.splitlines() or [f"status {done.returncode}"])[-1][:200]}


def os_name() -> str:
    """Return the distribution's name."""
    lines = (read("/etc/os-release") or "").splitlines()
    names = [line.partition("=")[2].strip('"') for line in lines if line.startswith("PRETTY_NAME=")]
    return names[0] if names else platform.system()


def memory_bytes() -> int | None:
    """Return the machine's memory in bytes."""
    for line in (read("/proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def time_service() -> str | None:
    """Return 'yes' when the clock is synchronised, 'no' when it is not, None when no tool here knows."""
    synchronised = ask("timedatectl", "show", "-p", "NTPSynchronized", "--value")
    if synchronised in ("yes", "no"):
        return str(synchronised)
    tracking = ask("chronyc", "-n", "tracking")
    if isinstance(tracking, str):
        return "yes" if "Leap status     : Normal" in tracking else "no"
    return None


def free_bytes(folder: str) -> int | None:
    """Return the free space of a folder's file system in bytes; None when this user cannot write to the folder."""
    if not os.access(folder, os.W_OK):
        return None
    return shutil.disk_usage(folder).free


def ephemeral_ports() -> list[int] | None:
    """Return [first, last] of the ports that the kernel gives to outgoing connections."""
    words = (read("/proc/sys/net/ipv4/ip_local_port_range") or "").split()
    return [int(word) for word in words] or None


def open_files() -> int:
    """Return how many files a process can have open: the hard limit, to which generators raise theirs."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1 << 20 if hard == resource.RLIM_INFINITY else hard


def docker_endpoint() -> str | dict[str, str] | None:
    """Return the address of the engine that the docker command uses: DOCKER_HOST or the current context."""
    answer = ask("docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    if not isinstance(answer, str):
        return answer
    # Warnings may stand beside it.
    return next((line for line in answer.splitlines() if "://" in line and " " not in line), answer)


def survey() -> dict[str, object]:
    """Return everything about this host; orchestrator/fleet/survey.py describes the fields."""
    return {
        "python": list(sys.version_info[:3]),
        "python_path": sys.executable,
        "libc": "-".join(platform.libc_ver()),
        "machine": platform.machine(),
        "os": os_name(),
        "kernel": platform.release(),
        "root": os.geteuid() == 0,
        "cores": sorted(os.sched_getaffinity(0)),
        "memory_bytes": memory_bytes(),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "time_service": time_service(),
        "h2load": ask("h2load", "--version"),
        "docker_command": shutil.which("docker"),
        "docker": ask("docker", "version", "--format", "{{.Server.Version}}"),
        "docker_endpoint": docker_endpoint(),
        "open_files": open_files(),
        "ephemeral_ports": ephemeral_ports(),
        "reserved_ports": read("/proc/sys/net/ipv4/ip_local_reserved_ports"),
        "somaxconn": int(read("/proc/sys/net/core/somaxconn") or 0) or None,
        "shm_free_bytes": free_bytes("/dev/shm"),
        "tmp_free_bytes": free_bytes("/tmp"),
        "home_free_bytes": free_bytes(str(Path.home())),
        "zstd": shutil.which("zstd"),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(survey()) + "\n")
