"""Trials of simulated servers: requests sent by a perfect or a late generator, over so many connections. No clock, no socket.

The rows go through the recorder, and the trial through all rules, as those of a real load do.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from agents.arrivals import Schedule
from agents.generators.contract import Failure
from agents.recorder import Recorder, Window
from agents.records import GeneratorKind
from agents.rows import Rows
from agents.wire import AgentResult
from orchestrator.analyse.cases import judge
from orchestrator.facts import Case
from orchestrator.result import Trial
from tests.unit.facts import T0_US, agent_facts, host_use, server_facts, trial_facts

# When a request that arrives at this time, in s after T0, is answered, and with which status.
Answers = Callable[[float], tuple[float, int]]


def parallel(service_s: float) -> Answers:
    """Answer any number of requests after exactly this time."""
    return lambda at: (at + service_s, 200)


def workers(number: int, service_s: float) -> Answers:
    """Answer with some workers behind one queue, each after exactly this time."""
    free = [0.0] * number

    def answer(at: float) -> tuple[float, int]:
        end = max(at, heapq.heappop(free)) + service_s
        heapq.heappush(free, end)
        return end, 200

    return answer


def limited(rate: float, burst: float, status: int = 503, service_s: float = 0.0005) -> Answers:
    """Refuse at once what is above a rate, as nginx's limit_req nodelay: up to `burst` requests may come early."""
    excess, last = 0.0, 0.0

    def answer(at: float) -> tuple[float, int]:
        nonlocal excess, last
        after = max(0.0, excess - (at - last) * rate) + 1
        if after > burst + 1:
            return at + service_s, status
        excess, last = after, at
        return at + service_s, 200

    return answer


@dataclass
class World:
    """A server and what stands between: standstills of the generator, [from, to) in s after T0, in every open load."""

    server: Callable[[], Answers]
    standstills: list[tuple[float, float]] = field(default_factory=list)

    def trial(self, case: Case, number: int = 1) -> Trial:
        """Run one trial."""
        if case.rate_per_s is None:
            rows, waited = self._closed(case), None
        else:
            rows, waited = self._open(case)
        return _judged(case, number, rows, waited)

    def _closed(self, case: Case) -> list[tuple[float, float, int, float]]:
        answers, end = self.server(), _end_s(case)
        free, rows = [i * 1e-6 for i in range(case.clients)], []
        while (at := heapq.heappop(free)) < end:
            done, status = answers(at)
            heapq.heappush(free, done)
            if done < end:
                rows.append((at, at, status, done - at))
        return rows

    def _open(self, case: Case) -> tuple[list[tuple[float, float | None, int, float]], int]:
        """Return (due, start or None, status, service) of each request in s, and how many found no free connection."""
        assert case.rate_per_s is not None
        answers, end, waited = self.server(), _end_s(case), 0
        busy: list[float] = []
        rows: list[tuple[float, float | None, int, float]] = []
        for k in range(int(end * case.rate_per_s)):
            due = k / case.rate_per_s
            start = next((until for since, until in self.standstills if since <= due < until), due)
            while busy and busy[0] <= start:
                heapq.heappop(busy)
            if len(busy) >= case.clients:
                waited += 1
                start = heapq.heappop(busy)
            if start >= end:
                rows.append((due, None, Failure.UNSENT, end - due))
                heapq.heappush(busy, start)
                continue
            done, status = answers(start)
            heapq.heappush(busy, done)
            rows.append(
                (due, start, status, done - start) if done < end else (due, start, Failure.UNANSWERED, end - start)
            )
        return rows, waited


def _end_s(case: Case) -> float:
    assert case.load_us is not None
    return case.load_us / 1e6


def _judged(case: Case, number: int, listed: list[tuple[float, float | None, int, float]], waited: int | None) -> Trial:
    assert case.duration_us is not None
    window = Window(T0_US + case.warm_up_us, T0_US + case.warm_up_us + case.duration_us, T0_US + (case.load_us or 0))
    rate = case.rate_per_s
    recorder = Recorder(window, None if rate is None else Schedule(rate, rate, True, T0_US, 0.0))
    columns = [
        [0 if row[1] is None else T0_US + round(row[1] * 1e6) for row in listed],
        [row[2] for row in listed],
        [round(row[3] * 1e6) for row in listed],
        [T0_US + round(row[0] * 1e6) for row in listed],
        [0] * len(listed),
    ]
    start, status, service, due, request = (np.array(column, dtype=np.int64) for column in columns)
    recorder.add(Rows(start, status, service, None if rate is None else due, None if rate is None else request))
    tally, counts = recorder.tally, None if recorder.arrivals is None else recorder.arrivals.close()
    facts = agent_facts(
        generator=GeneratorKind.PACED, slots=case.clients, planned=None, rows=tally.rows, before=tally.before,
        after=tally.after, crossing=tally.crossing, statuses=tally.statuses, first_start_us=tally.first_start_us,
        last_end_us=tally.last_end_us, total=len(listed), started=len(listed), done=len(listed), waited_for_slot=waited,
        due=None if counts is None else counts.due, late=None if counts is None else counts.late,
        late_us=None if recorder.arrivals is None else recorder.arrivals.late_us,
        largest_burst=None if counts is None else counts.largest_burst,
        missing=None if recorder.unanswered is None else recorder.unanswered.n,
    )  # fmt: skip
    result = AgentResult(facts, recorder.service, recorder.series, recorder.response, recorder.lag, recorder.unanswered)
    made = trial_facts(
        number=number, case=case, agents=[facts], shared_host=False, hosts=[host_use()],
        server=server_facts(state="external", opening=None, closing=None, last=None),
        window_start_us=window.start_us, window_end_us=window.end_us,
    )  # fmt: skip
    return judge(made, [result])
