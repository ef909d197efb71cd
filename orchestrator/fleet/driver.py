"""The process that is the run's driver of Ray: it starts the nodes and the actors, and passes calls on to them.

    python -m orchestrator.fleet.driver

Ray ends the process of its driver when the driver's node dies: without an exception, and so without a chance to store
anything. Here that ends this process only. The coordinator sees a closed channel, records a lost host, and starts the
hosts again with another driver (docs/adr/0039).

Calls come on standard input and are answered on standard output (agents/channel.py). UP, RESERVE and LEAVE are carried
out one after the other, in the main thread, because Ray can be interrupted only there. CALL goes to an actor at once.
Answers with the number NOTE are progress. One with the number LOST says that the coordinator's node has died.
When standard input ends without LEAVE, the coordinator is gone: this process ends at once, and the guards clean up.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from agents.channel import Answer, BrokenChannel, Call, Channel
from agents.child import SHELLS, private_channel
from agents.records import HostRole, from_plain, to_plain
from agents.shells import methods_of
from orchestrator.errors import HostError, Several, Shortage
from orchestrator.fleet.actors import Actors, Fleet
from orchestrator.fleet.claims import HERE, Claim
from orchestrator.fleet.hosts import HostLost
from orchestrator.fleet.place import Machine, Placement
from orchestrator.fleet.ray_actors import RayCall, RayTransport
from orchestrator.fleet.remote import RemoteCommand
from orchestrator.spec.inventory import Inventory

UP, RESERVE, CALL, LEAVE = "up", "reserve", "call", "leave"
NOTE, LOST = 0, -1
# How often the coordinator's node is checked.
WATCH_S = 0.5
SENT_WITHIN_S = 5.0
BUG = "bug"
_KINDS: dict[str, type[HostError]] = {"HostError": HostError, "HostLost": HostLost, "Shortage": Shortage}


@dataclass(frozen=True, slots=True)
class DriverOrder:
    """The hosts of a run. machines: those that are used; empty for a Ray cluster that is there, which is asked.

    folder: of the inventory. cwd: where hosts on this machine work; empty for a folder that was removed.
    others: hosts that are in no placement, for commands only.
    """

    claim: Claim
    folder: str
    cwd: str
    machines: list[Machine]
    placements: list[Placement]
    others: list[str]


@dataclass(frozen=True, slots=True)
class FleetUp:
    """What the coordinator needs to know of the hosts that are up."""

    machines: list[Machine]
    accepted_keys: list[str]


class DriverFleet(Fleet, Protocol):
    """A fleet that needs a driver of Ray."""

    @property
    def machines(self) -> list[Machine]:
        """The hosts, with the addresses at which they are reached."""

    def lost(self) -> str:
        """Return why the coordinator's node is lost; empty while it is up."""


def fleet_of(order: DriverOrder, inventory: Inventory | None) -> DriverFleet:
    """Return the fleet of an order, not up yet. inventory: None for this machine alone. Raises HostError."""
    from orchestrator.fleet.cluster import RayFleet, nodes_for, own_nodes_here

    claim, placements, others = order.claim, order.placements, order.others
    if inventory is None:
        hold, machines = own_nodes_here(claim)
        return RayFleet(claim, hold, machines, placements, others)
    if inventory.ray is not None:
        from orchestrator.fleet.existing.fleet import ExistingFleet

        return ExistingFleet(claim, inventory.ray, placements, others)
    from orchestrator.fleet.members import numbered

    folder = Path(order.folder)
    machines = numbered(order.machines, inventory, folder)
    return RayFleet(claim, nodes_for(claim, inventory, folder, machines), machines, placements, others)


def failure(number: int, error: HostError) -> Answer:
    """Return an error as the answer to a call."""
    return Answer(number, _plain(error), [type(error).__name__], error.message)


def unexpected(number: int, error: Exception) -> Answer:
    """Return an exception as the answer to a call: what Ray raises means that its node is lost, all else is a bug."""
    if type(error).__module__.partition(".")[0] == "ray" or isinstance(error, ConnectionError):
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        return failure(number, HostLost(f"lost the connection to Ray: {reason}", "run it again", HERE))
    text = "".join(traceback.format_exception(error))
    return Answer(number, failed=[BUG], text=text)


def _plain(error: HostError) -> dict[str, Any]:
    parts = [_plain(each) for each in error.errors] if isinstance(error, Several) else []
    kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _KINDS)
    host = error.host if isinstance(error, HostLost) else ""
    return {"kind": kind, "message": error.message, "hint": error.hint, "host": host, "errors": parts}


def error_of(answer: Answer) -> Exception:
    """Return the error that an answer carries; RuntimeError for a bug in the driver."""
    if answer.failed == [BUG]:
        return RuntimeError(f"the Ray driver failed:\n{answer.text}")
    return _error(answer.value)


def _error(plain: dict[str, Any]) -> HostError:
    if plain["errors"]:
        return Several([_error(each) for each in plain["errors"]])
    if plain["kind"] == HostLost.__name__:
        return HostLost(plain["message"], plain["hint"], plain["host"])
    return _KINDS[plain["kind"]](plain["message"], plain["hint"])


