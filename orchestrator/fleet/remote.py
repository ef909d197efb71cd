"""The handles over any transport: here, and nowhere else, records become plain data and plain data becomes records."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from agents.command import CommandResult
from agents.container import ServerSpec
from agents.hostmeter import HostUse
from agents.images import Build, ImageFacts
from agents.load_host import Armed, Progress
from agents.probe import Checked, Expect, Request
from agents.records import Assignment, HostDescription, ServerFacts, ServiceFacts, from_plain, to_plain
from agents.service import ServiceSpec
from agents.shells import CommandShell, DockerShell, LoadShell, Plain, ServerShell, ServiceShell
from orchestrator.fleet.handles import Pending

if TYPE_CHECKING:
    from agents.wire import AgentResult

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

CALL_TIMEOUT_S = 60.0
CONTROL_TIMEOUT_S = 10.0
# What a host needs, beyond the time that a call may take on it, to answer.
ANSWER_S = 10.0
# How often a call that may take long reports how long it has taken.
WAITING_S = 1.0
# Hosts are called from a thread each. Hundreds of threads that compute at the same time spend more on passing the
# interpreter around than on computing: they take turns.
_DECODING = threading.Lock()


class Transport(Protocol):
    """Calls methods of a shell that lives elsewhere. A method is named by the function itself, so its use is checked."""

    @property
    def host(self) -> str:
        """The host's name."""

    @property
    def address(self) -> str:
        """The address at which the coordinator reaches it."""

    @property
    def load_address(self) -> str:
        """The address at which load reaches it."""

    def begin(self, method: Callable[Concatenate[Any, P], R], *arguments: P.args, **named: P.kwargs) -> Pending[R]:
        """Start a call; calls that are not control calls are carried out in this order. Arguments go by position."""


@dataclass(frozen=True, slots=True)
class Converted(Generic[T, R]):
    """A pending call whose plain result becomes a record."""

    pending: Pending[T]
    convert: Callable[[T], R]

    def done(self, timeout_s: float) -> bool:
        """Wait up to timeout_s; return whether the call has ended."""
        return self.pending.done(timeout_s)

    def result(self, timeout_s: float) -> R:
        """Return the record. Raises what the call raised, HostLost when there is no answer in time."""
        return self.convert(self.pending.result(timeout_s))


class RemoteCommand:
    """A CommandHandle over a transport."""

    def __init__(self, transport: Transport) -> None:
        self._at = transport

    @property
    def transport(self) -> Transport:
        """What carries the calls."""
        return self._at

    @property
    def host(self) -> str:
        """The host's name."""
        return self._at.host

    @property
    def address(self) -> str:
        """The address at which the coordinator reaches it."""
        return self._at.address

    @property
    def load_address(self) -> str:
        """The address at which load reaches it."""
        return self._at.load_address

    def run_command(self, script: str, variables: dict[str, str], run: str, timeout_s: float) -> CommandResult:
        """Run a script with sh until it ends; it is ended after timeout_s."""
        call = self._at.begin(CommandShell.run_command, script, variables, run, timeout_s)
        return from_plain(CommandResult, call.result(timeout_s + ANSWER_S))

    def abort(self) -> None:
        """End what is under way on the host."""
        self._at.begin(CommandShell.abort).result(CONTROL_TIMEOUT_S)


