"""The transport to a host that is a child process on this machine (agents/child.py), and the children of one run."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Concatenate, Generic, ParamSpec, TypeVar

import agents
from agents.channel import READY, Answer, BrokenChannel, Call, Channel
from agents.guard import RUN_VARIABLE
from agents.records import HostRole
from orchestrator.errors import HostError
from orchestrator.fleet.handles import CommandHandle, LoadHandle, Pending, ServerHandle
from orchestrator.fleet.hosts import HostLost, at_once, failed, gone, silent
from orchestrator.fleet.remote import RemoteCommand, RemoteLoad, RemoteServer

P = ParamSpec("P")
R = TypeVar("R")

STARTED_WITHIN_S = 20.0
# Longer than the child takes at most to end its calls (agents.child.ENDED_WITHIN_S) and to remove its container.
ENDED_WITHIN_S = 30.0
KILLED_WITHIN_S = 5.0
CLEANED_WITHIN_S = 60.0
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

    def __init__(self, role: HostRole, host: str, run: str, address: str, clock_port: int = 0) -> None:
        """Start the process and wait until it is ready. Raises HostError when it is not."""
        self.host, self.address = host, address
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
        self._process = _start([role, host, run, address, str(clock_port), str(Path.cwd())], run, self._errors)
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
        end = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, end - LAST_WORDS_BYTES))
        lines = self._errors.read().decode(errors="replace").split("\n")
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
        for file in (self._process.stdout, self._errors):
            assert file is not None
            file.close()
        return status == 0

    def _kill(self) -> int:
        """End the process and what it started in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait(KILLED_WITHIN_S)


class Children:
    """The hosts of one run that are child processes of this one. Leave it, and everything of the run is gone."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._children: list[Child] = []
        self._adding = threading.Lock()

    def load(self, host: str, address: str) -> LoadHandle:
        """Start a load host. Raises HostError."""
        return RemoteLoad(self._add(HostRole.LOAD, host, address))

    def server(self, host: str, address: str) -> ServerHandle:
        """Start a server host. Raises HostError."""
        return RemoteServer(self._add(HostRole.SERVER, host, address))

    def command(self, host: str, address: str) -> CommandHandle:
        """Start a host that only runs commands. Raises HostError."""
        return RemoteCommand(self._add(HostRole.COMMAND, host, address))

    def _add(self, role: HostRole, host: str, address: str) -> Child:
        child = Child(role, host, self._run, address)
        with self._adding:
            self._children.append(child)
        return child

    def close(self) -> None:
        """End all of them at once; what one that died has left behind is removed by the guard."""
        with self._adding:
            children, self._children = self._children, []
        if not all(at_once(lambda child: child.close(), children)):
            _clean(self._run)

    def __enter__(self) -> Children:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()


def _start(arguments: list[str], run: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "agents.child", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        # The variable marks what is the run's, for the guard.
        env={**os.environ, RUN_VARIABLE: run},
        # Python looks here first: our agents package is the one that is imported, whatever the user's folder has.
        cwd=_own_code(),
        # A session of its own: a Ctrl-C is for the coordinator, which then closes the pipe.
        start_new_session=True,
    )


def _clean(run: str) -> None:
    """End and remove everything of a run on this machine."""
    subprocess.run(
        [sys.executable, "-m", "agents.guard", "--clean", run],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=_own_code(),
        timeout=CLEANED_WITHIN_S,
        check=False,
    )


def _own_code() -> Path:
    """Return the folder that our agents package is in."""
    return Path(agents.__path__[0]).parent
