"""The faults: what dies, stops, is cut or is full, and where."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.chaos.clock import Clock
from tests.chaos.moments import Moment, UnderWay
from tests.chaos.worlds import HERE, LOAD, SERVER

STOPPED_S, CUT_S, STEP_S, OFF_S = 5.0, 12.0, 2.0, 3.0
LOCAL, RAY, LAB = "local", "ray", "lab"
ANYWHERE, ON_RAY = (LOCAL, RAY, LAB), (RAY, LAB)
EVER = tuple(Moment)
FILLER = "filler"
ROOM_BYTES, BLOCK_BYTES = 24 << 20, 1 << 16


def nothing() -> None:
    """Undo nothing."""


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault that is ready: begin, and end after lasts_s; without lasts_s, once the run has ended."""

    begin: Callable[[], None]
    end: Callable[[], None] = nothing
    lasts_s: float | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens. aim: finds the victim shortly before the moment, so that no time is lost at it.

    gated: at the start it happens while the generators are held at the gate, else while the server starts.
    clock: the run's processes have a wall clock that can be stepped. service: the target has one. engine: a Docker engine
    of its own is used on this machine. across_hosts: in the lab it is another matter than on one machine, at each moment.
    """

    name: str
    aim: Callable[[UnderWay], Injection]
    worlds: tuple[str, ...] = ANYWHERE
    moments: tuple[Moment, ...] = EVER
    gated: bool = False
    clock: bool = False
    service: bool = False
    engine: bool = False
    across_hosts: bool = False

    def moments_in(self, world: str, full: bool = False) -> tuple[Moment, ...]:
        """Return the moments that a table has rows for. full: also those that add little in the lab."""
        return self.moments if world != LAB or self.across_hosts or full else (Moment.WINDOW,)


Victims = Callable[[UnderWay], list[psutil.Process]]


def _signal(victims: Iterable[psutil.Process], number: int) -> None:
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _some(run: UnderWay, victims: Victims) -> list[psutil.Process]:
    found = victims(run)
    if not found:
        raise LookupError("the victim was not found")
    return found


def killed(victims: Victims) -> Callable[[UnderWay], Injection]:
    """Return a fault: the victims get SIGKILL."""

    def aim(run: UnderWay) -> Injection:
        found = _some(run, victims)
        return Injection(lambda: _signal(found, signal.SIGKILL))

    return aim


def stopped(victims: Victims) -> Callable[[UnderWay], Injection]:
    """Return a fault: the victims stand still for 5 s."""

    def aim(run: UnderWay) -> Injection:
        found = _some(run, victims)
        return Injection(lambda: _signal(found, signal.SIGSTOP), lambda: _signal(found, signal.SIGCONT), STOPPED_S)

    return aim


def _server_actor(run: UnderWay) -> list[psutil.Process]:
    return run.find(SERVER, "agents.child server", "ray::ServerShell")


def _container(which: int) -> Victims:
    """Return the first process of a container. which: 0 for the target's, 1 for that of its service."""
    return lambda run: run.world.of_container(run.world.ports[which])[:1]


def _coordinator(run: UnderWay) -> list[psutil.Process]:
    return [psutil.Process(run.coordinator)]


def _guard(run: UnderWay) -> list[psutil.Process]:
    return run.find(LOAD, "agents.guard")


def _dockerd(run: UnderWay) -> Injection:
    found = run.world.engine_processes()
    return Injection(lambda: _signal(found, signal.SIGKILL), run.world.switch_engine_on, OFF_S)


def _cut(place: str) -> Callable[[UnderWay], Injection]:
    def aim(run: UnderWay) -> Injection:
        return Injection(lambda: run.world.link(place, False), lambda: run.world.link(place, True), CUT_S)

    return aim


def _stepped(by_s: float) -> Callable[[UnderWay], Injection]:
    def aim(run: UnderWay) -> Injection:
        clock: Clock = run.world.clock()
        return Injection(lambda: clock.set(by_s), lambda: clock.set(0.0))

    return aim


def _reserve(folder: Path) -> None:
    """Take a small disk but for ROOM_BYTES: to take all of it would last longer than some moments."""
    left = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    with (folder / FILLER).open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, left - ROOM_BYTES))


def _fill(folder: Path) -> None:
    """Take what is left of a small disk."""
    with (folder / FILLER).open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(BLOCK_BYTES)):
            pass


def _full(folder: Callable[[UnderWay], Path]) -> Callable[[UnderWay], Injection]:
    def aim(run: UnderWay) -> Injection:
        where = folder(run)
        _reserve(where)
        return Injection(lambda: _fill(where), lambda: (where / FILLER).unlink(missing_ok=True))

    return aim


BEFORE_COLLECT = (Moment.START, Moment.WINDOW)
FAULTS = {
    fault.name: fault
    for fault in (
        # A generator has ended when its results are collected.
        Fault(
            "h2load killed", killed(lambda run: (run.held or run.generators())[:1]), moments=BEFORE_COLLECT, gated=True
        ),
        Fault("load actor killed", killed(UnderWay.load_actor)),
        Fault("server actor killed", killed(_server_actor)),
        Fault("guard killed", killed(_guard), across_hosts=True),
        Fault("raylet killed", killed(lambda run: run.find(LOAD, "/raylet/raylet")), ON_RAY, across_hosts=True),
        Fault("GCS killed", killed(lambda run: run.find(HERE, "/gcs/gcs_server")), ON_RAY, across_hosts=True),
        Fault("SSH session killed", killed(lambda run: run.find(LOAD, "sshd: root@")), (LAB,), across_hosts=True),
        Fault("dockerd killed", _dockerd, (LOCAL, LAB), engine=True),
        Fault("container killed", killed(_container(0)), (LOCAL, LAB)),
        Fault("service killed", killed(_container(1)), (LOCAL, LAB), service=True),
        Fault("coordinator killed", killed(_coordinator), across_hosts=True),
        Fault(
            "h2load stopped 5 s",
            stopped(lambda run: run.held or run.generators()),
            (LOCAL, LAB),
            BEFORE_COLLECT,
            gated=True,
        ),
        Fault("raylet stopped 5 s", stopped(lambda run: run.find(LOAD, "/raylet/raylet")), ON_RAY),
        Fault("load actor stopped 5 s", stopped(UnderWay.load_actor)),
        Fault("coordinator stopped 5 s", stopped(_coordinator)),
        Fault("load host cut off 12 s", _cut(LOAD), (LAB,), across_hosts=True),
        Fault("server host cut off 12 s", _cut(SERVER), (LAB,), across_hosts=True),
        Fault("clock +2 s", _stepped(STEP_S), (LOCAL, LAB), gated=True, clock=True),
        Fault("clock -2 s", _stepped(-STEP_S), (LOCAL, LAB), gated=True, clock=True),
        Fault("/dev/shm full", _full(lambda run: run.world.shared_memory(LOAD)), (LOCAL, LAB)),
        Fault("run disk full", _full(lambda run: run.world.disk()), (LOCAL, LAB)),
    )
}
