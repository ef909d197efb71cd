"""What Volley reports of open loops is what the servers of the zoo have on record. `make truth` has the whole table."""

import numpy as np
import pytest

from agents.generators.contract import Arrivals
from orchestrator.result import Verdict
from tests.truth.behaviours import BEHAVIOURS, Cell
from tests.truth.harness import explain
from tests.truth.measure import BOUNDS, MOST_FLOOR_US, Pair, floor, measure
from tests.truth.reference import nearest_rank

pytestmark = pytest.mark.usefixtures("scratch_is_clean")
EVEN, POISSON = Arrivals.EVEN, Arrivals.POISSON
# Attempts on a machine that runs all the time; and in all, with those in which it stood still for longer than four times
# what the p99 may be off: the slowest percent of a short load is then the machine's.
ATTEMPTS, AT_MOST = 3, 8
STOOD_STILL_US = 2_000

# Each kind of server once or twice: prime and round rates, one and four agents, even and random arrivals.
CELLS = [
    ("fixed 5 ms", 2011, 1, EVEN),
    ("fixed 150 ms", 497, 4, EVEN),
    ("one at a time, 1 ms", 497, 1, EVEN),
    ("one at a time, 1 ms", 500, 4, EVEN),
    ("4 workers, 3 ms", 997, 1, POISSON),
    ("lognormal 20 ms", 2011, 1, EVEN),
    ("lognormal 20 ms", 997, 4, POISSON),
    ("hyperexponential", 700, 1, EVEN),
    ("1 % slow", 2011, 1, POISSON),
    ("67 % fast 503", 997, 1, POISSON),
    ("429 above 800/s", 2011, 1, EVEN),
    ("reset every 101", 997, 1, EVEN),
    ("closes unannounced", 997, 1, EVEN),
    ("closes idle, 50 ms", 500, 1, POISSON),
    ("every 5th conn. hangs", 497, 1, EVEN),
    ("1 % endless bodies", 500, 1, EVEN),
    ("ws: 5 ms", 2011, 1, EVEN),
    # Its times need a quiet machine: a few hundred messages, and each that waits moves the p90. Counts were right.
    pytest.param("ws: 5 ms, 1 connection", 97, 1, POISSON, marks=pytest.mark.full),
    ("ws: lognormal 20 ms", 997, 4, POISSON),
    ("ws: reset every 101", 499, 1, EVEN),
    ("ws: every 5th hangs", 499, 4, EVEN),
    ("ws: closed, 1 connection", 0, 1, EVEN),
    ("ws: closed, 13 conn.", 0, 4, EVEN),
]


@pytest.fixture(scope="module")
def floors():
    """What an answer without delay takes beyond the record, by WebSocket and the number of agents, measured beside the others."""
    return {(websocket, agents): floor(agents, websocket) for websocket in (False, True) for agents in (1, 4)}


def name_of(cell) -> str:
    """Return the id of a cell, with or without marks."""
    name, rate, agents, arrivals = getattr(cell, "values", cell)
    return f"{name}-{rate}-{agents}-{arrivals.value}"


@pytest.mark.parametrize(("name", "rate", "agents", "arrivals"), CELLS, ids=[name_of(cell) for cell in CELLS])
def test_reports_agree_with_the_record(name, rate, agents, arrivals, floors):
    """Every request is counted as what the record says of it, in every attempt; p50 and p90 are within 2 % + 0.1 ms and
    p99 within 5 % + 0.5 ms in the best of three.

    The times may exceed the record by the measured floor. What stops the machine stops the client and not the record, so
    another attempt is made then. On a machine that never runs for the length of three attempts, p50 and p90 are judged
    alone: a generator that bunches requests is off in them too, as the control below shows.
    """
    attempts = []
    while len(attempts) < AT_MOST and sum(still <= STOOD_STILL_US for _, _, still in attempts) < ATTEMPTS:
        behaviour = BEHAVIOURS[name]
        result = measure(Cell(behaviour, rate, agents, arrivals))
        assert result.counts_agree, (result.statuses, result.truth.statuses, explain(result.trial))
        # What the schedule says arrived; a burst of 10 ms would delay half of the requests by 5 ms.
        closed = behaviour.count is not None
        on_time = closed or nearest_rank(result.truth.lateness_us, 0.9) < 1_000
        off = result.off(floors[behaviour.websocket, agents])
        if on_time and not off:
            return
        attempts.append((off, on_time, result.stood_still_us))
    restless = sum(still <= STOOD_STILL_US for _, _, still in attempts) < ATTEMPTS
    middle_is_right = any(on_time and all(each.endswith("p99") for each in off) for off, on_time, _ in attempts)
    assert restless, f"outside the bounds (what, on time, machine stood still in µs): {attempts}"
    assert middle_is_right, f"outside the bounds (what, on time, machine stood still in µs): {attempts}"


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


def test_a_quiet_trial_is_valid(floors):
    """The row that was wrong with a VALID verdict, 497/s against one worker of 1 ms, is right with one."""
    verdicts, calm = [], 0
    while len(verdicts) < AT_MOST and calm < ATTEMPTS:
        result = measure(Cell(BEHAVIOURS["one at a time, 1 ms"], 497, 1, EVEN))
        verdicts.append((result.trial.verdict, result.off(floors[False, 1])))
        if verdicts[-1] == (Verdict.VALID, []):
            return
        calm += result.stood_still_us <= STOOD_STILL_US
    pytest.fail(str(verdicts))
