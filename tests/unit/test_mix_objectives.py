"""Objectives about one request, slow requests, the first byte and bytes per second: written, refused, judged, shown."""

import re
from dataclasses import replace

import pytest

from orchestrator.analyse.evidence import evidence, measured
from orchestrator.analyse.objectives import objectives
from orchestrator.errors import ConfigurationError
from orchestrator.facts import Case
from orchestrator.plan import make_plan
from orchestrator.report import pull_request
from orchestrator.report.format import objective
from orchestrator.result import GateState, Interval, Verdict
from orchestrator.slo import Metric, TimeName, split_terms
from orchestrator.spec.load import from_plain
from orchestrator.spec.slo import PATTERN, terms
from tests.unit import page_runs

pytestmark = pytest.mark.unit

CAMPAIGN = {
    "campaign": "c",
    "targets": {"shop": {"url": "http://h/"}},
    "loads": {"visit": {"clients": 4, "duration": "5s", "requests": ["/items", {"path": "/cart", "name": "cart"}]}},
}


def test_what_is_about_one_request_or_more_than_times_is_read():
    one, slow, first, moved = terms(
        "[GET /a?x=1,2] service p99 < 80ms, slower than 1m30s < 1%, first byte p99.9<100ms, transfer > 50MB/s"
    )
    assert (one.request, one.metric, one.time, one.limit) == ("GET /a?x=1,2", Metric.P99, TimeName.SERVICE, 80_000)
    assert (slow.metric, slow.than_us, slow.limit, slow.time_limit_us) == (Metric.SLOWER, 90_000_000, 0.01, 90_000_000)
    assert (first.metric, first.time, first.time_limit_us) == (Metric.P999, TimeName.FIRST_BYTE, 100_000)
    assert (moved.metric, moved.limit, moved.at_most, moved.time_limit_us) == (Metric.TRANSFER, 50e6, False, None)


