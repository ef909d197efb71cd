"""The hosts of one trial, and how a failure on a host is reported."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TypeVar

from orchestrator.errors import HostError
from orchestrator.fleet.handles import CommandHandle, LoadHandle, ServerHandle, ServiceHandle

A = TypeVar("A")
B = TypeVar("B")

# By the name of the exception, which crosses from the host as text.
_HINTS = {
    "BuildFailed": "fix the Dockerfile; if a base image cannot be pulled, load it there with 'docker load'",
    "ImageMissing": "check the name of the image; log in there with 'docker login', or load it with 'docker load'",
    "H2loadMissing": "install nghttp2-client there; on this machine: volley doctor --fix",
    "EngineUnreachable": "start it: sudo systemctl start docker, or on this machine: volley doctor --fix",
    "PortInUse": "end the process that listens there ('ss -ltnp' names it), or change the port in the campaign",
    "ContainerRefused": "change that setting of the container in the campaign",
    "NotPermitted": "if you may load this server, allow it: --allow-target HOST, or allow_targets in the campaign",
    "NoSpace": "free some space there; a container has a /dev/shm of 64 MiB unless it is started with --shm-size",
    "NotArmed": "fix what the generator reports; 'volley doctor' checks whether h2load can run here",
}
# Of the HTTP client under Docker's: nothing else on a host uses it.
_ENGINE_GONE = "RequestException"
_IS_UP = "check that the host is up"
MOST_AT_ONCE = 1000


class HostLost(HostError):
    """A host's process is gone, or it did not answer in time. host: its name; empty where several are meant."""

    def __init__(self, message: str, hint: str = "", host: str = "") -> None:
        super().__init__(message, hint)
        self.host = host


@dataclass(frozen=True, slots=True)
class Placed:
    """The hosts of one trial: the server's (None for a URL) and the load hosts.

    cores: for each load host the core of each of its agents, None for any. helpers: every host that can run commands.
    services: the host of each service.
    """

    server: ServerHandle | None
    loads: list[LoadHandle]
    cores: list[list[int | None]]
    helpers: dict[str, CommandHandle] = field(default_factory=dict)
    services: dict[str, ServiceHandle] = field(default_factory=dict)

    def shared(self) -> bool:
        """Return whether agents are on one machine with the server or a service."""
        containers = {service.host for service in self.services.values()}
        if self.server is not None:
            containers.add(self.server.host)
        return any(load.host in containers for load in self.loads)

    def service_hosts(self) -> list[ServiceHandle]:
        """Return the hosts of services, each once."""
        return list({id(handle): handle for handle in self.services.values()}.values())


def failed(host: str, call: str, kinds: list[str], text: str) -> HostError:
    """Return the error of a call that failed on a host. kinds: the exception's class names, the nearest first.

    An engine that answered before and does not any more is a lost host: it was killed, or is being restarted.
    """
    if _ENGINE_GONE in kinds:
        return HostLost(f"host {host}: the Docker engine stopped answering ({call})", _HINTS["EngineUnreachable"], host)
    for kind in kinds:
        if kind in _HINTS:
            return HostError(f"host {host}: {text}", _HINTS[kind])
    return HostError(f"host {host}: {call} failed: {kinds[0]}: {text}".split("\n")[0])


def gone(host: str, call: str) -> HostLost:
    """Return the error of a call to a host whose process has ended."""
    return HostLost(f"host {host}: its actor is gone ({call})", _IS_UP, host)


def silent(host: str, call: str, timeout_s: float) -> HostLost:
    """Return the error of a call that was not answered in time."""
    return HostLost(f"host {host}: no answer to {call} within {timeout_s:g} s", _IS_UP, host)


def at_once(function: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """Call a function for all hosts at the same time; the first error is raised after all have ended."""
    if len(items) < 2:
        return [function(item) for item in items]
    # A thread each: with fewer, the last hosts would wait for the round trips of the first.
    calls = [_threads().submit(function, item) for item in items]
    wait(calls)
    return [call.result() for call in calls]


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads of all calls. They stay: to start 1,000 takes longer than a round trip."""
    return ThreadPoolExecutor(MOST_AT_ONCE, "hosts")
