"""The table of a mix where a terminal is narrow, and where there are more requests than a page lists."""

import re

import pytest
from rich.console import Console

from agents.mix import MOST_REQUESTS
from orchestrator.analyse.cases import case_result
from orchestrator.facts import PlannedRequest
from orchestrator.metrics.stored import _mix
from orchestrator.report import mix, requests, tables, transfer
from orchestrator.report.html import mix as html
from orchestrator.report.html.run import Stored, page
from orchestrator.report.summary import to_document
from tests.unit import page_runs

pytestmark = pytest.mark.unit


def text(lines, width):
    console = Console(width=width, no_color=True, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for line in lines:
        console.print(line, soft_wrap=True)
    return console.export_text()


@pytest.mark.parametrize("width", [40, 160])
def test_the_table_of_a_mix(width, golden):
    summary, _ = page_runs.RUNS["a-mix"]()
    shown = text(mix.render(summary.cases, width), width)

    golden(f"pages/mix-table-{width}.txt", shown)
    assert max(map(len, shown.splitlines())) <= width


def test_answers_that_differ_are_counted_by_request():
    trial = page_runs.mixed(unexpected=3)
    assert [request.unexpected for request in trial.metrics.mix] == [0, 0, 3]
    shown = text(mix.render([case_result(trial.facts.case, [trial], 1)], 80), 80)
    assert "unexpected" in shown


def many(number):
    names = [PlannedRequest(f"GET /{i}", "GET", f"/{i}", 1, []) for i in range(number)]
    return page_runs.mixed(mix=names)


def test_a_page_lists_the_first_requests_and_says_how_many_more_there_are():
    trial = many(30)
    shown = text(mix.render([case_result(trial.facts.case, [trial], 1)], 80), 80)
    assert "10 more: report.html lists them all" in shown
    assert "GET /19" in shown
    assert "GET /20" not in shown


def test_requests_that_have_no_counters_of_their_own_are_others():
    trial = many(MOST_REQUESTS + 50)
    assert len(trial.metrics.mix) == MOST_REQUESTS + 1
    assert trial.metrics.mix[-1].name == "50 others"


def test_a_load_with_a_single_request_has_no_table():
    summary, trials = page_runs.RUNS["one-closed"]()
    assert mix.render(summary.cases, 80) == []
    assert html.requests(summary) == []
    assert tables.request_rows(trials) == []


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ({"200": 68_087}, "all 200"),
        ({"200": 3_410, "-2": 3, "429": 97}, "200 3,410 · 429 97 · timed out 3"),
        ({"-4": 7}, "connection refused 7"),
        ({"200": 5, "0": 1}, "status unknown 1 · 200 5"),
        ({}, ""),
    ],
)
def test_status_codes_in_words(statuses, words):
    assert requests.status_codes(statuses) == words


def test_bytes_are_shown_where_they_say_something():
    summary, _ = page_runs.RUNS["a-mix"]()
    (case,) = summary.cases
    items, _, orders = case.mix
    assert transfer.is_shown(case)
    assert transfer.streams(items)
    assert not transfer.streams(orders)
    assert transfer.in_words(case)[-1].endswith("kB per answer")
    assert transfer.in_words(page_runs.RUNS["one-closed"]()[0].cases[0]) == []


def test_every_output_has_each_request():
    summary, trials = page_runs.RUNS["a-mix"]()
    (case,) = to_document(summary)["cases"]
    names = ["GET /items", "GET /missing", "POST /orders"]
    assert [request["name"] for request in case["mix"]] == names
    assert [endpoint["path"] for endpoint in case["endpoints"]] == names
    rows = tables.request_rows(trials)
    assert [row["request"] for row in rows[:3]] == names
    assert set(rows[0]) == set(tables.tables_of(summary, trials, None)["requests"].columns)
    made = page(summary, trials, Stored())
    assert re.search(r"Response time of each request.*POST /orders.*429 ", made, re.DOTALL)
    assert "Time to first byte" in made
    samples = [sample for family in _mix(summary) for sample in family.samples]
    orders = [s for s in samples if s.labels["request"] == "POST /orders" and s.labels.get("outcome") == "http_error"]
    assert [sample.value for sample in orders] == [394]
