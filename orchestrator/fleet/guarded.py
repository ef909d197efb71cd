"""The guard of a host, seen from the coordinator: started with a pipe that is held open for as long as the run lives."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from orchestrator.errors import HostError

CLEANED_WITHIN_S = 20.0


class LocalGuard:
    """The guard on this machine. Its standard input is the lease: when this process ends, however it ends, it closes."""

    def __init__(self, run: str, folder: Path, command: list[str], environment: dict[str, str]) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "agents.guard", "--run", run, "--folder", str(folder), "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            # A session of its own: a Ctrl-C is for the coordinator, which then closes the pipe.
            start_new_session=True,
        )

    def require_alive(self) -> None:
        """Raise HostError when the guard is gone."""
        if self._process.poll() is not None:
            raise HostError("the guard of this host ended early", f"look into {self._folder} or run 'volley doctor'")

    def log(self) -> str:
        """Give the end of what the Ray node printed."""
        with contextlib.suppress(OSError):
            return (self._folder / "node.log").read_text(errors="replace")[-600:]
        return ""

    def close(self) -> bool:
        """Let the guard clean up and wait for it; say whether it did within CLEANED_WITHIN_S."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=CLEANED_WITHIN_S)
        except subprocess.TimeoutExpired:
            return False
        return True
