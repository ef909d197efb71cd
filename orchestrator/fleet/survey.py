"""Is a host ready for its roles? Pure: from the survey of a host to checks, each problem with its fix."""

from __future__ import annotations

import platform
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from agents import engine
from agents.generators import h2load_version
from agents.records import BadRecord, HostRole, from_plain

FILES_WANTED = 4096
SHM_WANTED_BYTES = 256 << 20
# The environment of a node: the archive, and what is unpacked from it.
DISK_WANTED_BYTES = 1 << 30
PORTS_WANTED = 20_000
CORES_WANTED = 2

INSTALL_H2LOAD = "sudo apt-get install nghttp2-client"
INSTALL_DOCKER = "sudo apt-get install docker.io"
START_DOCKER = "sudo systemctl start docker"
JOIN_DOCKER = "sudo usermod -aG docker $USER, then log in again"


class CheckState(StrEnum):
    """How a check ended. WARNING: runs work, but numbers may suffer. FAILURE: the host cannot be used."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. fix: a command or an edit; empty when nothing is wrong."""

    name: str
    state: CheckState
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class ToolError:
    """The last line that a failing tool printed."""

    error: str


# A tool's answer: its output, its error, or None when it is not installed.
Answer = str | ToolError | None
_ANSWERS = ("h2load", "docker", "docker_endpoint")


@dataclass(frozen=True, slots=True)
class HostSurvey:
    """The document of agents/survey.py.

    python: version, three numbers. cores: those that this user's processes may run on.
    governor, time_service ('yes', 'no'), docker_command, zstd (paths), memory_bytes, somaxconn and
    *_free_bytes: None when not known, not there or not writable.
    ephemeral_ports: [first, last]. open_files: the most that a process can have.
    reserved_ports: those that the kernel leaves out, as in '20000-20039,30000'.
    """

    python: list[int]
    python_path: str
    libc: str
    machine: str
    os: str
    kernel: str
    root: bool
    cores: list[int]
    memory_bytes: int | None
    governor: str | None
    time_service: str | None
    docker_command: str | None
    open_files: int
    ephemeral_ports: list[int] | None
    somaxconn: int | None
    shm_free_bytes: int | None
    tmp_free_bytes: int | None
    home_free_bytes: int | None
    zstd: str | None
    h2load: Answer = None
    docker: Answer = None
    docker_endpoint: Answer = None
    reserved_ports: str | None = None


def read_survey(document: object) -> HostSurvey:
    """Return the record of a survey's JSON document. Raises BadRecord."""
    if not isinstance(document, dict):
        raise BadRecord(f"survey: {type(document).__name__} instead of an object")
    answers = {name: _answer(name, document.get(name)) for name in _ANSWERS}
    rest = {name: value for name, value in document.items() if name not in _ANSWERS}
    return replace(
        from_plain(HostSurvey, rest, "survey"),
        h2load=answers["h2load"],
        docker=answers["docker"],
        docker_endpoint=answers["docker_endpoint"],
    )


def _answer(name: str, plain: object) -> Answer:
    if plain is None or isinstance(plain, str):
        return plain
    return from_plain(ToolError, plain, f"survey.{name}")


def judge(survey: HostSurvey, roles: Collection[HostRole], ports: tuple[int, int] | None = None) -> list[Check]:
    """Return a check for everything that matters for the roles. ports: first and last of those that nodes listen on."""
    checks = [*_system(survey), *_python(survey), *_own_ports(survey, ports)]
    if HostRole.LOAD in roles:
        checks += [_h2load(survey.h2load), *_load(survey)]
    if HostRole.SERVER in roles or HostRole.SERVICE in roles:
        checks.append(_docker(survey))
    return [*checks, _clock(survey.time_service)]


def _ok(name: str, found: str) -> Check:
    return Check(name, CheckState.OK, found)


def _warning(name: str, found: str, fix: str) -> Check:
    return Check(name, CheckState.WARNING, found, fix)


def _failure(name: str, found: str, fix: str) -> Check:
    return Check(name, CheckState.FAILURE, found, fix)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.0f} MiB"


def _system(survey: HostSurvey) -> Iterator[Check]:
    yield _ok("system", f"{survey.os}, kernel {survey.kernel}, {survey.machine}")
    cores = len(survey.cores)
    if cores < CORES_WANTED:
        yield _warning(
            "cores", f"{cores}; Volley's own processes compete with the measured ones", "use 2 or more cores"
        )
    else:
        yield _ok("cores", f"{cores}")
    if survey.memory_bytes:
        yield _ok("memory", f"{survey.memory_bytes / 2**30:.1f} GiB")
    if survey.governor not in (None, "performance"):
        yield _warning("governor", str(survey.governor), "sudo cpupower frequency-set -g performance")
    free = survey.home_free_bytes
    if free is not None and free < DISK_WANTED_BYTES:
        yield _failure("disk", f"{_mib(free)} free in the home folder", "free at least 1 GiB in the home folder")
    elif free is not None:
        yield _ok("disk", f"{free / 2**30:.0f} GiB free")


