"""How many connections a process opened, from its own sockets, whatever the rest of the host does."""

import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from agents.connections import ConnectionWatch

pytestmark = pytest.mark.process

# Sends this many requests of a line on each connection, one after the other; then waits with the last one open.
CLIENT = """
import socket, sys
port, connections, requests, clients = map(int, sys.argv[1:])
held = []
for n in range(connections):
    for _ in range(clients):
        one = socket.create_connection(("127.0.0.1", port))
        for _ in range(requests):
            one.sendall(b"request\\n")
            assert one.recv(100) == b"answer\\n"
        held.append(one)
    if n < connections - 1:
        for one in held:
            one.close()
        held.clear()
print("done", flush=True)
sys.stdin.read()
"""


@contextmanager
def answering():
    """A server of one line an answer; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve(connection):
            with connection:
                while connection.recv(100):
                    connection.sendall(b"answer\n")

        def accept():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@contextmanager
def client(port, connections, requests, clients):
    """A process that has sent its requests and holds its last connections; yield its process id."""
    command = [sys.executable, "-c", CLIENT, *map(str, (port, connections, requests, clients))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"done\n"
        yield process.pid
        process.stdin.close()


@pytest.mark.parametrize(
    ("connections", "requests", "opened"),
    [(1, 30, 4), (10, 3, 40), (30, 1, 120)],
    ids=["kept", "limit of 3", "one each"],
)
def test_connections_are_estimated_from_what_each_has_carried(connections, requests, opened):
    """4 clients with 30 requests each."""
    with answering() as port, client(port, connections, requests, clients=4) as pid:
        watch = ConnectionWatch(pid)
        watch.look(answered=4 * connections * requests)

    assert (watch.most_carried, watch.opened(120, 4)) == (requests, opened)
    # As many answers came after the last look: a connection that was kept until then may have carried them.
    assert watch.opened(240, 4) == (opened if connections == 1 else 2 * opened)


def test_a_neighbours_connections_are_not_counted():
    """Many processes on the host open connections, to the same server."""
    with answering() as port, client(port, 1, 30, 4) as pid, client(port, 200, 1, 1):
        watch = ConnectionWatch(pid)
        watch.look(answered=120)

    assert watch.opened(120, 4) == 4


def test_what_is_not_seen_is_not_known():
    """A process that is gone, and one without a socket."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        watch = ConnectionWatch(process.pid)
        watch.look(5)
        process.stdin.close()
    watch.look(5)

    assert watch.opened(5, 4) is None
