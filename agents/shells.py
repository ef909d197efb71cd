"""The hosts as a transport sees them: real methods that take and return plain data only.

Orchestrator-side handles turn records into plain data; a shell turns them back, calls the host, and returns its
records as plain data. A Ray actor and a child process both run exactly these classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from agents.command import CommandHost
from agents.container import ServerSpec
from agents.docker_host import DockerHost
from agents.images import Build
from agents.load_host import LoadHost
from agents.probe import Expect, Request
from agents.records import Assignment, from_plain, to_plain
from agents.server_host import ServerHost
from agents.service import ServiceSpec
from agents.service_host import ServiceHost

# A record as dictionaries, lists and scalars.
Plain = dict[str, Any]
Method = TypeVar("Method", bound=Callable[..., Any])
_MARK = "_volley_control"


def control(method: Method) -> Method:
    """Mark a method that must be answered while another call is under way."""
    setattr(method, _MARK, True)
    return method


def is_control(method: Callable[..., Any]) -> bool:
    """Return whether a method is marked with @control."""
    return hasattr(method, _MARK)


def methods_of(shell: type[CommandShell]) -> dict[str, Callable[..., Any]]:
    """Return the methods that can be called from outside, by name."""
    members = inspect.getmembers(shell, inspect.isfunction)
    return {name: method for name, method in members if not name.startswith("_")}


class CommandShell:
    """A host that runs commands."""

    def __init__(self, host: str, run: str, address: str, clock_port: int = 0) -> None:
        """host: its name; address: where it is reached; clock_port: of its clock responder, 0 for any free port."""
        self._commands = self._make(host, run, address, clock_port)

    @classmethod
    def prepare(cls) -> None:
        """Import what the first calls need and the modules import late. Optional: it only saves time."""

    def _make(self, host: str, run: str, address: str, clock_port: int) -> CommandHost:
        return CommandHost()

    def run_command(self, script: str, variables: dict[str, str], run: str, timeout_s: float) -> Plain:
        """Return the CommandResult of CommandHost.run_command."""
        return to_plain(self._commands.run_command(script, variables, run, timeout_s))

    @control
    def abort(self) -> None:
        """End what is under way."""
        self._commands.abort()

    def close(self) -> None:
        """End and remove everything that this host runs; it is not used after this."""
        self._commands.close()


class LoadShell(CommandShell):
    """A load host."""

    @classmethod
    def prepare(cls) -> None:
        """Import what runs agents, and the HTTP client of check()."""
        import httpx  # noqa: F401

        import agents.load_agent  # noqa: F401

    def _make(self, host: str, run: str, address: str, clock_port: int) -> CommandHost:
        # Each assignment names its run; only a server host has to know it from the start.
        self._host = LoadHost(host, address, clock_port=clock_port)
        return self._host

    def describe(self) -> Plain:
        """Return the HostDescription."""
        return to_plain(self._host.describe())

    def clock_port(self) -> int:
        """Return the UDP port of the clock responder."""
        return self._host.clock_port()

    def check(self, request: Plain, expect: Plain, timeout_s: float, repeat: bool) -> Plain:
        """Return the Checked of a Request and an Expect."""
        return to_plain(self._host.check(from_plain(Request, request), from_plain(Expect, expect), timeout_s, repeat))

    def serve_trivial(self, port: int, beside: bool) -> int:
        """Start the trivial server and return its port."""
        return self._host.serve_trivial(port, beside)

    def end_trivial(self) -> None:
        """End the trivial server."""
        self._host.end_trivial()

    def arm(self, assignments: list[Plain]) -> list[Plain]:
        """Return an Armed for each Assignment."""
        armed = self._host.arm([from_plain(Assignment, plain) for plain in assignments])
        return [to_plain(agent) for agent in armed]

    def release_at(self, t0_ns: int) -> None:
        """Release every agent at T0 on this host's wall clock."""
        self._host.release_at(t0_ns)

    def wait(self, timeout_s: float) -> bool:
        """Return whether all agents have ended."""
        return self._host.wait(timeout_s)

    @control
    def progress(self) -> Plain:
        """Return the Progress."""
        return to_plain(self._host.progress())

    def collect(self) -> bytes:
        """Return the results of all agents as a stream of frames."""
        return self._host.collect()

    def use(self) -> Plain | None:
        """Return the HostUse."""
        return _optional(self._host.use())

    @control
    def cancel(self) -> None:
        """End every generator soon."""
        self._host.cancel()

    def discard(self) -> None:
        """End every generator and forget the agents."""
        self._host.discard()


