"""The transport to a host's Ray actor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from agents.shells import CommandShell, methods_of
from orchestrator.fleet.handles import Pending
from orchestrator.fleet.hosts import failed, gone, silent

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class RayCall(Generic[R]):
    """A call to an actor that was started."""

    host: str
    name: str
    reference: Any

    def done(self, timeout_s: float) -> bool:
        """Wait up to timeout_s; return whether the call has ended."""
        import ray

        ready, _ = ray.wait([self.reference], timeout=timeout_s)
        return bool(ready)

    def result(self, timeout_s: float) -> R:
        """Return the result. Raises HostError for what went wrong there, HostLost for no answer."""
        import ray
        from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

        try:
            value: R = ray.get(self.reference, timeout=timeout_s)
        except RayTaskError as error:
            cause = getattr(error, "cause", None) or error
            kinds = [kind.__name__ for kind in type(cause).__mro__]
            raise failed(self.host, self.name, kinds, str(cause)) from error
        except RayActorError as error:
            raise gone(self.host, self.name) from error
        except GetTimeoutError as error:
            raise silent(self.host, self.name, timeout_s) from error
        return value


class RayTransport:
    """Calls the methods of one actor."""

    def __init__(self, host: str, address: str, shell: type[CommandShell], actor: Any) -> None:
        """shell: the class that the actor was made of."""
        self.host, self.address, self.actor = host, address, actor
        self._methods = {method: getattr(actor, name) for name, method in methods_of(shell).items()}

    def begin(self, method: Callable[Concatenate[Any, P], R], *arguments: P.args, **named: P.kwargs) -> Pending[R]:
        """Start a call."""
        return RayCall(self.host, method.__name__, self._methods[method].remote(*arguments, **named))
