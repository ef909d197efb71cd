"""The search for capacity: against servers of known capacity, hundreds of times; and where there is none to find."""

import itertools
import math

import numpy as np
import pytest

from orchestrator.search.engine import Search
from orchestrator.search.records import Answer, Bounds, Ending, Kind
from tests.unit import queues

PRECISION = 0.03
ROUNDS = 200
RAMPS = 30
SERVERS = {
    "M/M/1": queues.mm1,
    "M/D/1": queues.md1,
    "M/M/2": queues.mm2,
    "hard limit": queues.hard_limit,
    "warm-up": queues.warming_up,
    "M/M/1, 5 % bad probes": lambda: queues.with_bad_probes(queues.mm1()),
}


def bounds(start, **changes):
    return Bounds(**{"start": start, "lowest": 10.0, "highest": 1e6, "precision": PRECISION} | changes)


def follow(search, do):
    """Ask, do, tell, to the end; and no longer than is sensible."""
    while (asked := search.ask()) is not None:
        assert len(search.history) < 200
        answer = do(asked)
        search.tell(answer if isinstance(answer, Answer) else Answer(bool(answer)))
    return search.found()


def simulated(server, seed):
    draw = np.random.default_rng(seed)
    # The estimate that it starts from is of a closed load: off by a factor of two at worst.
    search = Search(bounds(server.capacity * draw.uniform(0.5, 2.0)))

    def do(asked):
        seconds = queues.PROBE_S * (3 if asked.kind is Kind.SOAK else 1)
        return server.passes(draw, asked.rate_per_s, seconds)

    return follow(search, do)


def ramp(server, seed, tries):
    """A linear ramp of the same precision: steps of twice the half-width, each tried so often; it ends when most fail.

    It knows how wide a step has to be, which the search does not; where in a step the capacity lies is chance.
    """
    draw, step = np.random.default_rng(seed), 2 * PRECISION * server.capacity
    rate, probes = step * draw.uniform(0.5, 1.5), 0
    while rate < 3 * server.capacity:
        passed = sum(server.passes(draw, rate, queues.PROBE_S) for _ in range(tries))
        probes += tries
        if passed <= tries // 2:
            break
        rate += step
    return rate - step <= server.capacity <= rate, probes


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
def test_the_capacity_of_a_known_server_is_found(name, record_property):
    """In at least 90 % of the searches it lies in the interval, and the interval is as narrow as asked; with few probes."""
    found = []
    inside = narrow = 0
    for seed in range(ROUNDS):
        server = SERVERS[name]()
        each = simulated(server, seed)
        found.append(each)
        inside += each.low <= server.capacity <= each.high
        narrow += (each.high - each.low) / (each.high + each.low) <= PRECISION
    probes = float(np.mean([each.probes for each in found]))
    ramps = {tries: [ramp(SERVERS[name](), seed, tries) for seed in range(RAMPS)] for tries in (1, 3)}
    # Once, as most people do, is right only where nothing is left to chance; three times is what 5 % of bad probes ask for.
    right = {tries: np.mean([good for good, _ in those]) for tries, those in ramps.items()}
    costs = {tries: np.mean([p for _, p in those]) for tries, those in ramps.items()}

    record_property(
        "print",
        f"{name:22} {ROUNDS} searches: in the interval {inside}, narrow enough {narrow}, confirmed {sum(e.confirmed for e in found)}, "
        f"{probes:.1f} probes; linear ramp: " + ", ".join(
            f"tried {'once' if tries == 1 else 'three times'} {costs[tries]:.1f} probes, right in {right[tries]:.0%}" for tries in ramps
        ),
    )  # fmt: skip
    assert inside >= 0.9 * ROUNDS
    assert narrow >= 0.9 * ROUNDS
    assert probes < costs[3]
    assert probes < costs[1] or right[1] < inside / ROUNDS


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
    """What holds for ten seconds and not for thirty is not the capacity."""
    search = Search(bounds(900.0))

    found = follow(search, lambda asked: asked.rate_per_s <= (600 if asked.kind is Kind.SOAK else 700))

    assert found.ending is Ending.CAPACITY
    assert not found.confirmed


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
    """The interval is wider, and true."""
    found = follow(Search(bounds(900.0, budget=8)), limit(700))

    assert (found.ending, found.probes) == (Ending.BUDGET, 8)
    assert found.low <= 700 <= found.high
    assert not found.confirmed


@pytest.mark.parametrize("factor", [0.02, 50.0])
def test_a_bad_first_estimate_costs_a_few_probes(factor):
    """Fifty times too low or too high."""
    found = follow(Search(bounds(700 * factor)), limit(700))

    assert found.low <= 700 <= found.high
    assert found.probes <= 30


def test_the_theory_of_the_simulated_servers():
    """Long simulated runs at the capacity meet the objective just about: the truth that is searched for is one."""
    draw = np.random.default_rng(2)
    for server in (queues.mm1(), queues.md1(), queues.mm2()):
        below = sum(server.passes(draw, server.capacity * 0.97, 200.0) for _ in range(5))
        above = sum(server.passes(draw, server.capacity * 1.03, 200.0) for _ in range(5))
        assert (below, above) == (5, 0)
    assert math.isclose(queues.mm1().capacity, 907.9, rel_tol=1e-4)
