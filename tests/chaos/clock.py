"""A wall clock that can be stepped: deploy/lab/clock.c in the processes of a run, reading its offset from a file.

A time namespace cannot change CLOCK_REALTIME, and the clock of this machine belongs to other work, too.
"""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

from tests.integration.machine import ROOT

NS = struct.Struct("=q")


class Clock:
    """The offset of one host's wall clock. Monotonic clocks stay correct."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(NS.pack(0))

    def set(self, by_s: float) -> None:
        """Step the clock to by_s away from this machine's, for every process that reads it, at once."""
        # One aligned store of eight bytes: a reader sees the old offset or the new one.
        with (
            self.path.open("r+b") as file,
            mmap.mmap(file.fileno(), NS.size) as shared,
            memoryview(shared) as view,
            view.cast("q") as numbers,
        ):
            numbers[0] = round(by_s * 1e9)

    @staticmethod
    def environment(library: Path, path: Path) -> dict[str, str]:
        """Return the variables of a process that has this clock."""
        return {"LD_PRELOAD": str(library), "VOLLEY_LAB_CLOCK_FILE": str(path)}


def build(folder: Path) -> Path:
    """Compile the library and return its path."""
    library = folder / "clock.so"
    source = ROOT / "deploy" / "lab" / "clock.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"], check=True)
    return library