class RemoteLoad(RemoteCommand):
    """A LoadHandle over a transport."""

    def describe(self) -> HostDescription:
        """Return what the host offers."""
        return from_plain(HostDescription, self._at.begin(LoadShell.describe).result(CALL_TIMEOUT_S))

    def clock_port(self) -> int:
        """Return the UDP port of its clock responder."""
        return self._at.begin(LoadShell.clock_port).result(CALL_TIMEOUT_S)

    def use(self) -> HostUse | None:
        """Return the host's resource use during the load."""
        return _use(self._at.begin(LoadShell.use).result(CALL_TIMEOUT_S))

    def check(
        self,
        request: Request,
        expect: Expect,
        timeout_s: float,
        repeat: bool = True,
        waiting: Callable[[float], None] | None = None,
    ) -> Checked:
        """Repeat a request until it is answered once, up to timeout_s, and compare the response."""
        call = self._at.begin(LoadShell.check, to_plain(request), to_plain(expect), timeout_s, repeat)
        began, limit_s = time.monotonic(), timeout_s + ANSWER_S
        while waiting is not None and (passed_s := time.monotonic() - began) < limit_s and not call.done(WAITING_S):
            waiting(passed_s + WAITING_S)
        return from_plain(Checked, call.result(max(0.0, limit_s - (time.monotonic() - began))))

    def serve_trivial(self, port: int, beside: bool) -> int:
        """Start the trivial server; return its port."""
        return self._at.begin(LoadShell.serve_trivial, port, beside).result(CALL_TIMEOUT_S)

    def end_trivial(self) -> None:
        """End the trivial server."""
        self._at.begin(LoadShell.end_trivial).result(CALL_TIMEOUT_S)

    def arm(self, assignments: list[Assignment]) -> list[Armed]:
        """Start an agent for each assignment and wait until each is blocked at its gate."""
        call = self._at.begin(LoadShell.arm, [to_plain(assignment) for assignment in assignments])
        return [from_plain(Armed, plain) for plain in call.result(CALL_TIMEOUT_S)]

    def release_at(self, t0_ns: int) -> None:
        """Have all agents released at T0 on the host's own wall clock."""
        self._at.begin(LoadShell.release_at, t0_ns).result(CALL_TIMEOUT_S)

    def wait(self, timeout_s: float) -> Pending[bool]:
        """Wait on the host, up to timeout_s, for all agents to end."""
        return self._at.begin(LoadShell.wait, timeout_s)

    def progress(self) -> Progress:
        """Return how far the agents are."""
        plain = self._at.begin(LoadShell.progress).result(CONTROL_TIMEOUT_S)
        with _DECODING:
            return from_plain(Progress, plain)

    def collect(self) -> Collection[AgentResult]:
        """Return the result of each agent, decoded whenever it is read."""
        from orchestrator.fleet.frames import Frames  # imports numpy

        return Frames(self._at.begin(LoadShell.collect).result(CALL_TIMEOUT_S))

    def cancel(self) -> None:
        """End every agent soon."""
        self._at.begin(LoadShell.cancel).result(CONTROL_TIMEOUT_S)

    def discard(self, timeout_s: float) -> None:
        """End every agent and forget it."""
        self._at.begin(LoadShell.discard).result(timeout_s)


class RemoteImages:
    """An ImageHandle over a transport."""

    def __init__(self, transport: Transport) -> None:
        self._at = transport

    def missing(self, names: list[str]) -> list[str]:
        """Return those images that the engine does not have."""
        return self._at.begin(DockerShell.missing_images, names).result(CALL_TIMEOUT_S)

    def inspect(self, name: str, timeout_s: float) -> ImageFacts:
        """Return id and names of an image; pull it when it is missing."""
        return from_plain(ImageFacts, self._at.begin(DockerShell.inspect_image, name).result(timeout_s))

    def find(self, build: Build) -> str:
        """Return the image of a build that was made before, else ''."""
        return self._at.begin(DockerShell.find_image, to_plain(build)).result(CALL_TIMEOUT_S)

    def begin_build(self, build: Build) -> None:
        """Start a build."""
        self._at.begin(DockerShell.begin_build, to_plain(build)).result(CALL_TIMEOUT_S)

    def begin_load(self, name: str) -> None:
        """Start loading an image."""
        self._at.begin(DockerShell.begin_load, name).result(CALL_TIMEOUT_S)

    def feed(self, chunk: bytes) -> Pending[None]:
        """Pass on the next piece of the context or the image."""
        return self._at.begin(DockerShell.feed_image, chunk)

    def finish(self) -> Pending[str]:
        """Have the build or the load finished."""
        return self._at.begin(DockerShell.finish_image)

    def output(self, since: int) -> list[str]:
        """Return the lines that builds have printed."""
        return self._at.begin(DockerShell.image_output, since).result(CONTROL_TIMEOUT_S)


