"""A small server to try Volley with: JSON over HTTP/1.1 on port 8001, by as many processes as asked for."""

import argparse
import asyncio
import os
import socket

BODY = b'{"message": "Hello, World!"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request of one connection."""
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(HEAD + BODY)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve(listener: socket.socket) -> None:
    """Answer until the process is stopped."""
    async with await asyncio.start_server(answer, sock=listener) as server:
        await server.serve_forever()


def main() -> None:
    """Listen once, then answer from each worker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1)
    workers = parser.parse_args().workers
    listener = socket.create_server(("0.0.0.0", 8001), backlog=1024)
    for _ in range(workers - 1):
        if os.fork() == 0:
            break
    asyncio.run(serve(listener))


if __name__ == "__main__":
    main()
