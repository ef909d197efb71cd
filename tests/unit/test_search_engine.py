"""The search for capacity: against servers of known capacity, hundreds of times; and where there is none to find."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from orchestrator.search.engine import Search
from orchestrator.search.records import Answer, Bounds, Ending, Kind, LimitedBy
from tests.unit import simulated_servers as servers
from tests.unit.simulated_searches import PRECISION, covered, ramp

ROUNDS = 25
# Those that a search is most often wrong about; benchmarks/searches.py has all of them, 200 times each.
HARD = (
    "noise 5 %",
    "M/M/1",
    "D/M/1",
    "errors, clumps of 20",
    "drift -10 %",
    "good for 10 s only",
    "cold start",
    "metastable",
)
# Those that take the most time, in `make test-full`.
LONGER = ("D/M/1", "M/M/1", "good for 10 s only")


def bounds(start, **changes):
    return Bounds(**{"start": start, "lowest": 10.0, "highest": 1e6, "precision": PRECISION} | changes)


def follow(search, do):
    """Ask, do, tell, to the end; and no longer than is sensible."""
    while (asked := search.ask()) is not None:
        assert len(search.history) < 200
        answer = do(asked)
        search.tell(answer if isinstance(answer, Answer) else Answer(bool(answer)))
    return search.found()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] if name in LONGER else []) for name in HARD]
)
def test_an_interval_holds_the_capacity(name, record_property):
    """In 90 % of the searches that state one; what is confirmed is hardly ever wrong.

    The bounds are those that one in a thousand such series misses where 95 % are right and 3 % are confirmed and wrong.
    """
    coverage = covered(name, range(ROUNDS))

    record_property("print", coverage.line())
    assert coverage.right >= stats.binom.ppf(0.001, coverage.stated, 0.95)
    assert coverage.stated >= ROUNDS / 2
    assert coverage.confirmed_and_wrong <= stats.binom.ppf(0.999, ROUNDS, 0.03)


@pytest.mark.slow
def test_a_hard_limit_takes_fewer_probes_than_a_ramp():
    """As precise as was asked, confirmed, and without a wrong one."""
    coverage = covered("hard limit", range(ROUNDS))
    ramps = [ramp("hard limit", seed, 1)[1] for seed in range(ROUNDS)]

    assert coverage.right == ROUNDS
    assert all(each.found.ending is Ending.CAPACITY and each.found.confirmed for each in coverage.outcomes)
    assert coverage.probes < np.mean(ramps)


def limit(per_s):
    return lambda asked: asked.rate_per_s <= per_s


def test_the_same_answers_give_the_same_questions():
    """Pure: a stored search can be played again."""
    one, two = (Search(bounds(900.0)) for _ in range(2))
    follow(one, limit(700))
    follow(two, limit(700))

    assert one.history == two.history
    assert one.ask() is one.ask() is None


def test_it_ends_with_a_soak_that_holds_and_a_step_above_that_does_not():
    """At the lower end of the interval, and beyond the upper one."""
    search = Search(bounds(900.0))

    found = follow(search, limit(700))
    last, above = search.history[-2:]

    assert found.ending is Ending.CAPACITY
    assert found.confirmed
    assert (last[0].kind, last[1].passed) == (Kind.SOAK, True)
    assert (above[0].kind, above[1].passed) == (Kind.ABOVE, False)
    assert last[0].rate_per_s == found.low or last[0].rate_per_s < found.estimate
    assert above[0].rate_per_s > 700


def test_it_never_goes_up_only():
    """Below, above, below: drift and warm-up do not hide behind the rate."""
    search = Search(bounds(900.0))
    follow(search, limit(700))
    rates = [asked.rate_per_s for asked, _ in search.history]

    assert sum(b < a for a, b in itertools.pairwise(rates)) >= 3


def test_an_answer_that_contradicts_opens_the_bracket_again():
    """Everything above 300 fails at first; the truth is 3000."""
    search = Search(bounds(900.0))

    found = follow(search, lambda asked: asked.rate_per_s <= (300 if len(search.history) < 4 else 3000))

    assert found.low <= 3000 <= found.high


def test_a_soak_that_fails_is_learned_from():
    """What holds for ten seconds and not for thirty is not the capacity: after two soaks only soaks count."""
    search = Search(bounds(900.0))

    found = follow(search, lambda asked: asked.rate_per_s <= (600 if asked.kind is Kind.SOAK else 700))

    assert found.low <= 600 <= found.high < 650
    assert 600 < found.soak_failed < 630
    assert not found.confirmed


def test_a_server_that_holds_no_soak_has_no_capacity():
    """Every probe below 700 passes and every soak fails."""
    search = Search(bounds(900.0))

    found = follow(search, lambda asked: asked.kind is not Kind.SOAK and asked.rate_per_s <= 700)

    assert (found.ending, found.estimate, found.low, found.confirmed) == (Ending.NOT_SUSTAINED, None, None, False)
    assert found.soak_failed < 100
    assert found.held <= 700


def test_a_probe_without_enough_connections_is_asked_for_again():
    """It says nothing about the server; the same rate comes again until there are enough."""
    search, opened = Search(bounds(900.0, budget=30)), 10.0

    def do(asked):
        nonlocal opened
        if asked.rate_per_s * 0.1 > opened:
            opened *= 2
            return Answer(False, limited_by=LimitedBy.CONNECTIONS)
        return asked.rate_per_s <= 700

    found = follow(search, do)
    rates = [asked for asked, _ in search.history]

    assert found.low <= 700 <= found.high
    again = [i for i, (_, answer) in enumerate(search.history) if answer.limited_by is LimitedBy.CONNECTIONS]
    assert len(again) >= 3
    assert all(rates[i + 1] == rates[i] for i in again)
    assert found.probes == len(search.history)


def test_connections_that_never_suffice_end_the_search():
    """Six times as many at one rate, and it counts as a limit like any other."""
    found = follow(
        Search(bounds(900.0)),
        lambda asked: Answer(asked.rate_per_s <= 2000, LimitedBy.CONNECTIONS if asked.rate_per_s > 2000 else None),
    )

    assert (found.ending, found.limited_by) == (Ending.LIMITED, LimitedBy.CONNECTIONS)
    assert 1000 < found.held <= 2000
    assert found.probes <= 40


@pytest.mark.parametrize("limit", [LimitedBy.CLIENTS, LimitedBy.UNOPENED])
def test_the_limit_of_the_clients_or_of_what_the_server_takes_counts_at_once(limit):
    """It does not change, so the same rate is not asked for twice."""
    search = Search(bounds(900.0))
    found = follow(search, lambda asked: Answer(asked.rate_per_s <= 2000, limit if asked.rate_per_s > 2000 else None))
    refused = [asked.rate_per_s for asked, answer in search.history if answer.limited_by]

    assert (found.ending, found.limited_by) == (Ending.LIMITED, limit)
    assert len(set(refused)) == len(refused)


def test_an_objective_that_is_always_met():
    """Up to the highest rate, twice; no capacity is claimed."""
    search = Search(bounds(900.0, highest=5_000.0))

    found = follow(search, lambda asked: True)

    assert (found.ending, found.held, found.estimate) == (Ending.ALWAYS_MET, 5_000.0, None)
    assert found.probes <= 8


def test_an_objective_that_is_never_met():
    """Down to the lowest rate, twice; soon."""
    found = follow(Search(bounds(900.0)), lambda asked: False)

    assert (found.ending, found.held, found.estimate) == (Ending.NEVER_MET, None, None)
    assert found.probes <= 5


@pytest.mark.parametrize(("first", "ending", "held"), [(False, "always met", 5_000.0), (True, "never met", 630.0)])
def test_a_first_answer_that_was_wrong_does_not_use_up_the_budget(first, ending, held):
    """There is a bracket then, and the capacity lies outside of all that may be looked at."""
    search = Search(bounds(900.0, highest=5_000.0))

    found = follow(search, lambda asked: first if not search.history else not first)

    assert (found.ending, found.held, found.estimate) == (ending, pytest.approx(held, rel=0.01), None)
    assert found.probes <= 25


def test_a_generator_that_gives_way_first_is_no_capacity():
    """From 2000/s on it is the generator: at least what was held, and no interval."""
    found = follow(
        Search(bounds(900.0)),
        lambda asked: Answer(True) if asked.rate_per_s < 2000 else Answer(False, limited_by="generator"),
    )

    assert (found.ending, found.limited_by, found.estimate) == (Ending.LIMITED, "generator", None)
    assert 1000 < found.held < 2000


def test_a_generator_that_gives_way_at_the_first_rate_is_asked_for_less():
    """It starts too high for the generator: further down there is something to learn, whatever it is."""

    def behind(answer):
        return lambda asked: Answer(False, "generator") if asked.rate_per_s > 100 else Answer(answer)

    weak, never = (follow(Search(bounds(900.0)), behind(answer)) for answer in (True, False))
    none = follow(Search(bounds(900.0)), lambda asked: Answer(False, "generator"))

    assert (weak.ending, weak.limited_by) == (Ending.LIMITED, "generator")
    assert 50 < weak.held <= 100
    assert never.ending is Ending.NEVER_MET
    assert (none.ending, none.held) == (Ending.LIMITED, None)
    assert none.probes <= 16


def test_a_generator_that_gives_way_above_the_capacity_does_not_matter():
    """The server's end is below it."""

    def do(asked):
        return Answer(False, "generator") if asked.rate_per_s > 1000 else Answer(asked.rate_per_s <= 700)

    found = follow(Search(bounds(1_500.0)), do)

    assert found.low <= 700 <= found.high


