"""A generator's process: what it printed, what CPU time it used, how it ended. The adapters start and hold it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from typing import IO

KILL_AFTER_S = 2.0
OUTPUT_BYTES = 1 << 16


class GeneratorProcess:
    """One process, from its start to its end. Every method can be called at any time, also before the start.

    output: what it prints, read without blocking; None where nothing can be read yet.
    """

    def __init__(self) -> None:
        self.cpu_us = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.output: IO[bytes] | None = None
        self._kept = bytearray()
        self._reaping = threading.Lock()

    @property
    def pid(self) -> int:
        """Return the process id; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def returncode(self) -> int | None:
        """Return the exit status, below 0 for a signal; None while it runs or before the start."""
        return self._process.returncode if self._process else None

    def started(self, process: subprocess.Popen[bytes], output: IO[bytes] | None) -> None:
        """Take over a process that was started, and forget the one before."""
        self._kept.clear()
        self._process, self.output = process, output

    def reap(self) -> bool:
        """Return whether the process is gone, and keep what CPU time it used."""
        process = self._process
        # The follower and whoever discards the agent may both ask; the kernel answers only once.
        with self._reaping:
            if process is None or process.returncode is not None:
                return True
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid == 0:
                return False
            process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu_us = round((usage.ru_utime + usage.ru_stime) * 1e6)
            return True

    def terminate(self) -> None:
        """End the process: by SIGTERM, and by SIGKILL when it still runs after KILL_AFTER_S."""
        if self._process is None or self.reap():
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + KILL_AFTER_S
            while not self.reap():
                # A program that prints into a full pipe would never see the signal through.
                self.read_output()
                if time.monotonic() > deadline:
                    self._process.kill()
                time.sleep(0.01)

    def read_output(self) -> None:
        """Keep the end of what it printed so far."""
        if self.output is None or self.output.closed:
            return
        with contextlib.suppress(OSError):
            while data := self.output.read(65536):
                self._kept += data
                del self._kept[: max(0, len(self._kept) - OUTPUT_BYTES)]

    @property
    def text(self) -> str:
        """Return the end of what it printed, up to OUTPUT_BYTES."""
        return self._kept.decode(errors="replace").lstrip("\n")

    def wait(self, wake: int, timeout_s: float) -> None:
        """Wait until the process has ended, the descriptor `wake` is readable, or the time is over."""
        waiter = select.poll()
        waiter.register(wake, select.POLLIN)
        try:
            process = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            waiter.register(process, select.POLLIN)
            waiter.poll(timeout_s * 1000)
        finally:
            os.close(process)
