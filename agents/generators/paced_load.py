"""What the open and the closed loop of the generator paced have in common: connections, counts, rows, timeouts, the end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from time import monotonic_ns
from typing import NamedTuple

from agents.generators import due
from agents.generators.body import Sample
from agents.generators.contract import Failure, GeneratorSummary, GeneratorTask
from agents.generators.paced_connection import Connection
from agents.generators.paced_pool import Pool, Way, addresses
from agents.generators.request import Origin, Prepared
from agents.generators.rowlog import RowLog
from agents.generators.template import Rows
from agents.generators.timer import Timer

NEVER_NS = 1 << 62
# How often rows are written, old attempts to connect are given up and spare connections are opened again.
TICK_S = 0.2
TRY_ADDRESS_S = 2.0
PREPARE_S = 2.0
SHORTEST_TIMER_S = 0.001


class Retry(NamedTuple):
    """A request that was sent at start_ns, and that another connection has to send again. number: in the mix."""

    start_ns: int
    due_ns: int
    number: int
    request: Prepared


class Load(ABC):
    """One load. prepare(), then begin() at the latest at T0; `ended` is set when every row has been written.

    busy: by request of the mix, the connections with a request under way, in the order of sending; requests with the same
    timeout share one. retries: requests that wait for a fresh connection to be sent again. to_finish: requests that are
    missing until the load ends, negative when only time ends it.
    """

    __slots__ = (
        "_choose",
        "_loop",
        "_requests",
        "_sample",
        "_timeouts_ns",
        "_timer",
        "_under_way",
        "begun",
        "busy",
        "bytes_body",
        "done",
        "end_ns",
        "ended",
        "failures",
        "log",
        "origin",
        "pool",
        "retried",
        "retries",
        "rows",
        "sent",
        "stopped",
        "t0_ns",
        "task",
        "to_finish",
        "waited_for_slot",
    )

    def __init__(
        self, task: GeneratorTask, origin: Origin, requests: list[Prepared], log: RowLog, rows: Rows | None = None
    ) -> None:
        self.rows = rows
        self.task, self.origin, self._requests, self.log = task, origin, requests, log
        self._loop = asyncio.get_running_loop()
        self._choose = due.mix([request.weight for request in task.requests], task.seed)
        self._timer = Timer()
        self._timeouts_ns = [
            NEVER_NS if limit is None else limit * 1000
            for limit in (request.timeout_us or task.timeout_us for request in task.requests)
        ]
        self._sample = Sample(task.requests)
        self.pool = self.make_pool()
        # Apart by timeout, so that the first of each is the next that can time out.
        self._under_way: dict[int, dict[Connection, None]] = {limit: {} for limit in self._timeouts_ns}
        self.busy = [self._under_way[limit] for limit in self._timeouts_ns]
        self.retries: deque[Retry] = deque()
        self.failures = dict.fromkeys(Failure, 0)
        self.done = self.sent = self.retried = self.bytes_body = self.waited_for_slot = 0
        self.to_finish = -1 if task.count is None else task.count
        self.t0_ns = self.end_ns = NEVER_NS
        self.begun = self.stopped = False
        self.ended = asyncio.Event()

    def make_pool(self) -> Pool:
        """Return what opens the connections."""
        return Pool(self.way(), self.slots(), self, self.connect_failed)

    def way(self) -> Way:
        """Return how the server is reached."""
        return Way(self.origin, self.task.verify, self.task.tls, self.task.socket, self.task.addresses)

    @abstractmethod
    def slots(self) -> int:
        """Return the most connections that this load uses at once."""

    @abstractmethod
    def fill(self) -> None:
        """Open the connections that are missing."""

    @abstractmethod
    def take(self, connection: Connection) -> None:
        """Use a fresh connection."""

    @abstractmethod
    def reuse(self, connection: Connection) -> None:
        """Use a connection whose answer is complete."""

    @abstractmethod
    def refused(self, connection: Connection) -> None:
        """Account for a connection that could not be opened."""

    @abstractmethod
    def first_ns(self) -> int:
        """Return when the timer has to fire first."""

    @abstractmethod
    def on_timer(self) -> None:
        """Send what is due."""

    @abstractmethod
    def never_sent(self, now_ns: int) -> None:
        """Write a row for each request that was due and never sent."""

    @abstractmethod
    def planned(self) -> int | None:
        """Return how many requests were due or asked for."""

    async def prepare(self) -> None:
        """Resolve the host and open the first connections. Raise OSError when its name cannot be resolved.

        The first address that accepts a connection is used. A server that accepts none is not an error here: its requests
        will be refused, each with a row.
        """
        found = await addresses(self.pool.way)
        for address in found:
            self.pool.address = address
            self.pool.start()
            await asyncio.wait(list(self.pool.connecting.values()), timeout=TRY_ADDRESS_S)
            if self.pool.open:
                break
            self.pool.cancel()
        else:
            self.pool.address = found[0]
        self.fill()
        until_ns = monotonic_ns() + int(PREPARE_S * 1e9)
        while self.pool.connecting and (left_ns := until_ns - monotonic_ns()) > 0:
            await asyncio.wait(
                list(self.pool.connecting.values()), timeout=left_ns / 1e9, return_when=asyncio.FIRST_COMPLETED
            )
        self._tick()

    def begin(self, t0_wall_ns: int, wall_minus_monotonic_ns: int) -> None:
        """Arrange for the first request at T0."""
        self.log.wall_ns = wall_minus_monotonic_ns
        self.t0_ns = t0_wall_ns - wall_minus_monotonic_ns
        if self.task.duration_us is not None:
            self.end_ns = self.t0_ns + self.task.duration_us * 1000
        self.begun = True
        self._loop.add_reader(self._timer.fd, self.on_timer)
        self._timer.arm(self.first_ns())
        if min(self._timeouts_ns) < NEVER_NS:
            self._expire()

    def choose(self) -> int:
        """Return the index of the next request of the mix."""
        return self._choose() if self._choose else 0

    def send(self, connection: Connection, due_ns: int, index: int) -> None:
        """Send a request for the first time."""
        self.busy[index][connection] = None
        self.sent += 1
        request = self._requests[index]
        connection.send(request if request.fill is None else request.for_next_row(), index, due_ns)
        if self._sample.wants(index, connection.start_ns):
            connection.kept = bytearray()

    def made(self, connection: Connection) -> None:
        """Use a connection that has just been opened: first for what was sent before and has to be sent again."""
        if not self.pool.opened(connection):
            connection.close()
        elif self.retries:
            start_ns, due_ns, index, request = self.retries.popleft()
            self.busy[index][connection] = None
            connection.send_again(request, index, due_ns, start_ns)
        else:
            self.take(connection)

    def answered(self, connection: Connection) -> None:
        """Write the row of an answer, after the connection has been used for what comes next."""
        due_ns, start_ns, index = connection.due_ns, connection.start_ns, connection.index
        status, service_ns = connection.status, connection.end_ns - start_ns
        first_byte_ns, received, kept = connection.first_byte_ns, connection.body_bytes, connection.kept
        connection.start_ns = 0
        del self.busy[index][connection]
        if not connection.served:
            connection.served = True
            self.pool.proved()
        if connection.keep and not connection.request.closes:
            self.reuse(connection)
        else:
            self.pool.drop(connection)
            self.fill()
        self.done += 1
        self.log.add(due_ns, start_ns, status, service_ns, index, first_byte_ns, received)
        if kept is not None:
            self._sample.compare(index, status, kept, received)
        self._count_down()

    def failed(self, connection: Connection, failure: Failure) -> None:
        """Write the row of a failure, and replace the connection."""
        due_ns, start_ns, index = connection.due_ns, connection.start_ns, connection.index
        first_byte_ns, received = connection.first_byte_ns, connection.body_bytes
        del self.busy[index][connection]
        self.pool.drop(connection)
        self.fail(failure, due_ns, start_ns, monotonic_ns() - start_ns, index, first_byte_ns, received)
        self.fill()

    def fail(
        self,
        failure: Failure,
        due_ns: int,
        start_ns: int,
        age_ns: int,
        index: int,
        first_byte_ns: int = -1,
        received: int = 0,
    ) -> None:
        """Count a failure and write its row."""
        self.failures[failure] += 1
        self.log.add(due_ns, start_ns, failure, age_ns, index, first_byte_ns, received)
        self._count_down()

    def _count_down(self) -> None:
        self.to_finish -= 1
        if self.to_finish == 0:
            self.stop()

    def unanswered_close(self, connection: Connection) -> None:
        """Send a request again once, when the server closed a kept-alive connection as it was being used."""
        if not connection.served or connection.retried or not connection.request.idempotent:
            self.failed(connection, Failure.RESET)
            return
        self.retries.append(Retry(connection.start_ns, connection.due_ns, connection.index, connection.request))
        self.retried += 1
        del self.busy[connection.index][connection]
        self.pool.drop(connection)
        self.fill()

    def lost(self, connection: Connection) -> None:
        """Replace a connection that ended while it was idle."""
        self.pool.drop(connection)
        self.fill()

    def connect_failed(self, connection: Connection) -> None:
        """Account for an attempt to connect that failed: what waits longest for a connection fails with it."""
        if self.stopped or not self.begun:
            return
        if self.retries:
            start_ns, due_ns, index, _ = self.retries.popleft()
            self.fail(Failure.RESET, due_ns, start_ns, monotonic_ns() - start_ns, index)
        else:
            self.refused(connection)
        if not self.stopped:
            self.fill()

    def _tick(self) -> None:
        if self.stopped:
            return
        self.log.flush()
        self.pool.give_up_old(monotonic_ns())
        self.fill()
        self._loop.call_later(TICK_S, self._tick)

    def _expire(self) -> None:
        """End the requests that are older than their timeout, and wait for the next one that could be."""
        if self.stopped:
            return
        now_ns = monotonic_ns()
        delay_s = (self.expire(now_ns) - now_ns) / 1e9
        self._loop.call_later(max(delay_s, SHORTEST_TIMER_S), self._expire)

    def expire(self, now_ns: int) -> int:
        """Fail what was sent too long ago. Return when the next request could time out, one sent from now on included."""
        next_ns = now_ns + min(self._timeouts_ns)
        for timeout_ns, connections in self._under_way.items():
            while connections and (oldest := next(iter(connections))).start_ns + timeout_ns <= now_ns:
                self.failed(oldest, Failure.TIMEOUT)
            if connections:
                next_ns = min(next_ns, next(iter(connections)).start_ns + timeout_ns)
        for retry in [each for each in self.retries if each.start_ns + self._timeouts_ns[each.number] <= now_ns]:
            self.retries.remove(retry)
            self.fail(Failure.TIMEOUT, retry.due_ns, retry.start_ns, now_ns - retry.start_ns, retry.number)
        return min([next_ns, *(retry.start_ns + self._timeouts_ns[retry.number] for retry in self.retries)])

    def stop(self) -> None:
        """Stop sending and write the rows of what is outstanding, at its age."""
        if self.stopped:
            return
        self.stopped = True
        self._timer.disarm()
        now_ns = monotonic_ns()
        for start_ns, due_ns, index, _ in self.retries:
            self.fail(Failure.UNANSWERED, due_ns, start_ns, now_ns - start_ns, index)
        for connection in [each for connections in self._under_way.values() for each in connections]:
            start_ns, first_byte_ns, received = connection.start_ns, connection.first_byte_ns, connection.body_bytes
            age_ns, index = now_ns - start_ns, connection.index
            self.fail(Failure.UNANSWERED, connection.due_ns, start_ns, age_ns, index, first_byte_ns, received)
            connection.close()
        self.retries.clear()
        for connections in self._under_way.values():
            connections.clear()
        if self.begun:
            self.never_sent(now_ns)
        self.pool.cancel()
        self.log.close()
        self.ended.set()

    def summary(self) -> GeneratorSummary:
        """Return what this load did."""
        return GeneratorSummary(
            planned=self.planned(),
            sent=self.sent,
            done=self.done,
            failed=self.failures,
            waited_for_slot=self.waited_for_slot,
            connects=self.pool.connects,
            most_connections=self.pool.most,
            retried=self.retried,
            bytes_body=self.bytes_body,
            rows_taken=None if self.rows is None else self.rows.taken,
            checked=self._sample.checked if self._sample.compares else None,
            unexpected=self._sample.unexpected,
            examples=self._sample.examples,
        )
