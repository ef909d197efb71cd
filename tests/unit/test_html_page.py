"""report.html: what each section holds, what it leaves out, and what it never lets through."""

import hashlib
import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest

from agents.histogram import HdrCounts
from benchmarks.made_run import make_run
from orchestrator.analyse.cases import judge, summarise
from orchestrator.analyse.findings.registry import REGISTRY
from orchestrator.cli.app import app
from orchestrator.facts import Environment
from orchestrator.merge import merge
from orchestrator.report.files import compare_file, write_page
from orchestrator.report.format import with_interval
from orchestrator.report.html import collect, doubts, over_time
from orchestrator.report.html.columns import columns
from orchestrator.report.html.figures import Ratio, forest
from orchestrator.report.html.page import ASSETS, PLOTLY, as_script
from orchestrator.report.html.run import Stored, page
from orchestrator.report.html.text import HIDDEN, unbroken, visible, without_secrets
from orchestrator.result import CaseFinding, Compared, FindingCode, Severity, Time
from orchestrator.stored.evaluate import evaluate_run
from tests.hostile_page import EVIL, hostile_page
from tests.unit.facts import T0_US, agent_facts, case, result, steady_case, trial_facts
from tests.unit.page_runs import RUNS

MEGABYTE = 1_000_000


def figures(text):
    """The figures that a page holds, by id."""
    content = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)[1]
    return {figure["id"]: figure for figure in json.loads(content)}


def words(text):
    """A page without its style, its scripts and its figures."""
    return text[text.index("<body>") : text.index('<script type="application/json"')]


def drawn(numbers=(1, 2, 3), one=None, scale=1.0, invalid=()):
    """Trials of one case and their counters: 1,000 service times of 1 to 2 ms, a little longer from trial to trial."""
    one = one or case()
    trials, counters = [], {}
    for number in numbers:
        agents = [agent_facts(), agent_facts(agent="local/1", body_bytes=None)]
        if number in invalid:
            agents = [replace(agent, done=400) for agent in agents]
        times = [round(scale * (1_000 + number + 2 * i)) for i in range(500)]
        results = [result(agent, times) for agent in agents]
        trials.append(judge(trial_facts(number=number, block=number, case=one, agents=agents), results))
        counters[number] = merge(results)
    return trials, counters


def test_the_spectrum_is_the_estimate_of_the_table_and_ends_where_the_table_does():
    """The geometric mean over the trials at every percentile of the table, none above the last one with ten requests."""
    trials, counters = drawn()
    (found,) = summarise("c", [case()], trials, 1, None, 0.03).cases
    (own,) = collect.collect(collect.by_case(trials, ["flask/burst"]), trials, counters.__getitem__)
    line = dict(zip(collect.LEVELS, own.times[Time.SERVICE].mean.tolist(), strict=True))

    for name, level in {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}.items():
        assert line[level] == pytest.approx(found.service_time_us[name].estimate)
    assert found.service_time_us["p999"] is None
    assert np.isnan(line[0.999])
    assert own.times[Time.SERVICE].lowest[10] < own.times[Time.SERVICE].highest[10]


def test_columns_over_time_are_the_counters_added_up():
    """Two trials of 2 s: rates are means of the trials, percentiles and the heatmap are of all their requests."""
    one = steady_case(duration_us=2_000_000)
    trials, counters = [], {}
    for number in (1, 2):
        agents = [agent_facts(last_end_us=T0_US + 2_000_000)]
        results = [result(agents[0], [1_000 * number] * 600, [500] * 40, seconds=2)]
        changes = {"window_end_us": T0_US + 2_000_000, "number": number, "case": one, "agents": agents}
        trials.append(judge(trial_facts(**changes), results))
        counters[number] = merge(results)
    group = collect.Group(one.name, [1, 2], 2)
    (own,) = collect.collect([group], trials, counters.__getitem__)
    found, joined = columns(own, 300), columns(own, 1)

    assert (found.width_s, found.at_s) == (1, [0, 1])
    assert found.answered_per_s == [300.0, 300.0]
    assert found.errors_per_s == [20.0, 20.0]
    assert found.p50_us == pytest.approx([1_000, 1_000], rel=1e-3)
    assert found.p99_us == [None, None]
    assert sum(map(sum, found.heat)) == 1200
    assert (joined.width_s, joined.answered_per_s) == (2, [300.0])
    assert joined.p99_us == pytest.approx([2_000], rel=1e-3)


