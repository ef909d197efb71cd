"""Plans: order, digest, shares."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.generators.contract import Arrivals, DataOrder, Protocol
from agents.records import AssignedData, AssignedRequest, GeneratorKind
from orchestrator.errors import UsageError
from orchestrator.facts import Traffic
from orchestrator.plan import assign, make_plan, rows_of, split
from orchestrator.spec.generator import MOST_OPEN_CLIENTS
from orchestrator.spec.models import Campaign

MIX = [
    AssignedRequest("own", "http://h/", "POST", [["X-Secret", "s3cret"]], b"body"),
    AssignedRequest("b", "http://h/b", "POST", [["X-Secret", "s3cret"]], b"body"),
]
TRAFFIC = Traffic(MIX, Protocol.HTTP1)


def campaign(**changes):
    plain = {
        "campaign": "c",
        "targets": {"a": {"url": "http://h/"}, "b": {"url": "http://i/"}},
        "loads": {
            "burst": {"clients": 40, "requests": 1000},
            "steady": {"clients": 40, "duration": "5s", "warm_up": "2s"},
        },
        "repetitions": 6,
    }
    return Campaign.model_validate(plain | changes)


def test_every_block_holds_each_case_once():
    """Randomised blocks: drift hits all cases alike."""
    plan = make_plan(campaign())

    for block in range(6):
        assert Counter(t.case.name for t in plan.trials if t.block == block) == Counter(c.name for c in plan.cases)
    assert [t.number for t in plan.trials] == list(range(1, 25))
    assert len({tuple(t.case.name for t in plan.trials if t.block == b) for b in range(6)}) > 1


def test_the_seed_decides_the_order_and_the_digest():
    """The same seed gives the same plan; another seed another."""
    assert make_plan(campaign()) == make_plan(campaign())
    assert make_plan(campaign()).digest != make_plan(campaign(seed=2)).digest
    assert make_plan(campaign()).digest != make_plan(campaign(agents=3)).digest


def test_an_adaptive_campaign_is_planned_to_its_end():
    """Every block it may need, each with every case once. How many are run is decided during the run."""
    until = {"metric": "p99", "narrower_than": "5%"}
    spec = campaign(repetitions={"until": until, "at_least": 3, "at_most": 9})
    plan = make_plan(spec)

    assert {t.block for t in plan.trials} == set(range(9))
    assert (spec.least_repetitions, spec.required_trials) == (3, 2)


def test_only_include_and_exclude_choose_cases():
    """A glob on the command line; include and exclude globs in the file, where exclude wins."""
    assert [c.name for c in make_plan(campaign(), "a/*").cases] == ["a/burst", "a/steady"]
    assert [c.name for c in make_plan(campaign(include=["b/steady"])).cases] == ["b/steady"]
    assert [c.name for c in make_plan(campaign(exclude=["*/burst", "a/*"])).cases] == ["b/steady"]
    assert [c.name for c in make_plan(campaign(include=["a/*"], exclude=["*/steady"])).cases] == ["a/burst"]
    with pytest.raises(UsageError, match="matches no case") as error:
        make_plan(campaign(), "z*")
    assert "a/burst" in error.value.hint


@given(st.integers(0, 10**9), st.integers(1, 1000))
def test_shares_add_up_and_differ_by_at_most_one(total, parts):
    """Nothing is lost in splitting."""
    shares = split(total, parts)

    assert (sum(shares), len(shares)) == (total, parts)
    assert max(shares) - min(shares) <= 1


@given(st.integers(1, 7), st.integers(7, 50), st.integers(50, 5000))
def test_totals_of_a_load_are_split_without_loss(agents, clients, requests):
    """Clients and requests are totals over all agents."""
    spec = campaign(loads={"l": {"clients": clients, "requests": requests}}, agents=agents)
    case = make_plan(spec).cases[0]

    shares = shares_on(case, agents)

    assert (sum(s.clients for s in shares), sum(s.count for s in shares)) == (clients, requests)
    assert all(s.count >= s.clients for s in shares) or requests < clients + agents


OPEN = {"model": "open", "rate": "100/s", "duration": "4s", "warm_up": "1s", "tail": "1s"}


def shares_on(case, agents, run="r", trial=1, give_up_us=60_000_000):
    """The assignments of so many agents on one host."""
    return assign(case, TRAFFIC, give_up_us, run, trial, {"h": [None] * agents})["h"]


def shares_of(agents, **load):
    case = make_plan(campaign(loads={"o": OPEN | load}, agents=agents)).cases[0]
    return case, shares_on(case, agents)


@pytest.mark.parametrize("agents", [1, 3, 4])
def test_agents_of_an_open_load_are_one_stream(agents):
    """Each sends at the same rate, and the first requests are 1/R apart: together they are due evenly at R."""
    case, shares = shares_of(agents)

    due_ns = sorted(s.first_due_ns + k * 1e9 / s.rate_per_s for s in shares for k in range(5))
    assert due_ns == pytest.approx([k * 1e7 for k in range(5 * agents)], abs=1)
    assert all(s.duration_us == 6_000_000 and s.count is None for s in shares)
    assert (shares[0].window_start_us, shares[0].window_end_us) == (1_000_000, 5_000_000)
    assert {s.generator for s in shares} == {GeneratorKind.PACED} == {case.generator}
    assert sum(s.clients for s in shares) == case.clients == MOST_OPEN_CLIENTS


def test_random_arrivals_are_drawn_from_the_campaigns_seed():
    """The same for the same campaign, trial and agent; other ones for another."""
    case, shares = shares_of(3, arrivals="poisson")
    again = shares_on(case, 3, run="another run", give_up_us=1)
    next_trial = shares_on(case, 3, trial=2)

    assert {s.arrivals for s in shares} == {Arrivals.POISSON}
    assert [s.seed for s in shares] == [s.seed for s in again]
    assert len({s.seed for s in (*shares, *next_trial)}) == 6


def test_h2load_gets_whole_numbers_of_requests():
    """Each of its connections sends the same number, enough for warm-up, window and tail."""
    _, shares = shares_of(2, generator="h2load", clients=7)

    assert sum(s.rate_per_s for s in shares) == pytest.approx(100)
    assert [s.clients for s in shares] == [4, 3]
    for s in shares:
        assert s.count % s.clients == 0
        assert s.count / s.rate_per_s >= 6
        assert s.duration_us is None


@pytest.mark.parametrize(
    ("load", "generator", "clients"),
    [
        ({}, "paced", MOST_OPEN_CLIENTS),
        ({"clients": 30}, "paced", 30),
        ({"protocol": "http2"}, "h2load", 10),
        ({"rate": "30000/s"}, "h2load", 3_000),
        ({"rate": "30000/s", "arrivals": "poisson"}, "paced", MOST_OPEN_CLIENTS),
        ({"generator": "h2load"}, "h2load", 10),
        ({"generator": {"command": ["mine", "-x"]}}, "command", MOST_OPEN_CLIENTS),
        ({"model": "closed", "rate": None, "clients": 5}, "h2load", 5),
        ({"model": "closed", "rate": None, "clients": 5, "method": "HEAD"}, "paced", 5),
        ({"model": "closed", "rate": None, "clients": 5, "timeout": "1s"}, "paced", 5),
        ({"model": "closed", "rate": None, "clients": 5, "generator": "paced"}, "paced", 5),
    ],
)
def test_each_load_has_the_generator_that_can_send_it(load, generator, clients):
    """And as many connections as that needs, unless the load says how many."""
    case, shares = shares_of(2, **load)

    assert (case.generator, case.clients) == (generator, clients)
    assert all(s.program == (["mine", "-x"] if generator == "command" else []) for s in shares)


def test_every_agent_sends_the_whole_mix():
    """The first request stands for a generator that sends one; what can hold secrets is not in the repr."""
    case = make_plan(campaign(agents=3)).cases[0]

    by_host = assign(case, TRAFFIC, 60_000_000, "r", 1, {"a": [None, 4], "b": [5]})
    shares = [*by_host["a"], *by_host["b"]]

    assert [s.url for s in shares] == ["http://h/"] * 3
    assert all(s.requests == MIX for s in shares)
    assert {(s.method, s.body, str(s.headers)) for s in shares} == {("POST", b"body", "[['X-Secret', 's3cret']]")}
    assert [s.core for s in shares] == [None, 4, 5]
    assert [s.agent for s in shares] == ["a/0", "a/1", "b/0"]
    assert not any(secret in repr(TRAFFIC) for secret in ("s3cret", "b'body'"))


@pytest.mark.parametrize(("rows", "agents"), [(12, 4), (10, 4), (3, 4), (7, 1), (5, 5)])
def test_agents_go_through_a_data_file_together(rows, agents):
    """Request g of all, which agent g mod n sends, takes row g mod N: none is repeated before the end."""
    data = AssignedData(["id"], [[str(k)] for k in range(rows)])
    own = [rows_of(data, agent, agents).rows for agent in range(agents)]
    taken = [own[g % agents][(g // agents) % len(own[g % agents])][0] for g in range(3 * rows)]

    assert taken == [str(g % rows) for g in range(3 * rows)]
    assert rows_of(AssignedData(["id"], data.rows, DataOrder.RANDOM), 1, 3).rows == data.rows


def test_how_long_a_load_lasts_is_said_once():
    """Warm-up, duration and tail; unknown for a load that a number of requests ends."""
    burst, steady = make_plan(campaign(), "a/*").cases

    assert burst.load_us is None
    assert steady.load_us == 2_000_000 + 5_000_000 + 500_000


@pytest.mark.parametrize(
    ("load", "tail_us"),
    [
        ({"duration": "1s"}, 300_000),
        ({"duration": "8s"}, 800_000),
        ({"duration": "1m"}, 2_000_000),
        ({"duration": "8s", "tail": "50ms"}, 50_000),
        ({"requests": 100}, 0),
    ],
)
def test_the_tail_follows_the_duration_unless_it_is_set(load, tail_us):
    """A tenth of it, from 0.3 s to 2 s; a load that requests end has none."""
    case = make_plan(campaign(loads={"l": {"clients": 4} | load})).cases[0]

    assert case.tail_us == tail_us


@pytest.mark.parametrize(
    ("load", "slo", "clients"),
    [
        ({"protocol": "http2"}, "p99 < 500ms, errors < 1%", 100),
        ({"protocol": "http2"}, "p50 < 10ms", 10),
        ({"protocol": "http2", "streams": 10}, "p99 < 2s", 40),
        ({"protocol": "http2", "clients": 3}, "p99 < 2s", 3),
        ({}, "p99 < 2s", MOST_OPEN_CLIENTS),
    ],
)
def test_h2load_has_slots_for_answers_as_slow_as_the_objective_allows(load, slo, clients):
    """Twice the rate times the limit, so that one is free when a request is due; the load's own number comes first."""
    spec = campaign(loads={"o": OPEN | load}, slo={"a/*": slo}, agents=2)
    case = next(case for case in make_plan(spec).cases if case.target == "a")

    assert case.clients == clients


