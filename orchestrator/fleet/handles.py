"""What a run sees of a host: typed handles. Records go in, records come out; how the host is reached is hidden.

Every call raises HostError for what went wrong on the host, and HostLost when the host does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from agents.command import CommandResult
    from agents.container import ServerSpec
    from agents.hostmeter import HostUse
    from agents.images import Build, ImageFacts
    from agents.load_host import Armed, Progress
    from agents.probe import Checked, Expect, Request
    from agents.records import Assignment, HostDescription, ServerFacts, ServiceFacts
    from agents.service import ServiceSpec
    from agents.wire import AgentResult

T_co = TypeVar("T_co", covariant=True)


class Pending(Protocol[T_co]):
    """A call that was started. Long calls return one, so that the caller can do other things meanwhile."""

    def done(self, timeout_s: float) -> bool:
        """Wait up to timeout_s; return whether the call has ended."""

    def result(self, timeout_s: float) -> T_co:
        """Wait up to timeout_s for the result. Raises what the call raised, HostLost when there is no answer in time."""


class CommandHandle(Protocol):
    """A host on which commands of the campaign can be run."""

    @property
    def host(self) -> str:
        """The host's name."""

    @property
    def address(self) -> str:
        """The address at which the coordinator reaches it."""

    @property
    def load_address(self) -> str:
        """The address at which load reaches it: another one where the load has a network of its own."""

    def run_command(self, script: str, variables: dict[str, str], run: str, timeout_s: float) -> CommandResult:
        """Run a script with sh until it ends; it is ended after timeout_s. variables: added to its environment."""

    def abort(self) -> None:
        """End what is under way on the host. Is answered while another call is under way."""


class TrialHandle(CommandHandle, Protocol):
    """A host that takes part in trials: its clock is compared with ours, and its resource use is measured."""

    def describe(self) -> HostDescription:
        """Return what the host offers. Raises HostError when what its role needs is missing."""

    def clock_port(self) -> int:
        """Return the UDP port of its clock responder."""

    def use(self) -> HostUse | None:
        """Return the host's resource use during the load; None when the load was too short to measure it."""


class LoadHandle(TrialHandle, Protocol):
    """A load host: runs the agents of one trial after the other."""

    def check(
        self,
        request: Request,
        expect: Expect,
        timeout_s: float,
        repeat: bool = True,
        waiting: Callable[[float], None] | None = None,
    ) -> Checked:
        """Repeat a request until it is answered once, up to timeout_s, and compare the response.

        repeat: False: ask only once. waiting: called now and then with the seconds that it has taken so far. cancel() ends
        it.
        """

    def serve_trivial(self, port: int, beside: bool) -> int:
        """Start the trivial server that calibration drives; return its port.

        port: 0 for any free one. beside: the generator runs on the same host and keeps one core.
        """

    def end_trivial(self) -> None:
        """End the trivial server."""

    def arm(self, assignments: list[Assignment]) -> list[Armed]:
        """Start an agent for each assignment and wait until each is blocked at its gate."""

    def release_at(self, t0_ns: int) -> None:
        """Have all agents released at T0, an instant on the host's own wall clock; return before."""

    def wait(self, timeout_s: float) -> Pending[bool]:
        """Wait on the host, up to timeout_s, for all agents to end; the result is whether they have."""

    def progress(self) -> Progress:
        """Return how far the agents are. Is answered while another call is under way."""

    def collect(self) -> Collection[AgentResult]:
        """Return the result of each agent, in the order of the assignments, once all have ended.

        Reading them raises BadFrame when what arrived is not what was sent.
        """

    def cancel(self) -> None:
        """End every agent soon; its results can still be collected. Is answered while another call is under way."""

    def discard(self, timeout_s: float) -> None:
        """End every agent and forget it."""


class ImageHandle(Protocol):
    """The images of a server host's engine. It takes in one stream at a time: a build context or an image."""

    def missing(self, names: list[str]) -> list[str]:
        """Return those images that the engine does not have."""

    def inspect(self, name: str, timeout_s: float) -> ImageFacts:
        """Return id and names of an image; pull it when it is missing, within timeout_s."""

    def find(self, build: Build) -> str:
        """Return the image of a build that was made before, else ''."""

    def begin_build(self, build: Build) -> None:
        """Start a build; its context comes by feed()."""

    def begin_load(self, name: str) -> None:
        """Start loading an image; it comes by feed()."""

    def feed(self, chunk: bytes) -> Pending[None]:
        """Pass on the next piece of the context or the image. Pieces arrive in the order of the calls."""

    def finish(self) -> Pending[str]:
        """Have the build or the load finished; the result is the image's name."""

    def output(self, since: int) -> list[str]:
        """Return the lines that builds have printed, from line number `since` on. Is answered during a build."""


class ServerHandle(TrialHandle, Protocol):
    """A server host: runs one container after the other."""

    @property
    def images(self) -> ImageHandle:
        """The images of its engine."""

    def start(self, spec: ServerSpec, trial: str) -> Pending[ServerFacts]:
        """Start a container and wait until it is ready and has settled; one that does not is a result, too."""

    def waiting_for(self) -> str:
        """Return what start() is waiting for, for a person. Is answered while another call is under way."""

    def busy_share(self) -> float | None:
        """Return the share of the host's cores that was used in the last second; None before it was measured.

        Is answered while another call is under way.
        """

    def meter(self, opening_ns: int, closing_ns: int | None) -> None:
        """Have the counters read at the edges of the window, instants on the host's own wall clock.

        closing_ns: None when the window ends with finish().
        """

    def finish(self) -> ServerFacts:
        """Read the counters for the last time and return all that is known of the server."""

    def log(self) -> bytes:
        """Return the end of what the server printed."""

    def stop(self, timeout_s: float) -> None:
        """Remove the container."""

    def abort(self) -> None:
        """End every wait that is under way. Is answered while another call is under way."""


class ServiceHandle(TrialHandle, Protocol):
    """A host of services: runs several containers at the same time. A host can have one beside a ServerHandle."""

    @property
    def images(self) -> ImageHandle:
        """The images of its engine."""

    def start(self, spec: ServiceSpec) -> Pending[ServiceFacts]:
        """Start one service and wait until it is up; one that does not come up is a result, too.

        A container of the same name is removed first.
        """

    def start_all(self, specs: list[ServiceSpec]) -> Pending[list[ServiceFacts]]:
        """Start services that do not depend on each other, at the same time; facts in the same order."""

    def waiting_for(self) -> str:
        """Return what start() is waiting for, for a person. Is answered while another call is under way."""

    def prepare(self, name: str, argv: list[str], timeout_s: float) -> Pending[CommandResult]:
        """Run a command in a service's container, as its user. status None: it took longer than timeout_s."""

    def meter(self, opening_ns: int, closing_ns: int | None) -> None:
        """Have the counters of every service read at the edges of the window, instants on the host's own wall clock.

        closing_ns: None when the window ends with finish().
        """

    def finish(self) -> list[ServiceFacts]:
        """Read the counters for the last time and return all that is known of every service, in the order of starts."""

    def look(self) -> list[ServiceFacts]:
        """Return the state of every service now, without ending the window."""

    def log(self, name: str) -> bytes:
        """Return the end of what a service printed."""

    def stop(self, names: list[str], timeout_s: float) -> None:
        """Remove the containers of these services. Named volumes stay until the run ends."""

    def busy_share(self) -> float | None:
        """Return the share of the host's cores that was used in the last second; None before it was measured.

        Is answered while another call is under way.
        """

    def abort(self) -> None:
        """End every wait that is under way. Is answered while another call is under way."""
