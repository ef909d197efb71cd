"""From trials to a capacity: what passes, what is not counted, what the limit was; what is planned for a rate. No host."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.analyse.bottleneck import bottleneck, describe
from orchestrator.analyse.capacity import Wanted, conclude, in_words, replay
from orchestrator.analyse.cases import judge
from orchestrator.campaign.target import TargetSearch, requests_needed, wanted_of
from orchestrator.cli.exit import exit_code
from orchestrator.report.answer import of_search
from orchestrator.report.terminal import render
from orchestrator.result import Bottleneck, Interval, Metrics, Probe, Requests, ServerCost, Summary, Verdict
from orchestrator.search.records import Ending, Found, Kind, LimitedBy
from orchestrator.spec.load import from_plain
from orchestrator.spec.slo import terms
from orchestrator.stored.evaluate import Finished
from tests.unit.facts import result, steady_case, trial_facts

SLO = "p99 < 50ms, errors < 1%"
TERMS = terms(SLO)
WANTED = Wanted(SLO, TERMS, 0.03, 1000.0, 1.0, 1e6, 60, 10_000_000, 30_000_000)


def trial(rate=100.0, p99_ms=10.0, answered=None, errors=0, kind="probe", number=1, external=True, **facts):
    """A probe: its percentiles as we say, answered per second the rate unless we say otherwise."""
    case = steady_case(
        name=f"t/{kind}", target="t", load=kind, model="open", rate_per_s=rate, external=external,
        cpus=None if external else 1.0,
    )  # fmt: skip
    made = trial_facts(case=case, number=number, shared_host=False, **facts)
    judged = judge(made, [result(agent, [1_000] * 500) for agent in made.agents])
    times = dict.fromkeys(("p50", "p90", "p95", "p99", "p999", "mean", "max"), p99_ms * 1000)
    metrics = judged.metrics
    assert isinstance(metrics, Metrics)
    per_s = rate if answered is None else answered
    good = replace(
        metrics,
        throughput_per_s=per_s,
        window_s=5.0,
        response_time_us=times,
        objective_time_us=times,
        requests=Requests(ok=round(5 * per_s), http_error=errors),
    )
    kept = [f for f in judged.findings if f.code in CODES]
    return replace(judged, metrics=good, findings=kept)


CODES = {"server-oom-kill", "server-exited", "generator-cpu", "network-saturated", "host-steal"}


@pytest.mark.parametrize(
    ("changes", "what", "words"),
    [
        ({"server": ServerCost(throttled_ratio=0.6, cpu_s=4.0)}, "cpu quota", "CPU quota (1 core)"),
        ({"server": ServerCost(throttled_ratio=0.0, cpu_s=4.6)}, "cpu limit", "CPU (0.92 of 1 core)"),
        ({"server": ServerCost(throttled_ratio=0.0, cpu_s=1.0)}, "concurrency", "its own concurrency"),
        ({"server": ServerCost(), "requests": Requests(ok=400, http_error=100)}, "admission", "answered with errors"),
        ({"server": ServerCost(), "requests": Requests(ok=400, failed=100)}, "connections", "refused or closed them"),
        ({"server": ServerCost()}, "not metered", "not metered"),
    ],
)
def test_the_bottleneck_of_a_server(changes, what, words):
    """By its own counters; in words with the numbers."""
    one = trial(external=False)
    spoiled = replace(one, metrics=replace(one.metrics, **changes))

    assert bottleneck(spoiled) == what
    assert words in describe(bottleneck(spoiled), spoiled)


def test_every_bottleneck_has_words():
    """A bottleneck without words would end a report."""
    assert all(describe(what, trial()) for what in Bottleneck)


def searched(limit_per_s, lost=False):
    """A stored search: an estimate, then the probes that a server with this limit had."""
    campaign = from_plain(
        {
            "campaign": "c",
            "targets": {"t": {"url": "http://h/"}},
            "loads": {"l": {"clients": 4, "requests": 10}},
            "saturation": {"slo": SLO},
        }
    ).campaign
    asked = campaign.saturation
    target = TargetSearch("t", campaign, asked, wanted_of(campaign), 2)
    told, trials = [], []
    while (ask := target.next()) is not None:
        rate = 1000.0 if ask.kind is Kind.ESTIMATE else ask.rate_per_s
        good = rate <= limit_per_s or ask.kind is Kind.ESTIMATE
        answered = 0.0 if lost and trials else rate
        one = trial(rate=rate, p99_ms=10 if good else 80, kind=str(ask.kind), number=len(trials) + 1, answered=answered)
        trials.append(one)
        told.append(target.tell(trials[-1]))
    return target, trials, told


def test_a_stored_search_is_played_again():
    """The same trials give the same answer, which is the truth; and the page says all of it."""
    target, trials, told = searched(700)

    found = replay("t", trials, wanted_of(target._campaign))
    page = " ".join(
        " ".join(str(piece) for piece in render(Summary("c", found.verdict, None, [], [], [found]))).split()
    )

    assert target.over == found.ending == "capacity"
    assert found.capacity_per_s.low <= 700 <= found.capacity_per_s.high
    assert found.confirmed
    assert (found.gave_way, found.start_per_s) == ("p99 < 50ms", 1000.0)
    assert len(found.curve) == len(trials) - 1
    assert "the search begins there" in told[0]
    assert "capacity 6" in told[-1]
    assert "confirmed by a soak and a step above" in in_words(found)
    assert page.startswith(of_search(found))
    assert of_search(found).endswith(", confirmed).")
    assert replay("t", [], WANTED).ending == "not started"


def test_a_search_that_asked_otherwise_is_taken_as_it_was():
    """Another Volley may have probed other rates: what was done counts, not what this one would have done."""
    target, trials, _ = searched(700)

    def moved(one, factor):
        rate = one.facts.case.rate_per_s * factor
        return replace(one, facts=replace(one.facts, case=replace(one.facts.case, rate_per_s=rate)))

    other = [moved(one, 0.9) for one in trials]
    found = replay("t", other, wanted_of(target._campaign))

    assert [p.rate_per_s for p in found.curve] == [one.facts.case.rate_per_s for one in other[1:]]
    assert found.capacity_per_s.low <= 630 <= found.capacity_per_s.high


def test_a_search_that_was_stopped_says_so():
    """What is known so far, and how to continue; nothing about a probe budget."""
    target, trials, _ = searched(700)
    early, late = (replay("t", trials[:n], wanted_of(target._campaign)) for n in (2, 8))

    assert early.ending == late.ending == "unfinished"
    assert early.capacity_per_s is None
    assert late.capacity_per_s.low < 700 < late.capacity_per_s.high
    assert "the search was interrupted; the objective was met up to" in in_words(early)
    assert "so far: the search was interrupted; continue with volley resume" in in_words(late)


def test_a_server_that_never_meets_it():
    """An impossible objective, on a server that answers all the same; and one that is gone after the first probe."""
    target, trials, _ = searched(0)
    gone, dead, _ = searched(0, lost=True)

    never, away = (replay("t", played, wanted_of(target._campaign)) for played in (trials, dead))

    assert (target.over, gone.over) == ("never met", "not recovered")
    assert never.capacity_per_s is away.capacity_per_s is None
    assert "not met even at the lowest rate" in in_words(never)
    assert "did not recover" in in_words(away)


def test_a_fresh_server_that_does_not_start_ends_its_search():
    """Twice in a row, whatever the rate; the trials say nothing of a rate."""
    spec = {
        "campaign": "c",
        "targets": {"t": {"image": "i", "port": 1}},
        "loads": {"l": {"clients": 4, "requests": 10}},
        "saturation": {"slo": SLO},
    }
    campaign = from_plain(spec).campaign
    target = TargetSearch("t", campaign, campaign.saturation, wanted_of(campaign), 2)
    dead = replace(trial(external=False, error="exit code 1"), metrics=None)

    target.tell(dead)
    assert target.next() is not None
    target.tell(dead)

    assert target.next() is None
    assert target.over == "exit code 1"
    assert replay("t", [dead, dead], WANTED).ending == "not started"


def point(rate, answered, passed=True, kind=Kind.PROBE, **changes):
    made = Probe(
        1, kind, rate, passed, None, [] if passed else ["errors < 1%"], answered, {}, 0.0, None, Verdict.VALID,
        answered_per_s=answered,
    )  # fmt: skip
    return replace(made, **changes)


def test_no_rate_of_the_answer_is_above_what_was_answered():
    """252.5 requests a second passed with 250 answers a second; the upper end may be what a probe that failed answered."""
    probes = [
        point(245, 245),
        point(252.5, 250),
        point(260, 251, passed=False),
        point(290, 289, limited_by="generator"),
    ]
    found = Found(Ending.CAPACITY, 252.0, 248.0, 256.0, True, 252.5, None, 4)
    given = conclude("t", WANTED, found, probes, 250.0)
    narrow = conclude("t", WANTED, replace(found, estimate=249.0, high=250.5), probes, 250.0)

    assert given.capacity_per_s == Interval(250, 248.0, 251)
    assert given.held_per_s == 250
    assert narrow.capacity_per_s == Interval(249.0, 248.0, 250.5)
    assert given.probes == len(probes)


@pytest.mark.parametrize(
    ("limit", "held", "page", "line"),
    [
        (LimitedBy.GENERATOR, 245.0, "at least 245", "the load generator reached its limit, not the server."),
        (LimitedBy.UNOPENED, 245.0, "at least 245", "above that h2load opens more connections than the server takes."),
        (LimitedBy.UNOPENED, None, "no probe", ": h2load opens more connections than the server takes."),
    ],
)
def test_what_other_than_the_server_reached_its_limit_is_named(limit, held, page, line):
    """On the page and in the progress; the server is not excused for what it does not take."""
    curve = [point(245, 245)] if held else []
    found = Found(Ending.LIMITED, None, None, None, False, held, limit, 2)
    given = conclude("t", WANTED, found, [*curve, point(290, 100, passed=False, limited_by=limit)], 250.0)

    assert page in of_search(given)
    assert line in of_search(given)
    assert in_words(given).endswith(", not by the server") == (limit is LimitedBy.GENERATOR)


def test_a_search_that_no_soak_sustained_is_suspect_and_fails():
    """Whatever the shorter probes showed; the exit code is that of a missed objective."""
    found = Found(Ending.NOT_SUSTAINED, None, None, None, False, 245.0, None, 3, soak_failed=240.0)
    given = conclude("t", WANTED, found, [point(245, 245), point(240, 200, passed=False, kind=Kind.SOAK)], 250.0)

    assert given.verdict is Verdict.SUSPECT
    assert in_words(given) == "not sustained: a soak failed at 240/s; shorter probes passed up to 245/s"
    assert given.soak_failed_per_s == 240.0
    assert exit_code(Finished(Path(), Summary("c", given.verdict, None, [], [], [given]), [])) == 99


@pytest.mark.parametrize(
    ("endings", "code"),
    [
        (["capacity", "not sustained"], 99),
        (["capacity", "always met", "limited"], 0),
        (["capacity", "never met"], 99),
        (["never met", "not recovered"], 4),
        (["not started", "capacity"], 4),
    ],
)
def test_exit_codes_of_a_search(endings, code):
    """What cannot be reached before what is not met."""
    _, trials, _ = searched(700)
    found = [replace(replay("t", trials, WANTED), ending=ending) for ending in endings]

    assert exit_code(Finished(Path(), Summary("c", "VALID", "PASS", [], [], found), [])) == code


def test_the_load_of_a_probe_grows_with_its_rate():
    """A window long enough for the percentile; a soak that is longer; as many connections as are needed."""
    campaign = from_plain(
        {
            "campaign": "c",
            "targets": {"t": {"url": "http://h/"}},
            "loads": {"l": {"clients": 4, "requests": 10, "headers": {"a": "b"}}},
            "saturation": {"slo": SLO, "window": "10s"},
        }
    ).campaign
    wanted = wanted_of(campaign)
    target = TargetSearch("t", campaign, campaign.saturation, wanted, 2)

    slow, fast, soak = (target.load(k, r) for k, r in ((Kind.PROBE, 20.0), (Kind.PROBE, 5000.0), (Kind.SOAK, 5000.0)))
    closed = target.load(Kind.ESTIMATE, 1.0)
    light = target.load(Kind.REFERENCE, 20.0)

    assert (slow.duration, fast.duration, soak.duration) == (60_000_000, 10_000_000, 30_000_000)
    assert light.duration < fast.duration
    assert (closed.model, closed.rate, closed.requests) == ("closed", None, None)
    assert fast.headers == {"a": "b"}
    assert (slow.clients, fast.clients) == (32, 612)
    assert (requests_needed(TERMS), requests_needed(terms("errors < 1%"))) == (pytest.approx(1000), 20.0)
    assert wanted.bounds(100.0, False).lowest == pytest.approx(1000 / 120)
    assert wanted.bounds(5000.0, False).lowest == 50.0
