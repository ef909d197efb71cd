"""For the tests of websocket: servers of known behaviour, with their own record, and tasks."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from itertools import count
from pathlib import Path

import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from agents.generators.contract import GeneratorTask, Protocol, TaskRequest
from tests.truth.paced_world import Outcome
from tests.truth.paced_world import carry_out as carry_out_by
from tests.truth.paced_world import closed_task as closed_by
from tests.truth.paced_world import open_task as open_by

MESSAGE = b"a message"
NEVER = 3600.0
Answer = Callable[["Echo", ServerConnection, "str | bytes", int], Awaitable[None]]


@dataclass
class Echo:
    """A server and its record. held_us: how long messages were kept. ended: close codes of clients."""

    url: str = ""
    handshakes: int = 0
    refused: int = 0
    slow: int = 0
    messages: list[str | bytes] = field(default_factory=list)
    held_us: list[int] = field(default_factory=list)
    ended: Counter[int] = field(default_factory=Counter)
    requests: list[Request] = field(default_factory=list)
    pongs: int = 0


async def echoes(echo: Echo, talk: ServerConnection, message: str | bytes, number: int) -> None:
    """Send every message back at once."""
    await talk.send(message)


def echoes_after(*delays_s: float) -> Answer:
    """Return what sends messages back after delays, in turn over all connections."""
    turn = count()

    async def answer(echo: Echo, talk: ServerConnection, message: str | bytes, number: int) -> None:
        began_ns = time.monotonic_ns()
        await asyncio.sleep(delays_s[next(turn) % len(delays_s)])
        # Before sending: the client may have the answer before this coroutine goes on.
        echo.held_us.append((time.monotonic_ns() - began_ns) // 1000)
        await talk.send(message)

    return answer


def one_at_a_time(delay_s: float) -> Answer:
    """Return what answers one message at a time over all connections: it can answer 1 / delay_s a second."""
    lock = asyncio.Lock()
    free_at = 0.0

    async def answer(echo: Echo, talk: ServerConnection, message: str | bytes, number: int) -> None:
        nonlocal free_at
        async with lock:
            # Not one sleep after the other, whose errors add up.
            free_at = max(free_at, time.monotonic()) + delay_s
            await asyncio.sleep(free_at - time.monotonic())
        await talk.send(message)

    return answer


async def never_echoes(echo: Echo, talk: ServerConnection, message: str | bytes, number: int) -> None:
    """Read and say nothing."""


async def echoes_twice(echo: Echo, talk: ServerConnection, message: str | bytes, number: int) -> None:
    """Send every message back two times, in one write."""
    talk.protocol.send_text(b"first")
    talk.protocol.send_text(b"second")
    talk.transport.write(b"".join(talk.protocol.data_to_send()))


async def pings_first(echo: Echo, talk: ServerConnection, message: str | bytes, number: int) -> None:
    """Answer only a client that answers a ping."""
    await (await talk.ping())
    echo.pongs += 1
    await talk.send(message)


async def fragments(echo: Echo, talk: ServerConnection, message: str | bytes, number: int) -> None:
    """Send a message back in three frames, with a ping between them."""
    await talk.send([message[:2], message[2:4], message[4:]])


def closes_on(number: int, code: int | None) -> Answer:
    """Return what answers until a message of each connection, and closes then. code: None: without a close frame."""

    async def answer(echo: Echo, talk: ServerConnection, message: str | bytes, k: int) -> None:
        if k < number:
            await talk.send(message)
        elif code is None:
            talk.transport.abort()
        else:
            await talk.close(code, "as the test says")

    return answer


@contextmanager
def serving(
    answer: Answer | Callable[[], Answer] = echoes,
    refuses: Callable[[int], HTTPStatus | None] = lambda number: None,
    takes_s: Callable[[int], float] = lambda number: 0,
    greets: bool = False,
    context: ssl.SSLContext | None = None,
    subprotocols: list[str] | None = None,
) -> Iterator[Echo]:
    """Serve in a thread. refuses: the status of the response to a handshake, by its number from 1; None: it is accepted.

    takes_s: how long a handshake, by its number, waits for its response; NEVER for ever.
    """
    echo = Echo()
    loop = uvloop.new_event_loop()

    async def talk(connection: ServerConnection) -> None:
        if greets:
            await connection.send("hello")
        try:
            for number in count(1):
                message = await connection.recv()
                echo.messages.append(message)
                await answer(echo, connection, message, number)  # type: ignore[arg-type, misc, call-arg]
        except ConnectionClosed as closed:
            echo.ended[closed.rcvd.code if closed.rcvd else 0] += 1

    async def check(connection: ServerConnection, request: Request) -> Response | None:
        echo.handshakes += 1
        echo.requests.append(request)
        if delay_s := takes_s(echo.handshakes):
            echo.slow += 1
            await asyncio.sleep(delay_s)
        status = refuses(echo.handshakes)
        echo.refused += status is not None
        return None if status is None else connection.respond(status, "not here")

    async def start() -> tuple[object, int]:
        listener = await serve(
            talk, "127.0.0.1", 0, process_request=check, compression=None, ping_interval=None, max_size=None, open_timeout=None,
            ssl=context, subprotocols=subprotocols, logger=logging.getLogger("quiet"), backlog=1024,  # type: ignore[arg-type]
        )  # fmt: skip
        return listener, next(iter(listener.sockets)).getsockname()[1]

    logging.getLogger("quiet").setLevel(logging.CRITICAL)
    _, port = loop.run_until_complete(start())
    echo.url = f"{'wss' if context else 'ws'}://127.0.0.1:{port}/ws"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield echo
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def _with_message(task: GeneratorTask, message: bytes, **changes: object) -> GeneratorTask:
    requests = tuple(replace(request, body=message, **changes) for request in task.requests)
    return replace(task, requests=requests, protocol=Protocol.WEBSOCKET)


def closed_task(url: str, clients: int, message: bytes = MESSAGE, **changes: object) -> GeneratorTask:
    """Return a closed loop with one message."""
    return _with_message(closed_by(url, clients, **changes), message)


def open_task(
    url: str, rate_per_s: float, duration_s: float, message: bytes = MESSAGE, **changes: object
) -> GeneratorTask:
    """Return an open loop with one message."""
    return _with_message(open_by(url, rate_per_s, duration_s, **changes), message)


def request(url: str, message: bytes = MESSAGE, **changes: object) -> TaskRequest:
    """Return one message."""
    return replace(TaskRequest(url, body=message), **changes)  # type: ignore[arg-type]


def carry_out(task: GeneratorTask, log: Path) -> Outcome:
    """Run a task to its end."""
    return carry_out_by(task, log, "websocket")
