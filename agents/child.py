"""One host as a child process of the coordinator, on the same machine.

    python -m agents.child ROLE

ROLE is a HostRole. Calls come on standard input and are answered on standard output (agents/channel.py). The first
call has the number READY and the arguments host, run, address, clock port and the folder to work in. Its answer says
that the host is ready, or why it is not. A process can be started before these are known: it imports what it needs
and waits for them.

Calls are carried out one after the other, control calls beside them. The process ends when standard input does or at
SIGTERM; on both ways out everything that the host runs is ended and removed.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from agents.channel import READY, Answer, BrokenChannel, Call, Channel
from agents.records import HostRole
from agents.shells import CommandShell, LoadShell, ServerShell, ServiceShell, is_control, methods_of

SHELLS: dict[HostRole, type[CommandShell]] = {
    HostRole.LOAD: LoadShell,
    HostRole.SERVER: ServerShell,
    HostRole.SERVICE: ServiceShell,
    HostRole.COMMAND: CommandShell,
}
CONTROL_THREADS = 2
# How long a call that is aborted may take to end.
ENDED_WITHIN_S = 10.0
ABORT_EVERY_S = 0.1
Task = Callable[[], None]


class Lane:
    """Carries out tasks in the order they come, on a few threads."""

    def __init__(self, threads: int) -> None:
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._closed = False
        self._idle = threading.Condition()
        self._left = 0
        for _ in range(threads):
            threading.Thread(target=self._work, name="calls", daemon=True).start()

    def add(self, task: Task) -> None:
        """Carry out a task when those before it are done."""
        with self._idle:
            self._left += 1
        self._tasks.put(task)

    def close(self, abort: Task, within_s: float) -> bool:
        """Drop what has not begun, and abort what has until it ends; return whether it did within within_s."""
        self._closed = True
        deadline = time.monotonic() + within_s
        with self._idle:
            while self._left and time.monotonic() < deadline:
                # A call that has only just begun may have missed the first time.
                abort()
                self._idle.wait(ABORT_EVERY_S)
            return not self._left

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            if not self._closed:
                task()
            with self._idle:
                self._left -= 1
                self._idle.notify_all()


class Dispatcher:
    """Answers calls to one shell."""

    def __init__(self, shell: CommandShell, channel: Channel) -> None:
        self._channel = channel
        self._shell = shell
        # A table of the shell's own methods: nothing else of it can be reached from outside.
        self._methods = methods_of(type(shell))
        self._calls, self._control = Lane(1), Lane(CONTROL_THREADS)

    def serve(self) -> None:
        """Take calls until the other side closes the channel. Raises BrokenChannel when it ends inside a call."""
        while (call := self._channel.receive(Call)) is not None:
            method = self._methods[call.method]
            lane = self._control if is_control(method) else self._calls
            lane.add(partial(self._answer, call, method))

    def _answer(self, call: Call, method: Callable[..., Any]) -> None:
        try:
            answer = Answer(call.number, method(self._shell, *call.arguments))
        except Exception as error:
            answer = failure(call.number, error)
        with contextlib.suppress(BrokenChannel):
            self._channel.send(answer)

    def close(self) -> None:
        """End what is under way, then everything that the host runs."""
        self._calls.close(self._shell.abort, ENDED_WITHIN_S)
        self._shell.close()


def failure(number: int, error: Exception) -> Answer:
    """Return an exception as the answer to a call."""
    return Answer(number, failed=[kind.__name__ for kind in type(error).__mro__], text=str(error))


def private_channel() -> Channel:
    """Take standard input and output for calls alone: nothing that is printed or started here may touch them."""
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return Channel(reader, writer)


def _end(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + number)


def main() -> int:
    """Serve one host until standard input ends."""
    shell_class = SHELLS[HostRole(sys.argv[1])]
    channel = private_channel()
    # A Ctrl-C is for the coordinator, which then closes the channel.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    shell_class.prepare()
    try:
        if (start := channel.receive(Call)) is None:
            return 0
        host, run, address, clock_port, folder = start.arguments
        os.chdir(folder)
        shell = shell_class(host, run, address, clock_port)
    except Exception as error:
        with contextlib.suppress(BrokenChannel):
            channel.send(failure(READY, error))
        return 1
    dispatcher = Dispatcher(shell, channel)
    try:
        with contextlib.suppress(BrokenChannel):
            channel.send(Answer(READY))
            dispatcher.serve()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        dispatcher.close()
    return 0


if __name__ == "__main__":
    try:
        status = main()
    except SystemExit as end:
        status = int(end.code or 0)
    # A call that could not be aborted (a pull of an image) must not hold the process up.
    os._exit(status)
