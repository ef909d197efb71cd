"""The guard of a run whose hosts are processes of this machine: agents.guard without a node, at the end of a pipe."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading

from agents.lease import Lease
from agents.orders import GuardEventKind, Order
from agents.records import to_plain
from agents.sweep import clean
from orchestrator.fleet.spawn import own_code

CLEANED_WITHIN_S = 60.0
# A guard that ends again and again cannot run here. This process cleans up at the end, as it does without any guard.
MOST_STARTS = 5


class GuardHere:
    """Ends and removes everything of a run on this machine when this process closes the pipe, or dies.

    A guard that is killed is replaced at once: the run goes on, and its numbers are not touched.
    """

    def __init__(self, run: str, containers: bool, lease: Lease) -> None:
        """Start the guard. containers: whether the run has any; lease: its lease here, which the guard takes over.

        Raise OSError.
        """
        self._run, self._containers, self._lease = run, containers, lease
        # Why something could not be removed, once it was closed.
        self.trouble = ""
        self._changing = threading.Lock()
        self._closing = False
        self._process = self._start()
        threading.Thread(target=self._replace_killed, name="guard", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id of the guard."""
        return self._process.pid

    def _start(self) -> subprocess.Popen[bytes]:
        lease = self._lease
        process = subprocess.Popen(
            # Only the standard library is needed, so site-packages are left out: 20 ms less.
            [sys.executable, "-S", "-m", "agents.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=own_code(),
            start_new_session=True,
            pass_fds=[lease.descriptor],
        )
        order = Order(
            self._run,
            [],
            {},
            "",
            "",
            containers=self._containers,
            descriptor=lease.descriptor,
            lease=str(lease.path),
        )
        assert process.stdin is not None
        # It is in the pipe even if the guard is still starting when this process dies.
        with contextlib.suppress(BrokenPipeError):  # it was killed already
            process.stdin.write(json.dumps(to_plain(order)).encode() + b"\n")
            process.stdin.flush()
        return process

    def _replace_killed(self) -> None:
        for _ in range(MOST_STARTS):
            self._process.wait()
            with self._changing:
                if self._closing:
                    return
                killed = self._process
                with contextlib.suppress(OSError):  # this machine can start nothing now
                    self._process = self._start()
            if killed is self._process:
                return
            _close_pipes(killed)

    def close(self) -> bool:
        """Have the guard clean up and exit; return whether it did in time. Can be called once."""
        with self._changing:
            self._closing = True
        process = self._process
        try:
            output, _ = process.communicate(timeout=CLEANED_WITHIN_S)
            events = {event["event"]: event for event in map(json.loads, output.splitlines())}
            if GuardEventKind.TROUBLE in events:
                self.trouble = events[GuardEventKind.TROUBLE]["detail"]
            elif GuardEventKind.CLEANED not in events:
                # It was killed, and this process still has the lease.
                _, self.trouble = clean(self._lease, self._containers)
        except subprocess.TimeoutExpired:
            return False  # it continues without us
        finally:
            # Until here both hold it: a guard that is killed does not free the machine for others.
            self._lease.close()
        return not self.trouble


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with contextlib.suppress(OSError):
            pipe.close()