def _python(survey: HostSurvey) -> Iterator[Check]:
    """Ray needs the same minor version everywhere; the packages that are sent need the same machine type."""
    here, there = sys.version_info, tuple(survey.python)
    version = ".".join(str(part) for part in there)
    if there[:2] != (here.major, here.minor):
        wanted = f"{here.major}.{here.minor}"
        age = "too old" if there < (here.major, here.minor) else "too new"
        fix = f"sudo apt-get install python{wanted}, and name it in the inventory: python: python{wanted}"
        yield _failure("python", f"{version} is {age}: the coordinator runs {wanted}", fix)
    elif survey.machine != platform.machine():
        found = f"machine type {survey.machine}, but the coordinator is {platform.machine()}"
        yield _failure("python", found, f"run Volley on a {survey.machine} machine, or use {platform.machine()} hosts")
    else:
        yield _ok("python", f"{version} at {survey.python_path}")


def _h2load(answer: Answer) -> Check:
    """Without h2load a host is of use: paced sends closed loops, too."""
    if answer is None:
        return _no_h2load("it is not installed")
    if isinstance(answer, ToolError):
        return _no_h2load(f"'h2load --version' failed: {answer.error}")
    try:
        can = h2load_version.capabilities(h2load_version.parse_version(answer))
    except h2load_version.H2loadMissing as error:
        return _no_h2load(str(error))
    version = f"{can.version[0]}.{can.version[1]}"
    if can.version < h2load_version.OLDEST:
        return _no_h2load(f"{version} is too old")
    if not can.rps:
        return _warning("h2load", f"{version} is too old for the open model", INSTALL_H2LOAD)
    if not can.steady_rps:
        return _ok("h2load", f"{version} (open model: the load is stopped if the wall clock jumps)")
    return _ok("h2load", version)


def _no_h2load(why: str) -> Check:
    found = f"{why}; paced sends closed loops instead, and nothing sends HTTP/2 or the highest rates"
    return _warning("h2load", found, INSTALL_H2LOAD)


def _own_ports(survey: HostSurvey, ports: tuple[int, int] | None) -> Iterator[Check]:
    """An outgoing connection may take a port of the ephemeral range before the node listens on it."""
    if ports is None or not survey.ephemeral_ports:
        return
    first, last = ports
    low, high = survey.ephemeral_ports
    reserved = _numbers(survey.reserved_ports or "")
    if any(low <= port <= high and port not in reserved for port in range(first, last + 1)):
        yield _warning(
            "own ports",
            f"{first}-{last} overlap with the ephemeral ports {low}-{high}: other connections may take them",
            f"sudo sysctl net.ipv4.ip_local_reserved_ports={first}-{last}; or set 'ports' in the inventory",
        )


def _numbers(ranges: str) -> set[int]:
    """Return the ports of a list like '20000-20039,30000'."""
    found: set[int] = set()
    for part in ranges.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit():
            found.update(range(int(first), int(last or first) + 1))
    return found


def _load(survey: HostSurvey) -> Iterator[Check]:
    files = survey.open_files
    if files < FILES_WANTED:
        yield _warning(
            "open files",
            f"{files}",
            f"'* hard nofile {FILES_WANTED}' in /etc/security/limits.conf (or LimitNOFILE of its service)",
        )
    else:
        yield _ok("open files", f"{files}")
    if survey.ephemeral_ports:
        low, high = survey.ephemeral_ports
        found = f"{high - low + 1} ({low}-{high})"
        if high - low < PORTS_WANTED:
            yield _warning("ephemeral ports", found, "sudo sysctl net.ipv4.ip_local_port_range='32768 65535'")
        else:
            yield _ok("ephemeral ports", found)
    free = survey.shm_free_bytes
    where = "no /dev/shm" if free is None else f"/dev/shm, {_mib(free)} free"
    if free is None or free < SHM_WANTED_BYTES:
        yield _warning("request logs", where, "sudo mount -o remount,size=1G /dev/shm")
    else:
        yield _ok("request logs", where)


def _docker(survey: HostSurvey) -> Check:
    if survey.docker_command is None:
        return _failure("docker engine", "'docker' is not on the PATH", INSTALL_DOCKER)
    endpoint = survey.docker_endpoint
    # An engine too old for contexts answers no question about them.
    if isinstance(endpoint, str) and not engine.is_local(endpoint):
        return _failure(
            "docker engine",
            f"{endpoint} (DOCKER_HOST or docker context) is on another machine, where the server cannot be metered",
            "unset DOCKER_HOST, or: docker context use default; to run servers there, list that machine as a host",
        )
    if isinstance(survey.docker, str):
        return _ok("docker engine", survey.docker)
    if is_forbidden(survey.docker):
        return _failure("docker engine", "this user may not use it", JOIN_DOCKER)
    reason = survey.docker.error if survey.docker else "no answer"
    return _failure("docker engine", f"does not answer: {reason}", START_DOCKER)


def is_forbidden(answer: Answer) -> bool:
    """Return whether the engine may be up, and its socket is closed to this user. It is Docker's own wording."""
    return isinstance(answer, ToolError) and "permission denied" in answer.error.lower()


def _clock(synchronised: str | None) -> Check:
    if synchronised == "no":
        fix = "sudo timedatectl set-ntp true (offsets are measured, but a step during a trial makes it INVALID)"
        return _warning("time service", "the clock is not synchronised", fix)
    return _ok("time service", "synchronised" if synchronised else "unknown")
