"""A server that does almost nothing, to measure how much a generator can send.

    python -m agents.trivial ADDRESS PORT PROCESSES

It counts the ends of request heads and writes that many fixed answers; requests must not have a
body. After a handshake it answers each WebSocket message, of less than 126 bytes and in one frame,
with a fixed one. Several processes share the port. It prints the port once all of them listen, and exits when
its standard input ends.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import select
import socket
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
END = b"\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
KEY = b"sec-websocket-key:"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# A frame with the text "ok". Clients mask theirs: 4 bytes more than length and opcode.
MESSAGE_ANSWER = b"\x81\x02ok"
FRAME_HEAD, LENGTH, OPCODE, CLOSE = 6, 0x7F, 0x0F, 8


def listen(address: str, port: int) -> socket.socket:
    """Return a socket that listens on a port together with others; the kernel distributes the connections.

    address: '' for any address of the machine.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((address, port))
    listener.listen(4096)
    return listener


def handshake(head: bytes) -> bytes:
    """Return the response to a request for WebSocket; b'' for any other request."""
    for line in head.split(b"\r\n"):
        if line.lower().startswith(KEY):
            digest = hashlib.sha1(line[len(KEY) :].strip() + GUID, usedforsecurity=False).digest()
            return SWITCH + base64.b64encode(digest) + END
    return b""


def messages(data: bytes) -> tuple[int, bytes]:
    """Return how many whole messages data begins with, -1 when it says good-bye, and what follows them."""
    count = at = 0
    while len(data) - at >= FRAME_HEAD and len(data) - at >= (size := FRAME_HEAD + (data[at + 1] & LENGTH)):
        if data[at] & OPCODE == CLOSE:
            return -1, b""
        count, at = count + 1, at + size
    return count, data[at:]


def answers(data: bytes, begun: dict[int, bytes], talks: set[int], number: int) -> bytes | None:
    """Return what to answer to data on a connection; None to close it.

    begun: heads and messages that are not complete yet, by connection; talks: those that have switched to WebSocket.
    """
    data = begun.pop(number, b"") + data
    if number in talks:
        count, rest = messages(data)
        if rest:
            begun[number] = rest
        return None if count < 0 else MESSAGE_ANSWER * count
    if not data.endswith(END):
        begun[number] = data[data.rfind(END) + len(END) :] if END in data else data
    elif KEY in data.lower() and (response := handshake(data)):
        talks.add(number)
        return response
    return ANSWER * data.count(END)


def serve(listener: socket.socket, stop: int) -> None:
    """Answer requests until the descriptor `stop` becomes readable, which happens when it ends."""
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    poll.register(stop, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    begun: dict[int, bytes] = {}
    talks: set[int] = set()
    while True:
        for number, _ in poll.poll():
            if number == stop:
                return
            if number == listener.fileno():
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connections[connection.fileno()] = connection
                    poll.register(connection, select.EPOLLIN)
                continue
            connection = connections[number]
            try:
                data = connection.recv(65536)
                if data and (answer := answers(data, begun, talks, number)) is not None:
                    connection.sendall(answer)
                    continue
            except OSError:
                pass
            poll.unregister(number)
            connection.close()
            del connections[number]
            begun.pop(number, None)
            talks.discard(number)


def main() -> int:
    """Serve with several processes until standard input ends."""
    address, port, processes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    listeners = [listen(address, port)]
    port = listeners[0].getsockname()[1]
    listeners += [listen(address, port) for _ in range(processes - 1)]
    own = listeners[0]
    for listener in listeners[1:]:
        if os.fork() == 0:
            own = listener
            break
    else:
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
    for listener in listeners:
        if listener is not own:
            listener.close()
    serve(own, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
