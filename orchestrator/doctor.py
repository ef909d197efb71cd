"""volley doctor: is this machine fit to run a campaign? Each shortfall with the command that mends it."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

FILES_WANTED = 4096
SHM_WANTED_BYTES = 256 << 20
PORTS_WANTED = 20_000


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. state: ok, warning (it runs, and a number may suffer) or failure (it does not run)."""

    name: str
    state: str
    found: str
    mend: str = ""


def examine() -> list[Check]:
    """Look at everything; one thing that is broken does not hide another."""
    checks: list[Check] = []
    for look in LOOKS:
        try:
            checks += list(look())
        except Exception as error:
            checks.append(Check(look.__name__.strip("_"), "warning", f"could not be looked at: {error}"))
    return checks


def _python() -> Iterator[Check]:
    yield Check("python", "ok", f"{platform.python_version()} at {sys.executable}")
    try:
        yield Check("ray", "ok", metadata.version("ray"))
    except metadata.PackageNotFoundError:
        yield Check("ray", "failure", "not installed", "make setup")


def _h2load() -> Iterator[Check]:
    from agents import h2load

    install = "sudo apt-get install nghttp2-client"
    try:
        can = h2load.detect()
    except h2load.H2loadMissing as error:
        yield Check("h2load", "failure", str(error), install)
        return
    version = f"{can.version[0]}.{can.version[1]}"
    if not can.rps:
        yield Check("h2load", "warning", f"{version}: too old for the open model", install)
    elif not can.steady_rps:
        found = f"{version}: the open model follows the wall clock, a step of it is an emergency stop"
        yield Check("h2load", "ok", found)
    else:
        yield Check("h2load", "ok", version)


def _docker() -> Iterator[Check]:
    from agents.server_host import EngineUnreachable, ServerHost

    if shutil.which("docker") is None:
        yield Check("docker command", "failure", "not on the PATH", "sudo apt-get install docker.io")
    try:
        told = ServerHost("doctor").describe()
    except EngineUnreachable as error:
        mend = (
            "deploy/engine.sh up" if os.geteuid() == 0 else "sudo deploy/engine.sh up (or sudo systemctl start docker)"
        )
        yield Check("docker engine", "failure", str(error), mend)
        return
    yield Check("docker engine", "ok", f"{told['docker']}, cgroup v{told['cgroup']}")
    yield Check("memory", "ok", f"{told['memory_bytes'] / 2**30:.1f} GiB")


def _cores() -> Iterator[Check]:
    from orchestrator.fleet.local import slots

    cores = len(os.sched_getaffinity(0))
    found = f"{cores}; room for {slots()} agents"
    if cores < 3:
        yield Check(
            "cores", "warning", f"{found}; server and agents will compete", "use a machine with 4 cores or --hosts"
        )
    else:
        yield Check("cores", "ok", found)
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if governor.exists() and (mode := governor.read_text().strip()) != "performance":
        yield Check("governor", "warning", mode, "sudo cpupower frequency-set -g performance")


def _limits() -> Iterator[Check]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES_WANTED:
        yield Check("open files", "warning", f"{soft}", f"ulimit -n {FILES_WANTED}")
    else:
        yield Check("open files", "ok", f"{soft}")
    low, high = (int(n) for n in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if high - low < PORTS_WANTED:
        mend = "sudo sysctl net.ipv4.ip_local_port_range='15000 65000'"
        yield Check("ephemeral ports", "warning", f"{high - low + 1} ({low}-{high})", mend)
    else:
        yield Check("ephemeral ports", "ok", f"{high - low + 1} ({low}-{high})")


def _scratch() -> Iterator[Check]:
    from agents.load_agent import scratch_root

    root = scratch_root()
    free = shutil.disk_usage(root).free
    found = f"{root}, {free / 2**20:.0f} MiB free"
    if root != Path("/dev/shm") or free < SHM_WANTED_BYTES:
        yield Check("request logs", "warning", found, "sudo mount -o remount,size=1G /dev/shm")
    else:
        yield Check("request logs", "ok", found)


LOOKS: list[Callable[[], Iterator[Check]]] = [_python, _h2load, _docker, _cores, _limits, _scratch]
