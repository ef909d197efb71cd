"""CPU time and connections of a process, read from this very process."""

import os
import socket
import threading

import pytest

from agents import processes


@pytest.mark.process
def test_sockets_of_this_process_are_counted():
    """Established connections to a port: those of the asked process, no more and no fewer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]

        assert processes.established_sockets(os.getpid(), port) == 3

        for client in clients:
            client.close()


def test_cpu_of_this_process_grows():
    """CPU time goes up with work."""
    before = processes.thread_times_us(os.getpid())[threading.get_native_id()]
    while processes.thread_times_us(os.getpid())[threading.get_native_id()][0] < before[0] + 20_000:
        sum(range(10_000))

    assert processes.thread_times_us(os.getpid())[threading.get_native_id()][1] >= before[1]
