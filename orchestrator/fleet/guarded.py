"""The guard of a host, seen from the coordinator: a pipe or an SSH channel that is held open while the run lives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import sys
from collections.abc import Callable
from typing import Any

from agents.guard import Order
from agents.records import to_plain
from orchestrator.errors import HostError
from orchestrator.fleet.ssh import SshHost

STARTED_WITHIN_S = 20.0
CLEANED_WITHIN_S = 20.0
# A coordinator that is silent for so long is gone: a cut cable, a closed laptop.
LEASE_S = 8.0
HEARTBEATS_A_LEASE = 8
GUARD = "agents.guard"


class Guard:
    """One guard: its standard input is the run's lease on the host, its output tells what happens there."""

    def __init__(self, host: str, stdin: Any, stdout: Any, lease_s: float, close: Callable[[], None]) -> None:
        self.host = host
        self.folder = ""
        self._stdin, self._stdout, self._lease_s, self._close = stdin, stdout, lease_s, close
        self._events: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Condition()
        self._gone = False
        self._tasks = [asyncio.create_task(self._listen())]

    async def begin(self, order: Order) -> None:
        """Give the order; come back when the node has been started. Raises HostError."""
        self._stdin.write(json.dumps(to_plain(order)).encode() + b"\n")
        if self._lease_s:
            self._tasks.append(asyncio.create_task(self._beat()))
        started = await self.event("started", STARTED_WITHIN_S)
        if started is None:
            raise HostError(
                f"host {self.host}: the guard did not start{self._last_words()}", "look whether 'python' is right there"
            )
        self.folder = str(started["folder"])

    def _last_words(self) -> str:
        ended = self._events.get("ended")
        return f": {ended['log']}" if ended else ""

    async def _listen(self) -> None:
        # However the channel ends (a lost connection is asyncssh's own kind of error), the guard is gone then.
        with contextlib.suppress(Exception):
            while line := await self._stdout.readline():
                with contextlib.suppress(json.JSONDecodeError):
                    event = json.loads(line)
                    await self._note(str(event.get("event")) + str(event.get("run", "")), event)
        await self._note("", {})

    async def _note(self, name: str, event: dict[str, Any]) -> None:
        async with self._changed:
            self._gone = self._gone or not name
            self._events[name] = event
            self._changed.notify_all()

    async def _beat(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                await asyncio.sleep(self._lease_s / HEARTBEATS_A_LEASE)
                self._stdin.write(b"\n")

    async def event(self, name: str, within_s: float) -> dict[str, Any] | None:
        """Wait for an event; None when it does not come, or the guard or the node is gone first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(lambda: name in self._events or self._gone or "ended" in self._events)
        return self._events.get(name)

    @property
    def ended(self) -> dict[str, Any] | None:
        """The event of a node that has ended by itself."""
        return self._events.get("ended")

    @property
    def gone(self) -> bool:
        """Say whether nothing is heard of the guard any more."""
        return self._gone

    async def end_run(self, run: str) -> bool:
        """Have a run that used this node ended and removed; say whether it was."""
        with contextlib.suppress(OSError):
            self._stdin.write(json.dumps({"end": run}).encode() + b"\n")
            return await self.event(f"run-ended{run}", CLEANED_WITHIN_S) is not None
        return False

    async def close(self) -> bool:
        """Let the guard clean up, and wait for it; say whether it did within CLEANED_WITHIN_S."""
        for task in self._tasks[1:]:
            task.cancel()
        with contextlib.suppress(OSError):
            self._stdin.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLEANED_WITHIN_S), self._changed:
                await self._changed.wait_for(lambda: self._gone)
        self._tasks[0].cancel()
        with contextlib.suppress(OSError):
            self._close()
        return "cleaned" in self._events


async def guard_here(host: str) -> Guard:
    """Start a guard on this machine. The end of the pipe is certain here, so there is no lease."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        GUARD,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(os.environ),
        # A session of its own: a Ctrl-C is for the coordinator, which then closes the pipe.
        start_new_session=True,
    )
    assert process.stdin is not None
    return Guard(host, process.stdin, process.stdout, 0.0, process.stdin.close)


async def guard_there(host: SshHost, python: str, path: str) -> Guard:
    """Start a guard on a host, over its connection. `path`: the PYTHONPATH with our code. Raises HostError."""
    import asyncssh

    command = f"cd / && PYTHONPATH={path} exec {shlex.quote(python)} -m {GUARD}"
    try:
        process = await host.connection.create_process(command, encoding=None, stderr=asyncssh.DEVNULL)
    except (OSError, asyncssh.Error) as error:
        raise host.lost(error) from None
    return Guard(host.name, process.stdin, process.stdout, LEASE_S, process.close)
