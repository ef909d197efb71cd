"""Hold an h2load that is fully started until the instant T0, then let it go.

Three ways, the best that the version offers: a full stdout pipe (h2load up to 1.69 blocks in writing `starting
benchmark...`), a FIFO as SSLKEYLOGFILE (1.70 and later block in opening it), and a shell that executes h2load on a line
of input (always right, and a few milliseconds later). Agents are started early, each is seen to be blocked, and T0 is
awaited by an absolute sleep and a short spin.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from agents.h2load import Capabilities

_F_SETPIPE_SZ = 1031
_PAGE = 4096
SPIN_NS = 500_000
ASLEEP_S = 0.1


class Gate(Protocol):
    """One way of holding one process."""

    name: str

    def spawn(self, argv: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start the process; it runs up to the gate and blocks there. Its output comes on `output`."""

    def blocked(self, pid: int) -> bool:
        """Say whether the process is seen to wait at the gate."""

    def release(self) -> None:
        """Let it go: a single system call."""

    def output(self) -> IO[bytes]:
        """Give stdout and stderr together, non-blocking."""

    def close(self) -> None:
        """Give back what the gate holds."""


def choose(can: Capabilities, folder: Path) -> Iterator[Gate]:
    """Give the gates to try for a version of h2load, the best first; `folder` is the agent's own and empty.

    The last one holds anything: for a build that does not do what its version does.
    """
    yield StdoutGate() if can.flushes_stdout else KeylogGate(folder)
    yield ExecGate()


# What the kernel says of a process that runs, or of any when it is hardened; and what old ones say of both ends of a pipe.
UNNAMED = ("", "0")
PIPE_WAIT = "pipe_wait"


class StdoutGate:
    """A pipe of one page, full: the first line that h2load prints blocks it until the page is read."""

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
        """Look whether the kernel has it waiting in a write to a pipe."""
        return _waits(pid, "pipe_write", "pipe_wait_writable", PIPE_WAIT)

    def release(self) -> None:
        """Empty the pipe, and make it as large as pipes get: h2load must never wait for us again."""
        os.read(self._read, self._filled)
        fcntl.fcntl(self._read, _F_SETPIPE_SZ, 1 << 20)

    def output(self) -> IO[bytes]:
        """Give the read end, non-blocking."""
        os.set_blocking(self._read, False)
        return os.fdopen(self._read, "rb", buffering=0, closefd=False)

    def close(self) -> None:
        """Close both ends."""
        for end in (self._read, self._write):
            if end >= 0:
                os.close(end)
        self._read = self._write = -1


class KeylogGate:
    """A FIFO named in SSLKEYLOGFILE: opening it for writing blocks until somebody opens it for reading.

    With https it would receive session keys: they are read and thrown away, never stored.
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
        """Look whether the kernel has it waiting for the FIFO's other end."""
        return _waits(pid, "fifo_open", "wait_for_partner")

    def release(self) -> None:
        """Open the other end."""
        self._reader = os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def output(self) -> IO[bytes]:
        """Give stdout and stderr, non-blocking; throws away what came into the key log."""
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
    """A shell that waits for a line and then becomes h2load: works with anything, and starts a few ms late."""

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
        """Look whether the kernel has it waiting in a read from a pipe."""
        return _waits(pid, "pipe_read", "pipe_wait_readable", PIPE_WAIT)

    def release(self) -> None:
        """Write the line."""
        assert self._stdin is not None
        self._stdin.write(b"go\n")
        self._stdin.flush()

    def output(self) -> IO[bytes]:
        """Give stdout and stderr, non-blocking."""
        assert self._out is not None
        os.set_blocking(self._out.fileno(), False)
        return self._out

    def close(self) -> None:
        """Close the pipes."""
        for end in (self._stdin, self._out):
            if end is not None:
                end.close()


def _waits(pid: int, *functions: str) -> bool:
    """Say whether a process sleeps in one of these kernel functions.

    A hardened kernel does not name them ('0'): then a process counts as waiting when it sleeps and is not once scheduled
    for ASLEEP_S, which no h2load that still starts up does.
    """
    try:
        # A process that runs has no function to name either; so look at it again once it sleeps.
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
    """Give how often a sleeping process was scheduled so far; None when it does not sleep."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    if not any(line.startswith("State:\tS") for line in lines):
        return None
    return tuple(line for line in lines if "ctxt_switches" in line)


def wait_until(realtime_ns: int) -> int:
    """Sleep until shortly before an instant of CLOCK_REALTIME, spin to it, and give the lateness in ns."""
    while (left := realtime_ns - time.time_ns()) > SPIN_NS:
        time.sleep((left - SPIN_NS) / 1e9)
    while (now := time.time_ns()) < realtime_ns:
        pass
    return now - realtime_ns
