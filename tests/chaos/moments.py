"""When a fault happens: conditions of a run that is under way, seen from outside."""

from __future__ import annotations

import contextlib
import json
import os
import select
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import psutil

from tests.chaos.worlds import LOAD, World, until, words

# The second trial meets the fault, so that a finished one is there to be kept.
FIRST, SECOND = "0001", "0002"
# Of all request logs together: some 30 of the 150 requests.
LOGGED_BYTES = 600
GENERATOR = "h2load"


class Moment(StrEnum):
    """START: before T0. WINDOW: while requests are sent. COLLECT: the generators have ended, the trial is not stored."""

    START = "start"
    WINDOW = "window"
    COLLECT = "collect"


class Passed(RuntimeError):
    """The moment was over before the fault could happen."""


class UnderWay:
    """A run that is under way."""

    def __init__(self, world: World, runs: Path, coordinator: int) -> None:
        """runs: the folder that its run folder appears in, as this process sees it."""
        self.world, self.runs, self.coordinator = world, runs, coordinator
        self._generators: list[psutil.Process] = []
        # Generators at the gate, once they were waited for.
        self.held: list[psutil.Process] = []

    def find(self, place: str, *needles: str) -> list[psutil.Process]:
        """Return the processes of the run at a place whose command line has one of these words."""
        found = []
        for process in self.world.processes(place, self.coordinator):
            line = " ".join(words(process))
            if any(needle in line for needle in needles):
                found.append(process)
        return found

    def load_actor(self) -> list[psutil.Process]:
        """Return the process that starts the generators."""
        return self.find(LOAD, "agents.child load", "ray::LoadShell")

    def generators(self) -> list[psutil.Process]:
        """Return the generators of the load."""
        found = []
        for process in self.world.processes(LOAD, self.coordinator):
            with contextlib.suppress(psutil.Error):
                if process.name() == GENERATOR:
                    found.append(process)
        return found

    def wait_for_image(self) -> str:
        """Wait until the server's image is on its host; return its name."""
        path = until(lambda: next(self.runs.glob("*/environment.json"), None), "the hosts", 120)
        return str(json.loads(path.read_text())["images"]["tiny"])

    def wait_for_first_trial(self) -> Path:
        """Wait until the first trial is stored; return its folder."""
        return Path(until(lambda: next(self.runs.glob(f"*/trials/{FIRST}-*"), None), "the first trial", 120))

    def wait_for_container(self, port: int) -> psutil.Process:
        """Wait until the container of the second trial runs; return its first process."""
        first: psutil.Process = until(lambda: self.world.of_container(port), f"a container with port {port}")[0]
        return first

    def wait_at_gate(self) -> list[psutil.Process]:
        """Wait until a generator of the second trial exists, and return it: it is held until T0, some 50 ms later."""
        # Its parent is found first, because looking through all processes takes as long.
        self.wait_for_container(self.world.ports[0])
        actors = until(self.load_actor, "the load actor")
        held: list[psutil.Process] = until(lambda: _held(actors[0].pid), "a generator", every_s=0.001)
        return held

    def wait_in_window(self) -> None:
        """Wait until requests are logged."""
        until(self.generators, "the generators")
        until(lambda: self.logged_bytes() >= LOGGED_BYTES, "requests in the logs")
        self._generators = self.generators()

    def wait_until_collecting(self) -> None:
        """Wait until every generator has ended."""
        for process in self._generators:
            with contextlib.suppress(ProcessLookupError):
                watched = os.pidfd_open(process.pid)
                try:
                    if not select.select([watched], [], [], 60)[0]:
                        raise TimeoutError("the generators do not end")
                finally:
                    os.close(watched)

    def logged_bytes(self) -> int:
        """Return the length of all request logs."""
        return sum(size for _, size in self._logs())

    def _logs(self) -> Iterator[tuple[Path, int]]:
        for path in self.world.shared_memory(LOAD).glob("volley-*/*"):
            with contextlib.suppress(OSError):
                yield path, path.stat().st_size

    def require(self, moment: Moment) -> None:
        """Raise Passed unless the run is still in a moment. Call it before the fault, which ends what it looks for."""
        if moment is Moment.START and self.logged_bytes():
            raise Passed("requests are logged already")
        if moment is Moment.WINDOW and not self.generators():
            raise Passed("the generators have ended")

    def require_not_stored(self) -> None:
        """Raise Passed if the trial was stored before the fault could happen."""
        if any(self.runs.glob(f"*/trials/{SECOND}-*")):
            raise Passed("the trial is stored")


def _held(parent: int) -> list[psutil.Process]:
    """Return the generators among the children of a process."""
    with contextlib.suppress(OSError, psutil.Error):
        tasks = Path(f"/proc/{parent}/task").iterdir()
        children = [psutil.Process(int(pid)) for task in tasks for pid in (task / "children").read_text().split()]
        return [process for process in children if process.name() == GENERATOR]
    return []