@pytest.mark.parametrize("name", ["GET /a[b]", "a, b", "GET /x?filter[a]=1"])
def test_a_name_can_hold_commas_and_brackets(name):
    (term,) = terms(f"[{name}] errors < 1%")
    assert term.request == name
    assert len(split_terms(f"[{name}] errors < 1%, p99 < 1s")) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slower than 200ms", "write it as"),
        ("slower < 1%", "slower than 200ms < 1%"),
        ("slower than 200 < 1%", "no unit"),
        ("slower than 200ms < 1", "percentage"),
        ("transfer > 50MB", "50MB/s"),
        ("transfer > 50", "50MB/s"),
        ("first byte errors < 1%", "omit 'first byte'"),
        ("[] p99 < 1s", "not an objective"),
        ("[a p99 < 1s", "not an objective"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_right_form(text, message):
    with pytest.raises(ValueError, match=message):
        terms(text)


@pytest.mark.parametrize(
    "text",
    [
        "[GET /cart] p99 < 80ms",
        "[a] slower than 200ms < 1%, first byte p99.9<100ms",
        "transfer > 50MB/s",
        "[GET /x?filter[a]=1] service time p50 < 1s",
    ],
)
def test_an_editor_accepts_it(text):
    terms(text)
    assert re.search(PATTERN, text)
    assert re.search(PATTERN, f"errors < 1%, {text}")
    assert not re.search(PATTERN, text.replace("<", "=").replace(">", "="))


def test_a_name_that_the_load_does_not_have_is_refused_with_those_it_has():
    with pytest.raises(ConfigurationError) as refused:
        from_plain({**CAMPAIGN, "slo": {"*": "[GET /card] p99 < 80ms, [cart] p99 < 1s"}})
    (problem,) = refused.value.problems
    assert "load 'visit' has no request 'GET /card'" in problem.what
    assert problem.hint == "its requests are: GET /items, cart"
    single = {**CAMPAIGN, "loads": {"one": {"clients": 4, "duration": "5s"}}, "slo": {"*": "[GET /] p99 < 1s"}}
    with pytest.raises(ConfigurationError, match="has no request 'GET /'"):
        from_plain(single)
    assert from_plain({**CAMPAIGN, "slo": {"shop/visit": "[GET /items] p99 < 80ms"}})


def search(slo):
    return from_plain({**CAMPAIGN, "saturation": {"slo": slo}})


def test_a_search_takes_what_more_load_can_only_make_harder():
    assert search("[cart] p99 < 80ms, slower than 200ms < 1%, first byte p99 < 1s, errors < 1%")
    for text in ("transfer > 5MB/s", "throughput > 5/s"):
        with pytest.raises(ConfigurationError, match="more load"):
            search(text)
    with pytest.raises(ConfigurationError, match="no request 'x'"):
        search("[x] p99 < 80ms")


def test_the_limits_are_counted_in_every_trial():
    plain = {**CAMPAIGN, "slo": {"*": "[cart] p99 < 80ms, slower than 200ms < 1%, first byte p50 < 5ms"}}
    (case,) = make_plan(from_plain(plain).campaign).cases
    assert isinstance(case, Case)
    assert case.time_limits_us == [5_000, 80_000, 200_000]


@pytest.mark.parametrize(
    ("slo", "load", "generator"),
    [
        ("first byte p99 < 5ms", {}, "paced"),
        ("p99 < 5ms", {}, "h2load"),
        ("first byte p99 < 5ms", {"protocol": "http2"}, "h2load"),
    ],
)
def test_paced_sends_a_load_whose_first_byte_is_judged(slo, load, generator):
    """h2load does not log it, so that the objective was not judged."""
    plain = CAMPAIGN | {"loads": {"visit": {"clients": 4, "duration": "5s"} | load}, "slo": {"*": slo}}
    (case,) = make_plan(from_plain(plain).campaign).cases
    assert case.generator == generator


@pytest.fixture(scope="module")
def case():
    summary, _ = page_runs.RUNS["a-mix"]()
    return summary.cases[0]


def state(case, text):
    (judged,) = objectives(case, terms(text))
    return judged


def test_a_request_is_judged_by_its_own_numbers(case):
    assert state(case, "[POST /orders] errors < 1%").state is GateState.FAILED
    assert state(case, "[GET /items] errors < 1%").state is GateState.PASSED
    # 14.7 % of the orders were refused: their p90 falls on one of these.
    assert "no successful answer" in state(case, "[POST /orders] p90 < 1s").reason
    assert state(case, "p90 < 1s").state is GateState.PASSED
    assert state(case, "[GET /missing] p50 < 1s").state is GateState.PASSED
    assert state(case, "[never] p50 < 1s").state is GateState.NOT_JUDGED
    # Without a load no request has numbers: that is not why.
    without = replace(case, mix=[], verdict=Verdict.INVALID)
    assert state(without, "[GET /items] p50 < 1s").reason == "the result is INVALID"


def test_the_share_of_slow_requests_has_four_states(case):
    text, limit = "slower than 5ms < 10%", 5_000
    for share, expected in (
        (Interval(0.05, 0.04, 0.06), GateState.PASSED),
        (Interval(0.12, 0.11, 0.13), GateState.FAILED),
        (Interval(0.12, 0.09, 0.15), GateState.UNDECIDED),
    ):
        assert state(replace(case, slower_share={limit: share}), text).state is expected
    assert state(replace(case, slower_share={}), text).state is GateState.NOT_JUDGED


def test_slow_requests_include_those_without_an_answer(case):
    failed = case.requests.error_share
    share = case.slower_share[20_000].estimate
    assert share > failed > 0.04
    # Every request is slower than a time below all of theirs, and none than one above, but those that failed.
    assert {limit: round(value.estimate, 2) for limit, value in case.slower_share.items()}[5_000] > share


def test_without_a_first_byte_or_bytes_nothing_is_judged(case):
    blind = replace(case, objective_first_byte_us={}, received_bytes_per_s=None)
    for text, why in (("first byte p50 < 1s", "first byte"), ("transfer > 1MB/s", "bytes it received")):
        judged = state(blind, text)
        assert (judged.state, why in judged.reason, "paced" in judged.reason) == (GateState.NOT_JUDGED, True, True)


def test_a_search_has_evidence_of_each_term():
    _, (trial, *_) = page_runs.RUNS["a-mix"]()
    metrics = trial.metrics
    for text in (
        "[GET /items] p99 < 20ms",
        "slower than 20ms < 1%",
        "first byte p50 < 5ms",
        "[POST /orders] errors < 5%",
    ):
        (term,) = terms(text)
        assert measured(metrics, term) is not None
        found = evidence(trial, [term])
        assert found is not None
    # Far beyond its limit, a request is what came nearest to failing.
    (orders,) = terms("[POST /orders] errors < 0.01%")
    own = next(request for request in metrics.mix if request.name == "POST /orders").requests
    found = evidence(trial, [orders])
    assert (found.violations, found.requests) == (own.unsuccessful, own.ok + own.unsuccessful)
    # What was not counted is no evidence.
    assert evidence(trial, terms("[GET /items] p99 < 77ms")) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[GET /a,b] p99<80ms", "GET /a,b: p99 < 80 ms"),
        ("slower than 200ms<1%", "slower than 200 ms < 1 %"),
        ("first byte p999 < 5us, errors<1%", "first byte p99.9 < 5 µs and errors < 1 %"),
        ("transfer > 50MB/s", "transfer > 50 MB/s"),
    ],
)
def test_words(text, words):
    assert objective(text) == words


def test_markdown_and_junit_have_each_request_and_the_status_codes():
    summary, _ = page_runs.RUNS["a-mix"]()
    page, tests = pull_request.markdown(summary), pull_request.junit(summary)
    assert "Status: 200 7,695 · 404 899 · 429 394 · timed out 12" in page
    assert "| POST /orders | 30 % |" in page
    assert "GET /items: response time p99" in page
    assert "status 200 7,695 · 404 899" in tests
    single, _ = page_runs.RUNS["one-closed"]()
    assert "Status: all 200" in pull_request.markdown(single)
    assert "status all 200" in pull_request.junit(single)