def test_a_generator_that_gives_way_at_the_step_above_leaves_the_capacity_unconfirmed():
    """What was counted below stands: the server failed there, whatever the generator can do further up."""
    search = Search(bounds(900.0))

    def do(asked):
        return Answer(False, "generator") if asked.kind is Kind.ABOVE else Answer(asked.rate_per_s <= 700)

    found = follow(search, do)

    assert (found.ending, found.confirmed, found.limited_by) == (Ending.CAPACITY, False, None)
    assert found.low <= 700 <= found.high


def test_a_light_load_is_light_beside_what_failed():
    """Also where the closed model promised a hundred times what the objective allows, and below the highest rate."""
    search = Search(bounds(90_000.0, recovers=True, highest=200.0))
    follow(search, limit(100))
    light = [asked.rate_per_s for asked, _ in search.history if asked.kind is Kind.REFERENCE]
    failed = [asked.rate_per_s for asked, answer in search.history if not answer.passed]

    # The step above, the last of all, is not recovered from.
    assert len(light) > 3
    assert light == [rate / 2 for rate in failed[:-1]]


def test_after_a_failure_the_server_has_to_recover_first():
    """A light load passes before the next probe; asked for again while it does not."""
    search = Search(bounds(900.0, recovers=True))
    ill = []

    def do(asked):
        if asked.kind is Kind.REFERENCE:
            assert asked.rate_per_s == 90.0
            ill.pop()
            return not ill
        if asked.rate_per_s > 700:
            ill.extend([1, 1, 1])
            return False
        return True

    found = follow(search, do)
    kinds = [asked.kind for asked, _ in search.history]

    assert found.low <= 700 <= found.high
    for i, (asked, answer) in enumerate(search.history[:-1]):
        if asked.kind is Kind.PROBE and not answer.passed:
            assert kinds[i + 1 : i + 4] == [Kind.REFERENCE] * 3


