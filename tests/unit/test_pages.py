"""Pages of a run: which time a heading is about, and how a finding reads."""

import io
import re

import pytest
from rich.console import Console

from orchestrator.analyse.cases import summarise
from orchestrator.report import comparison, pull_request, terminal, trend
from orchestrator.result import Compared, ComparedMetric, Comparison, Conclusion, Interval, Point, Time
from orchestrator.slo import Metric
from orchestrator.spec.slo import terms
from tests.unit.facts import host_use, steady_case
from tests.unit.test_findings import OPEN, STEADY, steady_agents, trial

OPEN_CASE = steady_case(name="flask/open", load="open", model="open", rate_per_s=100.0)


def text(pieces):
    console = Console(width=250, no_color=True, file=io.StringIO())
    for piece in pieces:
        console.print(piece, soft_wrap=True)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def summary():
    """A closed and an open load of one target, both with an objective that is not met."""
    closed = trial(**STEADY, agents=steady_agents())
    opened = trial(**{**OPEN, "case": OPEN_CASE, "hosts": [host_use(steal_share=0.2)], "number": 2})
    cases = [closed.facts.case, OPEN_CASE]
    slo = {case.name: terms("p50 < 1ms, errors < 1%") for case in cases}
    return summarise("c", cases, [closed, opened], 1, None, 0.03, slo)


def test_the_terminal_shows_response_time_first_for_open_loads(summary):
    """Each table is under a heading that says which time it shows, and has no case of the other loop."""
    page = text(terminal.render(summary))
    blocks = {m[1]: m[2] for m in re.finditer(r"^((?:closed|open) loop, .+):\n\s*\n((?:\|.*\n)+)", page, re.MULTILINE)}

    assert list(blocks) == [
        "closed loop, service time",
        "open loop, response time (from when a request is due)",
        "open loop, service time",
    ]
    assert ["flask/open" in rows for rows in blocks.values()] == [False, True, True]
    assert ["flask/steady" in rows for rows in blocks.values()] == [True, False, False]
    assert page.count("p99 ms") == len(blocks)


def test_the_pull_request_names_the_time_in_every_heading(summary):
    """The same time as on the terminal."""
    headings = re.findall(r"\| (\w+) time p99 ms \|", pull_request.markdown(summary))

    assert headings == ["service", "response"]
    assert not re.search(r"\| p\d+ ms", pull_request.markdown(summary))


def test_an_objective_names_the_time_that_it_is_judged_by(summary):
    """Objectives about anything else stay as they were written."""
    page = text(terminal.render(summary))

    assert "flask/steady: service time p50 < 1 ms: FAIL" in page
    assert "flask/open: response time p50 < 1 ms: FAIL" in page
    assert "flask/open: errors < 1 %: PASS" in page


def test_a_finding_is_a_sentence_a_fix_and_a_code(summary):
    """On the terminal, in a pull request, and with nothing of the names that programs use."""
    sentence = (
        "flask/open: Other VMs took 20 % of the CPU time of host local. Use a dedicated machine or try again later. ["
    )

    assert f"{sentence}host-steal, 1 of 1 trial]" in text(terminal.render(summary))
    assert f"- {sentence}`host-steal, 1 of 1 trial`]" in pull_request.markdown(summary)


@pytest.mark.parametrize(("metric", "heading"), [(Metric.P999, "response time p99.9 ms"), (Metric.THROUGHPUT, "req/s")])
def test_a_trend_says_which_time_it_follows(metric, heading):
    """By the percentile's name as people write it."""
    points = [Point("r1", "VALID", Interval(1000.0, None, None), time=Time.RESPONSE)]

    assert f"| {heading} |" in text(trend.render(points, "a/b", metric))


def test_a_comparison_names_metrics_in_words():
    """Every one of them."""
    ratio = Interval(1.4, 1.3, 1.5)
    made = [Comparison(m, "burst", "a", "b", ratio, 0.01, Conclusion.FASTER, "5 pairs", 0.01) for m in ComparedMetric]
    page = text(comparison.render(Compared("a", "b", made, [], [])))

    assert all(f"| {metric.label} |" in re.sub(" +", " ", page) for metric in ComparedMetric)
    assert not re.search(r"[a-z]_[a-z]", page)
