"""h2load as a generator of the contract: held at a gate of its own, its log and its summary read in their own formats."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agents import gate as gates
from agents.generators.adapter import Account, NotArmed
from agents.generators.h2load import command
from agents.generators.h2load_log import parse_lines
from agents.generators.h2load_output import parse_output
from agents.generators.h2load_version import Capabilities
from agents.generators.process import GeneratorProcess
from agents.records import Assignment
from agents.requestlog import Parse

BLOCKED_WITHIN_S = 10.0
_SHOWN_CHARACTERS = 300


class HeldH2load:
    """Runs one h2load for one assignment."""

    def __init__(
        self,
        task: Assignment,
        can: Capabilities,
        program: str,
        log: Path,
        folder: Path,
        environment: dict[str, str],
    ) -> None:
        """folder: the agent's own and empty, for the gate, URL and body. log: where h2load writes its rows."""
        self.process = GeneratorProcess()
        self.version = f"{can.version[0]}.{can.version[1]}"
        self._task, self._can, self._program = task, can, program
        self._log, self._folder, self._environment = log, folder, environment
        self._gate: gates.Gate | None = None

    @property
    def parse(self) -> Parse:
        """Return what reads the rows of its log."""
        return parse_lines

    @property
    def gate(self) -> str:
        """Return the name of the gate in use; '' before arm()."""
        return self._gate.name if self._gate else ""

    def arm(self) -> None:
        """Start h2load and see it blocked at the best gate that this build stops at.

        Raises NotArmed when there is none, with nothing left running, and ValueError for what this h2load cannot do.
        """
        body_file = None
        if self._task.body:
            body_file = self._folder / "body"
            body_file.write_bytes(self._task.body)
        # A path or a query can hold a secret.
        url_file = self._folder / "url"
        url_file.write_text(f"{self._task.url}\n")
        argv = command(
            self._task,
            self._can,
            str(self._log),
            None if body_file is None else str(body_file),
            self._program,
            str(url_file),
        )
        for gate in gates.choose(self._can, self._folder):
            if self._held_by(gate, argv):
                return
        raise NotArmed(self._not_held())

    def _not_held(self) -> str:
        return f"agent {self._task.agent}: h2load did not wait at the gate ({self.gate}): {self._end_and_read()}"

    def _held_by(self, gate: gates.Gate, argv: list[str]) -> bool:
        """Start h2load and return whether it blocks; False: this build does not stop at this gate, and was ended.

        Raises NotArmed when it ended with an error of its own.
        """
        if self._gate is not None:
            self._end_and_read()
            self._gate.close()
            self._log.unlink(missing_ok=True)
        self._gate = gate
        process = gate.spawn(argv, self._environment)
        self.process.started(process, None)
        if self._task.core is not None:
            os.sched_setaffinity(process.pid, {self._task.core})
        deadline = time.monotonic() + BLOCKED_WITHIN_S
        while not gate.blocked(process.pid):
            if self.process.reap():
                if self.process.returncode != 0:
                    raise NotArmed(self._not_held())
                return False
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        # Blocked with rows in its log, it waits to print its summary: the load is over already.
        return not (self._log.exists() and self._log.stat().st_size)

    def _end_and_read(self) -> str:
        """End what did not stop at the gate and return the end of what it printed."""
        assert self._gate is not None
        self._gate.release()
        self.process.output = self._gate.output()
        self.process.terminate()
        self.process.read_output()
        return self.process.text.strip()[-_SHOWN_CHARACTERS:] or "it printed nothing"

    def announce(self, t0_ns: int) -> None:
        """Do nothing: h2load is let go at T0."""

    def release(self) -> None:
        """Let h2load go, now: a single system call."""
        assert self._gate is not None
        self._gate.release()
        self.process.output = self._gate.output()

    def account(self) -> Account:
        """Return what h2load's output says; not complete without a summary, whatever its exit status."""
        said = parse_output(self.process.text)
        if said.summary is None:
            return Account(
                complete=False,
                request_failures=said.request_failures,
                failed_connects=said.failed_connects,
                protocol=said.protocol,
            )
        return Account(
            complete=True,
            total=said.summary.total,
            started=said.summary.started,
            done=said.summary.done,
            errored=said.summary.errored,
            request_failures=said.request_failures,
            failed_connects=said.failed_connects,
            protocol=said.protocol,
            body_bytes=said.summary.bytes_data,
        )

    def stderr(self) -> str:
        """Return nothing: h2load's standard error is part of its output."""
        return ""

    def close(self) -> None:
        """Close the gate."""
        if self._gate is not None:
            self._gate.close()