def test_invalid_trials_are_drawn_only_where_there_are_no_others():
    """As in the table. The page says so."""
    some, counters = drawn(invalid=(2,))
    every, _ = drawn(invalid=(1, 2, 3))
    summary = summarise("c", [case()], every, 1, None, 0.03)

    assert [group.numbers for group in collect.by_case(some, ["flask/burst"])] == [[1, 3]]
    assert [group.numbers for group in collect.by_case(every, ["flask/burst"])] == [[1, 2, 3]]
    assert "INVALID trials are drawn" in page(summary, every, Stored(read=counters.__getitem__))


def test_many_trials_are_drawn_in_part_and_the_page_says_so():
    """Evenly spread over all; the tables have every trial."""
    trials, counters = drawn(range(1, 11))
    (group,) = collect.by_case(trials, ["flask/burst"], most=4)
    shortened = collect.collect([group], trials, counters.__getitem__)

    assert (group.numbers, group.of) == ([1, 4, 7, 10], 10)
    assert (shortened[0].number, shortened[0].of) == (4, 10)


def test_every_section_of_a_run_is_there():
    """Question, answer, verdict, numbers of the table, plots, hosts, agents, statuses, doubts with their meaning, campaign."""
    trials, counters = drawn()
    summary = summarise("shop", [case()], trials, 1, None, 0.03)
    stored = Stored("shop-20261126T120000Z", None, "campaign: shop\n", counters.__getitem__)
    text = page(summary, trials, stored)
    shown = words(text)
    found = figures(text)
    (own,) = summary.cases

    assert "How fast is http://127.0.0.1:8001/?" in shown
    assert "40 connections, closed loop, 1,000 requests, HTTP/1.1, 2 agents (h2load)" in shown
    assert f'<strong class="badge {summary.verdict}">{summary.verdict}</strong>' in shown
    assert f"<td>{with_interval(own.service_time_us['p99'], 1000)}</td>" in shown
    assert {"spectrum", "trials", "time", "heat"} <= set(found)
    assert [trace["name"] for trace in found["trials"]["views"][0]["data"]] == ["flask/burst"]
    assert "all 200" in shown
    assert "local/1" in shown
    assert "docs/reference/findings.md#shared-host" in shown
    assert all(paragraph[:40] in shown for paragraph in doubts.meanings()["shared-host"])
    assert "campaign: shop" in shown


def test_every_finding_has_an_explanation_that_the_page_can_embed():
    """docs/reference/findings.md has a section with words for every code."""
    assert set(doubts.meanings()) == set(map(str, REGISTRY))
    assert all(paragraphs and all(paragraphs) for paragraphs in doubts.meanings().values())


def test_facts_are_shown_in_words():
    """No internal name, no unit of the machine, no empty value."""
    facts = {"median_us": 1_234.0, "cores_free": 0.123456, "codes": ["a", None], "by": {"200": 3}, "image": None}

    assert doubts.facts_in_words(facts) == [
        ("median", "1,230 µs"), ("cores free", "0.123"), ("codes", "a, none"), ("by", "200: 3"),
    ]  # fmt: skip


def test_nothing_that_is_supplied_is_taken_for_markup():
    """Neither as HTML nor by plotly nor as the end of the script that holds the figures; control characters are visible."""
    text = hostile_page()
    shown = words(text)
    # The name of a view becomes the text of a button, and never markup.
    views = [view for figure in figures(text).values() for view in figure["views"]]
    labels = json.dumps([[view["data"], view["layout"]] for view in views], ensure_ascii=False)

    assert EVIL not in text
    assert "<script>window" not in text
    assert "<img" not in shown
    assert "{{7*7}}" in shown
    assert "&lt;img" in labels
    assert "<" not in re.sub(r"<br>|<extra>|</extra>", "", labels)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]", text[: text.index("<script>")] + shown
    )
    assert not re.search(r"\\u00[019]|\\u001b|\\u202e", json.dumps(figures(text)))
    assert "linkold new\ufffd" in shown
    assert "[2J" not in shown
    assert "owned" not in shown


def test_a_page_allows_no_script_but_its_own():
    """By the digest of each script that it holds, and nothing from anywhere."""
    text = hostile_page()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)

    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy
    assert "script-src 'unsafe" not in policy
    assert len(scripts) == 2
    assert policy.count("sha256-") == 2


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("  authorization: Bearer abc", f"  authorization: {HIDDEN}"),
        ('headers: {"X-API-Key": "abc", accept: text/html}', f'headers: {{"X-API-Key": {HIDDEN}, accept: text/html}}'),
        ("    DB_PASSWORD: 'a b c'", f"    DB_PASSWORD: {HIDDEN}"),
        ("  authorization: ${TOKEN}", "  authorization: ${TOKEN}"),
        ('"cookie": "..."', '"cookie": "..."'),
        ("url: http://me:pw@127.0.0.1/x", f"url: http://{HIDDEN}@127.0.0.1/x"),
        ("  clients: 40", "  clients: 40"),
    ],
)
def test_a_campaign_is_shown_without_its_secrets(line, shown):
    """Values of keys that sound like secrets, and passwords in URLs; names of variables stay."""
    assert without_secrets(line) == shown


