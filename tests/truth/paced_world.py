"""For the tests of paced: the program behind its pipes, and servers whose every byte the test decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from agents.generators.contract import (
    Failure,
    GeneratorSummary,
    GeneratorTask,
    Model,
    TaskRequest,
    format_go,
    format_task,
    parse_summary,
)

ROOT = Path(__file__).parents[2]
WITHIN_S = 30.0
AHEAD_NS = 20_000_000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"


@dataclass
class Rows:
    """The log, in the order of writing."""

    due_us: np.ndarray
    start_us: np.ndarray
    status: np.ndarray
    service_us: np.ndarray
    request: np.ndarray

    @classmethod
    def read(cls, path: Path) -> Rows:
        text = path.read_bytes() if path.exists() else b""
        assert not text or text.endswith(b"\n")
        values = [[int(word) for word in line.split(b"\t")] for line in text.splitlines()]
        return cls(*np.array(values, dtype=np.int64).reshape(-1, 5).T)

    def by_due(self) -> Rows:
        order = np.argsort(self.due_us, kind="stable")
        return Rows(*(column[order] for column in vars(self).values()))

    def __len__(self) -> int:
        return len(self.status)


@dataclass
class Outcome:
    """What the program left behind."""

    rows: Rows
    summary: GeneratorSummary | None
    exit_status: int
    stderr: str
    t0_ns: int

    def statuses(self) -> set[int]:
        return set(self.rows.status.tolist())


class Paced:
    """The program; lines go in and come out. name: of the generator."""

    def __init__(self, log: Path, name: str = "paced") -> None:
        self.log = log
        self.t0_ns = 0
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"agents.generators.{name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            cwd=ROOT,
        )

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], WITHIN_S)[0], "not ready in time"
        assert self.process.stdout.readline() == b"ready\n", self.error()

    def go(self) -> None:
        self.t0_ns = time.time_ns() + AHEAD_NS
        self.write(format_go(self.t0_ns))

    def error(self) -> str:
        self.stderr.seek(0)
        return self.stderr.read().decode()

    def rows_so_far(self) -> int:
        return self.log.read_bytes().count(b"\n") if self.log.exists() else 0

    def wait_for_rows(self, count: int) -> None:
        deadline = time.monotonic() + WITHIN_S
        while self.rows_so_far() < count:
            assert time.monotonic() < deadline, f"{self.rows_so_far()} of {count} rows"
            time.sleep(0.01)

    def close_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def finish(self, within_s: float = WITHIN_S) -> Outcome:
        """Wait for the end, with the input left open."""
        assert self.process.stdout is not None
        self.process.wait(within_s)
        said = self.process.stdout.read().splitlines()
        assert len(said) <= 1, said
        summary = parse_summary(said[0]) if said else None
        return Outcome(Rows.read(self.log), summary, self.process.returncode, self.error(), self.t0_ns)


@contextmanager
def paced(log: Path, name: str = "paced") -> Iterator[Paced]:
    """Run the program; it is killed when the test has not ended it."""
    program = Paced(log, name)
    try:
        yield program
    finally:
        program.process.kill()
        program.process.wait()
        for pipe in (program.process.stdin, program.process.stdout, program.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]


def open_task(url: str, rate_per_s: float, duration_s: float, **changes: object) -> GeneratorTask:
    """Return an open loop with one GET."""
    task = GeneratorTask(
        log="",
        requests=(TaskRequest(url),),
        model=Model.OPEN,
        clients=100,
        rate_per_s=rate_per_s,
        duration_us=int(duration_s * 1e6),
    )
    return replace(task, **changes)  # type: ignore[arg-type]


def all_answered(url: str, rate_per_s: float, count: int, **changes: object) -> GeneratorTask:
    """Return an open loop that ends when so many requests have ended: none is cut off, however late it left."""
    return open_task(url, rate_per_s, 0, duration_us=None, count=count, **changes)


def closed_task(url: str, clients: int, **changes: object) -> GeneratorTask:
    """Return a closed loop with one GET."""
    task = GeneratorTask(log="", requests=(TaskRequest(url),), model=Model.CLOSED, clients=clients)
    return replace(task, **changes)  # type: ignore[arg-type]


def carry_out(task: GeneratorTask, log: Path, name: str = "paced") -> Outcome:
    """Run a task to its end, and check what must hold for every run: status 0, and rows = done + failed."""
    with paced(log, name) as program:
        program.write(format_task(replace(task, log=str(log))))
        program.wait_ready()
        program.go()
        outcome = program.finish()
    assert outcome.exit_status == 0, outcome.stderr
    assert outcome.stderr == ""
    check_summary(outcome)
    return outcome


def check_summary(outcome: Outcome) -> None:
    """Check the summary against the rows, reason by reason."""
    assert outcome.summary is not None, outcome.stderr
    status = outcome.rows.status
    assert outcome.summary.done == int((status > 0).sum())
    for failure, count in outcome.summary.failed.items():
        assert int((status == failure).sum()) == count, failure
    assert outcome.summary.rows == len(status)
    never_sent = np.isin(status, (Failure.REFUSED, Failure.UNSENT))
    assert outcome.summary.sent == int((~never_sent).sum())


class Talk:
    """One connection, as the server's script sees it."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = server.connections
        self._server, self._reader, self._writer = server, reader, writer

    async def request(self) -> bytes | None:
        """Return the head of the next request, None when the client has closed."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        self._server.requests.append((self.number, head))
        return head

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def read_to_end(self) -> None:
        """Wait until the client closes."""
        with contextlib.suppress(ConnectionError):
            await self._reader.read()
        self._server.closed_by_client += 1

    def reset(self) -> None:
        """End the connection by a reset."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Talk], Awaitable[None]]


@dataclass
class Server:
    """A server and its record. requests: (connection, head) in the order of arrival."""

    url: str = ""
    port: int = 0
    connections: int = 0
    closed_by_client: int = 0
    requests: list[tuple[int, bytes]] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)


@contextmanager
def serving(script: Script, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve in a thread: the script runs once per connection, which is closed in order when it returns."""
    server = Server()
    loop = asyncio.new_event_loop()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            await script(Talk(server, reader, writer))
        finally:
            writer.close()

    listener = loop.run_until_complete(asyncio.start_server(talk, host, 0, ssl=context, backlog=1024))
    server.port = listener.sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    server.url = f"{'https' if context else 'http'}://{shown}:{server.port}/"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        listener.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def answers_ok(talk: Talk) -> None:
    """Answer every request at once."""
    while await talk.request():
        await talk.write(OK)


def answers(data: bytes) -> Script:
    """Return a script that writes the same bytes for every request."""

    async def script(talk: Talk) -> None:
        while await talk.request():
            await talk.write(data)

    return script


def answers_after(delay_s: float) -> Script:
    """Return a script that answers after a delay."""

    async def script(talk: Talk) -> None:
        while await talk.request():
            await asyncio.sleep(delay_s)
            await talk.write(OK)

    return script


async def never_answers(talk: Talk) -> None:
    """Read requests and answer none."""
    while await talk.request():
        pass
    talk._server.closed_by_client += 1


async def closes_on_the_second(talk):
    """Answer one request, read another and close in order."""
    await talk.request()
    await talk.write(OK)
    await talk.request()


@contextmanager
def server_process(**options: object) -> Iterator[str]:
    """Run a fast server of tests.truth.servers in a process of its own; yield its URL."""
    command = [sys.executable, "-m", "tests.truth.servers", "http1", json.dumps(options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
        finally:
            process.terminate()


def unused_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
