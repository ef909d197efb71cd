"""A server that does almost nothing, to measure how much a generator can send.

    python -m agents.trivial ADDRESS PORT PROCESSES

It counts the ends of request heads and writes that many fixed answers; requests must not have a
body. Several processes share the port. It prints the port once all of them listen, and exits when
its standard input ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
END = b"\r\n\r\n"


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


def serve(listener: socket.socket, stop: int) -> None:
    """Answer requests until the descriptor `stop` becomes readable, which happens when it ends."""
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    poll.register(stop, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    # Heads that are not complete yet, by connection.
    begun: dict[int, bytes] = {}
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
                if data:
                    data = begun.pop(number, b"") + data
                    if not data.endswith(END):
                        begun[number] = data[data.rfind(END) + len(END) :] if END in data else data
                    connection.sendall(ANSWER * data.count(END))
                    continue
            except OSError:
                pass
            poll.unregister(number)
            connection.close()
            del connections[number]
            begun.pop(number, None)


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
