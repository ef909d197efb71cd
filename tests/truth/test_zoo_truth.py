"""What Volley reports of open loops is what the servers of the zoo have on record. `make truth` has the whole table."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from agents.generators.contract import Arrivals
from orchestrator.result import Verdict
from tests.truth.behaviours import BEHAVIOURS, Cell
from tests.truth.harness import AT_MOST, ATTEMPTS, codes, explain
from tests.truth.measure import BOUNDS, MOST_FLOOR_US, Pair, Result, floor, measure
from tests.truth.reference import nearest_rank

pytestmark = pytest.mark.usefixtures("scratch_is_clean")
EVEN, POISSON = Arrivals.EVEN, Arrivals.POISSON

# Each kind of server once: prime and round rates, one and four agents, even and random arrivals. The others are in
# `make test-full`, and all behaviours at every rate in `make truth`.
CELLS = [
    ("fixed 5 ms", 2011, 1, EVEN),
    ("fixed 150 ms", 497, 4, EVEN),
    ("one at a time, 1 ms", 497, 1, EVEN),
    ("4 workers, 3 ms", 997, 1, POISSON),
    ("lognormal 20 ms", 997, 4, POISSON),
    ("hyperexponential", 700, 1, EVEN),
    ("1 % slow", 2011, 1, POISSON),
    ("67 % fast 503", 997, 1, POISSON),
    ("429 above 800/s", 2011, 1, EVEN),
    ("reset every 101", 997, 1, EVEN),
    ("closes unannounced", 997, 1, EVEN),
    ("every 5th conn. hangs", 497, 1, EVEN),
    ("1 % endless bodies", 500, 1, EVEN),
    ("ws: 5 ms", 997, 1, EVEN),
    ("ws: lognormal 20 ms", 997, 4, POISSON),
    ("ws: every 5th hangs", 499, 4, EVEN),
    ("ws: closed, 13 conn.", 0, 4, EVEN),
]
MORE_CELLS = [
    # Twice as fast takes half of a slow core for the client alone.
    ("ws: 5 ms", 2011, 1, EVEN),
    ("one at a time, 1 ms", 500, 4, EVEN),
    ("lognormal 20 ms", 2011, 1, EVEN),
    ("closes idle, 50 ms", 500, 1, POISSON),
    # Its times need a quiet machine: a few hundred messages, and each that waits moves the p90. Counts were right.
    ("ws: 5 ms, 1 connection", 97, 1, POISSON),
    ("ws: reset every 101", 499, 1, EVEN),
    ("ws: closed, 1 connection", 0, 1, EVEN),
]


@pytest.fixture(scope="module")
def floors():
    """What an answer without delay takes beyond the record, by WebSocket and the number of agents, measured beside the others."""
    return {(websocket, agents): floor(agents, websocket) for websocket in (False, True) for agents in (1, 4)}


def name_of(cell: tuple[str, int, int, Arrivals]) -> str:
    """Return the id of a cell."""
    name, rate, agents, arrivals = cell
    return f"{name}-{rate}-{agents}-{arrivals.value}"


@pytest.mark.parametrize(
    ("name", "rate", "agents", "arrivals"),
    [
        *(pytest.param(*cell, id=name_of(cell)) for cell in CELLS),
        *(pytest.param(*cell, id=name_of(cell), marks=pytest.mark.full) for cell in MORE_CELLS),
    ],
)
def test_reports_agree_with_the_record(name, rate, agents, arrivals, floors, record_property):
    """Every request is counted as what the record says of it, in every attempt; p50 and p90 are within 2 % + 0.1 ms and
    p99 within 5 % + 0.5 ms in the best of three.

    The times may exceed the record by the measured floor. What stops the machine stops the client and not the record, so
    another attempt is made then.
    """
    behaviour = BEHAVIOURS[name]

    def attempt() -> Attempt:
        result = measure(Cell(behaviour, rate, agents, arrivals))
        assert result.counts_agree, (result.statuses, result.truth.statuses, explain(result.trial))
        # What the schedule says arrived; a burst of 10 ms would delay half of the requests by 5 ms.
        closed = behaviour.count is not None
        late = [] if closed or nearest_rank(result.truth.lateness_us, 0.9) < 1_000 else ["arrivals"]
        return Attempt(result.off(floors[behaviour.websocket, agents]) + late, result)

    judge(attempt, record_property)


@dataclass(frozen=True)
class Attempt:
    """One load. off: what was outside the bounds."""

    off: list[str]
    result: Result

    def __str__(self) -> str:
        off, trial = ", ".join(self.off), self.result.trial
        return f"outside the bounds: {off}; {trial.verdict}, {sorted(codes(trial))}; the machine: {self.result.machine}"

    @property
    def doubted(self) -> bool:
        """Return whether the trial itself says that the machine was not its own, or that requests were late."""
        return not codes(self.result.trial).isdisjoint({"host-steal", "send-lag", "bursty-arrivals", "generator-cpu"})


def judge(attempt: Callable[[], Attempt], record_property: Callable[[str, object], None]) -> None:
    """Make attempts until one is within the bounds; fail if it is none of three on a machine that ran all the time.

    On a machine that never does for as long, no time can be held against a record. Then only the p99 may be outside in
    one of the attempts (a generator that bunches requests is off in p50 and p90, too: the control below), or Volley has to
    doubt each of them: what it must never do is to be wrong and sure.
    """
    made: list[Attempt] = []
    while len(made) < AT_MOST and sum(each.result.machine.calm for each in made) < ATTEMPTS:
        made.append(attempt())
        if not made[-1].off:
            return
    told = "\n".join(map(str, made))
    assert sum(each.result.machine.calm for each in made) < ATTEMPTS, told
    middle_is_right = any(all(off.endswith("p99") for off in each.off) for each in made)
    assert middle_is_right or all(each.doubted for each in made), told
    record_property("print", f"the machine did not run all the time, p99 not judged: {made[-1]}")


def test_bursts_of_10_ms_are_outside_the_bounds():
    """The control: the response times of a server with a queue, had requests left in bursts of a 10 ms timer, are OFF."""
    due_us = np.arange(2_000) * 1e6 / 497
    burst_us = np.ceil(due_us / 10_000) * 10_000
    free_us, bursts, even = 0.0, [], np.full(due_us.size, 1_000.0)
    for due, sent in zip(due_us, burst_us, strict=True):
        free_us = max(free_us, sent) + 1_000
        bursts.append(free_us - due)
    pair = Pair(
        {name: nearest_rank(np.array(bursts), q) for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))},
        {name: nearest_rank(even, q) for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))},
    )
    # The largest floor that is ever used hides none of them.
    assert pair.off(dict.fromkeys(BOUNDS, MOST_FLOOR_US)) == ["p50", "p90", "p99"]


def test_a_quiet_trial_is_valid(floors, record_property):
    """The row that was wrong with a VALID verdict, 497/s against one worker of 1 ms, is right with one."""

    def attempt() -> Attempt:
        result = measure(Cell(BEHAVIOURS["one at a time, 1 ms"], 497, 1, EVEN))
        doubt = [] if result.trial.verdict == Verdict.VALID else ["verdict"]
        return Attempt(doubt + result.off(floors[False, 1]), result)

    judge(attempt, record_property)
