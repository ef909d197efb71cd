"""What hosts of containers have in common: the Docker engine, its images, a clock responder, the host's own use."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from agents import engine
from agents.clock import ClockResponder
from agents.command import CommandHost
from agents.container import remove_volumes
from agents.hostmeter import HostMeter, HostUse
from agents.images import ImageStore
from agents.records import HostDescription, HostRole

if TYPE_CHECKING:
    from docker import DockerClient

ENGINE_TIMEOUT_S = 60


class EngineUnreachable(RuntimeError):
    """The Docker engine of this host does not answer."""


def _reason(error: BaseException) -> str:
    """Return why a connection failed in the system's words, such as 'No such file or directory'.

    Docker's client, its HTTP library and its sockets each wrap the error of the one below; only the last has such words.
    """
    words, each = str(error), error
    while (cause := each.__cause__ or each.__context__) is not None:
        each = cause
        if isinstance(each, OSError) and each.strerror:
            words = each.strerror
    return words


class DockerHost(CommandHost):
    """A host whose engine runs containers of one run."""

    role = HostRole.SERVER

    def __init__(self, run: str, name: str = "local", address: str = "127.0.0.1", clock_port: int = 0) -> None:
        super().__init__()
        self._run, self._name, self._address = run, name, address
        self._responder = ClockResponder(address, clock_port)
        self._engine: DockerClient | None = None
        self.images = ImageStore(self.engine)
        self._meter = HostMeter()
        self._abort = threading.Event()

    def engine(self) -> DockerClient:
        """Connect to this host's engine. Raises EngineUnreachable."""
        import docker
        from docker.errors import DockerException

        if self._engine is None:
            address = engine.endpoint()
            if not engine.is_local(address):
                raise EngineUnreachable(
                    f"the Docker engine at {address} (DOCKER_HOST or docker context) is on another machine, where the "
                    "server cannot be metered"
                )
            try:
                client = docker.from_env(timeout=ENGINE_TIMEOUT_S, environment=engine.environment())
                client.ping()
            except (DockerException, OSError) as error:
                raise EngineUnreachable(f"the Docker engine at {address} does not answer: {_reason(error)}") from error
            self._engine = client
        return self._engine

    def describe(self) -> HostDescription:
        """Return what this host offers. Raises EngineUnreachable."""
        info = self.engine().info()
        return HostDescription(
            host=self._name,
            role=self.role,
            kernel=os.uname().release,
            cores=sorted(os.sched_getaffinity(0)),
            clock_port=self._responder.port,
            docker=info["ServerVersion"],
            cgroup=info.get("CgroupVersion", "1"),
            memory_bytes=info["MemTotal"],
        )

    def clock_port(self) -> int:
        """Return the UDP port of the clock responder."""
        return self._responder.port

    def busy_share(self) -> float | None:
        """Return the share of the time of all cores that was used in the last second; None before it was measured."""
        return self._meter.busy_share

    def use(self) -> HostUse | None:
        """Stop metering the host; return its use since meter(), None when there was too little to see."""
        self._meter.stop()
        return self._meter.use(self._name, self.role)

    def remove_volumes(self) -> None:
        """Remove the run's volumes, if this host has used its engine."""
        if self._engine is not None:
            with contextlib.suppress(Exception):  # the guard removes what is left
                remove_volumes(self._engine, self._run)

    def abort(self) -> None:
        """End every wait, command and build that is under way."""
        self._abort.set()
        self.images.abort()
        super().abort()