def test_figures_cannot_end_their_script():
    """Whatever a name holds; the numbers are the same afterwards."""
    content = {"a": "</script><!-- &amp; \u2028", "b": [1.5, None]}

    assert not re.search("[<>&\u2028]", as_script(content))
    assert json.loads(as_script(content)) == content
    assert visible("a\tb\nc\x07") == "a\tb\nc\ufffd"


def test_the_library_is_the_one_that_is_documented():
    """Unchanged, with its licence; the notes beside it hold its digest."""
    script = (ASSETS / PLOTLY).read_bytes()

    assert b"Licensed under the MIT license" in script[:300]
    assert PLOTLY.split("-")[-1].removesuffix(".min.js").encode() in script[:100]
    assert hashlib.sha256(script).hexdigest() in (ASSETS / "README.md").read_text()


def test_a_page_of_a_hundred_trials_of_eight_agents_is_small(tmp_path):
    """At most 5 MB; its lines are made from the stored counters."""
    run = make_run(tmp_path, 100, agents=8)
    finished = evaluate_run(run)
    path = write_page(run, finished.summary, finished.trials)
    found = figures(path.read_text())
    (first, *_) = finished.summary.cases
    line = next(t for t in found["spectrum"]["views"][0]["data"] if t.get("name") == first.case)
    heat = next(view for view in found["heat"]["views"] if view["name"] == first.case)["data"][0]["z"]

    assert path.stat().st_size <= 5 * MEGABYTE
    assert len(found["time"]["views"]) == 4
    assert line["y"][line["customdata"].index("p99")] == pytest.approx(
        first.service_time_us["p99"].estimate / 1e3, rel=1e-3
    )
    assert sum(map(sum, heat)) == first.requests.ok


def test_report_writes_the_page_again_and_opens_it(tmp_path, monkeypatch):
    """--open shows the file in the browser; without one, an error that says what to do."""
    import webbrowser

    from typer.testing import CliRunner

    run = make_run(tmp_path, 4)
    opened = []

    class Fake:
        def open(self, url):
            opened.append(url)
            return True

    monkeypatch.setattr(webbrowser, "get", Fake)
    done = CliRunner().invoke(app, ["report", str(run), "--open"])
    assert done.exit_code == 0
    assert "Report" in done.stdout
    assert opened == [(run / "report.html").resolve().as_uri()]

    def none():
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)
    failed = CliRunner().invoke(app, ["report", str(run), "--open"])
    assert "no web browser was found" in str(failed.exception)


def test_a_page_that_cannot_be_written_is_not_named(tmp_path, monkeypatch):
    """The results are shown without a link to a page that is not there; the warning says what to do."""
    from typer.testing import CliRunner

    run = make_run(tmp_path, 4)
    (run / "report.html").unlink(missing_ok=True)

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr("orchestrator.report.files.write_page", refused)
    done = CliRunner().invoke(app, ["report", str(run)])
    assert done.exit_code == 0
    assert "Report " not in done.stdout
    assert "copy the run's folder" in done.stderr


def test_the_page_of_a_comparison_is_beside_that_of_the_candidate(tmp_path):
    """Named after the baseline, whatever that is called."""
    assert compare_file(tmp_path, Compared("../a b\x1b", "n", [], [], [])) == tmp_path / "compare-a-b.html"
    assert compare_file(tmp_path, Compared("v1.2", "n", [], [], [])) == tmp_path / "compare-v1.2.html"


def test_a_run_in_which_nothing_came_up_has_a_page():
    """No hosts, no trials, no counters: the question, the verdict and the campaign are there."""
    summary = summarise("shop", [case()], [], 1, None, 0.03)
    nothing = Environment("0.1.0", "3.11", "6.1", "x86_64", 2, None, [], {})
    text = page(summary, [], Stored("shop", nothing, "campaign: shop\n"))

    assert "How fast is flask?" in words(text)
    assert '<strong class="badge INVALID">' in words(text)
    assert figures(text) == {}


