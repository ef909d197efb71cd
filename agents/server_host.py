"""The server of a trial on one host: image, container, readiness, counters at the window's edges, removal.

Knows nothing of Ray. Containers carry the label volley.run=<run>, and are removed by it on every way out.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agents import probe
from agents.cgroup import Cgroup, Counters
from agents.clock import ClockResponder
from agents.command import Commands
from agents.guard import RUN_LABEL
from agents.hostmeter import HostMeter
from agents.images import ImageStore
from agents.probe import Expect, Request, Unanswered
from agents.records import ServerFacts, ServerState, from_plain, to_plain

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

READY_POLL_S = 0.1
LOG_LINES = 2000

# A server that cannot become ready is not waited for to the end. Workers killed this often are a loop, not an accident.
HOPELESS_OOM_KILLS = 10
# Thrashing: at the limit for this long, with the kernel paging program text in and out all the time.
THRASH_S = 10.0
THRASH_FULL = 0.97
THRASH_FAULTS_PER_S = 100

# Settled: the server uses less than this share of a core; workers that still start up are not the steady server.
SETTLED_SHARE = 0.2
SETTLE_INTERVAL_S = 0.4
SERIES_INTERVAL_S = 1.0


class PortInUse(RuntimeError):
    """Something else listens where the server should."""


class EngineUnreachable(RuntimeError):
    """The Docker engine of this host does not answer."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """A container to run: limits (cpus in cores; memory in bytes, no swap beside it), environment, network, readiness."""

    target: str
    image: str
    port: int
    request: Request
    expect: Expect
    command: list[str] | None = None
    env: dict[str, str] = field(default_factory=dict)
    cpus: float | None = None
    memory_bytes: int | None = None
    cpuset: str | None = None
    network: str = "host"
    ready_path_url: str = ""
    ready_timeout_s: float = 60.0
    settle_timeout_s: float = 15.0


class ServerHost(Commands):
    """Runs one server at a time for one run."""

    def __init__(self, run: str, address: str = "127.0.0.1", clock_port: int = 0) -> None:
        self._run = run
        self._responder = ClockResponder(address, clock_port)
        self.images = ImageStore(self.engine)
        self._engine: DockerClient | None = None
        self._container: Container | None = None
        self._cgroup: Cgroup | None = None
        self._facts = ServerFacts(state=ServerState.NONE)
        self._edges: threading.Thread | None = None
        self._stage = ""
        self._abort = threading.Event()
        self._meter = HostMeter()
        # The load is over, or the trial is: nothing more is to be read.
        self._over = threading.Event()
        self._series: dict[str, list[float]] = {}

    def engine(self) -> DockerClient:
        """Connect to this host's engine. Raises EngineUnreachable."""
        import docker
        from docker.errors import DockerException

        if self._engine is None:
            try:
                client = docker.from_env(timeout=60)
                client.ping()
            except (DockerException, OSError) as error:
                raise EngineUnreachable(f"the Docker engine does not answer: {error}") from error
            self._engine = client
        return self._engine

    def describe(self) -> dict[str, Any]:
        """Say what this host offers. Raises EngineUnreachable."""
        info = self.engine().info()
        return {
            "docker": info["ServerVersion"],
            "cores": sorted(os.sched_getaffinity(0)),
            "memory_bytes": info["MemTotal"],
            "cgroup": info.get("CgroupVersion", "1"),
            "kernel": os.uname().release,
            "clock_port": self._responder.port,
        }

    def clock_port(self) -> int:
        """Give the UDP port of the clock responder."""
        return self._responder.port

    def stage(self) -> str:
        """Say what is being waited for."""
        return self._stage

    def start(self, plain: dict[str, Any], trial: str) -> dict[str, Any]:
        """Start the container, wait until it is ready and settled, compare one response; give ServerFacts.

        A server that does not become ready is a result, told by `state`. Raises PortInUse, EngineUnreachable,
        BuildFailed (no such image) and docker's own errors for a container that cannot be created.
        """
        spec = from_plain(ServerSpec, plain)
        self.stop()
        self._abort.clear()
        if spec.network == "host":
            _require_free(spec.port)
        self._stage = f"starting {spec.target}"
        image = self.images.inspect(spec.image)
        began = time.monotonic()
        container = self._create(spec, trial)
        self._container = container
        container.start()
        container.reload()
        self._facts = ServerFacts(
            state=ServerState.STARTING, image=image["id"], container=container.id or "", network=spec.network
        )
        # Gone at once is possible: then there is no process to meter, and the state tells.
        with contextlib.suppress(OSError):
            self._cgroup = Cgroup(container.attrs["State"]["Pid"]) if container.attrs["State"]["Pid"] else None
        state, detail = self._wait_ready(spec)
        if state == ServerState.READY:
            self._settle(spec)
            state, detail = self._compare(spec)
        self._facts = replace(
            self._facts,
            state=state,
            detail=detail,
            ready_after_us=round((time.monotonic() - began) * 1e6),
            last=self._read(),
        )
        return to_plain(self.facts())

    def _create(self, spec: ServerSpec, trial: str) -> Container:
        from docker.types import LogConfig

        options: dict[str, Any] = {}
        if spec.memory_bytes is not None:
            # The same limit with swap: memory that is swapped out would be measured as a slow server.
            options |= {"mem_limit": spec.memory_bytes, "memswap_limit": spec.memory_bytes}
        if spec.cpus is not None:
            options["nano_cpus"] = round(spec.cpus * 1e9)
        if spec.cpuset is not None:
            options["cpuset_cpus"] = spec.cpuset
        if spec.network == "host":
            options["network_mode"] = "host"
        else:
            options["ports"] = {f"{spec.port}/tcp": spec.port}
        return self.engine().containers.create(
            spec.image,
            command=spec.command,
            environment=spec.env,
            labels={RUN_LABEL: self._run, "volley.trial": trial, "volley.target": spec.target},
            log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "2"}),
            **options,
        )

    def _wait_ready(self, spec: ServerSpec) -> tuple[ServerState, str]:
        self._stage = f"waiting for {spec.target} to answer"
        request = replace(spec.request, url=spec.ready_path_url or spec.request.url, method="GET", body=b"")
        deadline = time.monotonic() + spec.ready_timeout_s
        full_since: tuple[float, Counters] | None = None
        reason = "nothing answered"
        while time.monotonic() < deadline:
            if self._abort.is_set():
                return ServerState.NOT_READY, "cancelled"
            try:
                status = probe.ask(request, timeout_s=2.0).status
                if status < 500:
                    return ServerState.READY, ""
                reason = f"status {status}"
            except Unanswered as error:
                reason = str(error)
            if not self._running():
                return ServerState.EXITED, f"the container ended with exit code {self._facts.exit_code}"
            counters = self._read()
            if counters.oom_kills >= HOPELESS_OOM_KILLS:
                return ServerState.NOT_READY, f"{counters.oom_kills} processes were killed for memory before any answer"
            full = (
                counters.memory_limit_bytes > 0 and counters.memory_bytes >= THRASH_FULL * counters.memory_limit_bytes
            )
            if not full:
                full_since = None
            elif full_since is None:
                full_since = (time.monotonic(), counters)
            elif (elapsed := time.monotonic() - full_since[0]) >= THRASH_S:
                if counters.major_faults - full_since[1].major_faults >= THRASH_FAULTS_PER_S * elapsed:
                    return ServerState.NOT_READY, f"at its memory limit for {elapsed:.0f} s, paging, without any answer"
                full_since = (time.monotonic(), counters)
            time.sleep(READY_POLL_S)
        return ServerState.NOT_READY, f"no answer within {spec.ready_timeout_s:g} s: {reason}"

    def _settle(self, spec: ServerSpec) -> None:
        self._stage = f"waiting for {spec.target} to settle"
        deadline = time.monotonic() + spec.settle_timeout_s
        before = self._read()
        while time.monotonic() < deadline and self._cgroup is not None and not self._abort.is_set():
            time.sleep(SETTLE_INTERVAL_S)
            now = self._read()
            if now.oom_kills >= HOPELESS_OOM_KILLS:
                return  # it never will
            if (now.cpu_us - before.cpu_us) / (SETTLE_INTERVAL_S * 1e6) < SETTLED_SHARE:
                return
            before = now

    def _compare(self, spec: ServerSpec) -> tuple[ServerState, str]:
        try:
            answer = probe.ask(spec.request)
        except Unanswered as error:
            return ServerState.NOT_READY, f"it answered once and then no more: {error}"
        wrong = probe.difference(spec.expect, answer)
        length = probe.same_length(spec.expect, answer)
        self._facts = replace(self._facts, closes=answer.closes, body_bytes=length)
        return (ServerState.MISMATCH, wrong) if wrong else (ServerState.READY, "")

    def meter(self, opening_ns: int, closing_ns: int | None) -> None:
        """Read the counters at both edges of the window, instants on this host's wall clock.

        closing_ns None: the window ends when finish() is called.
        """
        self._over.clear()
        self._series = {}
        self._edges = threading.Thread(
            target=self._read_edges, args=(opening_ns, closing_ns), name="edges", daemon=True
        )
        self._edges.start()
        self._meter.start()

    def use(self, host: str) -> dict[str, Any] | None:
        """Give HostUse from meter() to now; nothing more is looked at after this."""
        self._meter.stop()
        use = self._meter.use(host, "server")
        return None if use is None else to_plain(use)

    def _read_edges(self, opening_ns: int, closing_ns: int | None) -> None:
        if self._over.wait(max(0.0, (opening_ns - time.time_ns()) / 1e9)):
            return
        before = self._read()
        began = due = time.monotonic()
        self._facts = replace(self._facts, opening=before)
        while True:
            due += SERIES_INTERVAL_S
            left_s = due - time.monotonic()
            if closing_ns is not None:
                left_s = min(left_s, (closing_ns - time.time_ns()) / 1e9)
            if self._over.wait(max(0.0, left_s)):
                return
            now = self._read()
            _add_second(self._series, time.monotonic() - began, before, now)
            before = now
            if closing_ns is not None and time.time_ns() >= closing_ns:
                self._facts = replace(self._facts, closing=now)
                return

    def finish(self) -> dict[str, Any]:
        """Read the counters for the last time and look how the container is; give ServerFacts."""
        now = self._read()
        self._over.set()
        if self._edges is not None:
            self._edges.join(timeout=5)
        running = self._running()
        self._facts = replace(
            self._facts, running=running, closing=self._facts.closing or now, last=now, series=self._series
        )
        return to_plain(self.facts())

    def facts(self) -> ServerFacts:
        """Give what is known of the server now."""
        return self._facts

    def logs(self) -> bytes:
        """Give the last lines that the server printed."""
        from docker.errors import APIError

        if self._container is None:
            return b""
        try:
            return bytes(self._container.logs(tail=LOG_LINES, timestamps=True))
        except APIError as error:
            return f"the log could not be read: {error}".encode()

    def stop(self) -> None:
        """Remove the container, if there is one. Can be called at any time."""
        from docker.errors import NotFound

        self._abort.set()
        self._over.set()
        self._meter.stop()
        container, self._container, self._cgroup, self._edges = self._container, None, None, None
        if container is None:
            return
        # Killed, not asked: its counters and its log have been read, and nothing of it is kept.
        with contextlib.suppress(NotFound):
            container.remove(force=True, v=True)
        self._facts = ServerFacts(state=ServerState.NONE)

    def abort(self) -> None:
        """End whatever is being waited for."""
        self._abort.set()
        self._over.set()

    def _read(self) -> Counters:
        """Read the counters; a container that is gone keeps what was read last."""
        if self._cgroup is not None:
            with contextlib.suppress(OSError):
                return self._cgroup.read()
        return self._facts.last or Counters()

    def _running(self) -> bool:
        from docker.errors import NotFound

        if self._container is None:
            return False
        try:
            self._container.reload()
        except NotFound:
            return False
        state = self._container.attrs["State"]
        self._facts = replace(
            self._facts,
            restarts=int(self._container.attrs.get("RestartCount", 0)),
            exit_code=None if state["Running"] else int(state["ExitCode"]),
        )
        return bool(state["Running"])


def _add_second(series: dict[str, list[float]], at_s: float, before: Counters, now: Counters) -> None:
    row = {
        "at_s": round(at_s, 3),
        "cpu_us": now.cpu_us - before.cpu_us,
        "throttled_us": now.throttled_us - before.throttled_us,
        "major_faults": now.major_faults - before.major_faults,
        "memory_bytes": now.memory_bytes,
    }
    for name, value in row.items():
        series.setdefault(name, []).append(value)


def _require_free(port: int) -> None:
    """Raise PortInUse when something listens on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("0.0.0.0", port))
        except OSError as error:
            raise PortInUse(f"port {port} is in use on {socket.gethostname()}: {error.strerror}") from error
