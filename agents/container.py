"""Containers of targets and services: created, started, watched and removed through the Docker SDK."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agents import engine as engines
from agents import lease
from agents.orders import RUN_LABEL
from agents.printable import printable
from agents.probe import Expect, Request

if TYPE_CHECKING:
    from docker import DockerClient

LOG_LINES = 2000
LINE_CHARACTERS = 160
# The exit code of a process that was killed, and how much later the engine may learn that it was for memory.
KILLED, NOTICE_S = 137, 0.5
TARGET_LABEL, SERVICE_LABEL, TRIAL_LABEL = "volley.target", "volley.service", "volley.trial"
# So that a container that runs away cannot take every process id of its host.
PIDS = 16_384
# What entrypoints that begin as root need to prepare their data and to become another user, and ports below 1024.
# Everything else is dropped: docs/adr/0034.
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")


class ContainerRefused(RuntimeError):
    """The engine does not create or start a container as it is described."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume of the run, or a file or folder of this host, which is then read only."""

    source: str
    path: str
    bind: bool = False
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """How to see that a container is healthy: a command in it. argv None: that of the image, if it has one.

    retries: unhealthy after this many failures in a row; None: checked until the time to become ready is over.
    """

    argv: list[str] | None = None
    interval_s: float = 0.25
    timeout_s: float = 30.0
    retries: int | None = None
    start_period_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """How a container is created: the vocabulary of Compose.

    Limits: cpus in cores; memory in bytes, no swap beside it; pids None: PIDS. ports: of this host, by port of the
    container; published with the network 'bridge'. hosts: addresses by name, for its /etc/hosts. tmpfs: options by path.
    ulimits: soft and hard, -1 for none. health: None for no check.
    """

    command: list[str] | None = None
    entrypoint: list[str] | None = None
    env: dict[str, str] = field(default_factory=dict)
    cpus: float | None = None
    memory_bytes: int | None = None
    cpuset: str | None = None
    pids: int | None = None
    network: str = "host"
    ports: dict[int, int] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)
    mounts: list[Mount] = field(default_factory=list)
    tmpfs: dict[str, str] = field(default_factory=dict)
    ulimits: dict[str, list[int]] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)
    shm_bytes: int | None = None
    user: str | None = None
    working_dir: str | None = None
    cap_add: list[str] = field(default_factory=list)
    cap_drop: list[str] = field(default_factory=list)
    health: Health | None = field(default_factory=Health)


@dataclass(frozen=True, slots=True)
class ServerSpec(ContainerSpec):
    """A server to run: its container and readiness.

    port: of the container. request: what the load sends; one response to it is compared with `expect`. ready: what is
    asked until the server is up; None: the same request. ready_timeout_s: for all of that; answer_timeout_s: for the
    response that is compared.
    """

    target: str
    image: str
    port: int
    request: Request
    expect: Expect
    ready: Request | None = None
    ready_timeout_s: float = 60.0
    answer_timeout_s: float = 60.0
    settle_timeout_s: float = 15.0


@dataclass(frozen=True, slots=True)
class ContainerState:
    """The state of a container on its engine. exit_code: None while it runs, and when it is gone.

    oom_killed: its first process was killed for memory. lasted_us: from its start to its end; None while it runs.
    """

    running: bool = False
    exit_code: int | None = None
    restarts: int = 0
    oom_killed: bool = False
    lasted_us: int | None = None


