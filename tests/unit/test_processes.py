"""CPU time and connections of a process, read from this very process."""

import os
import socket
import subprocess
import sys
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


@pytest.mark.process
def test_the_soft_limit_of_open_files_is_raised():
    """To the hard limit, for the children as well."""
    code = "from agents import processes; import os; print(processes.raise_open_files()); os.system('ulimit -n')"

    done = subprocess.run(["sh", "-c", 'ulimit -Sn 100; ulimit -Hn 5000; exec "$0" -c "$1"', sys.executable, code],
                          capture_output=True, text=True, check=True, timeout=60)  # fmt: skip

    assert sorted(done.stdout.split()) == ["5000", "5000"]
