"""The standby of a guard: it cleans this host up where the guard was killed.

    python -m agents.standby LEASE DESCRIPTOR [--containers]

A guard that is killed cannot end what it guards. So each guard has this process beside it, which holds the same lease
(the file LEASE, locked through the inherited DESCRIPTOR). Standard input is a pipe from the guard. One byte means that
the guard has cleaned up. An end without it means that the guard was killed: everything that the lease lists is then
ended and removed here, and so is what the runs have left that had begun on the guard's node.

It has a name and a session of its own, so that what ends the guard does not end it, too. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from agents.lease import Lease
from agents.sweep import clean, sweep

CONTAINERS = "--containers"
DONE = b"."
GONE_WITHIN_S = 2.0


class Standby:
    """The standby of this process, as the guard sees it."""

    def __init__(self, lease: Lease, containers: bool) -> None:
        """Start it. containers: whether the run can have any. Raises OSError."""
        self._lease, self._containers = lease, containers
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-S", "-m", "agents.standby", str(self._lease.path), str(self._lease.descriptor)]
        process = subprocess.Popen(
            [*argv, *([CONTAINERS] if self._containers else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).resolve().parent.parent,
            # The guard's own standard streams are the coordinator's channel, which must end with the guard.
            pass_fds=[self._lease.descriptor],
            start_new_session=True,
        )
        self._lease.name_standby(process.pid)
        return process

    def ensure(self) -> None:
        """Start another one if it was killed."""
        if self._process.poll() is not None:
            self._close()
            self._process = self._start()

    def _close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def dismiss(self) -> None:
        """Have it exit without doing anything: the guard has cleaned up."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(DONE)
            self._process.stdin.close()
        except OSError:
            return  # it was killed
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GONE_WITHIN_S)


def main() -> int:
    """Wait for the guard's end; clean up unless the guard did."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    path, descriptor = Path(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(descriptor, False)
    if os.read(0, 1) == DONE:
        return 0
    # Read now: its marks may have changed since the start.
    clean(Lease.adopt(path, descriptor), CONTAINERS in sys.argv[3:])
    sweep()
    return 0


if __name__ == "__main__":
    sys.exit(main())
