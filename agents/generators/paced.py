"""paced, a generator for HTTP/1.1 that keeps its schedule: python -m agents.generators.paced.

It follows the generator contract (contract.py) over its standard input and output, and can do both models.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import uvloop

from agents.clock import wall_minus_monotonic_ns
from agents.generators.contract import (
    READY,
    BadMessage,
    GeneratorTask,
    Model,
    Protocol,
    format_summary,
    parse_go,
    parse_task,
)
from agents.generators.paced_closed import ClosedLoop
from agents.generators.paced_load import Load
from agents.generators.paced_open import OpenLoop
from agents.generators.request import BadRequest, common_origin, prepare
from agents.generators.rowlog import RowLog
from agents.generators.template import Rows

READ_BYTES = 1 << 16
# Descriptors that are not connections: standard ones, log, timer, event loop, connections that are being closed.
OTHER_FILES = 64


class Unable(RuntimeError):
    """The task cannot be done. The message is one sentence for the user."""


@dataclass(slots=True)
class Input:
    """Lines from a file descriptor. ended: there will be no more."""

    fd: int
    ended: bool = False
    _rest: bytearray = field(default_factory=bytearray)

    def receive(self) -> None:
        """Read once; blocks when there is nothing."""
        data = os.read(self.fd, READ_BYTES)
        self._rest += data
        self.ended = not data

    def line(self) -> bytes | None:
        """Return the next complete line, None when there is none yet."""
        line, separator, rest = self._rest.partition(b"\n")
        if not separator:
            return None
        self._rest = rest
        return bytes(line)

    def wait_for_line(self) -> bytes | None:
        """Return the next line, None when the input ends before."""
        while (line := self.line()) is None and not self.ended:
            self.receive()
        return line


class Session:
    """One load, and who may start or stop it: the input and signals."""

    def __init__(self, load: Load, commands: Input) -> None:
        self._load, self._commands = load, commands
        self.error: Exception | None = None

    def listen(self) -> None:
        """Obey the input and signals from now on."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_error)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._load.stop)
        loop.add_reader(self._commands.fd, self._on_input)
        self._obey()

    def _on_input(self) -> None:
        self._commands.receive()
        self._obey()

    def _obey(self) -> None:
        line = self._commands.line()
        if line is not None and not self._load.begun:
            self._load.begin(parse_go(line.decode(errors="replace")), wall_minus_monotonic_ns())
        if self._commands.ended:
            asyncio.get_running_loop().remove_reader(self._commands.fd)
            self._load.stop()

    def _on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """End the load: an error that is not about one connection makes its rows worthless."""
        error = context.get("exception")
        self.error = error if isinstance(error, Exception) else RuntimeError(str(context.get("message")))
        self._load.ended.set()


def make_load(task: GeneratorTask) -> Load:
    """Return the load of a task. Raise Unable, BadRequest or OSError when it cannot be done."""
    if task.protocol is not Protocol.HTTP1:
        raise Unable("this generator speaks HTTP/1.1 only: use h2load for HTTP/2")
    allow_files(task.clients + OTHER_FILES)
    origin = common_origin(task.requests)
    rows = None if task.data is None else Rows(task.data, task.seed)
    requests = [prepare(request, rows) for request in task.requests]
    kind = OpenLoop if task.model is Model.OPEN else ClosedLoop
    return kind(task, origin, requests, RowLog(task.log, task.columns), rows)


def allow_files(needed: int) -> None:
    """Raise the limit of open files. Raise Unable when the system does not allow enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed > hard:
        raise Unable(f"{needed} open files are needed and {hard} allowed: use fewer clients, or raise 'ulimit -Hn'")
    if needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def carry_out(task: GeneratorTask, commands: Input, make: Callable[[GeneratorTask], Load]) -> str | None:
    """Do a task; return its summary, None when the input ended before `go`."""
    load = make(task)
    try:
        await load.prepare()
    except OSError as error:
        raise Unable(f"'{load.origin.host}' cannot be resolved: {error.strerror}") from None
    # Nothing made from now on forms a cycle, and a collection would hold up the schedule.
    gc.collect()
    gc.freeze()
    gc.disable()
    say(READY)
    session = Session(load, commands)
    session.listen()
    await load.ended.wait()
    if session.error is not None:
        raise session.error
    return format_summary(load.summary()) if load.begun else None


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(name: str = "paced", make: Callable[[GeneratorTask], Load] = make_load) -> int:
    """Do the task on standard input; return the exit status. name: of the generator, for messages. make: its loads."""
    commands = Input(sys.stdin.fileno())
    try:
        line = commands.wait_for_line()
        if line is None:
            return 0
        summary = uvloop.run(carry_out(parse_task(line), commands, make))
        if summary is not None:
            say(summary)
    except BrokenPipeError:
        return 1  # Volley has closed its end
    except (Unable, BadMessage, BadRequest) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{name}: {error.strerror}: {error.filename or 'the request log'}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
