"""The guard of a run whose hosts are processes of this machine: agents.guard without a node, at the end of a pipe."""

from __future__ import annotations

import json
import subprocess
import sys

from agents.lease import Lease
from agents.orders import GuardEventKind, Order
from agents.records import to_plain
from orchestrator.fleet.spawn import own_code

CLEANED_WITHIN_S = 60.0


class GuardHere:
    """Ends and removes everything of a run on this machine when this process closes the pipe, or dies."""

    def __init__(self, run: str, containers: bool, lease: Lease) -> None:
        """Start the guard. containers: whether the run has any; lease: its lease here, which the guard takes over.

        Raise OSError.
        """
        self._lease = lease
        self._process = subprocess.Popen(
            # Only the standard library is needed, so site-packages are left out: 20 ms less.
            [sys.executable, "-S", "-m", "agents.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=own_code(),
            start_new_session=True,
            pass_fds=[lease.descriptor],
        )
        order = Order(run, [], {}, "", "", containers=containers, descriptor=lease.descriptor, lease=str(lease.path))
        assert self._process.stdin is not None
        # It is in the pipe even if the guard is still starting when this process dies.
        self._process.stdin.write(json.dumps(to_plain(order)).encode() + b"\n")
        self._process.stdin.flush()

    def close(self) -> bool:
        """Have the guard clean up and exit; return whether it did in time. Can be called once."""
        try:
            output, _ = self._process.communicate(timeout=CLEANED_WITHIN_S)
        except subprocess.TimeoutExpired:
            return False  # it continues without us
        finally:
            # Until here both hold it: a guard that is killed does not free the machine for others.
            self._lease.close()
        events = [json.loads(line)["event"] for line in output.splitlines()]
        return GuardEventKind.CLEANED in events and GuardEventKind.TROUBLE not in events
