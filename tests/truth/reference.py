"""What a load should have reported, from the server's own record and the schedule alone.

Response time runs from when a request was due, so the truth is answered_ns - due. Due times are computed from T0 and the
schedule. A request's due time is found by its agent (each has a path of its own) and its turn: the k-th to arrive
is the k-th that was due. The generator's send lag is thus inside the truth, as it is in what Volley reports. Service time is
answered_ns - arrived_ns. Both leave out the way through the sockets and the wake-up of the client, which the client cannot
avoid measuring: see floor() in tests/truth/measure.py.

As in Volley, what was due in the window counts, and response and service time are of successful answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from agents.generators import due
from agents.generators.contract import Arrivals, Failure
from agents.records import AssignedRequest, Assignment
from orchestrator.facts import Traffic, TrialFacts
from orchestrator.plan import assign
from orchestrator.run.inputs import TrialOutput
from tests.truth.zoo import Outcome, Record

Ns = NDArray[np.int64]


@dataclass(frozen=True)
class Matched:
    """What was due in the window, beside its row on the record; all of shape (n,)."""

    due_ns: Ns
    arrived_ns: Ns
    answered_ns: Ns
    status: NDArray[np.int32]


@dataclass(frozen=True)
class Truth:
    """What became of the requests that were due in the window, by the server's record.

    planned: due by the schedule, arrived or not. statuses: by HTTP status or Failure. response_us holds what was never
    answered at its age as well; a timeout is the generator's decision, its age is the timeout.
    """

    planned: int
    arrived: int
    statuses: dict[int, int]
    lateness_us: NDArray[np.float64]
    response_us: NDArray[np.float64]
    service_us: NDArray[np.float64]


def schedule_ns(share: Assignment, t0_ns: int) -> Iterator[int]:
    """Yield when each request of an agent is due, in ns since the epoch, without end.

    Even: T0 + first_due + k / rate. Poisson: the exponential gaps that follow from the agent's seed.
    """
    assert share.rate_per_s is not None
    if share.arrivals is Arrivals.EVEN:
        k = 0
        while True:
            yield t0_ns + share.first_due_ns + int(k * 1_000_000_000 / share.rate_per_s)
            k += 1
    yield from (t0_ns + offset_ns for offset_ns in due.poisson(share.rate_per_s, share.seed))


def shares(facts: TrialFacts) -> list[Assignment]:
    """Return what each agent was told to send."""
    names = [agent.agent for agent in facts.agents]
    traffic = Traffic([AssignedRequest("GET /", "http://server/")], facts.case.protocol)
    host = names[0].rpartition("/")[0]
    return assign(facts.case, traffic, 0, "truth", facts.number, {host: [None] * len(names)})[host]


def host_t0_ns(facts: TrialFacts) -> int:
    """Return T0 on the wall clock of the load host, which is that of the record."""
    assert facts.t0_ns is not None
    return facts.t0_ns + facts.clocks[0].before.offset_ns


def end_ns(facts: TrialFacts) -> int:
    """Return when the generators stop, on the clock of the record."""
    assert facts.case.load_us is not None
    return host_t0_ns(facts) + facts.case.load_us * 1_000


def truth(output: TrialOutput, record: Record) -> Truth:
    """Return what this trial should have reported. Each agent must have had a path of its own: /0, /1 ..."""
    facts = output.facts
    case, t0_ns = facts.case, host_t0_ns(facts)
    assert case.duration_us is not None
    # In whole µs, as rows are: a request on the edge of the window must fall on the same side.
    opening_us = t0_ns // 1_000 + case.warm_up_us
    window = (opening_us, opening_us + case.duration_us)
    pairs = [_pair(facts, record, share, agent) for agent, share in enumerate(shares(facts))]
    planned = sum(int(_inside(due_ns, window).sum()) for due_ns, _ in pairs)
    return _describe(facts, planned, [_match(due_ns, rows, window) for due_ns, rows in pairs])


def truth_of_closed(output: TrialOutput, record: Record) -> Truth:
    """Return what a closed loop of a number of requests should have reported; it has no due times.

    Volley's check after the load is the last request of the first agent's path.
    """
    facts = output.facts
    assert facts.case.requests is not None
    agents = [_after_t0(facts, record, agent) for agent in range(len(facts.agents))]
    agents[0] = agents[0].first(len(agents[0]) - 1)
    arrived_ns, answered_ns, status = (
        np.concatenate([getattr(rows, name) for rows in agents]) for name in ("arrived_ns", "answered_ns", "status")
    )
    ok = (status >= 100) & (status < 400)
    nothing = np.empty(0)
    left_open = np.zeros(status.size, np.bool_)
    statuses = _count(status, left_open, left_open)
    service_us = (answered_ns - arrived_ns)[ok] / 1e3
    return Truth(facts.case.requests, int(status.size), statuses, nothing, nothing, service_us)


def _after_t0(facts: TrialFacts, record: Record, agent: int) -> Record:
    return record.of_path(f"/{agent}").between(host_t0_ns(facts), 1 << 62)


def _pair(facts: TrialFacts, record: Record, share: Assignment, agent: int) -> tuple[Ns, Record]:
    """Return an agent's due times, and its rows on the record in the order of arrival."""
    t0_ns, last_ns = host_t0_ns(facts), end_ns(facts)
    due_ns = np.fromiter(takewhile(lambda at: at < last_ns, schedule_ns(share, t0_ns)), np.int64)
    # What arrives later is Volley's own check of the server, or was due at the very end, long after the window.
    return due_ns, record.of_path(f"/{agent}").between(t0_ns, last_ns)


