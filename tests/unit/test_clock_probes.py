"""Clocks of many hosts are bounded at the same time, and a host without an answer is its own affair."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from agents import processes
from agents.clock import ClockResponder, ClockUnreachable, OffsetBound
from orchestrator.fleet import clock_probes
from orchestrator.fleet.clock_probes import probe_all
from tests.mini_hosts import until

pytestmark = pytest.mark.process
HERE = "127.0.0.1"
# A host of its own process, so that it can be stopped.
RESPONDER = (
    "import sys; from agents.clock import ClockResponder; print(ClockResponder().port, flush=True); sys.stdin.read()"
)


@pytest.fixture
def responders():
    """Twenty hosts that answer, of both families."""
    with contextlib.ExitStack() as stack:
        made = []
        for number in range(20):
            responder = ClockResponder("::1" if number % 2 else HERE)
            stack.callback(responder.close)
            made.append(("::1" if number % 2 else HERE, responder.port))
        yield made


@pytest.fixture
def mute():
    """A host that reads and never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind((HERE, 0))
        yield HERE, channel.getsockname()[1]


def test_every_bound_holds_the_truth(responders):
    """All have this machine's clock; each has all of its exchanges, in the order of the places."""
    # On a busy machine an answer may be late; here all of them are waited for.
    bounds = probe_all(responders, timeout_s=10.0)

    assert len(bounds) == 20
    for bound in bounds:
        assert isinstance(bound, OffsetBound)
        assert bound.low_ns <= 0 <= bound.high_ns
        assert bound.exchanges == 32


def test_a_host_without_an_answer_costs_the_others_nothing(responders, mute):
    """The silent one is given up after half of its probes; a closed port and a bad address at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind((HERE, 0))
        port = closed.getsockname()[1]
    began = time.monotonic()
    found = probe_all([mute, *responders, (HERE, port), ("255.255.255.255", 9)], exchanges=8, timeout_s=0.2)

    assert [type(each) for each in found] == [ClockUnreachable, *[OffsetBound] * 20, ClockUnreachable, ClockUnreachable]
    assert str(found[0]) == f"0 of 8 clock probes to {HERE}:{mute[1]} were answered"
    assert all(each.exchanges >= 4 for each in found[1:-2])
    # The silent one costs its own probes at most, and not as many for each host, one after the other.
    assert time.monotonic() - began < 23 * 8 * 0.2


def test_a_late_answer_is_not_taken_for_that_of_a_later_probe():
    """A host that answers each probe only when the next one has arrived: none of its answers counts."""
    import threading

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind((HERE, 0))
        channel.settimeout(5)
        stop = threading.Event()

        def serve():
            before = None
            while not stop.is_set():
                with contextlib.suppress(TimeoutError, OSError):
                    data, sender = channel.recvfrom(64)
                    if before is not None:
                        channel.sendto(before, sender)
                    before = data

        channel.settimeout(0.05)
        thread = threading.Thread(target=serve)
        thread.start()
        (found,) = probe_all([(HERE, channel.getsockname()[1])], exchanges=8, timeout_s=0.02)
        stop.set()
        thread.join()

    assert isinstance(found, ClockUnreachable)


def test_with_fewer_sockets_than_hosts_they_are_asked_in_turn(responders, monkeypatch):
    """The next ones get theirs when those before them are done."""
    real, held = socket.socket, []

    def few(*arguments):
        if sum(channel.fileno() >= 0 for channel in held) >= 3:
            raise OSError(errno.EMFILE, "too many open files")
        held.append(real(*arguments))
        return held[-1]

    monkeypatch.setattr(clock_probes.socket, "socket", few)  # type: ignore[attr-defined]
    bounds = probe_all(responders[:8], exchanges=4, timeout_s=10.0)

    assert [bound.exchanges for bound in bounds] == [4] * 8
    assert all(channel.fileno() < 0 for channel in held)


def test_a_host_that_stands_still_is_probed_again_until_it_answers(responders, monkeypatch):
    """The others are asked once. Its bound is of one round: none of its exchanges spans the pause."""
    rounds = []

    def probe_all(places):
        rounds.append(len(places))
        if len(rounds) == 2:
            os.kill(host.pid, signal.SIGCONT)
        return real(places, exchanges=16, timeout_s=0.05)

    real = clock_probes.probe_all
    monkeypatch.setattr(clock_probes, "probe_all", probe_all)
    with subprocess.Popen([sys.executable, "-c", RESPONDER], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as host:
        port = int(host.stdout.readline())
        os.kill(host.pid, signal.SIGSTOP)
        until(lambda: processes.is_stopped(host.pid), lambda: "it has not stopped")
        found = clock_probes.probe_until([*responders[:3], (HERE, port)], 30.0)
        host.kill()

    assert rounds[0] == 4
    assert set(rounds[1:]) == {1}
    assert [type(bound) for bound in found] == [OffsetBound] * 4
    assert found[3].high_ns - found[3].low_ns < 20_000_000


def test_a_host_that_never_answers_is_given_up(mute, monkeypatch):
    """At the deadline, whatever is left is why."""
    real = clock_probes.probe_all
    monkeypatch.setattr(clock_probes, "probe_all", lambda places: real(places, exchanges=4, timeout_s=0.01))
    began = time.monotonic()
    (found,) = clock_probes.probe_until([mute], 0.3)

    assert isinstance(found, ClockUnreachable)
    assert 0.3 <= time.monotonic() - began < 10


def test_no_places():
    """A trial without hosts does not exist, but an empty list is no error."""
    assert probe_all([]) == []
