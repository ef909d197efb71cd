"""A command in a running container, through the Docker SDK: its status, how long it took, the end of its output."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agents.command import OUTPUT_BYTES, CommandResult

if TYPE_CHECKING:
    from docker import APIClient, DockerClient

WAIT_S = 0.05
# How long a command that is to be killed may take to appear and to go.
KILL_S = 5.0
# The status of a shell for a command that cannot be run.
CANNOT_RUN = 126


def execute(
    client: DockerClient, container: str, argv: list[str], timeout_s: float, abort: threading.Event
) -> CommandResult:
    """Run a command in a container, as its user, until it ends; after timeout_s or an abort, kill it: status None."""
    from docker.errors import APIError

    began = time.monotonic()
    output = bytearray()
    trouble: list[str] = []
    api = client.api

    def read() -> None:
        try:
            for chunk in api.exec_start(number, stream=True):
                output.extend(chunk)
                del output[: max(0, len(output) - OUTPUT_BYTES)]
        except Exception as error:
            trouble.append(str(getattr(error, "explanation", None) or error))

    try:
        number = api.exec_create(container, argv)["Id"]
    except APIError as error:
        return CommandResult(CANNOT_RUN, _since_us(began), str(error.explanation or error))
    reader = threading.Thread(target=read, name="exec", daemon=True)
    reader.start()
    status: int | None = None
    with contextlib.suppress(APIError):
        # Its output may end a moment before the command does, and long before it in a program that closes its output.
        while time.monotonic() - began < timeout_s and not abort.is_set():
            if not reader.is_alive() and not api.exec_inspect(number).get("Running"):
                break
            reader.join(WAIT_S) if reader.is_alive() else abort.wait(WAIT_S)
        status = _ended(api, number, container, reader)
    if trouble and not status:
        status = CANNOT_RUN
    text = bytes(output).decode(errors="replace")
    return CommandResult(status, _since_us(began), "\n".join([text, *trouble]) if trouble else text)


def _ended(api: APIClient, number: str, container: str, reader: threading.Thread) -> int | None:
    """Return the status of a command that ended; kill one that has not, and return None.

    A command that the engine has not started yet is waited for: it would run later, when nobody looks.
    """
    deadline = time.monotonic() + KILL_S
    killed = False
    while True:
        state = api.exec_inspect(number)
        if not state.get("Running") and (state.get("ExitCode") is not None or not reader.is_alive()):
            return None if killed else state.get("ExitCode")
        if time.monotonic() > deadline:
            return None
        if state.get("Running"):
            _kill(int(state.get("Pid") or 0), container)
            killed = True
        reader.join(WAIT_S)


def _since_us(began: float) -> int:
    return round((time.monotonic() - began) * 1e6)


def _kill(pid: int, container: str) -> None:
    """Kill a process of a container; where we may not, it ends with the container.

    The engine's process ids are those of its own namespace: another process may have the number here.
    """
    with contextlib.suppress(OSError):
        if pid > 1 and container in Path(f"/proc/{pid}/cgroup").read_text():
            os.kill(pid, signal.SIGKILL)