def test_a_server_that_does_not_come_back_ends_the_search():
    """Five light loads, and no more."""
    search = Search(bounds(900.0, recovers=True))
    dead = []

    def do(asked):
        if asked.rate_per_s > 700:
            dead.append(1)
        return not dead

    found = follow(search, do)

    assert found.ending is Ending.NOT_RECOVERED
    assert [asked.kind for asked, _ in search.history[-5:]] == [Kind.REFERENCE] * 5
    assert found.held <= 700


def test_a_budget_is_kept_and_what_is_known_by_then_is_told():
    """The interval is wider, and true; the last two probes are a soak and a step above all the same."""
    search = Search(bounds(900.0, budget=8))
    found = follow(search, limit(700))

    assert (found.ending, found.probes, found.confirmed) == (Ending.BUDGET, 8, True)
    assert found.low <= 700 <= found.high
    assert [asked.kind for asked, _ in search.history[-2:]] == [Kind.SOAK, Kind.ABOVE]


@pytest.mark.parametrize("factor", [0.02, 50.0])
def test_a_bad_first_estimate_costs_a_few_probes(factor):
    """Fifty times too low or too high."""
    found = follow(Search(bounds(700 * factor)), limit(700))

    assert found.low <= 700 <= found.high
    assert found.probes <= 40


@pytest.mark.slow
def test_the_theory_of_the_simulated_servers():
    """Response times of M/M/1 are exponential with rate mu - lambda, so that its capacity is known."""
    expected = 1000.0 - math.log(100) / 0.05

    assert servers.queue(1, 1, False).capacity(0.0) == pytest.approx(expected, rel=0.005)
