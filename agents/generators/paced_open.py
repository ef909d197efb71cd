"""The open loop of the generator paced: each request is sent when it is due, on any free connection."""

from __future__ import annotations

from collections import deque
from time import monotonic_ns

from agents.generators import due
from agents.generators.contract import Arrivals, Failure, GeneratorTask
from agents.generators.paced_connection import Connection
from agents.generators.paced_load import NEVER_NS, Load
from agents.generators.request import Origin, Prepared
from agents.generators.rowlog import RowLog
from agents.generators.template import Rows

# The timer fires this much before a request is due: about what the kernel needs to wake a process. Until the instant has
# come the timer stays readable, so that the loop comes back at once and reads answers meanwhile. Arming it for an instant
# that has passed would do the same with one more system call, which was measured at 16 us.
EARLY_NS = 30_000
MOST_WAITING = 100_000
FEWEST_SPARE = 4
# How often all requests that wait are searched for late ones, where their timeouts differ.
SEARCH_NS = 50_000_000
MOST_SPARE = 64


class OpenLoop(Load):
    """An open loop.

    free: open connections without a request; the one used last is at the right, those never used are at the left, the
    oldest of them nearest. waiting: (due_ns, index) of requests that found no free connection.
    """

    __slots__ = ("_filling", "_next_due_ns", "_offsets", "_planned", "_to_plan", "free", "spare", "waiting")

    def __init__(
        self, task: GeneratorTask, origin: Origin, requests: list[Prepared], log: RowLog, rows: Rows | None = None
    ) -> None:
        super().__init__(task, origin, requests, log, rows)
        rate = self._rate_per_s
        self._offsets = (
            due.even(rate, task.first_due_ns) if task.arrivals is Arrivals.EVEN else due.poisson(rate, task.seed)
        )
        self._to_plan = -1 if task.count is None else task.count
        self._next_due_ns = NEVER_NS
        self._planned = 0
        self._filling = False
        self.free: deque[Connection] = deque()
        self.waiting: deque[tuple[int, int]] = deque()
        self.spare = FEWEST_SPARE

    @property
    def _rate_per_s(self) -> float:
        assert self.task.rate_per_s is not None, "a task of an open loop has a rate"
        return self.task.rate_per_s

    def slots(self) -> int:
        """Return the most connections at once."""
        return self.task.clients

    def planned(self) -> int | None:
        """Return how many requests were due."""
        return self._planned

    def first_ns(self) -> int:
        """Return when the first request is due, a little early."""
        self._advance()
        return min(self._next_due_ns, self.end_ns) - EARLY_NS

    def _advance(self) -> None:
        """Go to the next due time; NEVER_NS behind the last."""
        due_ns = self.t0_ns + next(self._offsets)
        self._next_due_ns = due_ns if due_ns < self.end_ns and self._to_plan != 0 else NEVER_NS
        self._to_plan -= 1

    def on_timer(self) -> None:
        """Send what is due, and arm the timer for what comes next."""
        now_ns = monotonic_ns()
        if now_ns >= self.end_ns:
            self.stop()
            return
        free = self.free
        while self._next_due_ns <= now_ns:
            due_ns = self._next_due_ns
            self._planned += 1
            index = self.choose()
            if connection := self._free_one():
                self.send(connection, due_ns, index)
                now_ns = connection.start_ns
            else:
                self._wait(due_ns, index, now_ns)
            self._advance()
        fire_ns = min(self._next_due_ns - EARLY_NS, self.end_ns)
        if fire_ns > monotonic_ns():
            self._timer.arm(fire_ns)
        if len(free) < self.spare:
            self.fill()

    def _free_one(self) -> Connection | None:
        """Take the free connection that was used last; forget those that the server has closed."""
        while self.free:
            connection = self.free.pop()
            if not connection.ended_by_server():
                return connection
            self.pool.drop(connection)
        return None

    def _wait(self, due_ns: int, index: int, now_ns: int) -> None:
        """Queue a request; the oldest one is given up when the queue is full."""
        if self.pool.full:
            self.waited_for_slot += 1
        if len(self.waiting) >= MOST_WAITING:
            oldest_ns, oldest = self.waiting.popleft()
            self.fail(Failure.UNSENT, oldest_ns, 0, now_ns - oldest_ns, oldest)
        self.waiting.append((due_ns, index))

    def take(self, connection: Connection) -> None:
        """Send what waits on a fresh connection, or keep it as a spare one.

        Spare connections are used in the order in which they were opened, which is the order in which a server accepts
        them. A server whose workers each read from one connection until a request comes would wait for the wrong one.
        """
        if self.waiting:
            self.send(connection, *self.waiting.popleft())
        else:
            self.free.appendleft(connection)
        self.fill()

    def reuse(self, connection: Connection) -> None:
        """Send what waits, or keep the connection to be used next."""
        if self.waiting:
            self.send(connection, *self.waiting.popleft())
        else:
            self.free.append(connection)

    def lost(self, connection: Connection) -> None:
        """Forget a free connection that has ended."""
        self.free.remove(connection)
        super().lost(connection)

    def refused(self, connection: Connection) -> None:
        """Fail the request that waits longest, if there is one."""
        if self.waiting:
            due_ns, index = self.waiting.popleft()
            self.fail(Failure.REFUSED, due_ns, 0, monotonic_ns() - due_ns, index)

    def fill(self) -> None:
        """Open connections soon, when what has come in has been dealt with."""
        if not self._filling and not self.pool.full:
            self._filling = True
            self._loop.call_soon(self._fill)

    def _fill(self) -> None:
        """Open connections: one for each request that waits, and spare ones for those that come while connecting."""
        self._filling = False
        if self.stopped:
            return
        pool = self.pool
        missing = len(self.waiting) + len(self.retries) - len(pool.connecting)
        self.spare = min(FEWEST_SPARE + int(2 * self._rate_per_s * pool.connect_ns / 1e9), MOST_SPARE)
        if pool.blocked_until_ns <= monotonic_ns():
            missing += max(self.spare - len(self.free), 0)
        for _ in range(min(missing, pool.room())):
            pool.start()

    def expire(self, now_ns: int) -> int:
        """Give up what was sent, or has waited unsent, for too long."""
        limits = self._timeouts_ns
        if self.waiting and len(self._under_way) > 1:
            # Timeouts differ: the oldest request is not the first to time out.
            kept = deque(each for each in self.waiting if each[0] + limits[each[1]] > now_ns)
            late = [each for each in self.waiting if each[0] + limits[each[1]] <= now_ns]
            self.waiting = kept
        else:
            late = []
            while self.waiting and self.waiting[0][0] + limits[0] <= now_ns:
                late.append(self.waiting.popleft())
        for due_ns, index in late:
            self.fail(Failure.UNSENT, due_ns, 0, now_ns - due_ns, index)
        next_ns = super().expire(now_ns)
        if not self.waiting:
            return next_ns
        if len(self._under_way) > 1:
            return min(next_ns, now_ns + SEARCH_NS)
        return min(next_ns, self.waiting[0][0] + limits[0])

    def never_sent(self, now_ns: int) -> None:
        """Write rows for what waits, and for what is due and was not even looked at."""
        for due_ns, index in self.waiting:
            self.fail(Failure.UNSENT, due_ns, 0, now_ns - due_ns, index)
        while self._next_due_ns <= now_ns:
            self._planned += 1
            self.fail(Failure.UNSENT, self._next_due_ns, 0, now_ns - self._next_due_ns, self.choose())
            self._advance()
