"""The transport to a host that is a child process on this machine (agents/child.py), and the children of one run."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from agents.channel import READY, Answer, BrokenChannel, Call, Channel
from agents.lease import Lease
from agents.records import HostRole
from orchestrator.errors import HostError
from orchestrator.fleet import claims, spawn
from orchestrator.fleet.guard_here import GuardHere
from orchestrator.fleet.handles import CommandHandle, LoadHandle, Pending, ServerHandle, ServiceHandle
from orchestrator.fleet.hosts import HostLost, at_once, failed, gone, silent
from orchestrator.fleet.remote import RemoteCommand, RemoteLoad, RemoteServer, RemoteServices

P = ParamSpec("P")
R = TypeVar("R")

STARTED_WITHIN_S = 20.0
# Longer than the child takes at most to end its calls (agents.child.ENDED_WITHIN_S) and to remove its container.
ENDED_WITHIN_S = 30.0
KILLED_WITHIN_S = 5.0
LAST_WORDS_BYTES = 2000


@dataclass(frozen=True, slots=True)
class ChildCall(Generic[R]):
    """A call to a child that was started."""

    host: str
    name: str
    answer: Future[Answer]

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
        if isinstance(self.answer.exception(), BrokenChannel):
            raise gone(self.host, self.name)
        answer = self.answer.result()
        if answer.failed:
            raise failed(self.host, self.name, answer.failed, answer.text)
        value: R = answer.value
        return value


class Child:
    """One host as a child process: a transport to it, and its end."""

    def __init__(
        self,
        role: HostRole,
        host: str,
        run: str,
        address: str,
        clock_port: int = 0,
        spawned: spawn.Spawned | None = None,
    ) -> None:
        """Start the process, or configure one that was spawned; wait until it is ready. Raises HostError when it is not."""
        self.host, self.address, self.load_address = host, address, address
        self._spawned = spawned or spawn.spawn(role, run)
        self._process = self._spawned.process
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._channel = Channel(self._process.stdout, self._process.stdin)
        self._numbers = itertools.count(1)
        ready: Future[Answer] = Future()
        self._waiting = {READY: ready}
        self._gone = False
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._listen, name=f"child-{host}", daemon=True)
        self._reader.start()
        try:
            with contextlib.suppress(BrokenChannel):  # it exited; _await_ready() says why
                self._channel.send(Call(READY, "start", [host, run, address, clock_port, str(Path.cwd())]))
            self._await_ready(ready)
        except BaseException:
            self.close()
            raise

    def _await_ready(self, ready: Future[Answer]) -> None:
        start: ChildCall[None] = ChildCall(self.host, "start", ready)
        try:
            start.result(STARTED_WITHIN_S)
        except HostLost as error:
            raise HostError(f"host {self.host}: its process did not start: {self._last_words()}") from error

    @property
    def pid(self) -> int:
        """The process id of the child."""
        return self._process.pid

    @property
    def gone(self) -> bool:
        """Whether the process has closed its output, as it does when it dies."""
        return self._gone

    def begin(self, method: Callable[Concatenate[Any, P], R], *arguments: P.args, **named: P.kwargs) -> Pending[R]:
        """Start a call; it fails with HostLost when the process is gone."""
        assert not named, "arguments go by position"
        answer: Future[Answer] = Future()
        number = next(self._numbers)
        with self._lock:
            if self._gone:
                answer.set_exception(BrokenChannel("the process is gone"))
            else:
                self._waiting[number] = answer
        try:
            self._channel.send(Call(number, method.__name__, list(arguments)))
        except BrokenChannel as error:
            self._fail(number, error)
        return ChildCall(self.host, method.__name__, answer)

    def _listen(self) -> None:
        """Hand each answer to the call that waits for it, until the process closes its output."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: the pipe was closed on this side
            while (answer := self._channel.receive(Answer)) is not None:
                with self._lock:
                    waiting = self._waiting.pop(answer.number)
                waiting.set_result(answer)
        with self._lock:
            self._gone = True
            left, self._waiting = self._waiting, {}
        for waiting in left.values():
            waiting.set_exception(BrokenChannel("the process is gone"))

    def _fail(self, number: int, error: BrokenChannel) -> None:
        with self._lock:
            answer = self._waiting.pop(number, None)
        if answer is not None:
            answer.set_exception(error)

    def _last_words(self) -> str:
        """Return the last line that the process wrote to standard error."""
        errors = self._spawned.errors
        end = errors.seek(0, os.SEEK_END)
        errors.seek(max(0, end - LAST_WORDS_BYTES))
        lines = errors.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it exited without an error message")

    def close(self) -> bool:
        """End the process by closing its input, and wait for it; return whether it cleaned up. Can be called twice."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # what was still to be sent has no reader
            self._process.stdin.close()
        try:
            status = self._process.wait(ENDED_WITHIN_S)
        except subprocess.TimeoutExpired:
            status = self._kill()
        self._reader.join(KILLED_WITHIN_S)
        spawn.close(self._spawned)
        return status == 0

    def _kill(self) -> int:
        """End the process and what it started in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait(KILLED_WITHIN_S)


class Children:
    """The hosts of one run that are child processes of this one. Leave it, and everything of the run is gone.

    A guard ends and removes it, too, when this process dies.
    """

    def __init__(self, run: str, containers: bool = True, lease: Lease | None = None) -> None:
        """Start the guard. containers: whether the run has any.

        lease: that of the run; without one, the run may be beside others. Raises HostError.
        """
        self._run = run
        # Why something could not be removed, once it was closed.
        self.trouble = ""
        self._children: list[Child] = []
        self._adding = threading.Lock()
        try:
            self._guard: GuardHere | None = GuardHere(run, containers, lease or claims.beside(run, [spawn.AHEAD]))
        except OSError as error:
            raise HostError(
                f"cannot start the guard of the run: {error}", "check this machine: volley doctor"
            ) from error

    def load(self, host: str, address: str) -> LoadHandle:
        """Start a load host. Raises HostError."""
        return RemoteLoad(self._add(HostRole.LOAD, host, address))

    def server(self, host: str, address: str) -> ServerHandle:
        """Start a server host. Raises HostError."""
        return RemoteServer(self._add(HostRole.SERVER, host, address))

    def services(self, host: str, address: str) -> ServiceHandle:
        """Start a host of services. Raises HostError."""
        return RemoteServices(self._add(HostRole.SERVICE, host, address))

    def command(self, host: str, address: str) -> CommandHandle:
        """Start a host that only runs commands. Raises HostError."""
        return RemoteCommand(self._add(HostRole.COMMAND, host, address))

    def _add(self, role: HostRole, host: str, address: str) -> Child:
        try:
            child = Child(role, host, self._run, address, spawned=spawn.take(role, self._run))
        except OSError as error:
            raise HostError(
                f"host {host}: cannot start its process: {error}", "check this machine: volley doctor"
            ) from error
        with self._adding:
            self._children.append(child)
        return child

    def lost(self) -> list[str]:
        """Return the hosts whose processes have died."""
        with self._adding:
            return [child.host for child in self._children if child.gone]

    def close(self) -> bool:
        """End all of them at once; the guard removes what is left. Return whether that was done in time."""
        with self._adding:
            children, self._children = self._children, []
        at_once(lambda child: child.close(), children)
        guard, self._guard = self._guard, None
        if guard is None:
            return True
        done = guard.close()
        self.trouble = guard.trouble
        return done

    def __enter__(self) -> Children:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()
