"""One run of a program under the conformance check: start it, hold it, release it, end it, and read what it left."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from time import monotonic_ns

import numpy as np

from agents.clock import wall_minus_monotonic_ns
from agents.generators.conformance_server import Receipt, Server
from agents.generators.contract import (
    READY,
    BadMessage,
    GeneratorSummary,
    GeneratorTask,
    format_go,
    format_task,
    parse_summary,
)
from agents.generators.contract_log import parse_lines
from agents.requestlog import parse
from agents.rows import MalformedRow, Rows

HOLD_S = 0.1
AHEAD_NS = 150_000_000
BUSY_WITHIN_S = 3.0
BUSY_REQUESTS = 8
# A load bound by a number of requests has no end in time.
COUNT_WITHIN_S = 10.0
_WAIT_S = 0.005
_UNKNOWN = {"a_later_field": {"nested": [1, None]}, "another": True}


class NotStarted(RuntimeError):
    """The program could not be started, or refused every load. The message says why."""


class Ending(Enum):
    """What ends a run: its duration or count, SIGTERM, the end of its input, or the end of its input before `go`."""

    BY_ITSELF = "by itself"
    SIGTERM = "SIGTERM"
    INPUT_CLOSED = "input closed"
    NEVER_RELEASED = "input closed before go"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a program may take: to print `ready`, and to exit after the end of its load or when it is told to."""

    ready_s: float = 10.0
    exit_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run left. Instants are ns of the monotonic clock.

    not_ready: why it was not released, empty when it was. refused: it exited non-zero before it was ready. exit_status is
    None when it had to be killed. end_ns: when it had to end. closed_ns: when it was seen to have ended. wall_ns: wall
    clock minus monotonic clock. left_over: processes that it started and that outlived it. leaked: where a secret was.
    """

    task: GeneratorTask
    not_ready: str = ""
    refused: bool = False
    ready_s: float = 0.0
    go_ns: int = 0
    t0_ns: int = 0
    end_ns: int = 0
    closed_ns: int = 0
    wall_ns: int = 0
    exit_status: int | None = None
    rows: Rows | None = None
    malformed: str = ""
    summary: GeneratorSummary | None = None
    no_summary: str = ""
    receipts: tuple[Receipt, ...] = ()
    most_open: int = 0
    row_after_s: float | None = None
    left_over: tuple[str, ...] = ()
    leaked: tuple[str, ...] = ()


class Running:
    """The program's process and pipes."""

    def __init__(self, argv: list[str], folder: Path) -> None:
        """Start it in an empty folder. Raise NotStarted when that is not possible."""
        self.log = folder / "log"
        self._work = folder / "work"
        self._work.mkdir()
        self._stderr = folder / "stderr"
        self.said = bytearray()
        with self._stderr.open("wb") as stderr:
            try:
                # A session of its own, so that everything that it starts can be ended with it.
                self.process = subprocess.Popen(
                    argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    cwd=self._work,
                    start_new_session=True,
                )
            except OSError as error:
                raise NotStarted(f"'{argv[0]}' could not be started: {error.strerror}") from None
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)

    def write(self, line: str) -> None:
        """Write a line to its input; a program that has ended is noticed elsewhere."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def close_input(self) -> None:
        """End its input."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def wait(self, until: Callable[[], bool], within_s: float) -> bool:
        """Wait for a condition while reading what it prints; return whether it came true in time."""
        deadline = time.monotonic() + within_s
        while not until():
            if time.monotonic() > deadline:
                return False
            self._read(_WAIT_S)
        return True

    def _read(self, wait_s: float) -> None:
        """Read what it has printed, or wait a moment."""
        output = self.process.stdout
        assert output is not None
        select.select([output], [], [], wait_s)
        data = output.read()
        if data:
            self.said += data
        elif data is not None:
            time.sleep(wait_s)  # it has closed its output

    @property
    def ended(self) -> bool:
        """Return whether the process has exited; what it has printed is complete then."""
        if self.process.poll() is None:
            return False
        self._read(0)
        return True

    @property
    def ready(self) -> bool:
        """Return whether it has printed the line `ready`."""
        return READY in self.said.decode(errors="replace").split("\n")[:-1]

    @property
    def errors(self) -> str:
        """Return what it wrote to standard error."""
        return self._stderr.read_text(errors="replace")

    @property
    def last_error(self) -> str:
        """Return the last line of standard error, shortened."""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it printed nothing on standard error"

    def kill(self) -> None:
        """End it and everything in its session, and close its pipes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.close_input()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def others(self) -> dict[int, str]:
        """Return the other processes of its session with their arguments and environment."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid and int(entry.name) != self.process.pid and fields[0] != "Z":
                    texts = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                    found[int(entry.name)] = texts.decode(errors="replace")
        return found


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: its task without a log, the server that it meets (None: nothing listens), and what ends it."""

    task: GeneratorTask
    server: Server | None = None
    ending: Ending = Ending.BY_ITSELF
    unknown_fields: bool = False
    secret: str = ""


def carry_out(plan: Plan, argv: list[str], limits: Limits) -> Outcome:
    """Run the program once. Raise NotStarted when it cannot be started."""
    with tempfile.TemporaryDirectory(prefix="volley-check-") as name:
        folder = Path(name)
        task = replace(plan.task, log=str(folder / "log"))
        running = Running(argv, folder)
        try:
            running.write(_task_line(task, plan.unknown_fields))
            return _follow(plan, Outcome(task), running, limits)
        finally:
            running.kill()


def _task_line(task: GeneratorTask, unknown_fields: bool) -> str:
    line = format_task(task)
    return json.dumps(json.loads(line) | _UNKNOWN) if unknown_fields else line


def _follow(plan: Plan, outcome: Outcome, running: Running, limits: Limits) -> Outcome:
    begun = time.monotonic()
    seen = running.wait(lambda: running.ready or running.ended, limits.ready_s)
    outcome = replace(outcome, ready_s=time.monotonic() - begun)
    if not running.ready:
        status = running.process.poll()
        why = f"exited with status {status} before 'ready': {running.last_error}"
        why = why if seen else f"no line 'ready' on standard output after {limits.ready_s:g} s"
        return replace(outcome, not_ready=why, refused=status not in (None, 0))
    # What it sends although it was not released must have time to arrive.
    running.wait(lambda: running.ended, HOLD_S)
    wall_ns = wall_minus_monotonic_ns()
    go_ns = monotonic_ns()
    outcome = replace(outcome, go_ns=go_ns, t0_ns=go_ns + AHEAD_NS, wall_ns=wall_ns)
    if plan.ending is not Ending.NEVER_RELEASED:
        running.write(format_go(outcome.t0_ns + wall_ns))
    outcome = _end(plan, outcome, running, limits)
    return _read_all(plan, outcome, running)


def _end(plan: Plan, outcome: Outcome, running: Running, limits: Limits) -> Outcome:
    """Wait for the end of the load, or order it, and see the program exit."""
    if plan.ending is Ending.BY_ITSELF:
        duration_us = plan.task.duration_us
        length_s = COUNT_WITHIN_S if duration_us is None else duration_us / 1e6
        end_ns = outcome.t0_ns + int(length_s * 1e9)
        running.wait(lambda: running.ended, (end_ns - monotonic_ns()) / 1e9 + limits.exit_s)
        others: dict[int, str] = {}
    else:
        outcome = _until_busy(plan, outcome, running)
        others = running.others()
        end_ns = monotonic_ns()
        if plan.ending is Ending.SIGTERM:
            running.process.terminate()
        else:
            running.close_input()
        running.wait(lambda: running.ended, limits.exit_s)
    left = running.others()
    return replace(
        outcome,
        end_ns=end_ns,
        closed_ns=monotonic_ns(),
        exit_status=running.process.poll(),
        left_over=tuple(text.replace("\0", " ")[:60] for pid, text in left.items() if pid in others or not others),
        leaked=("the arguments or environment of a process that it started",)
        if plan.secret and any(plan.secret in text for text in others.values())
        else (),
    )


def _until_busy(plan: Plan, outcome: Outcome, running: Running) -> Outcome:
    """Wait until requests have arrived and a row is in the log, or that has taken too long."""
    server = plan.server
    if server is None or plan.ending is Ending.NEVER_RELEASED:
        return outcome
    running.wait(lambda: len(server.receipts) >= BUSY_REQUESTS or running.ended, BUSY_WITHIN_S)
    first_ns = min((receipt.ended_ns for receipt in server.receipts), default=monotonic_ns())

    def logged() -> bool:
        return running.log.exists() and b"\n" in running.log.read_bytes()

    if running.wait(lambda: logged() or running.ended, BUSY_WITHIN_S) and logged():
        return replace(outcome, row_after_s=max(0.0, (monotonic_ns() - first_ns) / 1e9))
    return outcome


def _read_all(plan: Plan, outcome: Outcome, running: Running) -> Outcome:
    """Add the rows, the summary and the server's record."""
    rows, malformed = _read_rows(running.log)
    lines = [line for line in running.said.decode(errors="replace").splitlines() if line.strip()]
    summary, no_summary = None, "nothing on standard output after 'ready'"
    if lines and lines[-1] != READY:
        try:
            summary, no_summary = parse_summary(lines[-1]), ""
        except BadMessage as error:
            no_summary = f"the last line of standard output is not a summary: {error}"
    places = {"standard output": running.said.decode(errors="replace"), "standard error": running.errors}
    leaked = tuple(place for place, text in places.items() if plan.secret and plan.secret in text)
    receipts = tuple(plan.server.receipts) if plan.server else ()
    return replace(
        outcome,
        rows=rows,
        malformed=malformed,
        summary=summary,
        no_summary=no_summary,
        receipts=receipts,
        most_open=plan.server.most_open if plan.server else 0,
        leaked=outcome.leaked + leaked,
    )


def _read_rows(log: Path) -> tuple[Rows, str]:
    """Return the rows of a log, and what is wrong with it: then there are no rows."""
    data = log.read_bytes() if log.exists() else b""
    nothing = np.zeros(0, dtype=np.int64)
    none = Rows(nothing, nothing, nothing, nothing, nothing)
    if data and not data.endswith(b"\n"):
        return none, f"the log ends in an incomplete line: {data.splitlines()[-1][:60]!r}"
    try:
        return parse(data, lines=parse_lines), ""
    except MalformedRow as error:
        return none, str(error)
