"""The guard of a run whose hosts are processes of this machine: agents.guard without a node, at the end of a pipe."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable

from agents.guard import GuardEventKind, Order
from agents.records import to_plain
from orchestrator.fleet.spawn import own_code

CLEANED_WITHIN_S = 60.0


class GuardHere:
    """Ends and removes everything of a run on this machine when this process closes the pipe, or dies."""

    def __init__(self, run: str, marks: Iterable[str], containers: bool) -> None:
        """Start the guard. marks: further values of VOLLEY_RUN in the run's processes; containers: whether it has any.

        Raise OSError.
        """
        self._process = subprocess.Popen(
            # Only the standard library is needed, so site-packages are left out: 20 ms less.
            [sys.executable, "-S", "-m", "agents.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=own_code(),
            start_new_session=True,
        )
        order = Order(run, [], {}, "", "", marks=list(marks), containers=containers)
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
        events = [json.loads(line)["event"] for line in output.splitlines()]
        return GuardEventKind.CLEANED in events and GuardEventKind.TROUBLE not in events
