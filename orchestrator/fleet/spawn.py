"""Start the processes of hosts on this machine. Imports nothing slow, so that one can be started ahead of everything.

A load host needs a third of a second for its imports, as long as the coordinator needs to read a campaign. A command
that will need one starts it first and configures it later: start_ahead(), then take().
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import agents
from agents.orders import RUN_VARIABLE

LOAD = "load"
# The mark of processes that were started before their run had a name.
AHEAD = f"ahead-{os.getpid()}-{os.urandom(4).hex()}"
_ahead: list[Spawned] = []


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process that waits for its configuration. mark: its value of VOLLEY_RUN; errors: its standard error."""

    process: subprocess.Popen[bytes]
    mark: str
    errors: IO[bytes]


def spawn(role: str, mark: str) -> Spawned:
    """Start the process of a host. role: a HostRole; mark: identifies the process for the guard."""
    errors = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
    process = subprocess.Popen(
        [sys.executable, "-m", "agents.child", role],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, RUN_VARIABLE: mark},
        # Python looks here first: our agents package is the one that is imported, whatever the user's folder has.
        cwd=own_code(),
        # A session of its own: a Ctrl-C is for the coordinator, which then closes the pipe.
        start_new_session=True,
    )
    return Spawned(process, mark, errors)


def start_ahead() -> None:
    """Start the load host that a run on this machine will need. It exits with this process if no run takes it."""
    # A machine that refuses refuses again when the run starts, and is reported then.
    with contextlib.suppress(OSError):
        _ahead.append(spawn(LOAD, AHEAD))


def take(role: str, run: str) -> Spawned:
    """Return a process for a host of a run: the one that was started ahead, or a new one. Raise OSError."""
    if role == LOAD and _ahead:
        spawned = _ahead.pop()
        if spawned.process.poll() is None:
            return spawned
        close(spawned)
    return spawn(role, run)


def close(spawned: Spawned) -> None:
    """Close the pipes and files of a process."""
    for file in (spawned.process.stdin, spawned.process.stdout, spawned.errors):
        assert file is not None
        with contextlib.suppress(OSError):  # what was still to be sent has no reader
            file.close()


def own_code() -> Path:
    """Return the folder that our agents package is in."""
    return Path(agents.__path__[0]).parent
