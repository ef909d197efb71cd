"""A program that follows the generator contract: `paced`, or a user's own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from agents.generators.adapter import Account, NotArmed
from agents.generators.contract import READY, BadMessage, GeneratorTask, Protocol, format_go, format_task, parse_summary
from agents.generators.contract_log import parse_lines
from agents.generators.process import GeneratorProcess
from agents.records import GeneratorKind
from agents.requestlog import Parse

READY_WITHIN_S = 10.0
PACED = (sys.executable, "-m", "agents.generators.paced")
OWN = {
    GeneratorKind.PACED: PACED,
    GeneratorKind.WEBSOCKET: (sys.executable, "-m", "agents.generators.websocket"),
}
SPOKEN = {Protocol.HTTP1: "http/1.1", Protocol.HTTP2: "h2", Protocol.WEBSOCKET: "websocket"}
_STDERR_BYTES = 4000


class Program:
    """Runs one program on one task. The task goes to its standard input: headers can be secrets."""

    def __init__(
        self, name: str, argv: list[str], task: GeneratorTask, folder: Path, environment: dict[str, str]
    ) -> None:
        """name: for messages. folder: the agent's own, where the program works."""
        self.process = GeneratorProcess()
        self.version = ""
        self._name, self._argv, self._task, self._environment = name, argv, task, environment
        self._folder = folder
        self._stdin: IO[bytes] | None = None
        self._stdout: IO[bytes] | None = None
        # Standard error, in memory: a program whose log found no room must still be able to say so.
        self._stderr: int | None = None
        self._said_at_last = b""

    @property
    def parse(self) -> Parse:
        """Return what reads the rows of its log."""
        return parse_lines

    @property
    def gate(self) -> str:
        """Return the name of what holds it: it reads a line of input."""
        return "contract"

    def arm(self) -> None:
        """Start the program, write the task, and wait until it prints `ready`.

        Raises NotArmed, with nothing left running.
        """
        working = self._folder / "work"
        working.mkdir(exist_ok=True)
        try:
            self._stderr = os.memfd_create("stderr", os.MFD_CLOEXEC)
            process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=self._environment,
                cwd=working,
            )
        except OSError as error:
            raise NotArmed(f"{self._name} could not be started: {error.strerror}: {self._argv[0]}") from None
        self._stdin, self._stdout = process.stdin, process.stdout
        assert self._stdout is not None
        os.set_blocking(self._stdout.fileno(), False)
        self.process.started(process, self._stdout)
        self._write(format_task(self._task) + "\n")
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while READY not in self.process.text.split("\n")[:-1]:
            gone = self.process.reap()
            self.process.read_output()
            if READY in self.process.text.split("\n")[:-1]:
                return
            if gone:
                raise NotArmed(f"{self._name} ended before it was ready: {self._said()}")
            if time.monotonic() > deadline:
                self.process.terminate()
                raise NotArmed(f"{self._name} did not print '{READY}' within {READY_WITHIN_S:g} s: {self._said()}")
            time.sleep(0.002)

    def _said(self) -> str:
        lines = [line for line in self.stderr().splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it printed nothing on standard error"

    def stderr(self) -> str:
        """Return the end of what it printed on standard error."""
        said = self._said_at_last
        if self._stderr is not None:
            said = os.pread(self._stderr, _STDERR_BYTES, max(0, os.fstat(self._stderr).st_size - _STDERR_BYTES))
        return said.decode(errors="replace")

    def announce(self, t0_ns: int) -> None:
        """Write T0; the program waits for it by itself."""
        self._write(format_go(t0_ns) + "\n")

    def _write(self, line: str) -> None:
        assert self._stdin is not None
        # A program that has ended is reported for that, not for its closed pipe.
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(line.encode())
            self._stdin.flush()

    def release(self) -> None:
        """Do nothing: the program knows T0."""

    def account(self) -> Account:
        """Return the summary that it printed on its last line; not complete where there is none."""
        lines = [line for line in self.process.text.splitlines() if line.strip()]
        try:
            said = parse_summary(lines[-1] if lines else "")
        except BadMessage:
            return Account(complete=False)
        return Account(
            complete=True,
            total=said.planned,
            started=said.sent,
            done=said.rows,
            errored=sum(said.failed.values()),
            protocol=SPOKEN[self._task.protocol],
            body_bytes=said.bytes_body,
            waited_for_slot=said.waited_for_slot,
            connects=said.connects,
            most_connections=said.most_connections,
            retried=said.retried,
            rows_taken=said.rows_taken,
            checked=said.checked,
            unexpected=said.unexpected,
            examples=said.examples,
            handshakes=said.handshakes,
        )

    def close(self) -> None:
        """Close its pipes; the end of its input ends a program that follows the contract. What it said is kept."""
        if self._stderr is not None:
            self._said_at_last = self.stderr().encode()
            os.close(self._stderr)
            self._stderr = None
        for end in (self._stdin, self._stdout):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.close()
