"""One agent: one generator, held until T0, released, followed through its log, ended if it does not end by itself."""

from __future__ import annotations

import math
import os
import shutil
import threading
import time
from pathlib import Path

from agents import lease, room
from agents.arrivals import Schedule
from agents.connections import ConnectionWatch
from agents.generators import choice
from agents.generators.adapter import Generator, NotArmed
from agents.generators.contract import Arrivals
from agents.generators.h2load_schedule import OpenLoad, RebuiltSchedule
from agents.generators.h2load_version import Capabilities
from agents.live_counters import LiveCounters
from agents.orders import RUN_VARIABLE
from agents.pauses import Pauses
from agents.recorder import OK, Recorder, Window
from agents.records import AgentFacts, Assignment, Ended, GeneratorKind
from agents.requestlog import LogTail
from agents.room import FolderRoom
from agents.rows import MalformedRow, Rows
from agents.sampler import Sampler
from agents.schedule_facts import with_arrivals, with_rebuilt
from agents.success import Success
from agents.totals import LiveCounts, counted
from agents.wire import AgentResult

# The log is read once a second: more often costs the generator cores that it may need, and nothing is gained.
# That the generator has ended is noticed at once all the same.
POLL_S = 1.0
# A load may be over before that: its sockets are looked at this soon, too.
FIRST_POLLS_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
# An open loop that sent this much more than its schedule, in seconds of its rate, ran away.
AHEAD_S = 0.5
POISSON_SIGMA = 6
OUTPUT_CHARACTERS = 4000
NO_ROWS = "the generator did not report rows_taken: it sent the placeholders of the data as text"


def needed_bytes(task: Assignment) -> int:
    """Return the room that the files of an agent need."""
    rows = task.count
    if rows is None and task.rate_per_s is not None and task.duration_us is not None:
        rows = int(2 * task.rate_per_s * task.duration_us / 1e6)
    return room.log_bytes(rows, len(task.body))