class Container:
    """One container of a run, labelled with the run so that it can be removed whatever happens."""

    def __init__(self, engine: DockerClient, spec: ContainerSpec, image: str, run: str, labels: dict[str, str]) -> None:
        """Create the container and the volumes that it needs. Raises ContainerRefused when the engine refuses."""
        from docker.errors import APIError
        from docker.types import LogConfig

        lease.register(lease.Item(run, containers=True))
        self._what = labels.get(SERVICE_LABEL) or labels.get(TARGET_LABEL) or image
        try:
            for mount in spec.mounts:
                if not mount.bind:
                    engine.volumes.create(name=volume_name(run, mount.source), labels={RUN_LABEL: run})
            self._container = engine.containers.create(
                image,
                command=spec.command,
                entrypoint=spec.entrypoint,
                environment=spec.env,
                labels={RUN_LABEL: run, **labels},
                log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "2"}),
                **settings(spec, run),
            )
        except APIError as error:
            raise self._refused(error) from error
        self._state = ContainerState()
        self._noticed = False

    def _refused(self, error: Exception) -> ContainerRefused:
        why = str(getattr(error, "explanation", None) or error).strip()
        return ContainerRefused(f"the Docker engine refuses the container of {self._what}: {why}")

    @property
    def id(self) -> str:
        """The engine's id of the container."""
        return self._container.id or ""

    def start(self) -> int:
        """Start it; return the pid of its first process, 0 when it has already ended. Raises ContainerRefused."""
        from docker.errors import APIError

        try:
            self._container.start()
        except APIError as error:
            raise self._refused(error) from error
        self._container.reload()
        return int(self._container.attrs["State"]["Pid"])

    def address(self) -> str:
        """Return its address on the bridge; '' with the host's network."""
        return str(self._container.attrs["NetworkSettings"].get("IPAddress") or "")

    def image_health(self) -> list[str] | None:
        """Return the command of the image's own health check; None when it has none."""
        image = self._container.image
        found = ((image.attrs.get("Config") if image else None) or {}).get("Healthcheck") or {}
        test: list[str] = found.get("Test") or []
        if not test or test[0] == "NONE":
            return None
        return ["/bin/sh", "-c", test[1]] if test[0] == "CMD-SHELL" else test[1:]

    def state(self) -> ContainerState:
        """Return its state now; for a container that was removed, the last known one, not running."""
        from docker.errors import NotFound

        try:
            self._container.reload()
        except NotFound:
            last = self._state
            return ContainerState(False, last.exit_code, last.restarts, last.oom_killed, last.lasted_us)
        if self._ended_by_kill():
            self._wait_for_notice()
        attributes = self._container.attrs
        state = attributes["State"]
        running = bool(state["Running"])
        self._state = ContainerState(
            running,
            exit_code=None if running else int(state["ExitCode"]),
            restarts=int(attributes.get("RestartCount", 0)),
            oom_killed=bool(state.get("OOMKilled")),
            lasted_us=None if running else _lasted_us(state),
        )
        return self._state

    def _ended_by_kill(self) -> bool:
        state = self._container.attrs["State"]
        return not state["Running"] and int(state["ExitCode"]) == KILLED and not state.get("OOMKilled")

    def _wait_for_notice(self) -> None:
        """Let the engine hear of a kill for memory, which it learns of apart from the end itself; once."""
        from docker.errors import NotFound

        deadline = time.monotonic() + NOTICE_S
        while not self._noticed and self._ended_by_kill() and time.monotonic() < deadline:
            time.sleep(NOTICE_S / 10)
            with contextlib.suppress(NotFound):
                self._container.reload()
        self._noticed = True

    def log(self) -> bytes:
        """Return the last lines that it printed."""
        from docker.errors import APIError

        try:
            return bytes(self._container.logs(tail=LOG_LINES, timestamps=True))
        except APIError as error:
            return f"the log could not be read: {error}".encode()

    def last_line(self) -> str:
        """Return the last line that it printed, without control characters; '' when it printed none."""
        from docker.errors import APIError, NotFound

        with contextlib.suppress(APIError, NotFound):
            text = bytes(self._container.logs(tail=20)).decode(errors="replace")
            lines = [printable(line).strip() for line in text.splitlines()]
            return next((line for line in reversed(lines) if line), "")[:LINE_CHARACTERS]
        return ""

    def remove(self) -> None:
        """Kill and remove it with its anonymous volumes; a container that is gone is fine."""
        from docker.errors import NotFound

        with contextlib.suppress(NotFound):
            self._container.remove(force=True, v=True)


