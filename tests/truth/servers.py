"""Servers of known behaviour, each a process of its own: python -m tests.truth.servers KIND '{"option": ...}'.

It prints its port as the first line. HTTP/1.1 by hand and HTTP/2 with the h2 package, both over asyncio, so that what a
server does to each request is known to the microsecond; with "record" it writes its own service times when it ends.

options   delay_us: list, taken round and round; fail_every: a 503 for each n-th; reset_every: close without an answer for
          each n-th; close: 'Connection: close' on every answer; stall: [after_s, for_s] from the first request;
          delay_us_of: {path: µs}; missing: a path that is 404; slower_us_per_s: added to the delay for each second that passes;
          close_after: HTTP/1.1, requests per connection; other_after: another body after so many requests;
          serial_us: one worker that takes so long for each request; shed_above: 503 for what is above so many per second;
          goaway_after: HTTP/2, requests per connection; tls: true; only_to: answer so many requests, then never again
"""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Behaviour:
    """What happens to request n, counted over all connections."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.delays = options.get("delay_us", [0])
        self.seen = 0
        self.first_ns = 0
        self.recorded: list[int] = []
        self.free_ns = 0
        self.tokens, self.filled_ns = 0.0, 0

    def shed(self, now_ns: int) -> bool:
        """Say whether a request is one too many: a bucket that fills at the limit and holds a 15th of a second."""
        limit = self.options.get("shed_above")
        if limit is None:
            return False
        elapsed_s = (now_ns - self.filled_ns) / 1e9
        self.tokens, self.filled_ns = min(limit / 15, self.tokens + elapsed_s * limit), now_ns
        if self.tokens < 1:
            return True
        self.tokens -= 1
        return False

    def arrive(self, answer: Callable[[int], None], reset: Callable[[], None], path: str = "/") -> None:
        """Decide about one request that is complete now; answer(status) or reset() is called when it is time."""
        began = time.monotonic_ns()
        loop = asyncio.get_running_loop()
        self.seen += 1
        n = self.seen
        if n == 1 and "stall" in self.options:
            after, lasting = self.options["stall"]
            loop.call_later(after, time.sleep, lasting)
        if n > self.options.get("only_to", n):
            return
        if (every := self.options.get("reset_every")) and n % every == 0:
            reset()
            return
        status = 503 if n % self.options.get("fail_every", n + 1) == 0 or self.shed(began) else 200

        def finish() -> None:
            # Before the answer leaves: whoever gets it cannot have waited less.
            self.recorded.append((time.monotonic_ns() - began) // 1000)
            answer(status)

        path = path.partition("?")[0]
        status = 404 if path == self.options.get("missing") else status
        delay = self.options.get("delay_us_of", {}).get(path, self.delays[n % len(self.delays)])
        self.first_ns = self.first_ns or began
        if serial_us := self.options.get("serial_us"):
            self.free_ns = max(began, self.free_ns) + serial_us * 1000
            delay = (self.free_ns - began) // 1000
        delay += self.options.get("slower_us_per_s", 0) * (began - self.first_ns) / 1e9
        loop.call_later(delay / 1e6, finish) if delay else finish()


class Http1(asyncio.Protocol):
    """HTTP/1.1 without a body in the request."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour, self.buffer, self.served = behaviour, b"", 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            length = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
            self.buffer = self.buffer[int(length[0]) if length else 0 :]
            self.behaviour.arrive(self.answer, self.transport.abort, head.split(b" ")[1].decode())

    def answer(self, status: int) -> None:
        options = self.behaviour.options
        self.served += 1
        closing = options.get("close") or self.served == options.get("close_after")
        extra = b"Connection: close\r\n" if closing else b""
        body = b"other\n" if self.behaviour.seen > options.get("other_after", self.behaviour.seen) else b"ok\n"
        self.transport.write(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), extra, body))
        if closing:
            self.transport.close()


class Http2(asyncio.Protocol):
    """HTTP/2, prior knowledge or ALPN."""

    def __init__(self, behaviour: Behaviour) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        self.behaviour, self.served = behaviour, 0
        self.h2 = H2Connection(H2Configuration(client_side=False))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.h2.initiate_connection()
        transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        from h2.events import RequestReceived

        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self.behaviour.arrive(lambda status, s=event.stream_id: self.answer(s, status), self.transport.abort)
        self.transport.write(self.h2.data_to_send())

    def answer(self, stream: int, status: int) -> None:
        self.h2.send_headers(stream, [(":status", str(status)), ("content-length", "3")])
        self.h2.send_data(stream, b"ok\n", end_stream=True)
        self.served += 1
        self.transport.write(self.h2.data_to_send())
        if self.served == self.behaviour.options.get("goaway_after"):
            self.h2.close_connection(last_stream_id=stream)
            self.transport.write(self.h2.data_to_send())
            self.transport.close()


class Mute(asyncio.Protocol):
    """Accepts, and never says a word."""


async def serve(kind: str, options: dict[str, Any]) -> None:
    """Serve until SIGTERM."""
    behaviour = Behaviour(options)
    make = {"http1": lambda: Http1(behaviour), "http2": lambda: Http2(behaviour), "mute": Mute}[kind]
    context = None
    if options.get("tls"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options["certificate"])
        context.set_alpn_protocols(["h2"] if kind == "http2" else ["http/1.1"])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(make, "127.0.0.1", 0, backlog=1024, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    if "record" in options:
        Path(options["record"]).write_text(json.dumps(behaviour.recorded))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}))
