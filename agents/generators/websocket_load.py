"""The loads of the generator websocket: the loops of paced, over connections that carry messages."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic_ns
from typing import cast

from agents.generators.body import Message, Sample
from agents.generators.contract import GeneratorSummary, GeneratorTask
from agents.generators.handshakes import MISSING, TOO_LATE, Handshakes
from agents.generators.paced_closed import ClosedLoop
from agents.generators.paced_connection import Connection
from agents.generators.paced_load import Load
from agents.generators.paced_open import OpenLoop
from agents.generators.paced_pool import CONNECT_WITHIN_NS, Pool
from agents.generators.request import Origin, Prepared
from agents.generators.rowlog import RowLog
from agents.generators.template import Rows
from agents.generators.websocket_connection import WebSocketConnection
from agents.generators.websocket_message import Handshake, handshake

# A handshake that is under way when the load ends has failed when it is older than this, and than four usual ones.
OVERDUE_NS = 200_000_000
OVERDUE_TIMES = 4


class WebSocketPool(Pool):
    """Opens connections with a handshake each. members: those that are open. over: the load is."""

    __slots__ = ("_handshake", "members", "over", "tally")
    over: bool
    _handshake: Handshake
    tally: Handshakes

    def prepare(self, task: GeneratorTask) -> WebSocketPool:
        """Prepare the handshake of a task. Raise BadRequest when it cannot be sent."""
        self._handshake, self.tally, self.over = handshake(task.requests), Handshakes(), False
        self.members: set[Connection] = set()
        return self

    def new_connection(self) -> Connection:
        """Return a connection that asks for a handshake."""
        return WebSocketConnection(self._owner, self._handshake, self.tally)

    async def agree(self, connection: Connection) -> None:
        """Wait for the response to the handshake. Raise OSError when the server refuses it."""
        fresh = cast(WebSocketConnection, connection)
        assert fresh.agreed is not None, "a connection that was just opened"
        try:
            await fresh.agreed
        except BaseException:
            fresh.abandon()
            raise
        finally:
            # Its exception refers to this frame, and would never be freed.
            fresh.agreed = None

    def opened(self, connection: Connection) -> bool:
        """Count a connection, and how long it took from connecting to the end of the handshake."""
        if not super().opened(connection):
            return False
        self.tally.count_connect(monotonic_ns() - connection.began_ns)
        self.members.add(connection)
        return True

    def drop(self, connection: Connection) -> None:
        """Close an open connection."""
        self.members.discard(connection)
        super().drop(connection)

    def give_up_old(self, now_ns: int) -> None:
        """Cancel the attempts that have taken too long, and note why they fail."""
        for connection in self.connecting:
            if now_ns - connection.began_ns < CONNECT_WITHIN_NS:
                break
            cast(WebSocketConnection, connection).refusal = TOO_LATE
        super().give_up_old(now_ns)

    def cancel(self) -> None:
        """Cancel every attempt, and close what is open, so that the server sees an orderly end.

        Attempts that should have succeeded by now have failed: at the end of the load, or at an address before it.
        """
        now_ns, usual_ns = monotonic_ns(), OVERDUE_TIMES * self.connect_ns
        for connection in self.connecting:
            if now_ns - connection.began_ns >= max(OVERDUE_NS, usual_ns):
                self.tally.count_refused(MISSING if self.over else TOO_LATE)
        super().cancel()
        for connection in self.members:
            connection.close()
        self.open -= len(self.members)
        self.members.clear()


class _Messages(Load):
    """What both loops do differently for messages."""

    __slots__ = ()

    def __init__(
        self, task: GeneratorTask, origin: Origin, requests: list[Prepared], log: RowLog, rows: Rows | None = None
    ) -> None:
        super().__init__(task, origin, requests, log, rows)
        self._sample = Sample(task.requests, Message)

    def make_pool(self) -> Pool:
        """Return what opens the connections."""
        pool = WebSocketPool(self.way(), self.slots(), self, self.connect_failed)
        return pool.prepare(self.task)

    def connect_failed(self, connection: Connection) -> None:
        """Count a handshake that failed."""
        if not self.stopped:
            self._tally.count_refused(cast(WebSocketConnection, connection).refusal)
        super().connect_failed(connection)

    def stop(self) -> None:
        """Stop. Handshakes that are not answered by now have failed because the load is over."""
        cast(WebSocketPool, self.pool).over = True
        super().stop()

    @property
    def _tally(self) -> Handshakes:
        return cast(WebSocketPool, self.pool).tally

    def summary(self) -> GeneratorSummary:
        """Return what this load did, and what happened on its connections."""
        return replace(super().summary(), handshakes=self._tally)


class ClosedMessages(_Messages, ClosedLoop):
    """A closed loop: each connection sends its next message when the one before is answered."""

    __slots__ = ()


class OpenMessages(_Messages, OpenLoop):
    """An open loop: each message is sent when it is due, on any free connection."""

    __slots__ = ()