class Driver:
    """Serves one coordinator."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._asked: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._transports: dict[tuple[str, str], RayTransport] = {}
        self._fleet: DriverFleet | None = None
        self._main = threading.get_ident()
        self._interruptible = False
        self._leave = 0

    def serve(self) -> None:
        """Carry out what is asked until the coordinator leaves. Call it in the main thread."""
        signal.signal(signal.SIGINT, self._interrupt)
        sender = threading.Thread(target=self._send, name="answers", daemon=True)
        for thread in (sender, threading.Thread(target=self._listen, name="calls", daemon=True)):
            thread.start()
        try:
            with contextlib.ExitStack() as stack:
                try:
                    self._interruptible = True
                    self._until_left(stack)
                    self._interruptible = False
                except KeyboardInterrupt:  # left in the middle of a call
                    pass
        except HostError as error:
            self._answers.put(failure(self._leave, error))
        else:
            self._answers.put(Answer(self._leave))
        self._answers.put(None)
        sender.join(SENT_WITHIN_S)

    def _interrupt(self, number: int, frame: object) -> None:
        """Interrupt the main thread once, and never while it cleans up."""
        if self._interruptible:
            self._interruptible = False
            raise KeyboardInterrupt

    def _until_left(self, stack: contextlib.ExitStack) -> None:
        while (call := self._asked.get()) is not None:
            try:
                value = self._up(stack, call) if call.method == UP else self._reserve(call)
            except HostError as error:
                self._answers.put(failure(call.number, error))
            except Exception as error:
                self._answers.put(unexpected(call.number, error))
            else:
                self._answers.put(Answer(call.number, value))

    def _up(self, stack: contextlib.ExitStack, call: Call) -> dict[str, Any]:
        plain, inventory = call.arguments
        order = from_plain(DriverOrder, plain)
        if order.cwd:
            os.chdir(order.cwd)
        fleet = fleet_of(order, None if inventory is None else Inventory.model_validate(inventory))
        stack.enter_context(fleet)
        self._fleet = fleet
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        fleet.up(lambda text: self._answers.put(Answer(NOTE, text=text)))
        self._transports = dict(_transports(fleet.actors))
        return to_plain(FleetUp(fleet.machines, fleet.accepted_keys))

    def _reserve(self, call: Call) -> dict[str, Any]:
        assert self._fleet is not None
        with self._fleet.reserve(from_plain(Placement, call.arguments[0])):
            return {}  # the hosts are held for the whole run

    def _watch(self) -> None:
        """Report once that the coordinator's node has died: Ray lets its calls wait, and then ends this process."""
        assert self._fleet is not None
        while not self._leave:
            if why := self._fleet.lost():
                self._answers.put(Answer(LOST, text=why))
                return
            time.sleep(WATCH_S)

    def _listen(self) -> None:
        with contextlib.suppress(BrokenChannel):
            while (call := self._channel.receive(Call)) is not None:
                if call.method == CALL:
                    self._pass_on(call)
                elif call.method == LEAVE:
                    self._leave = call.number
                    self._asked.put(None)
                    signal.pthread_kill(self._main, signal.SIGINT)
                else:
                    self._asked.put(call)
        # The coordinator is gone, or has left: the guards' input ends with this process.
        os._exit(0)

    def _pass_on(self, call: Call) -> None:
        role, host, method, arguments = call.arguments

        def settle(value: Any, error: HostError | None) -> None:
            self._answers.put(Answer(call.number, value) if error is None else failure(call.number, error))

        try:
            function = methods_of(SHELLS[HostRole(role)])[method]
            pending = cast(RayCall[Any], self._transports[role, host].begin(function, *arguments))
            pending.then(settle)
        except Exception as error:
            self._answers.put(unexpected(call.number, error))

    def _send(self) -> None:
        """Send answers from one thread: those that Ray calls must not wait for a pipe."""
        with contextlib.suppress(BrokenChannel):
            while (answer := self._answers.get()) is not None:
                self._channel.send(answer)


def _transports(actors: Actors) -> Iterator[tuple[tuple[str, str], RayTransport]]:
    """Yield the transport to each actor, by role and host."""
    servers = [] if actors.server is None else [actors.server]
    by_role = {
        HostRole.SERVER: servers,
        HostRole.LOAD: actors.loads.values(),
        HostRole.SERVICE: actors.services.values(),
        HostRole.COMMAND: actors.others.values(),
    }
    for role, handles in by_role.items():
        for handle in handles:
            yield (str(role), handle.host), cast(RayTransport, cast(RemoteCommand, handle).transport)


def main() -> int:
    """Serve one coordinator until it leaves."""
    channel = private_channel()
    # For the process group of the coordinator, which then leaves in an orderly way.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Driver(channel).serve()
    return 0


if __name__ == "__main__":
    status = main()
    # Ray's own handlers at the exit would wait for a node that is gone.
    os._exit(status)