def test_a_sweep_is_answered_once():
    """The answer is a sentence, without the target's name before it and without a second full stop."""
    text = words(page(*RUNS["sweep"](), Stored()))  # type: ignore[call-arg]
    assert text.count(" reaches a plateau at ") == 1
    assert '<p class="answer">url reaches' in text
    assert ".." not in text


def test_a_note_in_a_valid_case_is_not_a_doubt_about_it():
    """One code in two cases: SUSPECT in one, a note in the other."""
    (summary, _) = RUNS["one-closed"]()
    (only,) = summary.cases
    hot = CaseFinding(FindingCode.SHARED_HOST, Severity.SUSPECT, [1], {}, "Use --hosts.", "They competed.")
    note = replace(hot, severity=Severity.INFORMATION, sentence="They shared a machine.", hint="")
    found = doubts.of_summary(
        replace(summary, cases=[replace(only, case="a", findings=[note]), replace(only, case="b", findings=[hot])])
    )
    assert [(doubt.severity, doubt.sentence, len(doubt.places)) for doubt in found] == [
        (Severity.SUSPECT, "They competed.", 1),
        (Severity.INFORMATION, "They shared a machine.", 1),
    ]
    assert found[0].places[0].where.startswith("b:")


@pytest.mark.parametrize("span", [(0.9, 1.1), (0.5, 2.0), (0.1, 20.0), (0.004, 500.0), (1e-6, 1e4)])
def test_labels_of_ratios_do_not_overlap(span):
    """1 is among them, and none is nearer to the next than its own width."""
    ratio = Ratio("throughput", span[0], 1.0, span[1], None, "")
    axis = forest([ratio], span, "f", "").views[0].layout["xaxis"]
    at, length = np.log10(axis["tickvals"]), np.diff(axis["range"])[0]
    assert "1×" in axis["ticktext"]
    assert 2 <= len(at) <= 9
    assert np.diff(at).min() > 0.05 * length


def test_cases_far_apart_are_both_seen():
    """Throughput by trial has a logarithmic axis where one case would lie on zero beside the other."""
    slow, fast = (drawn(range(start, start + 2))[0] for start in (1, 3))
    quick = [replace(t, metrics=replace(t.metrics, throughput_per_s=100 * t.metrics.throughput_per_s)) for t in fast]
    for trials, kind in (([*slow, *fast], None), ([*slow, *quick], "log")):
        figure = over_time.by_trial(trials, {case().name: 0})
        assert figure.views[0].layout["yaxis"].get("type") == kind


def test_a_last_interval_ends_with_the_window():
    """A window of 0.5 s: the point of its only interval stands at 0.25 s, and the heatmap ends at 0.5 s."""
    trials, counters = drawn()
    (own,) = collect.collect(collect.by_case(trials, [case().name]), trials, counters.get)
    time, heat = over_time.over_time([replace(own, windows_s=[0.5] * 3)])
    assert time.views[0].data[0]["x"] == [0.25]
    assert heat.views[0].data[0]["x"] == [0, 0.5]


def test_percentiles_that_no_trial_has_are_not_in_the_legend():
    """500 requests a second have no p99; a case without an answer has no line at all."""
    trials, counters = drawn([1])
    (own,) = collect.collect(collect.by_case(trials, [case().name]), trials, counters.get)
    few = replace(columns(own, 300), p99_us=[None])
    data, _ = over_time._lines(few)
    assert [trace["name"] for trace in data if "name" in trace][:2] == ["throughput", "p50"]
    assert "p99" not in {trace["name"] for trace in data}
    none = replace(own, times={Time.SERVICE: collect.Spectrum()})
    none.times[Time.SERVICE].add(HdrCounts())
    assert over_time.spectrum([none], {own.name: 0}) is None


def test_a_run_without_a_finished_trial_does_not_seem_to_have_been_checked():
    """No empty tables, and no 'no check found a reason to distrust these numbers' under INVALID."""
    text = words(page(summarise("c", [case()], [], 1, None, 0.03), [], Stored()))
    assert "No trial has finished: there are no numbers." in text
    assert "distrust" not in text
    assert "<table" not in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("(95 % interval 2 ms", "(95\u00a0% interval 2\u00a0ms"),
        ("5 segments, 3 seconds", "5 segments, 3 seconds"),
        ("p99 of 3 s.", "p99 of 3\u00a0s."),
    ],
)
def test_no_line_ends_between_a_number_and_its_unit(text, shown):
    """Sentences of the page; other words after numbers may begin a line."""
    assert unbroken(text) == shown
