"""What the run sees of the fleet: typed handles to the actors on the hosts. Ray is behind them and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agents.h2load import H2loadMissing
from agents.images import BuildFailed
from agents.load_agent import NotArmed
from agents.server_host import EngineUnreachable, PortInUse
from orchestrator.errors import HostError

A = TypeVar("A")
B = TypeVar("B")

CALL_TIMEOUT_S = 60.0
_HINTS: dict[type[BaseException], str] = {
    BuildFailed: "mend the Dockerfile; where the base image cannot be pulled, run deploy/base-image.sh",
    H2loadMissing: "install it: sudo apt-get install nghttp2-client (or deploy/bootstrap-host.sh load)",
    EngineUnreachable: "start it: deploy/engine.sh up (or systemctl start docker); 'volley doctor' looks closer",
    PortInUse: "end what listens there ('ss -ltnp' names it), or change the target's port",
    NotArmed: "run the same load with 'volley doctor' in mind: h2load said why it would not start",
}


class HostLost(HostError):
    """A host's actor died or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A Ray actor on one host."""

    host: str
    address: str
    handle: Any

    def call(self, method: str, *arguments: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """Call a method and wait for its result. Raises HostError for what went wrong there, HostLost for no answer."""
        return self._get(self.handle.call.remote(method, *arguments), method, timeout_s)

    def control(self, method: str, *arguments: Any, timeout_s: float = 10.0) -> Any:
        """Call a method that is answered while another is under way."""
        return self._get(self.handle.control.remote(method, *arguments), method, timeout_s)

    def begin(self, method: str, *arguments: Any) -> Any:
        """Start a call; wait for it with done() and result()."""
        return self.handle.call.remote(method, *arguments)

    def result(self, reference: Any, timeout_s: float) -> Any:
        """Wait for a started call."""
        return self._get(reference, "call", timeout_s)

    def done(self, reference: Any, timeout_s: float) -> bool:
        """Wait up to timeout_s for a started call; say whether it is done."""
        import ray

        ready, _ = ray.wait([reference], timeout=timeout_s)
        return bool(ready)

    def _get(self, reference: Any, what: str, timeout_s: float) -> Any:
        import ray
        from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

        try:
            return ray.get(reference, timeout=timeout_s)
        except RayTaskError as error:
            cause = getattr(error, "cause", None) or error
            for kind, hint in _HINTS.items():
                if isinstance(cause, kind):
                    raise HostError(f"host {self.host}: {cause}", hint) from None
            raise HostError(
                f"host {self.host}: {what} failed: {type(cause).__name__}: {cause}".split("\n")[0]
            ) from error
        except RayActorError as error:
            raise HostLost(f"host {self.host}: its actor is gone ({what})", "see that the host is up") from error
        except GetTimeoutError as error:
            raise HostLost(
                f"host {self.host}: no answer to {what} within {timeout_s:g} s", "see that the host is up"
            ) from error


@dataclass(frozen=True, slots=True)
class Placed:
    """The hosts of one trial: the server's actor (None for a URL), the load hosts' actors.

    cores: for each load host the core of each of its agents, None for any. helpers: every host that can run commands.
    """

    server: Actor | None
    loads: list[Actor]
    cores: list[list[int | None]]
    helpers: dict[str, Actor] = field(default_factory=dict)

    def shared(self) -> bool:
        """Say whether server and agents are on one machine."""
        return self.server is not None and any(load.host == self.server.host for load in self.loads)


def at_once(function: Callable[[A], B], items: list[A]) -> list[B]:
    """Call a function for all hosts at the same time; the first error is raised after all have ended."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(max_workers=min(32, len(items))) as pool:
        return list(pool.map(function, items))
