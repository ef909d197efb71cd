"""Objectives: as they are written, as they are judged, as CI sees them."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from orchestrator.analyse.cases import summarise
from orchestrator.analyse.objectives import objectives, state_of_search, strictly
from orchestrator.cli.exit import state_code
from orchestrator.errors import ConfigurationError
from orchestrator.report import terminal
from orchestrator.report.pull_request import junit, markdown
from orchestrator.result import GateState, Interval, Requests, Saturation, Verdict, outcome_of
from orchestrator.search.records import Ending
from orchestrator.slo import Term
from orchestrator.spec.load import load
from orchestrator.spec.slo import terms
from orchestrator.stored.about import About
from tests.unit.facts import server_facts
from tests.unit.judged_trials import FULL, STEADY, steady_agents, trial


def test_terms_are_read_with_their_units():
    """Times in µs, a share, a rate; blanks do not matter."""
    assert terms("p99<50ms, errors < 0.1% ,throughput > 1000/s, p99.9 < 1s") == [
        Term("p99<50ms", "p99", True, 50_000),
        Term("errors < 0.1%", "errors", True, pytest.approx(0.001)),
        Term("throughput > 1000/s", "throughput", False, 1000.0),
        Term("p99.9 < 1s", "p999", True, 1_000_000),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p99", "write it as 'p99 < 50ms"),
        ("p98 < 5ms", "use p50, p90"),
        ("p99 < 50", "has no unit"),
        ("errors < 3ms", "'3ms' is not a percentage"),
        ("", "not an objective"),
    ],
)
def test_an_error_says_how_to_write_an_objective(text, message):
    """What, and what would be right."""
    with pytest.raises(ValueError, match=message):
        terms(text)


def test_a_campaign_with_wrong_objectives_is_told_all_at_once(tmp_path):
    """A glob that matches nothing, and a term that is none."""
    file = tmp_path / "c.yaml"
    file.write_text(
        json.dumps(
            {
                "campaign": "c",
                "targets": {"a": {"url": "http://127.0.0.1:9/"}},
                "loads": {"burst": {"clients": 4, "requests": 100}},
                "slo": {"b/*": "p99 < 5ms", "a/*": "p99 5ms"},
            }
        )
    )
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    problems = " ".join(f"{problem.where} {problem.what}" for problem in caught.value.problems)

    assert "'b/*' matches no case" in problems
    assert "'p99 5ms' is not an objective" in problems


def summed(slo, **changes):
    one = trial(**STEADY, agents=steady_agents(), **changes)
    case = one.facts.case
    return summarise("c", [case], [one], 1, None, 0.03, {case.name: terms(slo)})


@pytest.mark.parametrize(
    ("slo", "outcome"),
    [
        ("p50 < 300ms", "PASS"),
        ("p50 < 100ms", "FAIL"),
        ("throughput > 150/s, errors < 1%", "PASS"),
        ("throughput > 150/s, p50 < 100ms", "FAIL"),
        ("p999 < 10s", "PASS"),  # withheld, because a thousand requests are too few: the maximum proves it
        ("p999 < 100ms", "FAIL"),  # the median disproves it
    ],
)
def test_an_objective_is_judged_by_the_estimate(slo, outcome):
    """1000 answers of 200 ms in 5 s; what is not known is not met."""
    assert summed(slo).outcome == outcome


def test_without_objectives_there_is_no_outcome():
    """Neither PASS nor FAIL."""
    one = trial(**STEADY, agents=steady_agents())

    assert summarise("c", [one.facts.case], [one], 1, None, 0.03).outcome is None


def test_junit_has_a_test_per_case_and_objective():
    """An objective that is not met is a failure, an INVALID case an error."""
    good = ElementTree.fromstring(junit(summed("p50 < 100ms, throughput > 1/s")))
    bad = ElementTree.fromstring(junit(summed("p50 < 1s", server=server_facts(last=FULL, running=False))))

    assert (good.get("tests"), good.get("failures"), good.get("errors")) == ("3", "1", "0")
    assert good.find(".//testcase/failure").get("message").startswith("measured 20")
    assert bad.get("errors") == "2"
    assert "server-exited" in bad.find(".//testcase/error").get("message")
    assert "INVALID" in bad.findall(".//testcase/error")[1].get("message")


def test_markdown_says_verdict_outcome_numbers_and_doubts():
    """What a pull request shows."""
    page = markdown(summed("p50 < 100ms"))

    assert page.startswith("### Volley: c: verdict **VALID**, outcome **FAIL**")
    assert "| ❌ failed | flask/steady: service time p50 &lt; 100 ms | 20" in page


def case_with(times=None, service=None, open_loop=False, **changes):
    """A case whose times are known in µs, each an estimate or (estimate, low, high)."""
    one = trial(**STEADY, agents=steady_agents())
    whole = summarise("c", [one.facts.case], [one], 1, None, 0.03).cases[0]

    def intervals(given):
        return {
            name: Interval(*value) if isinstance(value, tuple) else Interval(value, None, None)
            for name, value in given.items()
        }

    times = intervals(times or {})
    facts = {"objective_time_us": times, "service_time_us": times, "response_time_us": times if open_loop else None,
             "objective_service_time_us": intervals(service or {}), "beyond": []}  # fmt: skip
    return replace(whole, **(facts | changes))


def state(case, text):
    (objective,) = objectives(case, terms(text))
    assert objective.passed == (objective.state == "passed")
    return objective.state, objective.reason


@pytest.mark.parametrize(
    ("times", "text", "found"),
    [
        ({"p99": (40_000, 38_000, 42_000)}, "p99<50ms", "passed"),
        ({"p99": (40_000, 30_000, 60_000)}, "p99<50ms", "passed"),  # within by the estimate: no proof is asked for
        ({"p99": (60_000, 55_000, 66_000)}, "p99<50ms", "failed"),
        ({"p99": (60_000, 45_000, 80_000)}, "p99<50ms", "undecided"),
        ({"p99": 60_000}, "p99<50ms", "failed"),  # one trial: the estimate decides
        ({"max": (60_000, 45_000, 80_000)}, "max<50ms", "undecided"),
        ({"p90": 10_000, "p95": 20_000}, "p95>10ms", "passed"),
    ],
)
def test_an_interval_decides_between_failed_and_undecided(times, text, found):
    """ADR 20."""
    assert state(case_with(times), text)[0] == found


@pytest.mark.parametrize(
    ("times", "text", "found", "why"),
    [
        ({"max": 9_540}, "p99.9<50ms", "passed", "the maximum of 9.54 ms proves it"),
        ({"p50": 1_000, "p95": (70_000, 60_000, 80_000)}, "p99<50ms", "failed", "p95 of 70 ms disproves it"),
        ({"p50": 1_000, "p95": (70_000, 40_000, 90_000)}, "p99<50ms", "undecided", "p95 of 70 ms speaks against it"),
        ({"p50": 1_000, "max": 70_000}, "p99<50ms", "not judged", "too few requests for this percentile"),
        ({"max": 9_540}, "p99>50ms", "failed", "the maximum of 9.54 ms disproves it"),
        ({"p90": 60_000}, "p99>50ms", "passed", "p90 of 60 ms proves it"),
        ({}, "p99<50ms", "not judged", "too few requests for this percentile"),
    ],
)
def test_a_withheld_percentile_is_judged_by_what_bounds_it(times, text, found, why):
    """The maximum from above, the highest lower percentile from below."""
    assert state(case_with(times), text) == (found, why)


def test_what_proves_nothing():
    """A maximum where a request failed or may have outlasted the observation; a number that is INVALID."""
    quick = {"max": 9_540}
    some = Requests(ok=500, failed=1)
    censored = Requests(ok=500, censored=6)
    few = Requests(ok=500, censored=5)

    assert state(case_with(quick, requests=some, beyond=["max"]), "p99<50ms")[0] == "not judged"
    assert state(case_with(quick, requests=censored), "p99<50ms")[0] == "not judged"
    assert state(case_with(quick, requests=few), "p99<50ms")[0] == "passed"
    assert state(case_with({"p99": 1.0}, beyond=["p99"], requests=some), "p99<50ms")[0] == "failed"
    failing = case_with({"p99": 1.0}, beyond=["p99"], requests=some, verdict=Verdict.INVALID)
    assert state(failing, "p99<50ms")[0] == "failed"
    assert state(case_with({"p99": 1.0}, verdict=Verdict.INVALID), "p99<50ms") == (
        "not judged",
        "the result is INVALID",
    )


def test_an_objective_can_name_its_time():
    """Response time in the open loop unless it says service; a closed loop has no response time."""
    case = case_with({"p99": 60_000}, {"p99": 4_000}, open_loop=True)

    assert [state(case, text)[0] for text in ("p99<50ms", "response p99<50ms", "service time p99<50ms")] == [
        "failed", "failed", "passed",
    ]  # fmt: skip
    assert [str(o.time) for o in objectives(case, terms("p99<50ms, service p99<50ms, errors<1%"))] == [
        "response time", "service time", "None",
    ]  # fmt: skip
    assert state(case_with({"p99": 1.0}), "response p99<50ms")[0] == "not judged"


@pytest.mark.parametrize(
    ("found", "outcome", "code", "strict"),
    [
        (["passed", "passed"], "PASS", 0, 0),
        (["passed", "failed", "not judged"], "FAIL", 99, 99),
        (["passed", "undecided"], None, 0, 99),
        (["passed", "not judged"], None, 3, 99),
        ([], None, 0, 0),
    ],
)
def test_outcomes_and_exit_codes(found, outcome, code, strict):
    """ADR 20: what failed fails; what is open fails only with --strict."""
    states = [GateState(each) for each in found]

    assert outcome_of(states) == outcome
    assert (state_code(states, strict=False), state_code(states, strict=True)) == (code, strict)


@pytest.mark.parametrize(
    ("ending", "facts", "found"),
    [
        (Ending.CAPACITY, {"confirmed": True}, "passed"),
        (Ending.CAPACITY, {}, "undecided"),
        (Ending.BUDGET, {}, "undecided"),
        (Ending.ALWAYS_MET, {}, "passed"),
        (Ending.LIMITED, {}, "passed"),
        (Ending.LIMITED, {"held_per_s": None}, "not judged"),
        (Ending.NEVER_MET, {}, "failed"),
        (Ending.NOT_SUSTAINED, {}, "failed"),
        (Ending.NOT_STARTED, {}, "not judged"),
    ],
)
def test_a_search_is_an_objective(ending, facts, found):
    """Met by some rate; a capacity that no soak confirmed is undecided."""
    search = Saturation(
        "flask", "p99<50ms", [], ending, None, confirmed=False, held_per_s=100.0, limited_by=None, gave_way=None,
        resource=None, probes=9, start_per_s=100.0, curve=[], verdict=Verdict.VALID,
    )  # fmt: skip

    assert state_of_search(replace(search, **facts)) == found


def test_strict_is_on_every_page_of_ci():
    """An objective that is not judged: an error in JUnit, a failure with --strict; the outcome becomes FAIL."""
    summary = summed("p50 < 300ms")
    open_ = replace(summary.cases[0].slo[0], state=GateState.NOT_JUDGED, passed=False)
    summary = replace(summary, cases=[replace(summary.cases[0], slo=[open_])], outcome=None)
    usual, strict = (ElementTree.fromstring(junit(summary, strict=each)) for each in (False, True))

    assert [suite.get("errors") + suite.get("failures") for suite in (usual, strict)] == ["10", "01"]
    assert strictly(summary).outcome == "FAIL"
    assert "⚠️ not judged" in markdown(summary)
    pages = ["\n".join(map(str, terminal.render(each))) for each in (summary, strictly(summary))]
    assert ["Use --strict to fail" in page for page in pages] == [True, False]
    assert all("  not judged  service time p50 < 300 ms: measured" in page for page in pages)


def test_junit_has_times_and_a_root_and_markdown_its_origin():
    """What CI systems sort and sum by; where the numbers come from."""
    known = About(
        datetime(2026, 11, 26, 22, 56, 6, tzinfo=UTC),
        "1a2b3c4",
        "api.yaml",
        ["web1 (server, 8 cores)"],
        {"flask/steady": 12.5},
    )
    summary = summed("p50 < 100ms")
    root = ElementTree.fromstring(junit(summary, known))
    page = markdown(summary, known, "https://ci.example/runs/1/artifacts/2")

    assert root.tag == "testsuites"
    assert root.find("testsuite").get("timestamp") == "2026-11-26T22:56:06"
    assert [root.get("time"), root.find("testsuite").get("time")] == ["12.500", "12.500"]
    assert [test.get("time") for test in root.iter("testcase")] == ["12.500", "0.000"]
    assert "2026-11-26 22:56 UTC, `api.yaml` at commit `1a2b3c4`, on web1 (server, 8 cores)." in page
    assert "[Full report](https://ci.example/runs/1/artifacts/2)" in page