class RemoteDocker(RemoteCommand):
    """What handles to hosts of containers have in common, over a transport."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        self.images = RemoteImages(transport)

    def describe(self) -> HostDescription:
        """Return what the host offers."""
        return from_plain(HostDescription, self._at.begin(DockerShell.describe).result(CALL_TIMEOUT_S))

    def clock_port(self) -> int:
        """Return the UDP port of its clock responder."""
        return self._at.begin(DockerShell.clock_port).result(CALL_TIMEOUT_S)

    def use(self) -> HostUse | None:
        """Return the host's resource use during the load."""
        return _use(self._at.begin(DockerShell.use).result(CALL_TIMEOUT_S))

    def busy_share(self) -> float | None:
        """Return how busy the host's cores were in the last second."""
        return self._at.begin(DockerShell.busy_share).result(CONTROL_TIMEOUT_S)

    def abort(self) -> None:
        """End every wait that is under way."""
        self._at.begin(CommandShell.abort).result(CONTROL_TIMEOUT_S)


class RemoteServer(RemoteDocker):
    """A ServerHandle over a transport."""

    def start(self, spec: ServerSpec, trial: str) -> Pending[ServerFacts]:
        """Start a container and wait until it is ready and has settled."""
        return Converted(self._at.begin(ServerShell.start, to_plain(spec), trial), _server_facts)

    def waiting_for(self) -> str:
        """Return what start() is waiting for."""
        return self._at.begin(ServerShell.waiting_for).result(CONTROL_TIMEOUT_S)

    def meter(self, opening_ns: int, closing_ns: int | None) -> None:
        """Have the counters read at the edges of the window."""
        self._at.begin(ServerShell.meter, opening_ns, closing_ns).result(CALL_TIMEOUT_S)

    def finish(self) -> ServerFacts:
        """Read the counters for the last time and return all that is known of the server."""
        return _server_facts(self._at.begin(ServerShell.finish).result(CALL_TIMEOUT_S))

    def log(self) -> bytes:
        """Return the end of what the server printed."""
        return self._at.begin(ServerShell.log).result(CALL_TIMEOUT_S)

    def stop(self, timeout_s: float) -> None:
        """Remove the container."""
        self._at.begin(ServerShell.stop).result(timeout_s)


class RemoteServices(RemoteDocker):
    """A ServiceHandle over a transport."""

    def start(self, spec: ServiceSpec) -> Pending[ServiceFacts]:
        """Start one service and wait until it is up."""
        return Converted(self._begin_start([spec]), lambda plain: from_plain(ServiceFacts, plain[0]))

    def start_all(self, specs: list[ServiceSpec]) -> Pending[list[ServiceFacts]]:
        """Start services at the same time, and wait until all are up."""
        return Converted(self._begin_start(specs), _service_facts)

    def _begin_start(self, specs: list[ServiceSpec]) -> Pending[list[Plain]]:
        return self._at.begin(ServiceShell.start_services, [to_plain(spec) for spec in specs])

    def waiting_for(self) -> str:
        """Return what start() is waiting for."""
        return self._at.begin(ServiceShell.waiting_for).result(CONTROL_TIMEOUT_S)

    def prepare(self, name: str, argv: list[str], timeout_s: float) -> Pending[CommandResult]:
        """Run a command in a service's container."""
        call = self._at.begin(ServiceShell.prepare_service, name, argv, timeout_s)
        return Converted(call, lambda plain: from_plain(CommandResult, plain))

    def meter(self, opening_ns: int, closing_ns: int | None) -> None:
        """Have the counters of every service read at the edges of the window."""
        self._at.begin(ServiceShell.meter, opening_ns, closing_ns).result(CALL_TIMEOUT_S)

    def finish(self) -> list[ServiceFacts]:
        """Read the counters for the last time and return all that is known of every service."""
        return _service_facts(self._at.begin(ServiceShell.finish).result(CALL_TIMEOUT_S))

    def look(self) -> list[ServiceFacts]:
        """Return the state of every service now."""
        return _service_facts(self._at.begin(ServiceShell.look).result(CALL_TIMEOUT_S))

    def log(self, name: str) -> bytes:
        """Return the end of what a service printed."""
        return self._at.begin(ServiceShell.log, name).result(CALL_TIMEOUT_S)

    def stop(self, names: list[str], timeout_s: float) -> None:
        """Remove the containers of these services."""
        self._at.begin(ServiceShell.stop, names).result(timeout_s)


def _service_facts(plain: list[Plain]) -> list[ServiceFacts]:
    return [from_plain(ServiceFacts, one) for one in plain]


def _server_facts(plain: Plain) -> ServerFacts:
    return from_plain(ServerFacts, plain)


def _use(plain: Plain | None) -> HostUse | None:
    return None if plain is None else from_plain(HostUse, plain)
