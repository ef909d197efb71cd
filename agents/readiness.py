"""Is a server that was just started ready to be measured? It answers, it has settled, and its response is the right one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from agents import probe
from agents.cgroup import THRASH_FAULTS, Counters
from agents.container import ContainerState, ServerSpec
from agents.probe import Checked, Request, Unanswered
from agents.records import ServerState

POLL_S = 0.1
ANSWER_TIMEOUT_S = 2.0
# A server that cannot become ready is given up early. Workers killed this often are a loop, not an accident.
HOPELESS_OOM_KILLS = 10
# A server that thrashes while it starts (cgroup.py: THRASH_FAULTS in this time) will not get ready.
THRASH_S = 10.0
# Settled: the server uses less than this share of a core; workers that still start up are not the steady server.
SETTLED_SHARE = 0.2
SETTLE_INTERVAL_S = 0.4


class MemoryWatch:
    """Recognises a server that its memory limit will never let become ready."""

    def __init__(self) -> None:
        self._full_since: tuple[float, Counters] | None = None

    def hopeless(self, now: Counters, at_s: float) -> str | None:
        """Take one more reading, at at_s on a monotonic clock; return why the server has no chance, None if it has one."""
        if now.oom_kills >= HOPELESS_OOM_KILLS:
            return f"{now.oom_kills} processes were killed for memory before any answer"
        if not now.fills_limit(now.memory_bytes):
            self._full_since = None
            return None
        if self._full_since is None:
            self._full_since = (at_s, now)
            return None
        since_s, before = self._full_since
        if (elapsed_s := at_s - since_s) < THRASH_S:
            return None
        if now.major_faults - before.major_faults >= THRASH_FAULTS * elapsed_s / THRASH_S:
            return f"at its memory limit for {elapsed_s:.0f} s, paging, without any answer"
        self._full_since = (at_s, now)
        return None


class Readiness:
    """Waits for one container to become ready. The callables read its counters and its state; abort ends the wait."""

    def __init__(
        self,
        spec: ServerSpec,
        counters: Callable[[], Counters],
        state: Callable[[], ContainerState],
        abort: threading.Event,
    ) -> None:
        self._spec, self._counters, self._state, self._abort = spec, counters, state, abort
        self.waiting_for = f"starting {spec.target}"

    def outcome(self) -> Checked:
        """Wait until the server answers and has settled, then compare one response with what is expected."""
        if (failed := self._wait_for_answer()) is not None:
            return failed
        self._settle()
        return self._compare()

    def _wait_for_answer(self) -> Checked | None:
        """Return None as soon as the server answers, otherwise why it will not."""
        spec = self._spec
        self.waiting_for = f"waiting for {spec.target} to answer"
        request = spec.ready or spec.request
        deadline = time.monotonic() + spec.ready_timeout_s
        memory, reason = MemoryWatch(), "nothing answered"
        while time.monotonic() < deadline:
            if self._abort.is_set():
                return Checked(ServerState.NOT_READY, "cancelled")
            if not (reason := _unready(request)):
                return None
            if not (state := self._state()).running:
                return Checked(ServerState.EXITED, f"the container ended with exit code {state.exit_code}")
            if (why := memory.hopeless(self._counters(), time.monotonic())) is not None:
                return Checked(ServerState.NOT_READY, why)
            self._abort.wait(POLL_S)
        said = f"only {reason}" if reason.startswith("status") else "no answer"
        why = "" if reason.startswith("status") else f": {reason}"
        return Checked(ServerState.NOT_READY, f"{request.asked}: {said} within {spec.ready_timeout_s:g} s{why}")

    def _settle(self) -> None:
        """Wait until the server is idle, but not longer than its time to settle."""
        self.waiting_for = f"waiting for {self._spec.target} to settle"
        deadline = time.monotonic() + self._spec.settle_timeout_s
        before = self._counters()
        while time.monotonic() < deadline and not self._abort.wait(SETTLE_INTERVAL_S):
            now = self._counters()
            if now.oom_kills >= HOPELESS_OOM_KILLS:
                return  # it never will
            if (now.cpu_us - before.cpu_us) / (SETTLE_INTERVAL_S * 1e6) < SETTLED_SHARE:
                return
            before = now

    def _compare(self) -> Checked:
        try:
            answer = probe.ask(self._spec.request)
        except Unanswered as error:
            return Checked(ServerState.NOT_READY, f"it answered once and then no more: {error}")
        return probe.compare(self._spec.request, self._spec.expect, answer)


def _unready(request: Request) -> str:
    """Return why one request shows that a server is not ready; '' when it shows that it is."""
    try:
        status = probe.ask(request, timeout_s=ANSWER_TIMEOUT_S).status
    except Unanswered as error:
        return str(error)
    return "" if probe.shows_ready(status) else f"status {status}"
