"""The Ray actors: a few lines around plain classes. Imported only where Ray is."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import ray

from agents.command import Commands
from agents.load_host import LoadHost
from agents.server_host import ServerHost

# Never restarted: an agent that came back in mid-trial would be a corrupt measurement.
# Control calls are answered while a long call is under way.
OPTIONS: dict[str, Any] = {
    "max_restarts": 0,
    "max_task_retries": 0,
    "num_cpus": 0,
    "concurrency_groups": {"control": 2},
}


class LoadActor:
    """A load host under Ray."""

    def __init__(self, run: str, address: str, clock_port: int = 0) -> None:
        # Each assignment names its run; only a server host has to know it from the start.
        self._host = LoadHost(address, clock_port=clock_port)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the LoadHost."""
        return getattr(self._host, method)(*arguments)

    @ray.method(concurrency_group="control")
    def control(self, method: str, *arguments: Any) -> Any:
        """Call a method of the LoadHost while another call is under way."""
        return getattr(self._host, method)(*arguments)


class ServerActor:
    """A server host under Ray."""

    def __init__(self, run: str, address: str, clock_port: int = 0) -> None:
        self._host = ServerHost(run, address, clock_port)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the ServerHost, or of its part: 'images.find'."""
        return attrgetter(method)(self._host)(*arguments)

    @ray.method(concurrency_group="control")
    def control(self, method: str, *arguments: Any) -> Any:
        """Call a method of the ServerHost, or of its part, while another call is under way."""
        return attrgetter(method)(self._host)(*arguments)


class PlainActor:
    """A host under Ray that only runs commands."""

    def __init__(self, run: str, address: str, clock_port: int = 0) -> None:
        self._host = Commands()

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of Commands."""
        return getattr(self._host, method)(*arguments)


def remote(kind: type[LoadActor] | type[ServerActor] | type[PlainActor]) -> Any:
    """Make a Ray actor class of one of them."""
    make: Any = ray.remote
    return make(**OPTIONS)(kind)
