"""Where a run and its fault happen: this machine, a Ray node on it, or two hosts of the lab.

A world knows the processes of a run by place, what a run has left, and the foreign things that must survive.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests import sessions
from tests.chaos.clock import Clock, build
from tests.chaos.engine import OwnEngine
from tests.integration.machine import ROOT, VOLLEY, containers_here, volumes_here

HERE, LOAD, SERVER = "here", "load", "server"
# Of a target and of its service, where they are free.
PORTS = range(18_600, 19_000, 2)
# What a user could have, whose name begins like ours.
DECOY = sessions.DECOYS[0]
THEIRS = "theirs-20260101T000000Z"
NOBODY = 65_534
SHARED_MEMORY_BYTES, DISK_BYTES = 400 << 20, 96 << 20
SHARED_MEMORY = Path("/dev/shm")
UNTIL_READY_S = 60.0
# Private mounts: what fills them hurts no other work on this machine.
_MOUNT = f"""
mount -t tmpfs -o size={SHARED_MEMORY_BYTES} tmpfs /dev/shm &&
mount -t tmpfs -o size={DISK_BYTES} tmpfs "$1" &&
echo mounted && exec sleep 3600
"""
Found = Callable[[psutil.Process], bool]


def until(condition: Callable[[], Any], what: str, within_s: float = UNTIL_READY_S, every_s: float = 0.01) -> Any:
    """Wait until a condition returns something true, and return it. Raises TimeoutError."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {within_s:g} s for {what}")
        time.sleep(every_s)
    return found


def free_ports() -> tuple[int, int]:
    """Return two ports that are free now. Tables that run at the same time begin to look at different places."""
    first = os.getpid() % len(PORTS)
    for port in [*PORTS[first:], *PORTS[:first]]:
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 1))
            return port, port + 1
    raise OSError(f"no two ports from {PORTS.start} to {PORTS.stop} are free")


def words(process: psutil.Process) -> list[str]:
    """Return the command line of a process; none when it is gone."""
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