@pytest.mark.parametrize(
    ("load", "agents", "hosts", "used", "asked"),
    [
        ({}, None, 1, 2, None),
        ({}, None, 3, 3, None),
        ({}, 1, 3, 1, None),
        ({"paths": ["/a", "/b", "/c"]}, None, 1, 2, None),
        ({"requests": ["/a", "/b"], "count": 1, "clients": 1}, None, 1, 1, None),
        ({"agents": 5}, 3, 1, 5, None),
        ({"clients": 1}, None, 3, 1, None),
        ({"clients": 3}, 4, 1, 3, 4),
        ({"clients": 3, "agents": 9}, 4, 1, 3, 9),
        ({"requests": 2, "clients": 2}, 4, 1, 2, 4),
        (OPEN | {"clients": 3, "requests": None}, 4, 1, 3, 4),
        (OPEN | {"clients": None, "requests": None}, 4, 1, 4, None),
    ],
)
def test_as_many_agents_as_asked_for_or_as_the_load_can_use(load, agents, hosts, used, asked):
    """By default one for each load host, at least two; a number that was lowered is kept for the page."""
    whole = {"clients": 40, "requests": 100} | load
    spec = campaign(loads={"l": {key: value for key, value in whole.items() if value is not None}}, agents=agents)
    case = make_plan(spec, load_hosts=hosts).cases[0]

    assert (case.agents, case.agents_asked) == (used, asked)
    assert sum(split(case.clients, case.agents)) == case.clients
