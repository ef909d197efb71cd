"""Objectives: as they are written, as they are judged, as CI sees them."""

import json
from xml.etree import ElementTree

import pytest

from orchestrator.analyse.cases import summarise
from orchestrator.errors import ConfigurationError
from orchestrator.report.pull_request import junit, markdown
from orchestrator.slo import Term
from orchestrator.spec.load import load
from orchestrator.spec.slo import terms
from tests.unit.facts import server_facts
from tests.unit.test_findings import FULL, STEADY, steady_agents, trial


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
