"""Is a host fit for its roles? Pure: from what agents/survey.py found there to lines with the command that mends each."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agents import h2load

FILES_WANTED = 4096
SHM_WANTED_BYTES = 256 << 20
# The environment of a node: what travels, and what is unpacked.
DISK_WANTED_BYTES = 1 << 30
PORTS_WANTED = 20_000
CORES_WANTED = 2

OK, WARNING, FAILURE = "ok", "warning", "failure"
INSTALL_H2LOAD = "sudo apt-get install nghttp2-client"
INSTALL_DOCKER = "sudo apt-get install docker.io"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. state: ok, warning (it runs, and a number may suffer) or failure (it does not run)."""

    name: str
    state: str
    found: str
    mend: str = ""


def judge(found: dict[str, Any], roles: list[str]) -> list[Check]:
    """Look at everything that matters for the roles."""
    checks = [*_system(found), *_python(found)]
    if "load" in roles:
        checks += [*_h2load(found), *_load(found)]
    if "server" in roles:
        checks += _docker(found)
    return [*checks, *_clock(found)]


def _system(found: dict[str, Any]) -> Iterator[Check]:
    yield Check("system", OK, f"{found['os']}, kernel {found['kernel']}, {found['machine']}")
    cores = len(found["cores"])
    if cores < CORES_WANTED:
        yield Check(
            "cores", WARNING, f"{cores}; Volley's own processes take from what is measured", "give it 2 or more"
        )
    else:
        yield Check("cores", OK, f"{cores}")
    if found["memory_bytes"]:
        yield Check("memory", OK, f"{found['memory_bytes'] / 2**30:.1f} GiB")
    if found["governor"] not in (None, "performance"):
        yield Check("governor", WARNING, str(found["governor"]), "sudo cpupower frequency-set -g performance")
    free = found["home_free_bytes"]
    if free is not None and free < DISK_WANTED_BYTES:
        yield Check("disk", FAILURE, f"{free / 2**20:.0f} MiB free in the home folder", "make 1 GiB free there")
    elif free is not None:
        yield Check("disk", OK, f"{free / 2**30:.0f} GiB free")


def _python(found: dict[str, Any]) -> Iterator[Check]:
    """Ray wants one minor version everywhere; the packages that are sent want one machine type."""
    here, there = sys.version_info, tuple(found["python"])
    version = ".".join(str(part) for part in there)
    if there[:2] != (here.major, here.minor):
        wanted = f"{here.major}.{here.minor}"
        age = "too old" if there < (here.major, here.minor) else "too new"
        mend = f"sudo apt-get install python{wanted}, and name it in the inventory: python: python{wanted}"
        yield Check("python", FAILURE, f"{version} is {age}: the coordinator runs {wanted}", mend)
    elif found["machine"] != platform.machine():
        what = f"{found['machine']}, and the coordinator is {platform.machine()}"
        yield Check("python", FAILURE, what, "use a coordinator of the hosts' kind")
    else:
        yield Check("python", OK, f"{version} at {found['python_path']}")


def _h2load(found: dict[str, Any]) -> Iterator[Check]:
    said = found["h2load"]
    if said is None:
        yield Check("h2load", FAILURE, "'h2load' is not on the PATH", INSTALL_H2LOAD)
        return
    if not isinstance(said, str):
        yield Check("h2load", FAILURE, f"'h2load --version' failed: {said['error']}", INSTALL_H2LOAD)
        return
    try:
        can = h2load.capabilities(h2load.parse_version(said))
    except h2load.H2loadMissing as error:
        yield Check("h2load", FAILURE, str(error), INSTALL_H2LOAD)
        return
    version = f"{can.version[0]}.{can.version[1]}"
    if can.version < h2load.OLDEST:
        yield Check("h2load", FAILURE, f"{version} is too old", INSTALL_H2LOAD)
    elif not can.rps:
        yield Check("h2load", WARNING, f"{version}: too old for the open model", INSTALL_H2LOAD)
    elif not can.steady_rps:
        yield Check("h2load", OK, f"{version} (open model: a step of the wall clock is an emergency stop)")
    else:
        yield Check("h2load", OK, version)


def _load(found: dict[str, Any]) -> Iterator[Check]:
    files = found["open_files"]
    if files < FILES_WANTED:
        yield Check("open files", WARNING, f"{files}", f"ulimit -n {FILES_WANTED} (or LimitNOFILE, limits.conf)")
    else:
        yield Check("open files", OK, f"{files}")
    if found["ephemeral_ports"]:
        low, high = found["ephemeral_ports"]
        few = high - low < PORTS_WANTED
        mend = "sudo sysctl net.ipv4.ip_local_port_range='15000 65000'" if few else ""
        yield Check("ephemeral ports", WARNING if few else OK, f"{high - low + 1} ({low}-{high})", mend)
    free = found["shm_free_bytes"]
    if free is None or free < SHM_WANTED_BYTES:
        where = "no /dev/shm" if free is None else f"/dev/shm, {free / 2**20:.0f} MiB free"
        yield Check("request logs", WARNING, where, "sudo mount -o remount,size=1G /dev/shm")
    else:
        yield Check("request logs", OK, f"/dev/shm, {free / 2**20:.0f} MiB free")


def _docker(found: dict[str, Any]) -> Iterator[Check]:
    if found["docker_command"] is None:
        yield Check("docker engine", FAILURE, "'docker' is not on the PATH", INSTALL_DOCKER)
    elif not isinstance(found["docker"], str):
        said = found["docker"]["error"] if found["docker"] else "no answer"
        mend = "sudo deploy/engine.sh up (or sudo systemctl start docker)"
        yield Check(
            "docker engine",
            FAILURE,
            f"does not answer: {said}",
            mend if found["root"] else f"{mend}; may this user use it? sudo usermod -aG docker $USER",
        )
    else:
        yield Check("docker engine", OK, found["docker"])


def _clock(found: dict[str, Any]) -> Iterator[Check]:
    kept = found["time_service"]
    if kept == "no":
        mend = "sudo timedatectl set-ntp true (offsets are measured; a step in mid-trial makes it INVALID)"
        yield Check("time service", WARNING, "the clock is not synchronised", mend)
    else:
        yield Check("time service", OK, "synchronised" if kept else "unknown")
