"""A host's guard as the coordinator sees it: a pipe or an SSH channel that stays open while the run lives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from agents.orders import Busy, Cleaned, GuardEvent, GuardEventKind, Order, Request, RequestKind
from agents.records import from_plain, to_plain
from agents.sweep import clean_host
from orchestrator.errors import HostError
from orchestrator.fleet.provision import Prepared
from orchestrator.fleet.ssh import SshHost, last_line

# A guard first removes what dead runs have left, containers too.
STARTED_WITHIN_S = 60.0
CLEANED_WITHIN_S = 20.0
# A coordinator that is silent for this long counts as gone: a cut cable, a closed laptop.
LEASE_S = 8.0
HEARTBEATS_A_LEASE = 8
GUARD = "agents.guard"
# How often a host is asked whether the standby of a guard that was killed has cleaned up.
ASKED_EVERY_S = 0.2
# How long a host that was cut off is asked for, at the end of a run: the rest of a short interruption of the network.
BACK_WITHIN_S = 10.0
# Removes what a dead run has left on a host, by the run's mark. Raises OSError, HostError.
Clean = Callable[[str], Awaitable[Cleaned]]


class Input(Protocol):
    """A guard's standard input: asyncio's or asyncssh's stream."""

    def write(self, data: bytes) -> None:
        """Queue bytes to be sent."""

    def write_eof(self) -> None:
        """Close the input after what is queued."""


class Output(Protocol):
    """A guard's standard output: asyncio's or asyncssh's stream."""

    async def readline(self) -> bytes:
        """Return the next line; empty at the end."""


class Guard:
    """One guard. Its standard input is the run's lease on the host; its output reports what happens there."""

    def __init__(
        self, host: str, stdin: Input, stdout: Output, lease_s: float, close: Callable[[], None], clean: Clean
    ) -> None:
        """clean: asked on the host itself, where the guard was killed."""
        self.host = host
        self.folder = ""
        self._stdin, self._stdout, self._lease_s, self._close, self._clean = stdin, stdout, lease_s, close, clean
        self._run = ""
        # The last event of each kind; for RUN_ENDED, of each run.
        self._events: dict[tuple[GuardEventKind, str], GuardEvent] = {}
        self._changed = asyncio.Condition()
        self._gone = False
        # The last report about the host's queue.
        self._claim: GuardEvent | None = None
        self._tasks = [asyncio.create_task(self._listen())]

    async def begin(self, order: Order) -> None:
        """Send an order that need not wait for its host; return when the node's process runs. Raises HostError."""
        self._order(order)
        await self._started()

    def _order(self, order: Order) -> None:
        self._run = order.run
        self._stdin.write(json.dumps(to_plain(order)).encode() + b"\n")
        if self._lease_s:
            self._tasks.append(asyncio.create_task(self._beat()))

    async def _started(self) -> None:
        started = await self.event(GuardEventKind.STARTED, STARTED_WITHIN_S)
        if started is None:
            raise self._not_started()
        self.folder = started.folder

    def _not_started(self) -> HostError:
        reason = f": {self.ended.log}" if self.ended else ""
        return HostError(
            f"host {self.host}: the guard did not start{reason}",
            "check that 'python' in the inventory names the right interpreter there",
        )

    async def ask(self, order: Order) -> None:
        """Send an order for the host alone, and wait until its queue is known. Raises HostError."""
        self._order(order)
        if await self._claim_event(GuardEventKind.FREE, GuardEventKind.BUSY) is None:
            raise self._not_started()

    @property
    def busy(self) -> Busy | None:
        """Who has the host now; None when it is free."""
        return None if self._claim is None else self._claim.busy

    async def take(self) -> bool:
        """Take the host; return whether it was free. Raises HostError when the guard is gone."""
        self._claim = None
        self._request(Request(RequestKind.TAKE))
        answer = await self._claim_event(GuardEventKind.TAKEN, GuardEventKind.BUSY)
        if answer is None:
            raise self._not_started()
        return answer.event is GuardEventKind.TAKEN

    async def give_back(self) -> None:
        """Give the host back, and stay in the queue."""
        self._claim = None
        self._request(Request(RequestKind.YIELD))
        await self._claim_event(GuardEventKind.FREE, GuardEventKind.BUSY)

    def require(self) -> None:
        """Raise HostError when the guard is gone."""
        if self._gone or self.ended is not None:
            raise self._not_started()

    async def start(self, python_path: str = "") -> None:
        """Start the node on a host that was taken. python_path: where its packages are there. Raises HostError."""
        self._request(Request(RequestKind.START, python_path=python_path))
        await self._started()

    async def _claim_event(self, *kinds: GuardEventKind) -> GuardEvent | None:
        """Wait for a report about the queue; return it, None when it does not come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STARTED_WITHIN_S), self._changed:
                await self._changed.wait_for(
                    lambda: (
                        self._gone or self.ended is not None or (self._claim is not None and self._claim.event in kinds)
                    )
                )
        return self._claim if self._claim is not None and self._claim.event in kinds else None

    def _request(self, request: Request) -> None:
        with contextlib.suppress(OSError):
            self._stdin.write(json.dumps(to_plain(request)).encode() + b"\n")

    async def _listen(self) -> None:
        # The guard is gone however the channel ends; asyncssh reports a lost connection as its own
        # kind of error.
        with contextlib.suppress(Exception):
            while line := await self._stdout.readline():
                with contextlib.suppress(ValueError):
                    await self._note(from_plain(GuardEvent, json.loads(line)))
        async with self._changed:
            self._gone = True
            self._changed.notify_all()

    async def _note(self, event: GuardEvent) -> None:
        run = event.run if event.event in (GuardEventKind.RUN_BEGUN, GuardEventKind.RUN_ENDED) else ""
        async with self._changed:
            if event.event in (GuardEventKind.FREE, GuardEventKind.BUSY, GuardEventKind.TAKEN):
                self._claim = event
            self._events[event.event, run] = event
            self._changed.notify_all()

    async def _beat(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                await asyncio.sleep(self._lease_s / HEARTBEATS_A_LEASE)
                self._stdin.write(b"\n")

    async def event(self, kind: GuardEventKind, within_s: float, run: str = "") -> GuardEvent | None:
        """Wait for an event and return it; None when it does not come, or the guard or its node is gone first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(
                    lambda: (kind, run) in self._events or self._gone or self.ended is not None
                )
        return self._events.get((kind, run))

    @property
    def ended(self) -> GuardEvent | None:
        """The event of a node that has exited by itself."""
        return self._events.get((GuardEventKind.ENDED, ""))

    @property
    def gone(self) -> bool:
        """Whether the guard's output has ended."""
        return self._gone

    async def end_run(self, run: str) -> bool:
        """Have a run that used this node stopped and removed; return whether that was done in time."""
        deadline = time.monotonic() + CLEANED_WITHIN_S
        self._request(Request(RequestKind.END, run))
        if await self.event(GuardEventKind.RUN_ENDED, CLEANED_WITHIN_S, run) is not None:
            return True
        return self._gone and await self._cleaned_without_it(run, deadline)

    async def begin_run(self, run: str, name: str, owner: str) -> bool:
        """Begin a run on this node; return whether its lease is there. run: its mark."""
        self._request(Request(RequestKind.BEGIN, run, name, owner))
        return await self.event(GuardEventKind.RUN_BEGUN, STARTED_WITHIN_S, run) is not None

    async def close(self, ask: bool = True) -> bool:
        """Have the guard clean up and exit; return whether everything was removed within CLEANED_WITHIN_S.

        Where the guard was killed, its standby removes it. ask: whether the host is asked then, which may be out of reach.
        """
        deadline = time.monotonic() + CLEANED_WITHIN_S
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
        if (GuardEventKind.CLEANED, "") in self._events:
            return (GuardEventKind.TROUBLE, "") not in self._events
        return ask and self._gone and await self._cleaned_without_it(self._run, deadline)

    async def _cleaned_without_it(self, run: str, deadline: float) -> bool:
        """Return whether nothing of a run is left where the guard was killed, or was cut off. run: its mark.

        As long as the standby of the guard cleans up, the run's lease is live. A dead one is cleaned up here. A host that
        cannot be asked may be back in a moment.
        """
        reachable_until = min(deadline, time.monotonic() + BACK_WITHIN_S)
        with contextlib.suppress(OSError):  # also TimeoutError
            while True:
                silent = False
                async with asyncio.timeout(max(ASKED_EVERY_S, deadline - time.monotonic())):
                    try:
                        cleaned = await self._clean(run)
                    except HostError:
                        silent = True
                if not silent and not cleaned.left:
                    return not cleaned.trouble
                if time.monotonic() > (reachable_until if silent else deadline):
                    break
                await asyncio.sleep(ASKED_EVERY_S)
        return False


