"""End the processes of a run and remove its containers and their volumes, by the run's marks. Standard library only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from agents import engine
from agents.orders import RUN_LABEL, RUN_VARIABLE

GRACE_S = 1.0
ROUNDS = 10
DOCKER_TIMEOUT_S = 30.0
REMOVED_WITHIN_S, AGAIN_S = 10.0, 0.2


class EngineTrouble(RuntimeError):
    """Containers or volumes could not be removed."""


def processes_of(marks: Iterable[str]) -> list[int]:
    """Return the processes of a run, found by the marks in their environment; never this process or its parents."""
    ours = set(_line_of_descent())
    wanted = {f"{RUN_VARIABLE}={mark}" for mark in marks if mark}
    carriers: set[int] = set()
    children: dict[int, list[int]] = defaultdict(list)
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            children[_parent_of(pid)].append(pid)
            variables = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
            if not wanted.isdisjoint(variables):
                carriers.add(pid)
    # A process can write over its environment, as some do to show a title. While its parent lives, it
    # is found through that.
    family = list(carriers)
    for pid in family:
        family += [child for child in children[pid] if child not in carriers]
        carriers.update(children[pid])
    return sorted(carriers - ours)


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _line_of_descent() -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        try:
            pid = _parent_of(pid)
        except OSError:
            return


def end_processes(marks: Iterable[str], grace_s: float = GRACE_S) -> int:
    """Stop a run's processes and return how many there were: h2load with SIGTERM, then everything with SIGKILL.

    Ray's processes get no SIGTERM: a raylet would drain for half a minute to save what is deleted
    next.
    """
    marks = list(marks)
    ended: set[int] = set()
    quiet = 0
    for _ in range(ROUNDS):
        running = processes_of(marks)
        if not running:
            # During exec() a process briefly has no environment, so only a second empty result
            # counts.
            quiet += 1
            if quiet == 2:
                break
            time.sleep(0.02)
            continue
        quiet = 0
        ended.update(running)
        load = [pid for pid in running if _name(pid) == "h2load"]
        _signal(load, signal.SIGTERM)
        _wait(load, grace_s)
        _signal(running, signal.SIGKILL)
        _wait(running, grace_s)
    return len(ended)


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _wait(pids: list[int], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def remove_containers(marks: Iterable[str]) -> int:
    """Remove the containers and volumes with a run's marks as their label. Raises EngineTrouble.

    Returns how many containers there were.
    """
    if shutil.which("docker") is None:
        raise EngineTrouble("the docker command is missing")
    labels = [f"label={RUN_LABEL}={mark}" for mark in marks if mark]
    removed: set[str] = set()
    deadline = time.monotonic() + REMOVED_WITHIN_S
    try:
        while True:
            listed = [one for label in labels for one in _docker("ps", "--all", "--quiet", "--filter", label)]
            volumes = [one for label in labels for one in _docker("volume", "ls", "--quiet", "--filter", label)]
            if not listed and not volumes:
                return len(removed)
            removed.update(listed)
            try:
                if listed:
                    _docker("rm", "--force", "--volumes", *listed)
                if volumes:
                    _docker("volume", "rm", "--force", *volumes)
            except subprocess.CalledProcessError:
                # The engine may still be removing a container for an actor that was ended meanwhile.
                if time.monotonic() >= deadline:
                    raise
                time.sleep(AGAIN_S)
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None)
        raise EngineTrouble(said.strip().splitlines()[-1] if said and said.strip() else str(error)) from error


def has_engine() -> bool:
    """Return whether this host has a Docker engine that could run containers."""
    return shutil.which("docker") is not None and engine.is_there()


def _docker(*arguments: str) -> list[str]:
    done = subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=DOCKER_TIMEOUT_S,
        errors="replace",
        env=engine.environment(),
    )
    return done.stdout.split()
