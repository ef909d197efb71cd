"""The guard of one host: it stops everything of a run there when the coordinator goes away, however it goes.

    python -m agents.guard                       guard a run, ordered on standard input
    python -m agents.guard --clean [--force] [RUN]    remove what dead runs have left on this host

The first line of standard input is an Order as JSON (agents/orders.py); the coordinator then keeps standard input open
(a pipe on this machine, an SSH channel elsewhere) and writes a line at least every lease_s seconds. Input that ends
(orderly exit, kill -9) or falls silent (cut cable, closed laptop) means that the coordinator is gone. The guard then
stops every process that has VOLLEY_RUN=<run> in its environment, and removes the containers labelled
volley.run=<run> and the folders that the run's lease lists (agents/lease.py). Later lines are Requests. Events go to
standard output, one GuardEvent as a JSON object per line.

A guard that is killed has a standby (agents/standby.py), which does the same in its place. A guard with an inherited
lease has none: the coordinator that holds the lease as well starts another guard.

Standard library only: the guard must work when nothing else of Volley does.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from agents import lease
from agents.lease import Holder, Kind, Lease, LeaseError, State
from agents.node import CHUNK_BYTES, Node
from agents.orders import Busy, GuardEvent, GuardEventKind, Order, Removed, Request, RequestKind, emit
from agents.standby import Standby
from agents.sweep import busy_of, clean, clean_host, sweep

# How often a guard in the queue for its host looks whose turn it is.
QUEUE_S = 0.2


class Guard:
    """One run, or one fleet, on this host: its lease, its node, and the runs that use the node."""

    def __init__(self, order: Order) -> None:
        """Make the lease, or take over the one that was inherited. Raises LeaseError."""
        self._order = order
        self._node = Node(order)
        self._lease = _lease_of(order)
        self._runs: dict[str, Lease] = {}
        self._taken = not order.alone or order.descriptor >= 0
        self._standby: Standby | None = None
        # What was last reported about the host; None before the first report.
        self._reported: Busy | str | None = None

    def begin(self) -> None:
        """Start the node, unless the host has to be taken first."""
        if self._taken:
            self._start()

    def _start(self, python_path: str = "") -> None:
        # What dead runs have left could be in the way: their containers hold ports.
        sweep()
        if self._order.descriptor < 0:
            self._standby = Standby(self._lease, self._order.containers)
        self._node.start(python_path)
        emit(GuardEvent(GuardEventKind.STARTED, folder=str(self._node.folder or "")))

    @property
    def wakes_after_s(self) -> float | None:
        """How soon watch() is to be called again although nothing has happened; None for never."""
        return None if self._taken else QUEUE_S

    @property
    def output(self) -> list[IO[bytes]]:
        """What has news of the node when it is readable."""
        return self._node.output

    def watch(self) -> None:
        """Report what is new: of the node, and of the queue for the host."""
        for event in self._node.events():
            emit(event)
        if self._standby is not None:
            self._standby.ensure()
        if not self._taken:
            self._report(self._lease.blockers())

    def _report(self, blockers: list[Holder], always: bool = False) -> None:
        busy = busy_of(blockers) if blockers else None
        # Its age changes all the time.
        now = "free" if busy is None else f"{busy.owner} {busy.run} {busy.ending} {busy.before}"
        if always or now != self._reported:
            self._reported = now
            emit(GuardEvent(GuardEventKind.BUSY, busy=busy) if busy else GuardEvent(GuardEventKind.FREE))

    def carry_out(self, request: Request) -> None:
        """Do what the coordinator asks for."""
        if request.request is RequestKind.TAKE:
            blockers = self._lease.take()
            self._taken = not blockers
            if blockers:
                self._report(blockers, always=True)
            else:
                emit(GuardEvent(GuardEventKind.TAKEN))
        elif request.request is RequestKind.YIELD:
            self._lease.become(State.WAITING)
            self._taken, self._reported = False, None
        elif request.request is RequestKind.START:
            self._start(request.python_path)
        elif request.request is RequestKind.BEGIN:
            holder = Holder(owner=request.owner, run=request.name, marks=[request.run])
            self._runs[request.run] = lease.create(holder)
            emit(GuardEvent(GuardEventKind.RUN_BEGUN, run=request.run))
        else:
            self._end(request.run)

    def _end(self, run: str) -> None:
        held = self._runs.pop(run, None)
        removed = self._clean(held) if held is not None else Removed()
        emit(GuardEvent(GuardEventKind.RUN_ENDED, run=run, removed=removed))

    def _clean(self, held: Lease) -> Removed:
        removed, trouble = clean(held, self._order.containers)
        if trouble:
            emit(GuardEvent(GuardEventKind.TROUBLE, detail=trouble))
        return removed

    def heard(self) -> None:
        """Note that the coordinator lives."""
        self._lease.renew()

    def remove(self) -> None:
        """Stop and remove everything of the runs, of the node and of the guard."""
        removed = Removed()
        for held in [*self._runs.values(), self._lease]:
            removed += self._clean(held)
        self._node.remove()
        if self._standby is not None:
            self._standby.dismiss()
        emit(GuardEvent(GuardEventKind.CLEANED, run=self._order.run, removed=removed))


def _lease_of(order: Order) -> Lease:
    """Return the lease of an order. Raises LeaseError."""
    if order.descriptor >= 0:
        return Lease.adopt(Path(order.lease), order.descriptor)
    return lease.create(
        Holder(
            owner=order.owner,
            run=order.name or order.run,
            marks=[order.run, *order.marks],
            kind=Kind.FLEET if order.fleet else Kind.RUN,
            state=State.WAITING if order.alone else State.HELD,
            alone=order.alone,
            share=order.share,
            stamp_ns=order.stamp_ns,
        )
    )


def keep(guard: Guard, lease_s: float, pending: bytes) -> None:
    """Serve the coordinator until input has ended or was silent for lease_s. pending: input that came with the order."""
    os.set_blocking(0, False)
    # A node that exits is an event, too: its children may hold its output open.
    woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    heard = time.monotonic()
    while True:
        *lines, pending = pending.split(b"\n")
        for request in _requests(lines):
            guard.carry_out(request)
        # A node that exits is reported but not cleaned up: that follows when the coordinator closes
        # the input.
        guard.watch()
        left_s = max(0.0, heard + lease_s - time.monotonic()) if lease_s else None
        waits_s = min((s for s in (left_s, guard.wakes_after_s) if s is not None), default=None)
        waiting: list[int | IO[bytes]] = [0, woken, *guard.output]
        ready, _, _ = select.select(waiting, [], [], waits_s)
        if woken in ready:
            os.read(woken, CHUNK_BYTES)
        if 0 not in ready:
            if lease_s and time.monotonic() - heard > lease_s:
                return
            continue
        try:
            data = os.read(0, CHUNK_BYTES)
        except BlockingIOError:
            continue
        except OSError:
            return
        if not data:
            return
        heard = time.monotonic()
        guard.heard()
        pending += data


def _requests(lines: list[bytes]) -> Iterator[Request]:
    for line in lines:
        if line.strip():
            plain = json.loads(line)
            yield Request(**{**plain, "request": RequestKind(plain["request"])})


def read_order() -> tuple[Order, bytes]:
    """Return the order, from the first line of standard input, and the input that came with it."""
    data = b""
    while b"\n" not in data:
        more = os.read(0, CHUNK_BYTES)
        if not more:
            raise SystemExit("agents.guard: standard input ended before the order came")
        data += more
    line, _, rest = data.partition(b"\n")
    return Order(**json.loads(line)), rest


def main() -> int:
    """Guard a run until standard input ends, then clean up; or clean the host up."""
    # Signals to the coordinator's process group must not stop the guard, which cleans up after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.argv[1:2] == ["--clean"]:
        rest = sys.argv[2:]
        names = [word for word in rest if word != "--force"]
        emit(clean_host(names[0] if names else None, "--force" in rest))
        return 0
    order, pending = read_order()
    try:
        guard = Guard(order)
    except LeaseError as error:
        emit(GuardEvent(GuardEventKind.ENDED, status=-1, log=str(error)))
        return 1
    try:
        guard.begin()
        keep(guard, order.lease_s, pending)
    except OSError as error:
        emit(GuardEvent(GuardEventKind.ENDED, status=-1, log=str(error)))
    finally:
        guard.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