def _lasted_us(state: dict[str, Any]) -> int | None:
    try:
        began, ended = (_instant(state[key]) for key in ("StartedAt", "FinishedAt"))
    except (KeyError, ValueError):
        return None
    return max(0, round((ended - began).total_seconds() * 1e6))


def _instant(text: str) -> datetime:
    """Read an instant of the engine, which has nanoseconds."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction[:6].ljust(6, '0')}+00:00")


def volume_name(run: str, name: str) -> str:
    """Return the engine's name of a volume of a run."""
    return f"volley-{_NOT_IN_NAMES.sub('-', run)}-{name}"


def remove_volumes(engine: DockerClient, run: str) -> None:
    """Remove the volumes of a run that no container uses."""
    from docker.errors import APIError

    for volume in engine.volumes.list(filters={"label": f"{RUN_LABEL}={run}"}):
        with contextlib.suppress(APIError):  # another container of the run still has it: the guard removes both
            volume.remove(force=True)


def settings(spec: ContainerSpec, run: str) -> dict[str, Any]:
    """Return what the SDK needs to create a container, beyond image, command and environment. Raises ContainerRefused."""
    from docker.types import Ulimit

    given = {
        "extra_hosts": spec.hosts,
        "mounts": list(_mounts(spec, run)),
        "tmpfs": spec.tmpfs,
        "ulimits": [Ulimit(name=name, soft=soft, hard=hard) for name, (soft, hard) in spec.ulimits.items()],
        "sysctls": spec.sysctls,
        "shm_size": spec.shm_bytes,
        "user": spec.user,
        "working_dir": spec.working_dir,
    }
    # Volley does the checking: until the container is healthy, at once rather than after the image's interval, and never
    # during a load, where every check would be part of what is measured.
    return {
        **{name: value for name, value in given.items() if value},
        "healthcheck": {"test": ["NONE"]},
        "pids_limit": spec.pids or PIDS,
        **_privileges(spec),
        **_limits(spec),
        **_network(spec),
    }


def _privileges(spec: ContainerSpec) -> dict[str, Any]:
    kept = () if "ALL" in spec.cap_drop else tuple(name for name in CAPABILITIES if name not in spec.cap_drop)
    return {
        "security_opt": ["no-new-privileges:true"],
        "cap_drop": ["ALL"],
        "cap_add": sorted({*kept, *spec.cap_add}),
    }


def _mounts(spec: ContainerSpec, run: str) -> Iterator[Any]:
    from docker.types import Mount as EngineMount

    for mount in spec.mounts:
        if mount.bind:
            _require_harmless(mount.source)
            yield EngineMount(mount.path, mount.source, type="bind", read_only=True)
        else:
            yield EngineMount(mount.path, volume_name(run, mount.source), type="volume", read_only=mount.read_only)


def _require_harmless(source: str) -> None:
    """Raise ContainerRefused for a path that does not exist, and for one that leads to the engine's socket."""
    path = Path(os.path.realpath(source))
    try:
        kind = path.stat().st_mode
    except OSError as error:
        raise ContainerRefused(f"there is no {source} to mount: {error.strerror}") from None
    socket = urlsplit(engines.endpoint())
    engine_socket = Path(os.path.realpath(socket.path)) if socket.scheme == "unix" else None
    if stat.S_ISSOCK(kind) or (engine_socket is not None and engine_socket.is_relative_to(path)):
        raise ContainerRefused(f"{source} would give the container control of the Docker engine: mount another folder")


def _limits(spec: ContainerSpec) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if spec.memory_bytes is not None:
        # The same limit with swap: memory that is swapped out would be measured as a slow server.
        limits |= {"mem_limit": spec.memory_bytes, "memswap_limit": spec.memory_bytes}
    if spec.cpus is not None:
        limits["nano_cpus"] = round(spec.cpus * 1e9)
    if spec.cpuset is not None:
        limits["cpuset_cpus"] = spec.cpuset
    return limits


def _network(spec: ContainerSpec) -> dict[str, Any]:
    if spec.network == "host":
        return {"network_mode": "host"}
    return {"ports": {f"{container}/tcp": host for container, host in spec.ports.items()}}