def _inside(due_ns: Ns, window_us: tuple[int, int]) -> NDArray[np.bool_]:
    due_us = due_ns // 1_000
    return (due_us >= window_us[0]) & (due_us < window_us[1])


def _match(due_ns: Ns, rows: Record, window_us: tuple[int, int]) -> Matched:
    # What was never sent is what waited last.
    both = min(due_ns.size, len(rows))
    inside = np.flatnonzero(_inside(due_ns[:both], window_us))
    return Matched(due_ns[inside], rows.arrived_ns[inside], rows.answered_ns[inside], rows.status[inside])


def _describe(facts: TrialFacts, planned: int, agents: list[Matched]) -> Truth:
    due_ns, arrived_ns = (np.concatenate([getattr(m, name) for m in agents]) for name in ("due_ns", "arrived_ns"))
    answered_ns, status = (np.concatenate([getattr(m, name) for m in agents]) for name in ("answered_ns", "status"))
    ok = (status >= 100) & (status < 400)
    open_to_the_end = np.isin(status, (Outcome.NEVER_ANSWERED, Outcome.CLIENT_LEFT, Outcome.UNDER_WAY))
    gave_up_ns = np.minimum(end_ns(facts), arrived_ns + (facts.case.timeout_us or 1 << 50) * 1_000)
    ages_ns = (gave_up_ns - due_ns)[open_to_the_end]
    timed_out = gave_up_ns < end_ns(facts)
    statuses = _count(status, open_to_the_end, timed_out)
    if planned > due_ns.size:
        statuses[Failure.UNSENT] = planned - int(due_ns.size)
    return Truth(
        planned=planned,
        arrived=int(due_ns.size),
        statuses=statuses,
        lateness_us=(arrived_ns - due_ns) / 1e3,
        response_us=np.concatenate([(answered_ns - due_ns)[ok], ages_ns]) / 1e3,
        service_us=(answered_ns - arrived_ns)[ok] / 1e3,
    )


def _count(status: NDArray[np.int32], left_open: NDArray[np.bool_], timed_out: NDArray[np.bool_]) -> dict[int, int]:
    """Return how many requests ended in each way, in the words of the contract."""
    words = np.where(status == Outcome.RESET, int(Failure.RESET), status)
    words = np.where(left_open, np.where(timed_out, int(Failure.TIMEOUT), int(Failure.UNANSWERED)), words)
    values, counts = np.unique(words, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def nearest_rank(values: NDArray[np.float64], q: float) -> float:
    """Return the smallest value that is not exceeded by a share q of the values."""
    return float(np.sort(values)[max(1, math.ceil(q * values.size)) - 1])