class DockerShell(CommandShell):
    """A host with a Docker engine."""

    @classmethod
    def prepare(cls) -> None:
        """Import the client of the Docker engine and the HTTP client of the readiness check."""
        import docker  # noqa: F401
        import httpx  # noqa: F401

    def _make(self, host: str, run: str, address: str, clock_port: int) -> CommandHost:
        self._docker = self._make_docker(host, run, address, clock_port)
        return self._docker

    def _make_docker(self, host: str, run: str, address: str, clock_port: int) -> DockerHost:
        return DockerHost(run, host, address, clock_port)

    def describe(self) -> Plain:
        """Return the HostDescription."""
        return to_plain(self._docker.describe())

    def clock_port(self) -> int:
        """Return the UDP port of the clock responder."""
        return self._docker.clock_port()

    @control
    def busy_share(self) -> float | None:
        """Return how busy the host's cores are."""
        return self._docker.busy_share()

    def use(self) -> Plain | None:
        """Return the HostUse."""
        return _optional(self._docker.use())

    def missing_images(self, names: list[str]) -> list[str]:
        """Return those images that this engine does not have."""
        return self._docker.images.lacks(names)

    def inspect_image(self, name: str) -> Plain:
        """Return the ImageFacts; pull an image that is missing."""
        return to_plain(self._docker.images.inspect(name))

    def find_image(self, build: Plain) -> str:
        """Return the image of a Build that was built before, else ''."""
        return self._docker.images.find(from_plain(Build, build))

    def begin_build(self, build: Plain) -> None:
        """Start a Build."""
        self._docker.images.begin_build(from_plain(Build, build))

    def begin_load(self, name: str) -> None:
        """Start loading an image."""
        self._docker.images.begin_load(name)

    def feed_image(self, chunk: bytes) -> None:
        """Pass on a piece of the build context or image."""
        self._docker.images.feed(chunk)

    def finish_image(self) -> str:
        """Wait for the build or the load; return the image's name."""
        return self._docker.images.finish()

    @control
    def image_output(self, since: int) -> list[str]:
        """Return the lines that builds have printed."""
        return self._docker.images.output(since)


class ServerShell(DockerShell):
    """A server host."""

    def _make_docker(self, host: str, run: str, address: str, clock_port: int) -> DockerHost:
        self._host = ServerHost(run, host, address, clock_port)
        return self._host

    def start(self, spec: Plain, trial: str) -> Plain:
        """Return the ServerFacts of a ServerSpec that was started."""
        return to_plain(self._host.start(from_plain(ServerSpec, spec), trial))

    @control
    def waiting_for(self) -> str:
        """Return what start() is waiting for."""
        return self._host.waiting_for()

    def meter(self, opening_ns: int, closing_ns: int | None) -> None:
        """Read the counters at both edges of the window."""
        self._host.meter(opening_ns, closing_ns)

    def finish(self) -> Plain:
        """Return the ServerFacts at the end of the load."""
        return to_plain(self._host.finish())

    def log(self) -> bytes:
        """Return the end of the server's log."""
        return self._host.log()

    def stop(self) -> None:
        """Remove the container."""
        self._host.stop()


class ServiceShell(DockerShell):
    """A host of services."""

    @classmethod
    def prepare(cls) -> None:
        """Import the client of the Docker engine."""
        import docker  # noqa: F401

    def _make_docker(self, host: str, run: str, address: str, clock_port: int) -> DockerHost:
        self._host = ServiceHost(run, host, address, clock_port)
        return self._host

    def start_services(self, specs: list[Plain]) -> list[Plain]:
        """Return the ServiceFacts of each ServiceSpec that was started."""
        return [to_plain(facts) for facts in self._host.start_all([from_plain(ServiceSpec, spec) for spec in specs])]

    @control
    def waiting_for(self) -> str:
        """Return what start_services() is waiting for."""
        return self._host.waiting_for()

    def prepare_service(self, name: str, argv: list[str], timeout_s: float) -> Plain:
        """Return the CommandResult of a command in a service's container."""
        return to_plain(self._host.prepare(name, argv, timeout_s))

    def meter(self, opening_ns: int, closing_ns: int | None) -> None:
        """Read the counters of all services at both edges of the window."""
        self._host.meter(opening_ns, closing_ns)

    def finish(self) -> list[Plain]:
        """Return the ServiceFacts at the end of the load."""
        return [to_plain(facts) for facts in self._host.finish()]

    def look(self) -> list[Plain]:
        """Return the ServiceFacts now."""
        return [to_plain(facts) for facts in self._host.look()]

    def log(self, name: str) -> bytes:
        """Return the end of a service's log."""
        return self._host.log(name)

    def stop(self, names: list[str]) -> None:
        """Remove the containers of services."""
        self._host.stop(names)


def _optional(record: Any) -> Plain | None:
    return None if record is None else to_plain(record)
