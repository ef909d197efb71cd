"""Is a server that was just started ready to be measured? It answers, it has settled, and its response is the right one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from agents import probe
from agents.cgroup import THRASH_FAULTS, Counters
from agents.container import ContainerState, ServerSpec
from agents.probe import Asking, Checked, OtherProtocol, Unanswered
from agents.records import ServerState

POLL_S = 0.1
# A request that is still unanswered after this share of the time may have been lost while the server started: a second
# one is sent beside it. Slow answers have all of the time.
SECOND_SHARE, SECOND_AFTER_S = 1 / 3, 2.0
# A server that cannot become ready is given up early. Workers killed this often are a loop, not an accident.
HOPELESS_OOM_KILLS = 10
# A server that thrashes while it starts (cgroup.py: THRASH_FAULTS in this time) will not get ready.
THRASH_S = 10.0
# Settled: the server uses less than this share of a core; workers that still start up are not the steady server.
SETTLED_SHARE = 0.2
SETTLE_INTERVAL_S = 0.4
# A wait as long as this is shown with its time.
SHOWN_AFTER_S = 3


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
        last_line: Callable[[], str] = str,
    ) -> None:
        self._spec, self._counters, self._state, self._abort = spec, counters, state, abort
        self._last_line = last_line
        self._began = time.monotonic()
        self._doing = f"starting {spec.target}"

    @property
    def waiting_for(self) -> str:
        """What it waits for, for a person, with how long it has waited once that is long."""
        waited_s = int(time.monotonic() - self._began)
        if waited_s < SHOWN_AFTER_S:
            return self._doing
        return f"{self._doing}: {waited_s} s of at most {self._spec.ready_timeout_s:g} s"

    def outcome(self, waited_s: float = 0.0) -> Checked:
        """Wait until the server answers and has settled, then compare one response with what is expected.

        waited_s: how much of the time to become ready has passed already.
        """
        if (failed := self._wait_for_answer(waited_s)) is not None:
            return failed
        self._settle()
        return self._compare()

    def _wait_for_answer(self, waited_s: float) -> Checked | None:
        """Return None as soon as the server answers, otherwise why it will not."""
        spec = self._spec
        self._doing = f"waiting for {spec.target} to answer"
        request = spec.ready or spec.request
        began = time.monotonic()
        deadline = began + spec.ready_timeout_s - waited_s
        second_at = began + max(SECOND_AFTER_S, spec.ready_timeout_s * SECOND_SHARE)
        asking: list[Asking] = []
        memory, reason = MemoryWatch(), ""
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                if self._abort.is_set():
                    return Checked(ServerState.NOT_READY, probe.CANCELLED)
                if not asking or (len(asking) == 1 and time.monotonic() >= second_at):
                    asking.append(Asking(request, left_s))
                if ended := next((each for each in asking if each.wait(POLL_S / len(asking))), None):
                    asking.remove(ended)
                    try:
                        reason = self._unready(ended)
                    except OtherProtocol as error:
                        return Checked(ServerState.NOT_READY, f"{request.asked}: {error}")
                    if not reason:
                        return None
                if not (state := self._state()).running:
                    return Checked(ServerState.EXITED, self._exited(state))
                if (why := memory.hopeless(self._counters(), time.monotonic())) is not None:
                    return Checked(ServerState.NOT_READY, why)
                if ended:
                    self._abort.wait(POLL_S)
        finally:
            for each in asking:
                each.give_up()
        said = f"only {reason}" if reason.startswith("status") else "no answer"
        why = "" if reason.startswith(("status", "no answer")) or not reason else f": {reason}"
        return Checked(ServerState.NOT_READY, f"{request.asked}: {said} within {spec.ready_timeout_s:g} s{why}")

    def _unready(self, asking: Asking) -> str:
        """Return why one request shows that the server is not ready; '' when it shows that it is. Raises OtherProtocol."""
        try:
            status = asking.answer().status
        except OtherProtocol:
            raise
        except Unanswered as error:
            return str(error)
        # What the load is to be answered with is right, whatever it is.
        expected = self._spec.ready in (None, self._spec.request) and status in self._spec.expect.status
        return "" if expected or probe.shows_ready(status) else f"status {status}"

    def _exited(self, state: ContainerState) -> str:
        line = self._last_line()
        return f"the container ended with exit code {state.exit_code}" + (
            f"; its last line was '{line}'" if line else ""
        )

    def _settle(self) -> None:
        """Wait until the server is idle, but not longer than its time to settle."""
        self._doing = f"waiting for {self._spec.target} to settle"
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
        spec = self._spec
        self._doing = f"comparing a response of {spec.target}"
        checked = probe.check(spec.request, spec.expect, spec.answer_timeout_s, repeat=False, abort=self._abort)
        if checked.state != ServerState.NOT_READY or self._abort.is_set():
            return checked
        if not (state := self._state()).running:
            return Checked(ServerState.EXITED, self._exited(state))
        return replace(checked, detail=f"{checked.asked}: it answered once and then no more: {checked.detail}")
