"""Hold an h2load that has started up until the instant T0, then release it.

Three ways, the best one that the version of h2load supports: a full stdout pipe (h2load up to 1.69
blocks while it writes `starting benchmark...`), a FIFO as SSLKEYLOGFILE (1.70 and later block while
they open it), and a shell that executes h2load after a line of input (always works, but starts a
few milliseconds late). Agents are started early and confirm that they are blocked. T0 is awaited
with an absolute sleep and a short spin.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from agents.generators.h2load_version import Capabilities

_F_SETPIPE_SZ = 1031
_PAGE = 4096
SPIN_NS = 500_000
ASLEEP_S = 0.1


class Gate(Protocol):
    """One way to hold one process."""

    name: str

    def spawn(self, argv: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start the process; it runs up to the gate and blocks there. `output` has its output."""

    def blocked(self, pid: int) -> bool:
        """Return whether the kernel reports that the process waits at the gate."""

    def release(self) -> None:
        """Release the process, with a single system call."""

    def output(self) -> IO[bytes]:
        """Return stdout and stderr as one non-blocking stream."""

    def close(self) -> None:
        """Close the gate's descriptors and remove its files."""


def choose(can: Capabilities, folder: Path) -> Iterator[Gate]:
    """Yield the gates to try for a version of h2load, the best first. folder: the agent's own, empty.

    The last one holds any program, in case a build behaves differently from its version.
    """
    yield StdoutGate() if can.flushes_stdout else KeylogGate(folder)
    yield ExecGate()


# What /proc/PID/wchan contains for a running process, and on a hardened kernel for any process.
UNNAMED = ("", "0")
# Old kernels use this name for both ends of a pipe.
PIPE_WAIT = "pipe_wait"


class StdoutGate:
    """A full pipe of one page: the first line that h2load prints blocks it until the page is read."""

    name = "stdout-pipe"

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        fcntl.fcntl(self._write, _F_SETPIPE_SZ, _PAGE)
        os.set_blocking(self._write, False)
        self._filled = 0
        try:
            while True:
                self._filled += os.write(self._write, b"\n" * _PAGE)
        except BlockingIOError:
            pass
        os.set_blocking(self._write, True)

    def spawn(self, argv: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start h2load with the full pipe as stdout and stderr."""
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=self._write, stderr=self._write, env=environment
        )
        os.close(self._write)
        self._write = -1
        return process

    def blocked(self, pid: int) -> bool:
        """Return whether the process waits in a write to a pipe."""
        return _waits(pid, "pipe_write", "pipe_wait_writable", PIPE_WAIT)

    def release(self) -> None:
        """Empty the pipe and enlarge it to 1 MiB, so that h2load never has to wait for its reader again."""
        os.read(self._read, self._filled)
        fcntl.fcntl(self._read, _F_SETPIPE_SZ, 1 << 20)

    def output(self) -> IO[bytes]:
        """Return the read end, non-blocking."""
        os.set_blocking(self._read, False)
        return os.fdopen(self._read, "rb", buffering=0, closefd=False)

    def close(self) -> None:
        """Close both ends."""
        for end in (self._read, self._write):
            if end >= 0:
                os.close(end)
        self._read = self._write = -1


class KeylogGate:
    """A FIFO as SSLKEYLOGFILE: opening it for writing blocks until it is opened for reading.

    With https it receives session keys, which are never stored.
    """

    name = "keylog-fifo"

    def __init__(self, folder: Path) -> None:
        self._fifo = folder / "gate"
        os.mkfifo(self._fifo, 0o600)
        self._reader = -1
        self._out: IO[bytes] | None = None

    def spawn(self, argv: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start h2load with the FIFO as its key log."""
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environment, "SSLKEYLOGFILE": str(self._fifo)},
        )
        self._out = process.stdout
        return process

    def blocked(self, pid: int) -> bool:
        """Return whether the process waits for the FIFO's other end."""
        return _waits(pid, "fifo_open", "wait_for_partner")

    def release(self) -> None:
        """Open the other end."""
        self._reader = os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def output(self) -> IO[bytes]:
        """Return stdout and stderr as one non-blocking stream."""
        assert self._out is not None
        os.set_blocking(self._out.fileno(), False)
        return self._out

    def close(self) -> None:
        """Close the FIFO and remove it."""
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1
        if self._out is not None:
            self._out.close()
        self._fifo.unlink(missing_ok=True)


class ExecGate:
    """A shell that waits for a line and then becomes h2load: holds any program, but starts it a few ms late."""

    name = "exec"

    def __init__(self) -> None:
        self._stdin: IO[bytes] | None = None
        self._out: IO[bytes] | None = None

    def spawn(self, argv: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start the waiting shell."""
        process = subprocess.Popen(
            ["/bin/sh", "-c", 'read go && exec "$@" </dev/null', "sh", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        self._stdin, self._out = process.stdin, process.stdout
        return process

    def blocked(self, pid: int) -> bool:
        """Return whether the process waits in a read from a pipe."""
        return _waits(pid, "pipe_read", "pipe_wait_readable", PIPE_WAIT)

    def release(self) -> None:
        """Write the line that the shell waits for."""
        assert self._stdin is not None
        self._stdin.write(b"go\n")
        self._stdin.flush()

    def output(self) -> IO[bytes]:
        """Return stdout and stderr as one non-blocking stream."""
        assert self._out is not None
        os.set_blocking(self._out.fileno(), False)
        return self._out

    def close(self) -> None:
        """Close the pipes."""
        for end in (self._stdin, self._out):
            if end is not None:
                end.close()


def _waits(pid: int, *functions: str) -> bool:
    """Return whether a process sleeps in one of these kernel functions.

    A hardened kernel does not name them ('0'). A process then counts as waiting if it sleeps and is
    not scheduled for ASLEEP_S, which never happens while h2load starts up.
    """
    try:
        # A running process has no function either, so only a sleeping one is examined further.
        if _where(pid) in UNNAMED and _schedulings(pid) is None:
            return False
        if (where := _where(pid)) in UNNAMED:
            before = _schedulings(pid)
            time.sleep(ASLEEP_S)
            if before is None or before != _schedulings(pid):
                return False
            where = _where(pid)
        return where in UNNAMED or any(where == f if f == PIPE_WAIT else f in where for f in functions)
    except OSError:
        return False


def _where(pid: int) -> str:
    return Path(f"/proc/{pid}/wchan").read_text()


def _schedulings(pid: int) -> tuple[str, ...] | None:
    """Return the counts of how often a sleeping process was scheduled so far; None when it does not sleep."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    if not any(line.startswith("State:\tS") for line in lines):
        return None
    return tuple(line for line in lines if "ctxt_switches" in line)


def wait_until(realtime_ns: int) -> int:
    """Sleep until shortly before an instant of CLOCK_REALTIME, then spin; return the lateness in ns."""
    while (left := realtime_ns - time.time_ns()) > SPIN_NS:
        time.sleep((left - SPIN_NS) / 1e9)
    while (now := time.time_ns()) < realtime_ns:
        pass
    return now - realtime_ns
