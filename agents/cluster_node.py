"""A node of a Ray cluster that is not Volley's own: what is asked of it, and the guard that runs there.

One NodeKeeper per node and run, as a Ray actor. It passes on what the coordinator writes to the guard. When Ray ends it,
because the coordinator is gone, the guard's input ends too, and the guard removes everything of the run.

Standard library only, so that a node that lacks a package can be asked which.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.clock import ClockResponder
from agents.orders import RUN_VARIABLE
from agents.survey import survey
from agents.sweep import clean_host

# Ray ends the children of a worker that exits, whatever their session. A process whose parent has exited is not a child.
_DETACHED = "import os, sys\nif os.fork():\n    os._exit(0)\nos.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
OOM_SCORE = Path("/proc/self/oom_score_adj")


class NodeKeeper:
    """Answers questions about its node, and holds the guard of a run there."""

    def __init__(self) -> None:
        self._guard: subprocess.Popen[bytes] | None = None
        self._responder: ClockResponder | None = None

    def lacking(self, modules: Iterable[str]) -> list[str]:
        """Return those modules that the Python of this node does not have."""
        return [name for name in modules if not _has(name)]

    def survey(self) -> dict[str, Any]:
        """Return what the node has, as the document of agents/survey.py, and how its workers are scheduled."""
        return survey()

    def niceness(self) -> int:
        """Return the niceness of this process, which all its children inherit."""
        return os.getpriority(os.PRIO_PROCESS, 0)

    def answer_clock(self, address: str) -> int:
        """Start a clock responder at an address of this node; return its UDP port. Raises OSError."""
        if self._responder is None:
            self._responder = ClockResponder(address, 0)
        return self._responder.port

    def clean(self, run: str | None, force: bool) -> dict[str, Any]:
        """Return the Cleaned of agents.sweep.clean_host. Raises LeaseError."""
        return asdict(clean_host(run, force))

    def start_guard(self) -> None:
        """Start the guard, which outlives this process. Raises OSError."""
        root = Path(__file__).resolve().parent.parent
        # The guard must not carry the mark of the run: it would be ended together with it.
        environment = {name: value for name, value in os.environ.items() if name not in (RUN_VARIABLE, "PYTHONPATH")}
        self._guard = subprocess.Popen(
            [sys.executable, "-S", "-c", _DETACHED, "-S", "-m", "agents.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=root,
            env=environment,
            start_new_session=True,
        )
        self._guard.wait()

    def write(self, data: bytes) -> None:
        """Pass bytes on to the guard; without one, or if it is gone, nothing happens."""
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._guard.stdin.write(data)
                self._guard.stdin.flush()

    def read_line(self) -> bytes:
        """Wait for the guard's next line and return it; empty at the end of its output."""
        if self._guard is None or self._guard.stdout is None:
            return b""
        return self._guard.stdout.readline()

    def end_input(self) -> None:
        """Have the guard clean up and exit."""
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(OSError):
                self._guard.stdin.close()


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def settle(actor: object) -> int:
    """Protect an actor's process, and so its generators, from the kernel's OOM killer; return its niceness.

    Ray marks its workers as the first to be killed. Without privileges a process can at least undo that for itself.
    """
    with contextlib.suppress(OSError):
        OOM_SCORE.write_text("0")
    return os.getpriority(os.PRIO_PROCESS, 0)
