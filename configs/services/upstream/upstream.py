"""An HTTP/1.1 server that answers GET /N with {"value": N} after DELAY_MS, to any number of clients at once.

It waits without work, so that its CPU is never what limits the gateway in front of it.
"""

from __future__ import annotations

import asyncio
import os
import signal


class Upstream(asyncio.Protocol):
    """One connection, kept alive, with one request at a time."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Remember where to answer."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete; requests have no body."""
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head, self.received = self.received[:end], self.received[end + 4 :]
            asyncio.get_running_loop().call_later(self.delay_s, self.answer, path_of(head))

    def answer(self, path: str) -> None:
        """Send the answer."""
        if not self.transport.is_closing():
            self.transport.write(answer_to(path))


def path_of(head: bytes) -> str:
    """Return the path of a request."""
    words = head.split(b"\r\n", 1)[0].split()
    return words[1].decode("latin-1") if len(words) == 3 else ""


def answer_to(path: str) -> bytes:
    """Return the whole answer: 200 with the number in the path, else 404."""
    number = path.removeprefix("/").partition("?")[0]
    status, body = ("200 OK", f'{{"value":{number}}}') if number.isdecimal() else ("404 Not Found", "{}")
    fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
    return f"HTTP/1.1 {status}\r\n{fields}\r\n\r\n{body}".encode()


async def main() -> None:
    """Serve until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    delay_s = int(os.environ.get("DELAY_MS", "1000")) / 1000
    port = int(os.environ.get("PORT", "9000"))
    async with await loop.create_server(lambda: Upstream(delay_s), "0.0.0.0", port, backlog=4096):
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
