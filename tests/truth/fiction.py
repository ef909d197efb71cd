"""The servers of "Load Fiction" that the zoo does not have: python -m tests.truth.fiction KIND '{"option": ...}'.

http2: limits the streams of each connection (streams). https: closes connections (close_s, certificate).

Both answer after slow_us what arrives in the first slow_s of every cycle_s, and everything else after fast_us. Cycles count
from the first request. https closes each connection after its answer in the first close_s of a cycle. The port is the first
line printed. When it ends, the server writes the arrivals to `record`: ns since the Unix epoch, one JSON list.
"""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]


class Phases:
    """What happens to requests, and when they arrived."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.arrived_ns: list[int] = []

    def arrive(self, answer: Callable[[], None]) -> None:
        """Record a request, and arrange for its answer."""
        now_ns = time.time_ns()
        self.arrived_ns.append(now_ns)
        is_slow = self.position_s(now_ns) < self.options["slow_s"]
        delay_us = self.options["slow_us" if is_slow else "fast_us"]
        asyncio.get_running_loop().call_later(delay_us / 1e6, answer)

    def closes(self) -> bool:
        """Return whether a connection ends with its answer now."""
        return self.position_s(time.time_ns()) < self.options["close_s"]

    def position_s(self, now_ns: int) -> float:
        """Return how far the cycle is."""
        return float((now_ns - self.arrived_ns[0]) / 1e9 % self.options["cycle_s"])


class Https(asyncio.Protocol):
    """HTTP/1.1 without bodies in requests."""

    def __init__(self, phases: Phases) -> None:
        self.phases, self.buffer = phases, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            _, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            self.phases.arrive(self.answer)

    def answer(self) -> None:
        closing = self.phases.closes()
        extra = b"Connection: close\r\n" if closing else b""
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" + extra + b"\r\nok\n")
        if closing:
            self.transport.close()


class Http2(asyncio.Protocol):
    """HTTP/2 with prior knowledge."""

    def __init__(self, phases: Phases) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection
        from h2.settings import SettingCodes, Settings

        self.phases = phases
        self.h2 = H2Connection(H2Configuration(client_side=False, validate_inbound_headers=False))
        limit = {SettingCodes.MAX_CONCURRENT_STREAMS: phases.options["streams"]}
        self.h2.local_settings = Settings(client=False, initial_values=limit)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.h2.initiate_connection()
        transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        from h2.events import RequestReceived

        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self.phases.arrive(lambda stream=event.stream_id: self.answer(stream))
        self.transport.write(self.h2.data_to_send())

    def answer(self, stream: int) -> None:
        if self.transport.is_closing():
            return
        self.h2.send_headers(stream, [(":status", "200"), ("content-length", "3")])
        self.h2.send_data(stream, b"ok\n", end_stream=True)
        self.transport.write(self.h2.data_to_send())


async def serve(kind: str, options: dict[str, Any]) -> None:
    """Serve until SIGTERM, then write the record."""
    phases = Phases(options)
    context = None
    if kind == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options["certificate"])
    make = {"https": lambda: Https(phases), "http2": lambda: Http2(phases)}[kind]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(make, "127.0.0.1", 0, backlog=1024, ssl=context)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    Path(options["record"]).write_text(json.dumps(phases.arrived_ns))


class Fiction:
    """A running server. arrived_ns: its record, once it has ended."""

    def __init__(self, url: str, record: Path) -> None:
        self.url, self._record = url, record

    @property
    def arrived_ns(self) -> NDArray[np.int64]:
        return np.array(json.loads(self._record.read_text()), dtype=np.int64)


@contextmanager
def fiction(kind: str, record: Path, core: int, **options: Any) -> Iterator[Fiction]:
    """Run a server on one core; end it afterwards."""
    words = [sys.executable, "-m", "tests.truth.fiction", kind, json.dumps(options | {"record": str(record)})]
    command = ["taskset", "-c", str(core), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield Fiction(f"{'https' if kind == 'https' else 'http'}://127.0.0.1:{port}/", record)
        finally:
            process.terminate()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], json.loads(sys.argv[2])))