@dataclass(slots=True)
class World:
    """This machine: hosts are processes of it. options: of `volley run`. engine: one of its own, else the machine's.

    folder: of this world; `runs` in it is a small disk of its own, and /dev/shm is one, too. ports: of target and service.
    """

    name: str
    folder: Path
    options: list[str] = field(default_factory=list)
    engine: OwnEngine | None = None
    environment: dict[str, str] = field(default_factory=dict)
    ports: tuple[int, int] = field(default_factory=lambda: free_ports())
    _mounts: subprocess.Popen[str] | None = None
    _foreign: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _container: str = ""

    def __enter__(self) -> World:
        """Mount the disks, and put the foreign things there."""
        self.disk_path().mkdir(parents=True)
        self._mounts = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", _MOUNT, "sh", str(self.disk_path())],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._mounts.stdout is not None
        assert self._mounts.stdout.readline() == "mounted\n"
        for decoy in self._decoys():
            decoy.mkdir()
        self._foreign.append(self._second_user([]))
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was put there."""
        for process in [*self._foreign, self._mounts]:
            if process is not None:
                process.kill()
                process.wait()
        if self._container:
            self._docker("rm", "-f", self._container)
        with contextlib.suppress(FileNotFoundError):  # it was removed: the row says so
            (Path(tempfile.gettempdir()) / DECOY).rmdir()

    # What is done in it

    def disk_path(self) -> Path:
        """Return the folder of runs as Volley sees it."""
        return self.folder / "runs"

    def disk(self) -> Path:
        """Return the folder of runs as this process sees it."""
        assert self._mounts is not None
        return Path(f"/proc/{self._mounts.pid}/root{self.disk_path()}")

    def shared_memory(self, place: str) -> Path:
        """Return /dev/shm of a place as this process sees it."""
        return self._memory_here()

    def _memory_here(self) -> Path:
        assert self._mounts is not None
        return Path(f"/proc/{self._mounts.pid}/root{SHARED_MEMORY}")

    def start(self, arguments: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        """Start the command volley in this world; its output and its errors are one stream."""
        assert self._mounts is not None
        # Entering the namespace changes the working directory.
        inside = ["nsenter", f"--mount=/proc/{self._mounts.pid}/ns/mnt", "sh", "-c", 'cd "$0" && exec "$@"', str(ROOT)]
        engine = {} if self.engine is None else {"DOCKER_HOST": self.engine.address}
        return subprocess.Popen(
            [*inside, *VOLLEY, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **engine, **self.environment, **environment},
            start_new_session=True,
        )

    # What runs there

    def processes(self, place: str, coordinator: int) -> Iterator[psutil.Process]:
        """Yield the processes of a run at a place, except those in containers. Here all places are one."""
        with contextlib.suppress(psutil.Error):
            yield from psutil.Process(coordinator).children(recursive=True)

    def of_container(self, port: int) -> list[psutil.Process]:
        """Return the processes of the container that has this port in its environment, the first one first."""
        mark, found = f"PORT={port}".encode(), []
        for pid in psutil.pids():
            with contextlib.suppress(OSError, psutil.Error):
                # docker-proxy, the docker command and Volley do not have it.
                if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.append(psutil.Process(pid))
        return sorted(found, key=lambda process: process.create_time())

    def switch_engine_on(self) -> None:
        """Start the engine of this world again after it was killed."""
        assert self.engine is not None
        self.engine.start()

    def engine_processes(self) -> list[psutil.Process]:
        """Return the daemon of this world's own engine."""
        assert self.engine is not None
        return [self.engine.process()]

    def clock(self) -> Clock:
        """Return the wall clock of the load host: here, that of all processes of a run that has one."""
        return Clock(self.folder / "clock")

    def clock_environment(self) -> dict[str, str]:
        """Return the variables of a coordinator whose clock can be stepped, where it has the load host's."""
        return Clock.environment(build(self.folder), self.clock().path)

    def link(self, place: str, on: bool) -> None:
        """Connect a host to the network, or disconnect it: processes of one machine cannot be."""
        raise LookupError(f"{self.name} has no network between {place} and the coordinator")

    # What is left

    def left(self, run: str) -> list[str]:
        """Return what the runs of a campaign have left: processes, containers, volumes, folders, leases."""
        mine = {process.pid for process in self._foreign}
        found = [f"process {p.pid} {' '.join(words(p))[:80]}" for p in sessions.processes() if p.pid not in mine]
        labelled = [*containers_here(), *volumes_here()] if self.engine is None else self.engine.labelled()
        found += [f"container {each.name}" for each in labelled if each.run.startswith(run)]
        folders = (self._memory_here(), Path(tempfile.gettempdir()))
        found += [f"{f}/{n}" for f in folders for n in os.listdir(f) if n.startswith("volley-") and n != DECOY]
        leases = Path(os.environ["VOLLEY_LEASES"])
        found += [str(path) for path in leases.glob("*.*")] if leases.exists() else []
        return found + [f"iptables {line}" for line in _rules() if f" {self.ports[0]} " in f"{line} "]

    def _decoys(self) -> list[Path]:
        return [Path(tempfile.gettempdir()) / DECOY, self._memory_here() / DECOY]

    def _second_user(self, inside: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a process of another user's run."""
        drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        return subprocess.Popen(
            [*inside, *drop, "sleep", "3600"],
            env={"PATH": os.environ["PATH"], "VOLLEY_RUN": THEIRS, sessions.VARIABLE: sessions.MINE},
        )

    def add_foreign_container(self, image: str) -> None:
        """Start a container of another run, once there is an image."""
        if not self._container:
            label = ["--label", f"volley.run={THEIRS}", "--network", "none"]
            self._container = self._docker("run", "-d", *label, "--entrypoint", "sleep", image, "3600").strip()

    def foreign_missing(self) -> list[str]:
        """Return the foreign things that are gone."""
        missing = [str(path) for path in self._decoys() if not path.is_dir()]
        missing += [f"process {process.args!r}" for process in self._foreign if process.poll() is not None]
        # An engine that was killed ends what ran there when it is started again.
        running = "-q" if self.engine is None else "-aq"
        if self._container and self._container not in self._docker("ps", running, "--no-trunc"):
            missing.append("container of another run")
        return missing

    def _docker(self, *arguments: str) -> str:
        address = {} if self.engine is None else {"DOCKER_HOST": self.engine.address}
        done = subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **address},
            check=False,
        )
        return done.stdout


def _rules() -> list[str]:
    return subprocess.run(
        ["iptables-save"], capture_output=True, text=True, timeout=20, check=False
    ).stdout.splitlines()


def end(pids: Sequence[int]) -> None:
    """Kill processes by id; those that are gone already are left."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
