"""CPU time and connections of a process, read from this very process."""

import os
import socket
import threading

import pytest

from agents import processes


@pytest.mark.process
def test_sockets_of_this_process_are_counted():
    """Connections count, files do not, and closed connections do not any more."""
    before = processes.open_sockets(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as server, open(os.devnull, "rb"):
        port = server.getsockname()[1]
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        assert processes.open_sockets(os.getpid()) == before + 1 + 100

        for client in clients[:40]:
            client.close()
        assert processes.open_sockets(os.getpid()) == before + 1 + 60

        for client in clients[40:]:
            client.close()


def test_cpu_of_this_process_grows():
    """CPU time goes up with work."""
    before = processes.thread_times_us(os.getpid())[threading.get_native_id()]
    while processes.thread_times_us(os.getpid())[threading.get_native_id()][0] < before[0] + 20_000:
        sum(range(10_000))

    assert processes.thread_times_us(os.getpid())[threading.get_native_id()][1] >= before[1]
