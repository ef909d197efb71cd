"""The server of a trial on one host: image, container, readiness, counters in the window, removal.

Knows nothing of how it is reached. Containers carry the label volley.run=<run> and are removed by it on every way out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from agents import engine
from agents.cgroup import Cgroup, Counters
from agents.clock import ClockResponder
from agents.command import CommandHost
from agents.container import ContainerState, ServerContainer, ServerSpec
from agents.hostmeter import HostMeter, HostUse
from agents.images import ImageStore
from agents.readiness import Readiness
from agents.records import HostDescription, HostRole, ServerFacts, ServerState
from agents.window_counters import WindowCounters

if TYPE_CHECKING:
    from docker import DockerClient

ENGINE_TIMEOUT_S = 60


class PortInUse(RuntimeError):
    """Something else listens on the server's port."""


class EngineUnreachable(RuntimeError):
    """The Docker engine of this host does not answer."""


class ServerHost(CommandHost):
    """Runs one server at a time, all for the same run."""

    def __init__(self, run: str, name: str = "local", address: str = "127.0.0.1", clock_port: int = 0) -> None:
        super().__init__()
        self._run, self._name = run, name
        self._responder = ClockResponder(address, clock_port)
        self._engine: DockerClient | None = None
        self.images = ImageStore(self.engine)
        self._container: ServerContainer | None = None
        self._cgroup: Cgroup | None = None
        self._readiness: Readiness | None = None
        self._facts = ServerFacts(state=ServerState.NONE)
        self._window = WindowCounters(self._read)
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
                raise EngineUnreachable(f"the Docker engine at {address} does not answer: {error}") from error
            self._engine = client
        return self._engine

    def describe(self) -> HostDescription:
        """Return what this host offers. Raises EngineUnreachable."""
        info = self.engine().info()
        return HostDescription(
            host=self._name,
            role=HostRole.SERVER,
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

    def waiting_for(self) -> str:
        """Return what start() is waiting for, for a person; '' before it waits."""
        readiness = self._readiness
        return "" if readiness is None else readiness.waiting_for

    def start(self, spec: ServerSpec, trial: str) -> ServerFacts:
        """Start the container, wait until it is ready and has settled, and compare one response.

        A server that does not become ready is a result: `state` says so. Raises PortInUse, EngineUnreachable,
        BuildFailed (no such image), and docker's own errors for a container that cannot be created.
        """
        self.stop()
        self._abort.clear()
        if spec.network == "host":
            _require_free(spec.port)
        readiness = self._readiness = Readiness(spec, self._read, self._state, self._abort)
        image = self.images.inspect(spec.image)
        began = time.monotonic()
        self._launch(spec, image.id, trial)
        checked = readiness.outcome()
        self._facts = replace(
            self._facts,
            state=checked.state,
            detail=checked.detail,
            closes=checked.closes,
            body_bytes=checked.body_bytes,
            status=checked.status,
            asked=checked.asked,
            ready_after_us=round((time.monotonic() - began) * 1e6),
            last=self._read(),
        )
        return self._facts

    def _launch(self, spec: ServerSpec, image: str, trial: str) -> None:
        container = self._container = ServerContainer(self.engine(), spec, self._run, trial)
        pid = container.start()
        self._facts = ServerFacts(ServerState.STARTING, image=image, container=container.id, network=spec.network)
        # A container that ended at once has no process to read from; its state says so.
        with contextlib.suppress(OSError):
            self._cgroup = Cgroup(pid) if pid else None

    def meter(self, opening_ns: int, closing_ns: int | None) -> None:
        """Read the counters at both edges of the window, instants on this host's wall clock.

        closing_ns None: the window ends when finish() is called.
        """
        self._window.stop()
        self._window = WindowCounters(self._read)
        self._window.start(opening_ns, closing_ns)
        self._meter.start()

    def busy_share(self) -> float | None:
        """Return the share of the time of all cores that was used in the last second; None before it was measured."""
        return self._meter.busy_share

    def use(self) -> HostUse | None:
        """Stop metering the host; return its use since meter(), None when there was too little to see."""
        self._meter.stop()
        return self._meter.use(self._name, HostRole.SERVER)

    def finish(self) -> ServerFacts:
        """Read the counters for the last time, look at the container, and return all that is known of the server."""
        now = self._read()
        self._window.stop()
        window, running = self._window, self._state().running
        self._facts = replace(
            self._facts,
            running=running,
            opening=window.opening,
            closing=window.closing or now,
            last=now,
            series=window.series,
        )
        return self._facts

    def log(self) -> bytes:
        """Return the last lines that the server printed; empty when there is no container."""
        return b"" if self._container is None else self._container.log()

    def stop(self) -> None:
        """Remove the container, if there is one. Can be called at any time."""
        self._abort.set()
        self._window.abort()
        self._meter.stop()
        container, self._container, self._cgroup = self._container, None, None
        if container is None:
            return
        # Killed, not stopped: its counters and its log have been read, and nothing of it is kept.
        container.remove()
        self._window = WindowCounters(self._read)
        self._facts = ServerFacts(state=ServerState.NONE)

    def abort(self) -> None:
        """End every wait, command and build that is under way."""
        self._abort.set()
        self._window.abort()
        self.images.abort()
        super().abort()

    def close(self) -> None:
        """End and remove everything that this host runs."""
        super().close()
        self.images.discard()
        self.stop()
        self._responder.close()

    def _read(self) -> Counters:
        """Return the counters now; of a container that is gone, what was read last."""
        if self._cgroup is not None:
            with contextlib.suppress(OSError):
                return self._cgroup.read()
        return self._facts.last or Counters()

    def _state(self) -> ContainerState:
        """Return the container's state, and keep it in the facts."""
        if self._container is None:
            return ContainerState()
        state = self._container.state()
        self._facts = replace(self._facts, exit_code=state.exit_code, restarts=state.restarts)
        return state


def _require_free(port: int) -> None:
    """Raise PortInUse when something listens on the port."""
    for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            trial = socket.socket(family, socket.SOCK_STREAM)
        except OSError:  # a machine without this family
            continue
        with trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                trial.bind((any_address, port))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise PortInUse(f"port {port} is in use on {socket.gethostname()}: {error.strerror}") from error
