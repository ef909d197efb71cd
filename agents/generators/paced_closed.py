"""The closed loop of the generator paced: each connection sends its next request when the one before has ended."""

from __future__ import annotations

from time import monotonic_ns

from agents.generators.contract import Failure, GeneratorTask
from agents.generators.paced_connection import Connection
from agents.generators.paced_load import Load
from agents.generators.request import Origin, Prepared
from agents.generators.rowlog import RowLog
from agents.generators.template import Rows

# How long a slot rests after a connection could not be opened: it must not spin.
REST_S = 0.1
# A connection that takes longer to open when the load ends is a slot that hung: it gets a row.
HUNG_NS = 1_000_000_000


class ClosedLoop(Load):
    """A closed loop. idle: open connections before T0. to_send: requests that may still be sent, negative for no limit."""

    __slots__ = ("_resting", "idle", "running", "to_send")

    def __init__(
        self, task: GeneratorTask, origin: Origin, requests: list[Prepared], log: RowLog, rows: Rows | None = None
    ) -> None:
        super().__init__(task, origin, requests, log, rows)
        self.to_send = -1 if task.count is None else task.count
        self.idle: list[Connection] = []
        self._resting = 0
        self.running = False

    def slots(self) -> int:
        """Return the number of connections."""
        return self.task.clients if self.task.count is None else min(self.task.clients, self.task.count)

    def planned(self) -> int | None:
        """Return how many requests were asked for."""
        return self.task.count

    def first_ns(self) -> int:
        """Return T0."""
        return self.t0_ns

    def on_timer(self) -> None:
        """Start every connection at T0, and stop at the end."""
        if monotonic_ns() >= self.end_ns:
            self.stop()
            return
        self._timer.arm(self.end_ns)
        self.running = True
        waiting, self.idle = self.idle, []
        for connection in waiting:
            self.reuse(connection)

    def take(self, connection: Connection) -> None:
        """Send the next request on a fresh connection, or keep it for T0."""
        self.reuse(connection)
        self.fill()

    def reuse(self, connection: Connection) -> None:
        """Send the next request, if there is one."""
        if self.to_send == 0 or not self.running:
            self.idle.append(connection)
            return
        self.to_send -= 1
        self.send(connection, 0, self.choose())

    def lost(self, connection: Connection) -> None:
        """Forget a connection that ended before T0, or after the last request."""
        self.idle.remove(connection)
        super().lost(connection)

    def refused(self, connection: Connection) -> None:
        """Write the row of a request that could not be sent."""
        self._resting += 1
        self._loop.call_later(REST_S, self._rested)
        if self.running and self.to_send != 0:
            self.to_send -= 1
            self._fail_unsent(Failure.REFUSED, connection, monotonic_ns())

    def _rested(self) -> None:
        self._resting -= 1
        if not self.stopped:
            self.fill()

    def fill(self) -> None:
        """Open a connection for each slot that has none."""
        if self.to_send == 0 and not self.retries:
            return
        if not self.running and self.pool.blocked_until_ns > monotonic_ns():
            return
        for _ in range(self.pool.room(self._resting)):
            self.pool.start()

    def never_sent(self, now_ns: int) -> None:
        """Write a row for each slot that hung while connecting."""
        for connection in self.pool.connecting:
            if now_ns - max(connection.began_ns, self.t0_ns) >= HUNG_NS and self.to_send != 0:
                self.to_send -= 1
                self._fail_unsent(Failure.UNSENT, connection, now_ns)

    def _fail_unsent(self, failure: Failure, connection: Connection, now_ns: int) -> None:
        """Write the row of a request whose connection did not open. It starts when the slot began to connect, or at T0."""
        start_ns = max(connection.began_ns, self.t0_ns)
        self.fail(failure, 0, start_ns, now_ns - start_ns, self.choose())
