"""Runs a campaign's command on this host, before or after a trial."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import IO

from agents.orders import RUN_VARIABLE

# Every user sees a command line. The script is not in it, nor in the environment of what it starts.
_SHELL = 'script=$VOLLEY_SCRIPT; unset VOLLEY_SCRIPT; eval "$script"'
SCRIPT_VARIABLE = "VOLLEY_SCRIPT"
# How much of a command's output is kept.
OUTPUT_BYTES = 2000


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended. status: its exit status, None when Volley ended it; output: the end of what it printed."""

    status: int | None
    lasted_us: int
    output: str


class CommandHost:
    """A host that runs commands, one at a time."""

    def __init__(self) -> None:
        self._command: subprocess.Popen[bytes] | None = None
        # A command that is starting and one that is to be ended must see each other.
        self._starting = threading.Lock()

    def run_command(self, script: str, variables: dict[str, str], run: str, timeout_s: float) -> CommandResult:
        """Run a script with sh until it ends; after timeout_s, kill it and its children.

        What it leaves running in the background ends with the run.
        """
        began = time.monotonic_ns()
        # A file, not a pipe: a child in the background may keep a pipe open.
        with tempfile.TemporaryFile() as output:
            with self._starting:
                process = self._command = _start(script, {**variables, RUN_VARIABLE: run}, output)
            status: int | None = None
            try:
                status = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                _kill(process)
            lasted_us = (time.monotonic_ns() - began) // 1000
            return CommandResult(status, lasted_us, _end_of(output))

    def abort(self) -> None:
        """End the command that is under way, with its children."""
        with self._starting:
            process = self._command
            if process is not None and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End everything that this host runs."""
        self.abort()


def _start(script: str, variables: dict[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["sh", "-c", _SHELL],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **variables, SCRIPT_VARIABLE: script},
        start_new_session=True,
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _end_of(output: IO[bytes]) -> str:
    length = output.seek(0, os.SEEK_END)
    output.seek(max(0, length - OUTPUT_BYTES))
    return output.read().decode(errors="replace")
