"""Rows one after the other, each in its world: a world is made once, for all of its rows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.engine import OwnEngine
from tests.chaos.faults import LAB, LOCAL, RAY, Fault
from tests.chaos.moments import Moment
from tests.chaos.records import Row
from tests.chaos.run_row import forget, run_row
from tests.chaos.worlds import World

Chosen = tuple[str, Fault, Moment]


def run_rows(chosen: Sequence[Chosen], folder: Path) -> Iterator[Row]:
    """Run rows and yield each as it ends."""
    number = 0
    for name, own_engine in ((LOCAL, False), (LOCAL, True), (RAY, False), (LAB, False)):
        mine = [
            (fault, moment)
            for world, fault, moment in chosen
            if world == name and own_engine == (fault.engine and world == LOCAL)
        ]
        if not mine:
            continue
        with _world(name, folder, own_engine) as world:
            for fault, moment in mine:
                number += 1
                yield run_row(fault, moment, world, number)
                forget(world)


@contextmanager
def _world(name: str, folder: Path, own_engine: bool) -> Iterator[World]:
    """Make a world, and remove it."""
    place = folder / f"{name}{'-engine' * own_engine}"
    place.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        engine = None
        if own_engine:
            # Its path is short, because there are sockets in it.
            engine = OwnEngine(Path(os.environ["TMPDIR"]) / "e")
            stack.callback(engine.stop)
            engine.start()
            engine.load_base_image()
        if name == LAB:
            from tests.chaos.lab_world import LabWorld

            yield stack.enter_context(LabWorld(name, place))
            return
        options = ["--ray"] if name == RAY else []
        yield stack.enter_context(World(name, place, options, engine))
