"""The container of a target: created with its limits, started, watched and removed through the Docker SDK."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agents import lease
from agents.orders import RUN_LABEL
from agents.probe import Expect, Request

if TYPE_CHECKING:
    from docker import DockerClient

LOG_LINES = 2000


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
    asked until the server is up; None: the same request.
    """

    target: str
    image: str
    port: int
    request: Request
    expect: Expect
    ready: Request | None = None
    ready_timeout_s: float = 60.0
    settle_timeout_s: float = 15.0


@dataclass(frozen=True, slots=True)
class ContainerState:
    """The state of a container on its engine. exit_code: None while it runs, and when it is gone."""

    running: bool = False
    exit_code: int | None = None
    restarts: int = 0


class ServerContainer:
    """One container that was created for a trial, labelled with its run so that it can be removed whatever happens."""

    def __init__(self, engine: DockerClient, spec: ServerSpec, run: str, trial: str) -> None:
        """Create the container. Raises docker's own errors when the engine refuses."""
        from docker.types import LogConfig

        lease.register(lease.Item(run, containers=True))
        self._container = engine.containers.create(
            spec.image,
            command=spec.command,
            environment=spec.env,
            labels={RUN_LABEL: run, "volley.trial": trial, "volley.target": spec.target},
            log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "2"}),
            **_limits(spec),
            **_network(spec),
        )
        self._state = ContainerState()

    @property
    def id(self) -> str:
        """The engine's id of the container."""
        return self._container.id or ""

    def start(self) -> int:
        """Start it; return the pid of its first process, 0 when it has already ended."""
        self._container.start()
        self._container.reload()
        return int(self._container.attrs["State"]["Pid"])

    def state(self) -> ContainerState:
        """Return its state now; for a container that was removed, the last known one, not running."""
        from docker.errors import NotFound

        try:
            self._container.reload()
        except NotFound:
            return ContainerState(False, self._state.exit_code, self._state.restarts)
        attributes = self._container.attrs
        running = bool(attributes["State"]["Running"])
        exit_code = None if running else int(attributes["State"]["ExitCode"])
        self._state = ContainerState(running, exit_code, int(attributes.get("RestartCount", 0)))
        return self._state

    def log(self) -> bytes:
        """Return the last lines that the server printed."""
        from docker.errors import APIError

        try:
            return bytes(self._container.logs(tail=LOG_LINES, timestamps=True))
        except APIError as error:
            return f"the log could not be read: {error}".encode()

    def remove(self) -> None:
        """Kill and remove it with its anonymous volumes; a container that is gone is fine."""
        from docker.errors import NotFound

        with contextlib.suppress(NotFound):
            self._container.remove(force=True, v=True)


def _limits(spec: ServerSpec) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if spec.memory_bytes is not None:
        # The same limit with swap: memory that is swapped out would be measured as a slow server.
        limits |= {"mem_limit": spec.memory_bytes, "memswap_limit": spec.memory_bytes}
    if spec.cpus is not None:
        limits["nano_cpus"] = round(spec.cpus * 1e9)
    if spec.cpuset is not None:
        limits["cpuset_cpus"] = spec.cpuset
    return limits


def _network(spec: ServerSpec) -> dict[str, Any]:
    if spec.network == "host":
        return {"network_mode": "host"}
    return {"ports": {f"{spec.port}/tcp": spec.port}}
