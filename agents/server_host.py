"""The server of a trial on one host: image, container, readiness, counters in the window, removal.

Knows nothing of how it is reached. Containers carry the label volley.run=<run> and are removed by it on every way out.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

from agents.cgroup import Cgroup, Counters
from agents.container import TARGET_LABEL, TRIAL_LABEL, Container, ContainerState, ServerSpec
from agents.docker_host import DockerHost
from agents.docker_host import EngineUnreachable as EngineUnreachable
from agents.health import command_check, until_up
from agents.ports import PortInUse as PortInUse
from agents.ports import require_ports
from agents.probe import Checked
from agents.readiness import Readiness
from agents.records import ServerFacts, ServerState
from agents.window_counters import WindowCounters


class ServerHost(DockerHost):
    """Runs one server at a time, all for the same run."""

    def __init__(self, run: str, name: str = "local", address: str = "127.0.0.1", clock_port: int = 0) -> None:
        super().__init__(run, name, address, clock_port)
        self._container: Container | None = None
        self._cgroup: Cgroup | None = None
        self._readiness: Readiness | None = None
        self._facts = ServerFacts(state=ServerState.NONE)
        self._window = WindowCounters(self._read)
        self._waiting_for = ""

    def waiting_for(self) -> str:
        """Return what start() is waiting for, for a person; '' before it waits."""
        readiness = self._readiness
        return self._waiting_for or ("" if readiness is None else readiness.waiting_for)

    def start(self, spec: ServerSpec, trial: str) -> ServerFacts:
        """Start the container, wait until it is ready and has settled, and compare one response.

        A server that does not become ready is a result: `state` says so. Raises PortInUse, EngineUnreachable,
        BuildFailed (no such image), and docker's own errors for a container that cannot be created.
        """
        self.stop()
        self._abort.clear()
        require_ports(spec, spec.port)
        readiness = self._readiness = Readiness(spec, self._read, self._state, self._abort, self._last_line)
        image = self.images.inspect(spec.image)
        began = time.monotonic()
        self._launch(spec, image.id, trial)
        waiting = time.monotonic()
        checked = self._until_healthy(spec) or readiness.outcome(time.monotonic() - waiting)
        self._facts = replace(
            self._facts,
            state=checked.state,
            detail=checked.detail,
            closes=checked.closes,
            body_bytes=checked.body_bytes,
            status=checked.status,
            asked=checked.asked,
            until_close=checked.until_close,
            location=checked.location,
            endless=checked.endless,
            answer_us=checked.answer_us,
            last_line=self._last_line() if checked.state == ServerState.EXITED else "",
            ready_after_us=round((time.monotonic() - began) * 1e6),
            last=self._metered(),
        )
        return self._facts

    def _launch(self, spec: ServerSpec, image: str, trial: str) -> None:
        labels = {TRIAL_LABEL: trial, TARGET_LABEL: spec.target}
        container = self._container = Container(self.engine(), spec, image, self._run, labels)
        pid = container.start()
        self._facts = ServerFacts(ServerState.STARTING, image=image, container=container.id, network=spec.network)
        # A container that ended at once has no process to read from; its state says so.
        with contextlib.suppress(OSError):
            self._cgroup = Cgroup(pid, container.id) if pid else None

    def _until_healthy(self, spec: ServerSpec) -> Checked | None:
        """Return None once the container's health check succeeds, or if it has none; otherwise why it does not."""
        if spec.health is None or spec.health.argv is None or self._container is None:
            return None
        self._waiting_for = f"waiting for {spec.target} to be healthy"
        try:
            check = command_check(
                self.engine(), self._container.id, spec.health.argv, spec.health.timeout_s, self._abort
            )
            return until_up(spec.health, check, self._state, self._abort, spec.ready_timeout_s)
        finally:
            self._waiting_for = ""

    def meter(self, opening_ns: int, closing_ns: int | None) -> None:
        """Read the counters at both edges of the window, instants on this host's wall clock.

        closing_ns None: the window ends when finish() is called.
        """
        self._window.stop()
        self._window = WindowCounters(self._read)
        self._window.start(opening_ns, closing_ns)
        self._meter.start()

    def finish(self) -> ServerFacts:
        """Read the counters for the last time, look at the container, and return all that is known of the server."""
        now = self._metered()
        self._window.stop()
        window, running = self._window, self._state().running
        self._facts = replace(
            self._facts,
            running=running,
            last_line="" if running else self._last_line(),
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
        self._window.abort()
        super().abort()

    def close(self) -> None:
        """End and remove everything that this host runs."""
        super().close()
        self.images.discard()
        self.stop()
        self.remove_volumes()
        self._responder.close()

    def _read(self) -> Counters:
        """Return the counters now; of a container that is gone, what was read last."""
        if self._cgroup is not None:
            with contextlib.suppress(OSError):
                return self._cgroup.read()
        return self._facts.last or Counters()

    def _metered(self) -> Counters | None:
        """Return the counters now; None for a container that ended before they could be read."""
        return None if self._cgroup is None else self._read()

    def _last_line(self) -> str:
        """Return the last line that the server printed."""
        return "" if self._container is None else self._container.last_line()

    def _state(self) -> ContainerState:
        """Return the container's state, and keep it in the facts."""
        if self._container is None:
            return ContainerState()
        state = self._container.state()
        self._facts = replace(self._facts, exit_code=state.exit_code, restarts=state.restarts)
        return state
