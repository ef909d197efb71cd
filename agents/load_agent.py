"""One agent: one h2load process, held at the gate, released, followed through its log, ended if it does not end."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import numpy as np

from agents import gate as gates
from agents import h2load, processes
from agents.clock import StepWatch
from agents.guard import RUN_VARIABLE
from agents.h2load import Capabilities, Drive
from agents.recorder import Recorder, Window
from agents.records import AgentFacts, Assignment, Ended
from agents.requestlog import LogTail
from agents.rows import MalformedRow, Rows
from agents.schedule import OpenLoad, Scheduled, reconstruct
from agents.wire import AgentResult

# The log is read once a second: more often costs h2load cores that it may need, and nothing is gained.
# That h2load has ended is noticed at once all the same.
POLL_S = 1.0
KILL_AFTER_S = 2.0
BLOCKED_WITHIN_S = 10.0
OUTPUT_BYTES = 1 << 16
# A load that is over sooner says nothing about the share of a core that it took.
SHORTEST_US = 200_000


class NotArmed(RuntimeError):
    """h2load did not reach the gate: says what it printed."""


def scratch_root() -> Path:
    """Where request logs go: memory, so that writing them costs no disk access; the system's own choice where it is not."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())


class LoadAgent:
    """Runs one assignment. arm(), then open_gate() at T0, then follow() in a thread of its own, then result()."""

    def __init__(self, assignment: Assignment, can: Capabilities, program: str = "h2load") -> None:
        self.assignment = assignment
        self.rows = 0
        self._can = can
        self._program = program
        # A fresh folder: h2load appends to a log that is already there.
        self._folder = Path(tempfile.mkdtemp(prefix=f"volley-{assignment.run}-", dir=scratch_root()))
        self._log = self._folder / "requests.log"
        self._gate: gates.Gate | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._output = bytearray()
        self._ended: Ended | None = None
        self._cancel = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._cancelled = False
        self._closing = threading.Lock()
        self._reaping = threading.Lock()
        self._errors: list[str] = []
        self._sockets: list[int] = []
        self._released_at = 0.0
        self._cpu_us = 0
        self._cpu_busiest = 0.0
        self._threads: dict[int, tuple[int, int]] = {}
        self._thread_cpu: dict[int, list[float]] = {}
        self._sampled_s = 0.0
        self._waited_us: dict[int, int] = {}
        self._cpu_before_us = 0
        self._clock = StepWatch()
        self._released_late_us = 0
        self._recorder: Recorder | None = None
        self._tail = LogTail(self._log)
        self._starts: list[np.ndarray] = []
        self._services: list[np.ndarray] = []

    @property
    def pid(self) -> int:
        """The process id of h2load; 0 before arm()."""
        return self._process.pid if self._process else 0

    @property
    def gate(self) -> str:
        """The name of the gate in use."""
        return self._gate.name if self._gate else ""

    def arm(self) -> None:
        """Start h2load and see it blocked at the gate.

        Raises NotArmed when it is not within BLOCKED_WITHIN_S, and ValueError for what this h2load cannot do.
        """
        task = self.assignment
        body_file = None
        if task.body:
            body_file = self._folder / "body"
            body_file.write_bytes(task.body)
        drive = Drive(
            url=task.url,
            clients=task.clients,
            requests=task.requests,
            duration_s=None if task.duration_us is None else task.duration_us / 1e6,
            rate_per_s=task.rate_per_s,
            http2=task.http2,
            streams=task.streams,
            method=task.method,
            headers=tuple((name, value) for name, value in task.headers),
            body_file=None if body_file is None else str(body_file),
        )
        argv = h2load.command(drive, self._can, str(self._log), self._program)
        for gate in gates.choose(self._can, self._folder):
            if self._held_by(gate, argv):
                return
        said = self._drain_after_failure()
        self.discard()
        raise NotArmed(f"agent {task.agent}: h2load did not wait at the gate ({self.gate}): {said}")

    def _held_by(self, gate: gates.Gate, argv: list[str]) -> bool:
        """Start h2load and see it blocked. False: it ran on, this build does not stop at this gate; it is ended.

        Raises NotArmed when it ended with an error of its own.
        """
        if self._gate is not None:
            self._drain_after_failure()
            self._gate.close()
            self._log.unlink(missing_ok=True)
            self._output.clear()
        self._gate = gate
        # Under a fleet that outlives the run, this names the run that the process belongs to.
        self._process = gate.spawn(argv, {**os.environ, RUN_VARIABLE: self.assignment.run})
        if self.assignment.core is not None:
            os.sched_setaffinity(self.pid, {self.assignment.core})
        deadline = time.monotonic() + BLOCKED_WITHIN_S
        while not gate.blocked(self.pid):
            if self._reap() and self._process.returncode != 0:
                said = self._drain_after_failure()
                self.discard()
                raise NotArmed(f"agent {self.assignment.agent}: h2load did not wait at the gate ({gate.name}): {said}")
            if self._reap() or time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        # Blocked with rows in its log, it waits to print its summary: the load is over already.
        return not (self._log.exists() and self._log.stat().st_size)

    def _drain_after_failure(self) -> str:
        assert self._gate is not None
        self._gate.release()
        self._terminate()
        self._read_output(self._gate.output())
        return self._text().strip()[-300:] or "it printed nothing"

    def open_gate(self) -> None:
        """Release h2load, now."""
        assert self._gate is not None
        self._released_at = time.monotonic()
        self._gate.release()

    def follow(self, t0_ns: int, released_late_us: int) -> None:
        """Read the log until h2load has ended, or end it at give_up_us; T0 is on this host's wall clock."""
        task = self.assignment
        t0_us = t0_ns // 1000
        end = None if task.window_end_us is None else t0_us + task.window_end_us
        self._recorder = Recorder(Window(t0_us + task.window_start_us, end))
        self._released_late_us = released_late_us
        assert self._gate is not None
        output = self._gate.output()
        limit = time.monotonic() + task.give_up_us / 1e6
        started = sampled_at = time.monotonic()
        self._clock.sample()
        with contextlib.suppress(OSError):
            self._threads = processes.thread_times_us(self.pid)
            self._cpu_before_us = sum(cpu for cpu, _ in self._threads.values())
        try:
            while not self._reap():
                now = time.monotonic()
                self._read_output(output)
                self._read_log()
                if now - sampled_at > POLL_S / 2:
                    self._sample(now - sampled_at)
                    sampled_at = now
                if now > limit:
                    self._end(Ended.WATCHDOG)
                elif self._cancelled:
                    self._end(Ended.CANCELLED)
                elif self._floods():
                    self._end(Ended.RATE_BREAKER)
                else:
                    self._wait_for_news(min(POLL_S, max(0.0, limit - now) + 0.001))
            self._read_output(output)
            self._read_log()
        except MalformedRow as error:
            self._errors.append(str(error))
            self._end(Ended.MALFORMED_LOG)
            self._read_output(output)
        if not self._sampled_s and (lasted_us := (time.monotonic() - started) * 1e6) > SHORTEST_US:
            self._cpu_busiest = (self._cpu_us - self._cpu_before_us) / lasted_us
        if rest := self._tail.close():
            self._errors.append(f"the log ends in an incomplete line: {bytes(rest[:60])!r}")
        # Its exit status is 0 even when every request failed: only with a summary it means anything.
        whole = self._summary_seen() and self._process is not None and self._process.returncode == 0
        self._ended = self._ended or (Ended.FINISHED if whole else Ended.DIED)
        # Everything that is needed is in memory now.
        self.discard()

    def _wait_for_news(self, timeout_s: float) -> None:
        """Wait until h2load has ended, the agent is cancelled, or the time is over."""
        waiter = select.poll()
        with self._closing:
            if self._cancel < 0:
                return  # discarded meanwhile
            waiter.register(self._cancel, select.POLLIN)
        try:
            process = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            waiter.register(process, select.POLLIN)
            waiter.poll(timeout_s * 1000)
        finally:
            os.close(process)

    def _floods(self) -> bool:
        """h2load never runs ahead of its schedule, not even when it catches up; if it does, its clock was stepped."""
        rate = self.assignment.rate_per_s
        # From before the release until after the rows were read: a machine that stands still in between makes
        # this longer, never shorter, so that what h2load did meanwhile is not held against it.
        elapsed_s = time.monotonic() - self._released_at
        return rate is not None and self.rows > rate * elapsed_s + 0.5 * rate + self.assignment.clients

    def cancel(self) -> None:
        """End h2load soon; what it did so far is kept."""
        self._cancelled = True
        with self._closing:
            if self._cancel >= 0:
                os.eventfd_write(self._cancel, 1)

    def discard(self) -> None:
        """End h2load if it still runs and remove everything from the host. Can be called at any time, twice too."""
        self._terminate()
        # Once only: a descriptor that is closed twice may be somebody else's by then.
        with self._closing:
            if self._cancel >= 0:
                os.close(self._cancel)
                self._cancel = -1
                if self._gate is not None:
                    self._gate.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, how: Ended) -> None:
        self._ended = self._ended or how
        self._terminate()

    def _terminate(self) -> None:
        if self._process is None or self._reap():
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + KILL_AFTER_S
            while not self._reap():
                if time.monotonic() > deadline:
                    self._process.kill()
                time.sleep(0.01)

    def _reap(self) -> bool:
        """Say whether h2load is gone, and keep what it used."""
        process = self._process
        # The follower and whoever discards the agent may both ask; the kernel tells only once.
        with self._reaping:
            if process is None or process.returncode is not None:
                return True
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid == 0:
                return False
            process.returncode = os.waitstatus_to_exitcode(status)
            self._cpu_us = round((usage.ru_utime + usage.ru_stime) * 1e6)
            return True

    def _read_log(self) -> None:
        while (rows := self._tail.read()) is not None:
            self._add(rows)

    def _add(self, rows: Rows) -> None:
        assert self._recorder is not None
        self._recorder.add(rows)
        self.rows = self._recorder.tally.rows
        if self.assignment.rate_per_s is not None:
            # The schedule needs every start of the run at once: 16 bytes a request.
            sent = rows.start_us > 0
            self._starts.append(rows.start_us[sent])
            self._services.append(rows.service_us[sent])

    def _read_output(self, output: IO[bytes]) -> None:
        if output.closed:
            return
        with contextlib.suppress(OSError):
            while data := output.read(65536):
                self._output += data
                del self._output[: max(0, len(self._output) - OUTPUT_BYTES)]

    def _text(self) -> str:
        return self._output.decode(errors="replace").lstrip("\n")

    def _summary_seen(self) -> bool:
        return h2load.parse_output(self._text()).summary is not None

    def _sample(self, elapsed_s: float) -> None:
        self._clock.sample()
        port = urlsplit(self.assignment.url).port or (443 if self.assignment.url.startswith("https") else 80)
        if elapsed_s <= POLL_S / 2:
            return
        with contextlib.suppress(OSError):
            now = processes.thread_times_us(self.pid)
            for thread, (cpu, waited) in now.items():
                cpu_before, waited_before = self._threads.get(thread, (0, 0))
                share = (cpu - cpu_before) / (elapsed_s * 1e6)
                self._cpu_busiest = max(self._cpu_busiest, share)
                self._thread_cpu.setdefault(thread, []).append(round(share, 4))
                self._waited_us[thread] = self._waited_us.get(thread, 0) + waited - waited_before
            self._threads = now
            self._sampled_s += elapsed_s
            self._sockets.append(processes.established_sockets(self.pid, port))

    def result(self) -> AgentResult:
        """Give facts and counters, after follow() has returned."""
        task, recorder = self.assignment, self._recorder
        assert recorder is not None, "result() before follow()"
        process = self._process
        tally, text = recorder.tally, self._text()
        said = h2load.parse_output(text)
        open_model = self._scheduled(recorder)
        facts = AgentFacts(
            agent=task.agent,
            url=task.url,
            pid=self.pid,
            version=f"{self._can.version[0]}.{self._can.version[1]}",
            gate=self.gate,
            ended=self._ended or Ended.DIED,
            exit_status=process.returncode if process else None,
            released_late_us=self._released_late_us,
            planned=task.requests if task.rate_per_s is None else None,
            rows=tally.rows,
            before=tally.before,
            after=tally.after,
            never_sent=tally.never_sent,
            boundary=tally.boundary,
            crossing=tally.crossing,
            statuses=tally.statuses,
            first_start_us=tally.first_start_us,
            last_end_us=tally.last_end_us,
            total=said.summary.total if said.summary else None,
            started=said.summary.started if said.summary else None,
            done=said.summary.done if said.summary else None,
            errored=said.summary.errored if said.summary else None,
            request_failures=said.request_failures,
            failed_connects=said.failed_connects,
            sockets_fewest=min(self._sockets, default=None),
            sockets_most=max(self._sockets, default=None),
            cpu_us=self._cpu_us,
            cpu_busiest=round(self._cpu_busiest, 3),
            clock_moved_ns=self._clock.largest_ns,
            slots=task.clients * task.streams,
            protocol=said.protocol,
            due=open_model.due if open_model else None,
            missing=open_model.missing if open_model else None,
            late=open_model.late if open_model else None,
            lower_bound=bool(open_model and open_model.lower_bound),
            errors=self._errors,
            output=text[-4000:],
            waiting_share=round(max(self._waited_us.values(), default=0) / max(1.0, self._sampled_s * 1e6), 4),
            body_bytes=said.summary.bytes_data if said.summary else None,
            thread_cpu=self._thread_cpu,
        )
        return AgentResult(
            facts=facts,
            service=recorder.service,
            series=recorder.series,
            response=open_model.response if open_model else None,
            lag=open_model.lag if open_model else None,
        )

    def _scheduled(self, recorder: Recorder) -> Scheduled | None:
        task, window = self.assignment, recorder.window
        if task.rate_per_s is None or window.end_us is None or not sum(s.size for s in self._starts):
            return None
        return reconstruct(
            np.concatenate(self._starts),
            np.concatenate(self._services),
            OpenLoad(task.rate_per_s, task.clients),
            (window.start_us, window.end_us),
            observed_until_us=max(recorder.tally.last_end_us, window.end_us),
        )
