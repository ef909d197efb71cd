"""Every page of a load over WebSocket speaks of messages, and a page about both kinds of load of neither alone."""

import re
from dataclasses import replace

import pytest

from agents.generators.contract import Protocol
from orchestrator.analyse.scaling import scaling
from orchestrator.counted import EITHER, MESSAGES, REQUESTS, counted
from orchestrator.report import answer, comparison, details, pull_request, terminal, trend
from orchestrator.report import scaling as scaling_page
from orchestrator.report.html.run import Stored, page
from orchestrator.result import Compared
from orchestrator.slo import THROUGHPUT, Metric
from tests.unit.page_runs import RUNS
from tests.unit.test_pages_of_runs import BASE, NEW, NOW, four_states, points

pytestmark = pytest.mark.unit
# Not those of code: keys of JSON, ids of HTML.
OF_REQUESTS = re.compile(r"\b(?:req|requests?)\b(?![\"_])", re.IGNORECASE)


def said(judged):
    """An objective or a comparison whose reason is in the words of messages, as it is stored."""
    return replace(judged, reason=MESSAGES.said(judged.reason))


def over_websocket(run):
    """The same run, had its loads been of messages. Its findings, which are stored in words, are left out."""
    summary, trials = run()
    trials = [
        replace(trial, findings=[], facts=replace(trial.facts, case=replace(trial.facts.case, protocol="websocket")))
        for trial in trials
    ]
    cases = [
        replace(
            case,
            findings=[],
            slo=[said(each) for each in case.slo],
            planned=replace(case.planned, protocol="websocket"),
        )
        for case in summary.cases
    ]
    return (
        replace(
            summary,
            cases=cases,
            comparisons=[replace(said(c), protocol=Protocol.WEBSOCKET) for c in summary.comparisons],
            saturation=[replace(s, protocol=Protocol.WEBSOCKET) for s in summary.saturation],
        ),
        trials,
    )


def text_of(lines):
    return "\n".join(str(line) for line in lines)


def pages(summary, trials):
    """Every page of a run."""
    html = page(summary, trials, Stored())
    return {
        "80 columns": text_of(terminal.render(summary, 80, trials)),
        "160 columns": text_of(terminal.render(summary, 160, trials)),
        "details": text_of(details.render(summary, trials, None, 200)),
        "one line": answer.short(summary),
        "markdown": pull_request.markdown(summary),
        "junit": pull_request.junit(summary),
        "html": re.sub(r"<style.*?</style>", "", html[html.index("<body>") :], flags=re.DOTALL).split("<script>")[0],
    }


@pytest.mark.parametrize("name", RUNS)
def test_no_page_of_messages_speaks_of_requests(name):
    """Wherever it did, the same run of requests does."""
    for kind, text in pages(*over_websocket(RUNS[name])).items():
        assert not OF_REQUESTS.findall(text), (kind, [line for line in text.splitlines() if OF_REQUESTS.search(line)])


@pytest.mark.parametrize("name", RUNS)
def test_pages_of_requests_do_not_speak_of_messages(name):
    """The control."""
    for kind, text in pages(*RUNS[name]()).items():
        assert not re.search(r"\bmsg\b|\bmessages?\b(?!=)", text), kind


def test_pages_of_both_kinds_have_a_neutral_unit():
    """One case of messages beside one of requests."""
    summary, _ = RUNS["settled"]()
    first, *others = summary.cases
    mixed = replace(summary, cases=[replace(first, planned=replace(first.planned, protocol="websocket")), *others])
    markdown = pull_request.markdown(mixed)
    assert "answers/s" in markdown
    assert not re.search(r"(?:req|msg)/s", markdown)


@pytest.mark.parametrize(
    ("protocols", "words"),
    [
        (["websocket"], MESSAGES),
        ([Protocol.WEBSOCKET, "websocket"], MESSAGES),
        ([Protocol.HTTP1, Protocol.HTTP2, None], REQUESTS),
        ([Protocol.HTTP1, Protocol.WEBSOCKET], EITHER),
        ([], REQUESTS),
    ],
)
def test_what_loads_are_counted_in(protocols, words):
    """By the protocols of all of them."""
    assert counted(protocols) is words


def test_comparisons_of_messages():
    """The answer, the values and the sentences of `volley compare`."""
    found = [replace(c, protocol=Protocol.WEBSOCKET) for c in four_states().comparisons]
    shown = text_of(comparison.render(Compared(BASE, NEW, found, [], []), 120))
    assert "fewer messages per second" in shown
    assert "2,750 msg/s" in shown
    assert not OF_REQUESTS.search(shown)


def test_trends_of_messages():
    """The heading of a column, and what is too few."""
    made = [replace(point, protocol=Protocol.WEBSOCKET) for point in points()]
    for metric in (THROUGHPUT, Metric.P99):
        assert not OF_REQUESTS.search(text_of(trend.render(made, "search/steady", metric, NOW, 120)))
    assert "msg/s" in text_of(trend.render(made, "search/steady", THROUGHPUT, NOW, 120))


def test_scaling_of_messages():
    """The law, the plateau and the table."""
    _, trials = over_websocket(RUNS["sweep"])
    shown = text_of(scaling_page.render(scaling("url", trials), 120))
    assert "msg/s" in shown
    assert not OF_REQUESTS.search(shown)


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("3 of 10 requests failed: send fewer requests.", "3 of 10 messages failed: send fewer messages."),
        ("A request took 3 s.", "A message took 3 s."),
        ("Correct 'requests' or 'paths' of the load.", "Correct 'requests' or 'paths' of the load."),
        ("Raise it (nginx: keepalive_requests).", "Raise it (nginx: keepalive_requests)."),
    ],
)
def test_findings_speak_of_messages(text, spoken):
    """Names of keys stay as they are."""
    assert MESSAGES.said(text) == spoken
    assert REQUESTS.said(text) == text