class LoadAgent:
    """Runs one assignment. arm(), announce(T0), open_gate() at T0, then follow() in a thread of its own, then result()."""

    def __init__(
        self, assignment: Assignment, can: Capabilities | None, program: str = "h2load", root: Path | None = None
    ) -> None:
        """can: what this host's h2load can do; None where no assignment needs it. root: where its folder is made.

        Raises NoSpace.
        """
        self.assignment = assignment
        self.rows = 0
        self.totals = LiveCounts()
        # A fresh folder: h2load appends to a log that is already there.
        self._needed = needed_bytes(assignment)
        root = root or room.scratch_root(self._needed)
        self._moved_log = None
        if root != room.MEMORY and os.access(room.MEMORY, os.W_OK):
            self._moved_log = room.room_in(room.MEMORY, self._needed)
        self._folder = lease.made_folder(assignment.run, f"volley-{assignment.run}-", root)
        self._no_space: FolderRoom | None = None
        self._pauses = Pauses()
        # Of a load with a duration, on this host's wall clock.
        self._until_us = 0
        log = self._folder / "requests.log"
        # Under a fleet that outlives the run, the variable names the run that the process belongs to.
        environment = {**os.environ, RUN_VARIABLE: assignment.run}
        self._generator: Generator = choice.make(assignment, can, program, log, self._folder, environment)
        self._tail = LogTail(log, self._generator.parse)
        self._ended: Ended | None = None
        self._cancel = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._cancelled = False
        self._closing = threading.Lock()
        self._errors: list[str] = []
        self._released_at = self._released_wall_s = 0.0
        self._released_late_us = 0
        self._sampler: Sampler | None = None
        # h2load does not say how many connections it opens. Over HTTP/2 it never opens one again.
        self._connections: ConnectionWatch | None = None
        self._recorder: Recorder | None = None
        self._rebuilt: RebuiltSchedule | None = None
        self.live: LiveCounters | None = None

    @property
    def pid(self) -> int:
        """Return the process id of the generator; 0 before arm()."""
        return self._generator.process.pid

    @property
    def gate(self) -> str:
        """Return the name of what holds the generator until T0."""
        return self._generator.gate

    def arm(self) -> None:
        """Start the generator and see it held.

        Raises NotArmed when it is not held in time, and ValueError for what it cannot do; nothing is left then.
        """
        try:
            self._generator.arm()
            if self.assignment.core is not None:
                os.sched_setaffinity(self.pid, {self.assignment.core})
        except (NotArmed, ValueError):
            self.discard()
            raise
        except ProcessLookupError:
            self.discard()
            raise NotArmed(f"agent {self.assignment.agent}: the generator ended before T0") from None

    def announce(self, t0_ns: int) -> None:
        """Pass T0, on this host's wall clock, to a generator that waits for it by itself."""
        self._generator.announce(t0_ns)

    def open_gate(self) -> None:
        """Release the generator, now."""
        self._released_at, self._released_wall_s = time.monotonic(), time.time()
        self._generator.release()

    def _prepare(self, t0_us: int) -> None:
        """Make what the rows go into; T0 is on this host's wall clock."""
        task = self.assignment
        end_us = None if task.window_end_us is None else t0_us + task.window_end_us
        until_us = None if task.duration_us is None else t0_us + task.duration_us
        self._until_us = until_us or 0
        window = Window(t0_us + task.window_start_us, end_us, until_us)
        schedule, success = None, Success(task.requests)
        if task.rate_per_s is not None and task.generator is GeneratorKind.H2LOAD:
            self._rebuilt = RebuiltSchedule(OpenLoad(task.rate_per_s, task.clients), window, success)
        elif task.rate_per_s is not None:
            stream_per_s = task.rate_per_s * task.agents
            even = task.arrivals is Arrivals.EVEN
            schedule = Schedule(task.rate_per_s, stream_per_s, even, t0_us, task.first_due_ns / 1000)
        self._recorder = Recorder(window, schedule, task.requests)
        self.live = LiveCounters(schedule is not None, success)
        self._sampler = Sampler(self.pid, POLL_S)
        if task.generator is GeneratorKind.H2LOAD and not task.http2:
            self._connections = ConnectionWatch(self.pid, tls=task.url.startswith("https:"))

    def follow(self, t0_ns: int, released_late_us: int) -> None:
        """Read the log until the generator has ended, or end it at give_up_us; T0 is on this host's wall clock."""
        self._released_late_us = released_late_us
        limit = time.monotonic() + self.assignment.give_up_us / 1e6
        self._prepare(t0_ns // 1000)
        assert self._sampler is not None
        process = self._generator.process
        polls = iter(FIRST_POLLS_S if self._connections is not None else ())
        try:
            while not process.reap():
                process.read_output()
                self._read_log()
                self._sampler.sample()
                if self._is_full():
                    self._end(Ended.NO_SPACE)
                if self._connections is not None:
                    self._connections.look(self.rows)
                now = time.monotonic()
                if now > limit:
                    self._end(Ended.WATCHDOG)
                elif self._cancelled:
                    self._end(Ended.CANCELLED)
                elif self._floods():
                    self._end(Ended.RATE_BREAKER)
                else:
                    self._wait_for_news(min(next(polls, POLL_S), max(0.0, limit - now) + 0.001))
            process.read_output()
            self._read_log()
        except (MalformedRow, OSError) as error:
            self._errors.append(f"{error.strerror}" if isinstance(error, OSError) else str(error))
            self._end(Ended.MALFORMED_LOG)
            process.read_output()
        self._sampler.ended(process.cpu_us)
        if rest := self._tail.close():
            self._errors.append(f"the log ends in an incomplete line: {bytes(rest[:60])!r}")
        # h2load's exit status is 0 even when every request failed: only with a summary it means anything.
        account = self._generator.account()
        whole = account.complete and process.returncode == 0
        if self.assignment.data is not None and account.complete and account.rows_taken is None:
            self._errors.append(NO_ROWS)
        self._ended = self._ended or (Ended.FINISHED if whole else Ended.DIED)
        incomplete = not whole or bool(self._errors) or account.done not in (None, self.rows)
        if incomplete and (self._is_full() or room.says_full(process.text + self._generator.stderr())):
            self._no_space = self._no_space or room.room_in(self._folder.parent, self._needed)
            self._ended = Ended.NO_SPACE
        # Everything that is needed is in memory now.
        self._clean_up()

    def _is_full(self) -> bool:
        """Return whether the file system of the log is full, and keep that. h2load ignores writes that fail."""
        if room.free_bytes(self._folder) == 0:
            self._no_space = self._no_space or room.room_in(self._folder.parent, self._needed)
            return True
        return False

    def _wait_for_news(self, timeout_s: float) -> None:
        """Wait until the generator has ended, the agent is cancelled, or the time is over."""
        began_us = time.time_ns() // 1000
        self._wait(timeout_s)
        elapsed_s = max(0.001, began_us / 1e6 - self._released_wall_s)
        self._pauses.note(began_us + round(timeout_s * 1e6), time.time_ns() // 1000, self.rows / elapsed_s)

    def _wait(self, timeout_s: float) -> None:
        with self._closing:
            if self._cancel < 0:
                return  # discarded meanwhile
            cancel = os.dup(self._cancel)
        try:
            self._generator.process.wait(cancel, timeout_s)
        finally:
            os.close(cancel)

    def _floods(self) -> bool:
        """Return whether the generator runs ahead of its schedule; h2load does when the wall clock was stepped."""
        rate = self.assignment.rate_per_s
        # From before the release until after the rows were read: a machine that stands still in between makes
        # this longer, never shorter, so that what the generator did meanwhile is not held against it.
        elapsed_s = time.monotonic() - self._released_at
        if rate is None:
            return False
        # Poisson arrivals may be ahead by some standard deviations; h2load's connections by one request each.
        allowed = rate * (elapsed_s + AHEAD_S) + 10
        slack = self.assignment.clients if self.assignment.generator is GeneratorKind.H2LOAD else 0
        return self.rows > allowed + POISSON_SIGMA * math.sqrt(allowed) + slack

    def cancel(self) -> None:
        """End the generator soon; what it did so far is kept."""
        self._cancelled = True
        with self._closing:
            if self._cancel >= 0:
                os.eventfd_write(self._cancel, 1)

    def discard(self) -> None:
        """End the generator if it still runs and remove everything from the host. Can be called at any time, twice too."""
        self._clean_up()

    def _clean_up(self) -> None:
        self._generator.process.terminate()
        # Once only: a descriptor that is closed twice may belong to something else by then.
        with self._closing:
            if self._cancel >= 0:
                os.close(self._cancel)
                self._cancel = -1
                self._generator.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, how: Ended) -> None:
        self._ended = self._ended or how
        self._generator.process.terminate()

    def _read_log(self) -> None:
        began_us, before = round((time.monotonic() - self._released_at) * 1e6), self.rows
        while (rows := self._tail.read()) is not None:
            self._add(rows)
        if self.live is not None:
            self.live.read_until(began_us)
        if self.rows > before and self._recorder is not None:
            # Replaced as a whole: other threads read it at any time.
            self.totals = counted(self._recorder)

    def _add(self, rows: Rows) -> None:
        assert self._recorder is not None
        self._recorder.add(rows)
        if self.live is not None:
            self.live.add(rows)
        self.rows = self._recorder.tally.rows
        self._pauses.add(rows.start_us)
        if self._rebuilt is not None:
            self._rebuilt.add(rows)

    def result(self) -> AgentResult:
        """Return facts and counters, after follow() has returned."""
        recorder = self._recorder
        assert recorder is not None, "result() before follow()"
        rebuilt = None if self._rebuilt is None else self._rebuilt.result(recorder.tally.last_end_us)
        facts = self._facts(recorder)
        counters = recorder if rebuilt is None else rebuilt
        facts = with_arrivals(facts, recorder) if rebuilt is None else with_rebuilt(facts, rebuilt)
        return AgentResult(
            facts,
            recorder.service,
            recorder.series,
            counters.response,
            counters.lag,
            counters.unanswered,
            recorder.first_byte,
            recorder.received_bytes,
            recorder.mix,
        )

    def _facts(self, recorder: Recorder) -> AgentFacts:
        task, tally, sampler, account = self.assignment, recorder.tally, self._sampler, self._generator.account()
        assert sampler is not None
        process, slots = self._generator.process, task.clients * task.streams
        p99_us = recorder.service[OK].quantile_us(0.99) if recorder.service[OK].n else 0
        over_us = max(tally.last_end_us, self._until_us)
        return AgentFacts(
            agent=task.agent,
            url=task.url,
            pid=self.pid,
            version=self._generator.version,
            gate=self.gate,
            ended=self._ended or Ended.DIED,
            exit_status=process.returncode,
            released_late_us=self._released_late_us,
            planned=task.count if task.rate_per_s is None else None,
            rows=tally.rows,
            before=tally.before,
            after=tally.after,
            never_sent=tally.never_sent,
            boundary=tally.boundary,
            crossing=tally.crossing,
            statuses=tally.statuses,
            first_start_us=tally.first_start_us,
            last_end_us=tally.last_end_us,
            first_due_us=tally.first_due_us,
            total=account.total,
            started=account.started,
            done=account.done,
            errored=account.errored,
            request_failures=account.request_failures,
            failed_connects=account.failed_connects,
            sockets_fewest=sampler.sockets_fewest,
            sockets_most=sampler.sockets_most,
            cpu_us=process.cpu_us,
            cpu_busiest=round(sampler.cpu_busiest, 3),
            clock_moved_ns=sampler.clock.largest_ns,
            slots=slots,
            protocol=account.protocol,
            due=None,
            missing=None,
            late=None,
            lower_bound=False,
            errors=self._errors,
            output=(process.text + self._generator.stderr())[-OUTPUT_CHARACTERS:],
            waiting_share=round(sampler.waiting_share, 4),
            body_bytes=account.body_bytes,
            thread_cpu=sampler.thread_cpu,
            generator=task.generator,
            waited_for_slot=account.waited_for_slot,
            connects=account.connects,
            opened_about=None if self._connections is None else self._connections.opened(tally.rows, task.clients),
            most_connections=account.most_connections,
            retried=account.retried,
            checked=account.checked,
            unexpected=dict(account.unexpected),
            unexpected_example=dict(account.examples),
            handshakes=account.handshakes,
            drain_us=recorder.drain_us(slots) if task.count is not None and task.rate_per_s is None else None,
            stopped_us=round(1e6 * max(sampler.stopped_s, self._pauses.stopped_s(over_us))),
            no_space=self._no_space,
            moved_log=self._moved_log,
            hung=0 if recorder.occupancy is None else recorder.occupancy.hung(slots, p99_us),
        )
