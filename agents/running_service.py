"""One service that was started on this host: its container, its counters, and what became of it."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from agents.cgroup import Cgroup, Counters
from agents.container import SERVICE_LABEL, TRIAL_LABEL, Container, ContainerState, Health
from agents.health import Check, command_check, port_check, until_up
from agents.ports import PortInUse, require_ports
from agents.records import ServerState, ServiceFacts
from agents.service import ServiceSpec
from agents.window_counters import WindowCounters

if TYPE_CHECKING:
    from docker import DockerClient

LOOPBACK = "127.0.0.1"


class RunningService:
    """Starts one service, and follows it until it is removed."""

    def __init__(self, spec: ServiceSpec, image: str, host: str, address: str, client: DockerClient) -> None:
        """image: its id on this engine. host, address: this host's."""
        self._spec, self._image, self._address, self._client = spec, image, address, client
        self._container: Container | None = None
        self._cgroup: Cgroup | None = None
        self._last = Counters()
        self._window = WindowCounters(self._read)
        self.is_starting = False
        self._facts = ServiceFacts(
            spec.name,
            host,
            ServerState.NONE,
            image=image,
            network=spec.network,
            cpus=spec.cpus,
            memory_bytes=spec.memory_bytes,
        )

    @property
    def container(self) -> str:
        """The engine's id of its container; '' before there is one."""
        return self._facts.container

    def start(self, run: str, abort: threading.Event) -> ServiceFacts:
        """Create and start the container, and wait until it is up. Raises PortInUse, ContainerRefused."""
        spec = self._spec
        self.is_starting = True
        try:
            try:
                require_ports(spec, spec.port)
            except PortInUse as error:
                raise PortInUse(f"service {spec.name}: {error}") from None
            labels = {SERVICE_LABEL: spec.name, **({TRIAL_LABEL: spec.trial} if spec.trial else {})}
            container = self._container = Container(self._client, spec, self._image, run, labels)
            self._facts = replace(self._facts, state=ServerState.STARTING, container=container.id)
            began = time.monotonic()
            pid = container.start()
            # A container that ended at once has no process to read from; its state says so.
            with contextlib.suppress(OSError):
                self._cgroup = Cgroup(pid, container.id) if pid else None
            check = self._check(container, abort)
            failed = until_up(spec.health or Health(), check, self._state, abort, spec.ready_timeout_s)
        finally:
            self.is_starting = False
        state, detail = (ServerState.READY, "") if failed is None else (failed.state, self._explained(failed.detail))
        self._facts = replace(
            self._facts,
            state=state,
            detail=detail,
            ready_after_us=round((time.monotonic() - began) * 1e6),
            last=self._metered(),
        )
        return self._facts

    def _check(self, container: Container, abort: threading.Event) -> Check:
        """Return how to see that it is up: by its health check, else by its port, else by its process."""
        spec = self._spec
        if spec.health is not None and (argv := spec.health.argv or container.image_health()):
            return command_check(self._client, container.id, argv, spec.health.timeout_s, abort)
        if spec.port is None:
            return lambda: ""
        if spec.network == "host":
            return port_check([LOOPBACK, self._address], spec.port)
        # Not the published port: the engine's proxy accepts there before the service does.
        inside = next((container for container, host in spec.ports.items() if host == spec.port), spec.port)
        return port_check([container.address()], inside)

    def _explained(self, detail: str) -> str:
        """Return why it is not up, with what its log and its counters say about it."""
        container, kills = self._container, self._read().oom_kills
        parts = [detail]
        if kills or self._facts.oom_killed:
            parts.append(f"killed for memory: {max(1, kills)} of its processes")
        if container is not None and (said := container.last_line()):
            parts.append(f"the last line of its log: {said}")
        return "; ".join(parts)

    def meter(self, opening_ns: int, closing_ns: int | None) -> None:
        """Read the counters at both edges of the window; closing_ns None: the window ends with finish()."""
        self._window.stop()
        self._window = WindowCounters(self._read)
        self._window.start(opening_ns, closing_ns)

    def look(self) -> ServiceFacts:
        """Return what is known of it, with its state now."""
        was_up = self._facts.running
        state = self._state()
        if was_up and not state.running and self._facts.state is ServerState.READY:
            gone = "the container was removed" if state.exit_code is None else f"exit code {state.exit_code}"
            self._facts = replace(
                self._facts, state=ServerState.EXITED, detail=self._explained(f"the container ended: {gone}")
            )
        return self._facts

    def finish(self) -> ServiceFacts:
        """Read the counters for the last time, and return all that is known of it."""
        now = self._metered()
        self._window.stop()
        window = self._window
        self.look()
        self._facts = replace(
            self._facts, opening=window.opening, closing=window.closing or now, last=now, series=window.series
        )
        return self._facts

    def log(self) -> bytes:
        """Return the last lines that it printed."""
        return b"" if self._container is None else self._container.log()

    def abort(self) -> None:
        """Read no more counters."""
        self._window.abort()

    def remove(self) -> None:
        """Kill and remove the container, if there is one."""
        self._window.abort()
        container, self._container, self._cgroup = self._container, None, None
        if container is not None:
            container.remove()

    def _read(self) -> Counters:
        """Return the counters now; of a container that is gone, what was read last."""
        if self._cgroup is not None:
            with contextlib.suppress(OSError):
                self._last = self._cgroup.read()
        return self._last

    def _metered(self) -> Counters | None:
        """Return the counters now; None for a container that ended before they could be read."""
        return None if self._cgroup is None else self._read()

    def _state(self) -> ContainerState:
        """Return the container's state, and keep it in the facts."""
        if self._container is None:
            return ContainerState()
        state = self._container.state()
        self._facts = replace(
            self._facts,
            running=state.running,
            exit_code=state.exit_code,
            restarts=state.restarts,
            exited_after_us=state.lasted_us,
            oom_killed=state.oom_killed,
        )
        return state
