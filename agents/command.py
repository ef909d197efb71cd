"""A command of the campaign on this host, before or after a trial."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from typing import Any

from agents.guard import RUN_VARIABLE

# What is kept of what it prints.
OUTPUT_BYTES = 2000


class Commands:
    """A host that runs commands."""

    def command(self, script: str, variables: dict[str, str], run: str, timeout_s: float) -> dict[str, Any]:
        """Run a script by sh to its end, or end it and its children after timeout_s.

        Gives status (None: ended by us), lasted_us and the end of what it printed. What it leaves running in the background
        goes with the run.
        """
        began = time.monotonic_ns()
        # A file and no pipe: a child in the background may keep it open.
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                ["sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **variables, RUN_VARIABLE: run},
                start_new_session=True,
            )
            status: int | None = None
            try:
                status = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            said = output.seek(0, os.SEEK_END)
            output.seek(max(0, said - OUTPUT_BYTES))
            text = output.read().decode(errors="replace")
        return {"status": status, "lasted_us": (time.monotonic_ns() - began) // 1000, "output": text}
