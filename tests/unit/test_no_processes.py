"""The guard over unit tests itself."""

import os
import socket
import subprocess
import sys

import pytest

from tests.no_processes import NotPure, forbidden


def _start_a_process():
    subprocess.run([sys.executable, "--version"], check=False)


def _fork():
    if os.fork() == 0:
        os._exit(0)


def _connect():
    with socket.socket() as connection:
        connection.connect(("127.0.0.1", 9))


def _bind():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as responder:
        responder.bind(("127.0.0.1", 0))


@pytest.mark.process
@pytest.mark.parametrize("attempt", [_start_a_process, _fork, _connect, _bind])
def test_an_attempt_fails_where_it_is_made_and_is_remembered(attempt):
    """Refused before it happens; remembered, because code under test may catch any exception."""
    with forbidden() as attempts:
        with pytest.raises(NotPure):
            attempt()
        assert len(attempts) == 1


@pytest.mark.process
def test_outside_it_everything_is_allowed():
    """Tests of other kinds run in the same process."""
    with forbidden():
        pass
    assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0
