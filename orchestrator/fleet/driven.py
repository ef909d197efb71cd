"""A fleet whose driver of Ray is a process of its own (fleet/driver.py), which may die without ending the run."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from agents import lease
from agents.channel import Answer, BrokenChannel, Call, Channel
from agents.lease import LeaseError
from agents.processes import raise_open_files
from agents.records import HostRole, from_plain, to_plain
from orchestrator.errors import HostError
from orchestrator.fleet import driver
from orchestrator.fleet.actors import Actors, Notify, Roles
from orchestrator.fleet.claims import HERE, Claim
from orchestrator.fleet.driver import DriverOrder, FleetUp
from orchestrator.fleet.handles import Pending
from orchestrator.fleet.hosts import HostLost, Placed, silent
from orchestrator.fleet.place import Machine, Placement
from orchestrator.fleet.remote import RemoteCommand, RemoteLoad, RemoteServer, RemoteServices
from orchestrator.fleet.spawn import own_code
from orchestrator.spec.inventory import Inventory

P = ParamSpec("P")
R = TypeVar("R")

MODULE = driver.__name__
# Longer than the guards may take to clean up, which the driver waits for.
LEFT_WITHIN_S = 90.0
# Where its node has died, it may be held up inside Ray. The guards do without it.
LEFT_AFTER_LOSS_S = 20.0
EXITED_WITHIN_S = 5.0
CLEANED_WITHIN_S = 20.0
AFTER_A_LOSS = "check this machine's memory: the kernel log ('dmesg') names processes that were killed for it"


@dataclass(frozen=True, slots=True)
class DriverCall(Generic[R]):
    """A call to an actor that was passed to the driver."""

    host: str
    name: str
    answer: Future[Answer]
    link: Link

    def done(self, timeout_s: float) -> bool:
        """Wait up to timeout_s; return whether the call has ended."""
        try:
            self.answer.exception(timeout_s)
        except TimeoutError:
            return False
        return True

    def result(self, timeout_s: float) -> R:
        """Return the result. Raises HostError for what went wrong there, HostLost for no answer."""
        if not self.done(timeout_s):
            raise silent(self.host, self.name, timeout_s)
        value: R = self.link.value_of(self.answer)
        return value


class Link:
    """A driver's process and the channel to it."""

    def __init__(self) -> None:
        """Start the process. Raises HostError."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                # Python looks here first: our own packages are imported, whatever the user's folder has.
                cwd=own_code(),
                # A session of its own: a Ctrl-C is for this process, which then leaves.
                start_new_session=True,
            )
        except OSError as error:
            raise HostError(f"cannot start the Ray driver: {error}", "check this machine: volley doctor") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._channel = Channel(self._process.stdout, self._process.stdin)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Answer]] = {}
        self._notes: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        # Why no call can be answered any more; empty while the driver and its node are up.
        self._lost = ""
        self._gone, self._leaving = False, False
        self._reader = threading.Thread(target=self._listen, name="driver", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id of the driver."""
        return self._process.pid

    def begin(self, method: str, arguments: Sequence[Any]) -> Future[Answer]:
        """Start a call. It fails with BrokenChannel once the driver or its node is lost."""
        answer: Future[Answer] = Future()
        with self._lock:
            number = next(self._numbers)
            refused = self._gone or (self._lost and method != driver.LEAVE)
            if not refused:
                self._waiting[number] = answer
        if refused:
            answer.set_exception(BrokenChannel("the driver is lost"))
            return answer
        try:
            self._channel.send(Call(number, method, list(arguments)))
        except BrokenChannel as error:
            self._fail([number], error)
        return answer

    def ask(self, method: str, arguments: Sequence[Any], notify: Notify | None = None) -> Any:
        """Return the result of a call, and pass progress on meanwhile. Raises HostError, HostLost."""
        answer = self.begin(method, arguments)
        answer.add_done_callback(lambda _: self._notes.put(None))
        while (note := self._notes.get()) is not None:
            if notify is not None:
                notify(note)
        return self.value_of(answer)

    def value_of(self, answer: Future[Answer]) -> Any:
        """Return the value of a call that has ended. Raises HostError, HostLost."""
        if answer.exception() is not None:
            # Of one host, so that it counts once, however many calls have failed.
            raise HostLost(self._lost or "the Ray driver of this run died", AFTER_A_LOSS, HERE)
        if (found := answer.result()).failed:
            raise driver.error_of(found)
        return found.value

    def _listen(self) -> None:
        """Hand each answer to the call that waits for it, until the driver closes its output."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: the pipe was closed on this side
            while (answer := self._channel.receive(Answer)) is not None:
                if answer.number == driver.NOTE:
                    self._notes.put(answer.text)
                elif answer.number == driver.LOST:
                    if not self._leaving:
                        self._lose(answer.text)
                else:
                    with self._lock:
                        waiting = self._waiting.pop(answer.number, None)
                    if waiting is not None:
                        waiting.set_result(answer)
        with self._lock:
            self._gone = True
        self._lose(self._lost or self._died())

    def _lose(self, why: str) -> None:
        """Fail every call that waits."""
        with self._lock:
            self._lost = why
            numbers = list(self._waiting)
        self._fail(numbers, BrokenChannel(why))

    def _fail(self, numbers: Sequence[int], error: BrokenChannel) -> None:
        for number in numbers:
            with self._lock:
                waiting = self._waiting.pop(number, None)
            if waiting is not None:
                waiting.set_exception(error)

    def _died(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXITED_WITHIN_S)
        status = self._process.returncode
        how = f"killed by signal {-status}" if status is not None and status < 0 else f"exit status {status}"
        return f"lost the connection to Ray: its driver process ended ({how})"

    def leave(self) -> HostError | None:
        """Have the driver end everything and exit; return what could not be cleaned up. Can be called once."""
        self._leaving = True
        answer = self.begin(driver.LEAVE, [])
        problem: HostError | None = None
        try:
            found = answer.result(LEFT_AFTER_LOSS_S if self._lost else LEFT_WITHIN_S)
            error = driver.error_of(found) if found.failed else None
            problem = error if isinstance(error, HostError) else None
        except (TimeoutError, BrokenChannel):
            pass  # the guards clean up as soon as it has ended
        finally:
            self._end()
        return problem

    def _end(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(EXITED_WITHIN_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(EXITED_WITHIN_S)
        self._reader.join(EXITED_WITHIN_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


class DriverTransport:
    """Calls the methods of one actor through the driver."""

    def __init__(self, link: Link, role: HostRole, machine: Machine) -> None:
        self.host, self.address = machine.name, machine.address
        self.load_address = machine.load_address or machine.address
        self._link, self._role = link, role

    def begin(self, method: Callable[Concatenate[Any, P], R], *arguments: P.args, **named: P.kwargs) -> Pending[R]:
        """Start a call."""
        assert not named, "arguments go by position"
        passed = [str(self._role), self.host, method.__name__, list(arguments)]
        return DriverCall(self.host, method.__name__, self._link.begin(driver.CALL, passed), self._link)


class DrivenFleet:
    """The Ray nodes of a run, Volley's own or those of a cluster, behind a driver process."""

    def __init__(
        self,
        claim: Claim,
        inventory: Inventory | None,
        folder: Path,
        machines: list[Machine],
        placements: list[Placement],
        others: list[str],
    ) -> None:
        """inventory: None for this machine alone; folder: that of the inventory. machines: those that are used.

        others: hosts that are in no placement, for commands only.
        """
        self._order = DriverOrder(claim, _absolute(folder), _cwd(), machines, placements, others)
        self._inventory = inventory
        self._roles = Roles.of(placements, others)
        self._link: Link | None = None
        self._machines: dict[str, Machine] = {}
        self.hosts = self._roles.hosts
        self.actors = Actors()
        self.accepted_keys: list[str] = []

    def up(self, notify: Notify) -> None:
        """Start the driver, and have it bring the hosts up. Raises HostError, HostLost, Several, Shortage."""
        # The clocks have connections to every host.
        raise_open_files()
        self._link = link = Link()
        # Only what was set: a default that is written out would count as set.
        inventory = None if self._inventory is None else self._inventory.model_dump(mode="json", exclude_unset=True)
        up = from_plain(FleetUp, link.ask(driver.UP, [to_plain(self._order), inventory], notify))
        self._machines = {machine.name: machine for machine in up.machines}
        self.accepted_keys = up.accepted_keys
        self.actors = self._handles(link)
        self.actors.describe()

    def _handles(self, link: Link) -> Actors:
        def to(role: HostRole, host: str) -> DriverTransport:
            return DriverTransport(link, role, self._machines[host])

        roles = self._roles
        return Actors(
            None if roles.server is None else RemoteServer(to(HostRole.SERVER, roles.server)),
            {host: RemoteLoad(to(HostRole.LOAD, host)) for host in roles.loads},
            {host: RemoteServices(to(HostRole.SERVICE, host)) for host in roles.services},
            {host: RemoteCommand(to(HostRole.COMMAND, host)) for host in roles.others},
        )

    @contextmanager
    def reserve(self, placement: Placement) -> Iterator[Placed]:
        """Yield the actors of a trial on hosts that are held for the whole run. Raises HostLost, Shortage."""
        assert self._link is not None
        self._link.ask(driver.RESERVE, [to_plain(placement)])
        yield self.actors.placed(placement, self._machines)

    def __enter__(self) -> DrivenFleet:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        link, self._link = self._link, None
        if link is None:
            return
        problem = link.leave()
        self._wait_for_guards()
        # The error that ended the run matters more; a lost host cannot be cleaned up from here.
        if problem is not None and error is None:
            raise problem

    def _wait_for_guards(self) -> None:
        """Wait for the guards of this machine, which clean up by themselves where the driver died."""
        deadline = time.monotonic() + CLEANED_WITHIN_S
        with contextlib.suppress(LeaseError):
            while time.monotonic() < deadline and any(
                seen.live and self._order.claim.mark in seen.holder.marks for seen in lease.leases()
            ):
                time.sleep(0.05)


def _cwd() -> str:
    """Return the folder that this process works in; empty where it was removed."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def _absolute(folder: Path) -> str:
    return str(folder if folder.is_absolute() or not (here := _cwd()) else Path(here) / folder)