async def guard_here(host: str) -> Guard:
    """Start a guard on this machine. A pipe always ends with its writer, so no lease is needed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        GUARD,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(os.environ),
        # In its own session, because a Ctrl-C is for the coordinator, which then closes the pipe.
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    async def clean(run: str) -> Cleaned:
        return await asyncio.to_thread(clean_host, run, False)

    return Guard(host, process.stdin, process.stdout, 0.0, process.stdin.close, clean)


async def guard_there(host: SshHost, prepared: Prepared) -> Guard:
    """Start a guard on a host, over its connection. Raises HostError."""
    process = await host.start(prepared.shell(f"-m {GUARD}"))

    async def clean(run: str) -> Cleaned:
        if not host.is_connected:
            # It was lost with the connection of the guard.
            async with asyncio.timeout(BACK_WITHIN_S):
                await host.connect()
        return await clean_there(host, prepared, run)

    return Guard(host.name, process.stdin, process.stdout, LEASE_S, process.close, clean)


async def clean_there(
    host: SshHost, prepared: Prepared, run: str | None, force: bool = False, timeout_s: float = CLEANED_WITHIN_S
) -> Cleaned:
    """Remove what a dead run, or all of them, have left on a host; return how much. Raises HostError.

    run: its name or its mark, None for all. force: end live ones, too.
    """
    options = " --force" * force + (f" {shlex.quote(run)}" if run is not None else "")
    done = await host.run(prepared.shell(f"-m {GUARD} --clean{options}"), timeout_s=timeout_s)
    try:
        return from_plain(Cleaned, json.loads(done.out.splitlines()[-1]))
    except (ValueError, IndexError):
        raise HostError(
            f"host {host.name}: cleaning up failed: {last_line(done)[-120:]}",
            f"log in to {host.name} and check that '{host.python}' works there",
        ) from None
