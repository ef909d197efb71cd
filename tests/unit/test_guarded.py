"""A guard that is killed, as its coordinator sees it: the host is clean in the end, or is reported as not clean."""

import asyncio
import os
import signal
import time

import pytest

from agents import ending, lease
from agents.orders import Cleaned, GuardEventKind, Order, Removed
from orchestrator.errors import HostError
from orchestrator.fleet import guarded

pytestmark = pytest.mark.process

READY = "the node is up"


@pytest.fixture
def run():
    return f"guarded-test-{os.getpid()}-{time.monotonic_ns()}"


class Deaf:
    """The input of a guard that cannot be reached."""

    def write(self, data):
        pass

    def write_eof(self):
        pass


def leases_of(run):
    return [seen for seen in lease.leases() if run in seen.holder.marks]


async def guard_with_node(run):
    """Return the guard of a node that runs, and the holder of its lease: its own process, and its standby's."""
    guard = await guarded.guard_here("local")
    await guard.begin(Order(run, ["/bin/sh", "-c", f"echo {READY}; exec sleep 300"], {}, "token", READY))
    assert await guard.event(GuardEventKind.READY, 10) is not None
    (seen,) = leases_of(run)
    return guard, seen.holder


@pytest.mark.parametrize("with_standby", [False, True])
def test_a_host_is_clean_although_its_guard_was_killed(run, with_standby):
    """Its standby cleans up; where that was killed, too, the coordinator does. Both take a moment, which is waited for."""

    async def meet():
        guard, holder = await guard_with_node(run)
        if with_standby:
            os.kill(holder.pid, signal.SIGSTOP)  # it would start another one
            os.kill(holder.standby, signal.SIGKILL)
        os.kill(holder.pid, signal.SIGKILL)
        return guard.folder, await guard.close()

    folder, cleaned = asyncio.run(meet())

    assert cleaned
    assert ending.processes_of([run]) == []
    assert leases_of(run) == []
    assert not os.path.exists(folder)


def test_a_host_that_is_not_clean_in_time_is_reported(run, monkeypatch):
    """The standby stands still. Once it continues, it cleans up without a coordinator."""
    monkeypatch.setattr(guarded, "CLEANED_WITHIN_S", 0.5)

    async def meet():
        guard, holder = await guard_with_node(run)
        os.kill(holder.standby, signal.SIGSTOP)
        os.kill(holder.pid, signal.SIGKILL)
        return holder, await guard.close()

    holder, cleaned = asyncio.run(meet())
    left = ending.processes_of([run])
    os.kill(holder.standby, signal.SIGCONT)
    deadline = time.monotonic() + 15
    while leases_of(run):
        assert time.monotonic() < deadline
        time.sleep(0.02)

    assert not cleaned
    assert len(left) == 1
    assert ending.processes_of([run]) == []


@pytest.mark.parametrize(("silent", "clean"), [(2, True), (None, False)])
def test_a_host_that_is_cut_off_is_asked_until_it_is_back(monkeypatch, silent, clean):
    """silent: how many times it does not answer; None for a host that is gone for good, which is not waited for long."""
    monkeypatch.setattr(guarded, "BACK_WITHIN_S", 0.6)
    asked = []

    async def answer(mark):
        asked.append(mark)
        if silent is None or len(asked) <= silent:
            raise HostError("host gen1: the connection was lost")
        return Cleaned(Removed(), [], [])

    async def meet():
        stdout = asyncio.StreamReader()
        stdout.feed_eof()
        return await guarded.Guard("gen1", Deaf(), stdout, 0.0, lambda: None, answer).close()

    assert asyncio.run(meet()) is clean
    assert len(asked) >= 3
