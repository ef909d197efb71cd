"""The Ray actors of a run, and the transport to each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from agents.shells import CommandShell, LoadShell, ServerShell, ServiceShell, methods_of
from orchestrator.errors import HostError
from orchestrator.fleet.actors import Actors, Roles
from orchestrator.fleet.handles import Pending
from orchestrator.fleet.hosts import HostLost, failed, gone, silent
from orchestrator.fleet.place import Machine
from orchestrator.fleet.remote import RemoteCommand, RemoteLoad, RemoteServer, RemoteServices

P = ParamSpec("P")
R = TypeVar("R")

STARTED_WITHIN_S = 90.0
CHECKED_EVERY_S = 1.0
ENDED_WITHIN_S = 3.0


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
        from ray.exceptions import GetTimeoutError, RayError

        try:
            value: R = ray.get(self.reference, timeout=timeout_s)
        except GetTimeoutError as error:
            raise silent(self.host, self.name, timeout_s) from error
        except RayError as error:
            raise self._error(error) from error
        return value

    def then(self, settle: Callable[[R | None, HostError | None], None]) -> None:
        """Have the result, or the error in place of it, passed on when the call has ended, in a thread of Ray."""

        def done(future: Future[R]) -> None:
            error = future.exception()
            settle(future.result() if error is None else None, None if error is None else self._error(error))

        self.reference.future().add_done_callback(done)

    def _error(self, error: BaseException) -> HostError:
        """Return what went wrong on the host; HostLost for all that says nothing about the call itself."""
        from ray.exceptions import RayTaskError

        if not isinstance(error, RayTaskError):
            return gone(self.host, self.name)
        cause = getattr(error, "cause", None) or error
        return failed(self.host, self.name, [kind.__name__ for kind in type(cause).__mro__], str(cause))


class RayTransport:
    """Calls the methods of one actor."""

    def __init__(self, machine: Machine, shell: type[CommandShell], actor: Any) -> None:
        """shell: the class that the actor was made of."""
        self.host, self.address, self.actor = machine.name, machine.address, actor
        self.load_address = machine.load_address or machine.address
        self._methods = {method: getattr(actor, name) for name, method in methods_of(shell).items()}

    def begin(self, method: Callable[Concatenate[Any, P], R], *arguments: P.args, **named: P.kwargs) -> Pending[R]:
        """Start a call."""
        return RayCall(self.host, method.__name__, self._methods[method].remote(*arguments, **named))


def on_own_node(shell: type[CommandShell], host: str) -> dict[str, Any]:
    """Return the options that put an actor on the node that Volley has started for a host."""
    return {"label_selector": {"host": host}}


class ActorStarter:
    """Starts actors on the nodes of a connected Ray."""

    def __init__(
        self,
        run: str,
        machines: dict[str, Machine],
        clock_ports: tuple[int, int, int],
        options: Callable[[type[CommandShell], str], dict[str, Any]] = on_own_node,
    ) -> None:
        """clock_ports: of server, load and service hosts, 0 for any; options: of each actor."""
        self._run, self._machines, self._clock_ports, self._options = run, machines, clock_ports, options
        self._started: list[RayTransport] = []

    def start(self, roles: Roles, require: Callable[[], None] = lambda: None) -> Actors:
        """Start an actor on every host and wait for all of them.

        require: raises for a host that is lost; Ray would wait for its actor.

        Raises HostLost when they do not come up, HostError when a host lacks what its role needs.
        """
        actors = Actors()
        if roles.server is not None:
            actors.server = RemoteServer(self._transport(ServerShell, roles.server, self._clock_ports[0]))
        clock_port = self._clock_ports[1]
        actors.loads = {host: RemoteLoad(self._transport(LoadShell, host, clock_port)) for host in roles.loads}
        clock_port = self._clock_ports[2]
        actors.services = {
            host: RemoteServices(self._transport(ServiceShell, host, clock_port)) for host in roles.services
        }
        actors.others = {host: RemoteCommand(self._transport(CommandShell, host, 0)) for host in roles.others}
        self._wait(require)
        actors.describe()
        return actors

    def _transport(self, shell: type[CommandShell], host: str, clock_port: int) -> RayTransport:
        from agents.actors import remote

        machine = self._machines[host]
        kind = remote(shell).options(**self._options(shell, host))
        transport = RayTransport(machine, shell, kind.remote(host, self._run, machine.address, clock_port))
        self._started.append(transport)
        return transport

    def _wait(self, require: Callable[[], None]) -> None:
        import ray
        from ray.exceptions import RayActorError

        starting = {transport.actor.__ray_ready__.remote(): transport.host for transport in self._started}
        late, deadline = list(starting), time.monotonic() + STARTED_WITHIN_S
        try:
            while late:
                require()
                ready, late = ray.wait(late, num_returns=len(late), timeout=CHECKED_EVERY_S)
                ray.get(ready)
                if late and time.monotonic() > deadline:
                    raise HostLost(
                        f"no actor came up on {', '.join(starting[each] for each in late)} within "
                        f"{STARTED_WITHIN_S:g} s",
                        "check whether the hosts are overloaded",
                    )
        except RayActorError as error:
            raise HostLost(
                f"an actor did not start: {str(error).strip().splitlines()[-1][:200]}", "check that the hosts are up"
            ) from error

    def call(self, function: Callable[[Any], R]) -> dict[str, R]:
        """Call a function in the process of every actor; return the results by host. Raises HostLost."""
        import ray
        from ray.exceptions import GetTimeoutError, RayActorError

        calls = {each.host: each.actor.__ray_call__.remote(function) for each in self._started}
        try:
            return dict(zip(calls, ray.get(list(calls.values()), timeout=STARTED_WITHIN_S), strict=True))
        except (RayActorError, GetTimeoutError) as error:
            raise HostLost("an actor ended while the hosts were starting", "check that the hosts are up") from error

    def end(self) -> None:
        """End all actors at once, and with them what they run; wait a moment for that."""
        import ray

        started, self._started = self._started, []
        for each in started:
            with contextlib.suppress(Exception):  # one that is gone need not be ended
                ray.kill(each.actor)
        with contextlib.suppress(Exception):
            # A call is answered, with an error, once its actor has ended.
            last = [each.actor.__ray_ready__.remote() for each in started]
            ray.wait(last, num_returns=len(last), timeout=ENDED_WITHIN_S)
