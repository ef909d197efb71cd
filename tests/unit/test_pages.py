"""Pages of a run: which time a heading is about, and how a finding reads."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.analyse.cases import summarise
from orchestrator.analyse.people import p_value
from orchestrator.cli import streams
from orchestrator.cli.results_show import show, show_all
from orchestrator.report import claims, comparison, pull_request, terminal, trend
from orchestrator.report.finding import entries
from orchestrator.report.format import between, objective, times, with_interval
from orchestrator.report.sparkline import bar, rebinned, sparkline
from orchestrator.result import (
    CaseFinding,
    Compared,
    ComparedMetric,
    Comparison,
    Conclusion,
    Finding,
    Interval,
    Point,
    Severity,
    Time,
)
from orchestrator.slo import Metric
from orchestrator.spec.slo import terms
from orchestrator.stored.evaluate import Finished
from tests.unit import page_runs
from tests.unit.facts import host_use, steady_case
from tests.unit.judged_trials import OPEN, STEADY, steady_agents, trial

NOW = datetime(2026, 11, 26, 17, 30, tzinfo=UTC)
OPEN_CASE = steady_case(name="flask/open", load="open", model="open", rate_per_s=100.0)


def text(pieces):
    console = Console(width=250, no_color=True, file=io.StringIO())
    for piece in pieces:
        console.print(piece, soft_wrap=True)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def summary():
    """A closed and an open load of one target, both with an objective that is not met."""
    closed = trial(**STEADY, agents=steady_agents())
    opened = trial(**{**OPEN, "case": OPEN_CASE, "hosts": [host_use(steal_share=0.2)], "number": 2})
    cases = [closed.facts.case, OPEN_CASE]
    slo = {case.name: terms("p50 < 1ms, errors < 1%") for case in cases}
    return summarise("c", cases, [closed, opened], 1, None, 0.03, slo)


@pytest.fixture
def page(monkeypatch, capsys):
    """Print the page of a run as `volley report` does."""

    def shown(name, width=80, everything=False):
        made, trials = page_runs.RUNS[name]()
        finished = Finished(Path(f"runs/{name}"), made, trials)
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("NO_COLOR", "1")
        if everything:
            show_all(finished)
        else:
            show(finished, as_json=False)
        return "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines())

    return shown


# What no page shows: see voice.md for why.
FORBIDDEN = {
    "an empty value": r"\bn/a\b|\bNone\b|\bnan\b",
    "a name of a program": r"\b[a-z0-9]+_[a-z0-9_]+\b",
    "a p-value of nothing": r"p = 0\.000\b",
    "a Python value": r"[\[{(]'|<[A-Z][a-z]+|Interval\(",
    "more than three digits": r"\b\d+\.\d{4,}\b|\b\d{2,}\.\d{2,}\b",
    "an exponent": r"\d[eE]-?\d",
    "no thousands separator": r"(?<![\d.:/-])\d{5,}(?![\d/-])",
}


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", page_runs.RUNS)
def test_the_page_of_a_run(name, width, page, golden):
    """What a person sees: the answer, the numbers, the doubts, what to do next. No line is over the width."""
    text = page(name, width)

    golden(f"pages/{name}-{width}.txt", text)
    assert max(map(len, text.splitlines())) <= width
    assert {what: found for what, pattern in FORBIDDEN.items() if (found := re.search(pattern, text))} == {}
    assert text.translate(streams.PLAIN).isascii()


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("name", page_runs.RUNS)
def test_every_detail_of_a_run(name, width, page):
    """`show --all` at any width; only what cannot be broken, such as a path or a table's few columns, is longer."""
    text = page(name, width, everything=True)
    made, trials = page_runs.RUNS[name]()

    assert {what: found for what, pattern in FORBIDDEN.items() if (found := re.search(pattern, text))} == {}
    assert max(map(len, text.splitlines())) <= max(width, 80)
    for heading in ("Trials", "Agents", "Status codes", "Hosts during the load", "Findings"):
        assert f"\n{heading}\n" in text or (heading == "Findings" and not any(each.findings for each in trials))
    assert ("\nComparisons\n" in text) == bool(made.comparisons)
    for code in {finding.code for each in trials for finding in each.findings}:
        assert code in text


def test_a_wider_terminal_shows_more_columns(page):
    """Not longer lines of the same: p99.9 and memory are there only where they fit."""
    narrow, wide = page("settled", 80), page("settled", 120)

    assert re.search(r"^ +answered .* p99  CPU/req$", narrow, re.MULTILINE)
    assert re.search(r"^ +answered .* p99  max  CPU/req  peak memory ", wide, re.MULTILINE)
    assert "  server    flask: peak memory 50 of 100 MiB\n            fastapi: peak memory 50 of 100 MiB\n" in narrow


def test_a_rate_below_ten_has_a_decimal(page):
    """0.8 requests per second were 1."""
    text = page("three-targets")

    assert "trickle: 0.8/s due evenly" in text
    assert re.search(r"flask +0\.8 ", text)


def test_an_invalid_case_keeps_its_row_with_the_reason(page):
    """In place of numbers that nobody should read."""
    row = re.search(r"^  fastapi  (INVALID: .*\n +.*)\n", page("invalid"), re.MULTILINE)[1]

    assert " ".join(row.split()).startswith("INVALID: the server container exceeded its memory limit of 100 MiB")


def test_doubts_about_the_probes_that_carry_an_answer_are_on_the_page():
    """Beside the answer and as sentences; those about probes that failed are about an overload on purpose."""
    made, trials = page_runs.RUNS["confirmed"]()
    (found,) = made.saturation
    passed, failed = (
        next(p.trial for p in found.curve if p.kind == "probe" and p.passed is yes) for yes in (True, False)
    )
    doubts = {passed: "Load agent local/0 used 95 % of its core.", failed: "Load agent local/0 used 99 % of its core."}
    spoiled = [
        replace(each, findings=[Finding("generator-cpu", Severity.SUSPECT, {}, "Use more.", doubts[each.facts.number])])
        if each.facts.number in doubts else each
        for each in trials
    ]  # fmt: skip
    shown = " ".join(text(terminal.render(replace(made, verdict="SUSPECT"), trials=spoiled)).split())

    assert ", confirmed). These numbers are SUSPECT: the doubts are listed below." in shown
    assert re.search(r"used 95 % of its core\. Use more\. \[generator-cpu, 1 of \d+ trials\]", shown)
    assert "99 %" not in shown


def test_equal_findings_share_an_entry_with_the_range_of_their_numbers(summary):
    """Findings that differ in words stay apart, and numbers in names are not changed."""
    sentence = "Load agent local/{} on 10.0.0.1 waited {} % of the time, {} ms."
    found = [
        CaseFinding("generator-cpu", "suspect", [1], {}, "Use more.", sentence.format(0, share, length))
        for share, length in (("57", "1,200"), ("4.5", "90"))
    ]
    cases = [replace(case, findings=[finding], trials=3) for case, finding in zip(summary.cases, found, strict=True)]
    (entry,) = entries(cases, ["suspect"])

    assert entry.sentence == "Load agent local/0 on 10.0.0.1 waited 4.5–57 % of the time, 90–1,200 ms."
    assert (entry.cases, entry.tag) == (["flask/steady", "flask/open"], "generator-cpu, 2 of 6 trials")


@pytest.mark.parametrize(
    ("ratio", "p", "conclusion", "needed", "words"),
    [
        ((1.69, 1.44, 1.99), 0.01, "faster", None, "b answers 1.69× the requests of a (95 % interval 1.44–1.99×)."),
        ((0.6, 0.5, 0.7), 0.01, "slower", None, "b answers 0.60× the requests of a (95 % interval 0.50–0.70×)."),
        (
            (1.4, 0.56, 3.5), 0.7, "inconclusive", 14,
            "Not settled: b measured 1.40× the requests of a, but the 95 % interval is 0.56–3.50×. "
            "About 8 more repetitions would settle it.",
        ),
        (
            (0.84, 2e-7, 3e6), 0.9, "inconclusive", None,
            "Not settled: b measured 0.84× the requests of a, but the 95 % interval spans more than a factor of 1,000. "
            "The trials differ too much to say how many repetitions would settle it: start with 5.",
        ),
        (
            (1.4, 1.01, 1.9), 0.2, "inconclusive", 7,
            "Not settled: b measured 1.40× the requests of a, and the 95 % interval is 1.01–1.90×, which is not "
            "significant among all metrics compared (p = 0.200). About 1 more repetition would settle it.",
        ),
        (
            (1.02, 1.01, 1.05), 0.01, "inconclusive", None,
            "Not settled: b measured 1.02× the requests of a, and the 95 % interval is 1.01–1.05×, so the difference "
            "may be below 3 %, the smallest effect of interest. The difference is close to what matters: more "
            "repetitions will hardly settle it.",
        ),
        (
            (1.001, 0.999, 1.004), 0.3, "equivalent", None,
            "b and a have the same throughput: the difference is below 3 % (95 % interval -0.1 to +0.4 %).",
        ),
        (
            (1.0, 1.0, 1.0), 1.0, "equivalent", None,
            "b and a have the same throughput: the difference is below 3 % (no difference in any repetition).",
        ),
    ],
)  # fmt: skip
def test_a_comparison_in_words(ratio, p, conclusion, needed, words):
    """Settled, not settled and why not, equivalent."""
    compared = Comparison(
        ComparedMetric.THROUGHPUT, "l", "a", "b", Interval(*ratio), p, Conclusion(conclusion), "", p, trials=6,
        smallest_effect=0.03, needed=needed,
    )  # fmt: skip

    assert claims.sentence(compared) == words


def test_an_interval_that_says_nothing_is_not_shown():
    """In a cell alone, beside its estimate, and as that of a ratio; one of a factor of 1,000 is."""
    wide, known = Interval(5510.0, 0.003, 9e9), Interval(5.0, 0.1, 100.0)

    assert (between(wide, 1e3), with_interval(wide, 1e3), times(wide)) == (
        "too wide",
        "5.51 (interval too wide)",
        "too wide",
    )
    assert (between(known), with_interval(known), times(known)) == ("0.1–100", "5 (0.1–100)", "0.10–100×")


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("p99<200ms, errors<0.1%", "p99 < 200 ms and errors < 0.1 %"),
        ("p999 < 1s", "p99.9 < 1 s"),
        ("answers >= 99%", "answers ≥ 99 %"),
        ("mean<500us,p50 <1.5ms, throughput>1000/s", "mean < 500 µs, p50 < 1.5 ms and throughput > 1000/s"),
    ],
)
def test_an_objective_as_people_write_it(typed, shown):
    """However it was typed."""
    assert objective(typed) == shown


def test_a_p_value_is_never_nothing():
    """And has no more than three decimals."""
    assert [p_value(p) for p in (0.0, 0.0004, 0.0123, 0.756, 1.0, None)] == [
        "p < 0.001", "p < 0.001", "p = 0.012", "p = 0.756", "p = 1", "",
    ]  # fmt: skip


def test_a_distribution_fits_its_cells_and_hides_nothing():
    """One count among thousands can be seen; the ends are labelled; nothing is drawn of nothing."""
    shape = {60: 1, 63: 5_000, 100: 1}
    (line,) = sparkline(shape, 80, "service time")

    assert line.startswith("  1 ms ▏▁")
    assert "▁▏ 112 ms" in line
    assert sparkline({}, 80, "") == sparkline({60: 0}, 80, "") == []
    assert all(len(each) <= 40 for each in sparkline(dict.fromkeys(range(200), 3), 40, "service time, all trials"))
    assert [bar(height) for height in (0, 1e-9, 0.5, 1)] == [" ", "▁", "▄", "█"]
    assert rebinned([1, 1, 2, 0, 0, 0], 3) == [1.0, 1.0, 0.0]


def test_the_pull_request_names_the_time_in_every_heading(summary):
    """The same time as on the terminal. The open load has too few requests for a percentile, and so no such column."""
    page = pull_request.markdown(summary)

    assert re.findall(r"\| (\w+) time p50 ms \|", page) == ["service"]
    assert "| flask/open |" in page
    assert not re.search(r"\| p\d+ ms|n/a|unknown", page)


def test_an_objective_names_the_time_that_it_is_judged_by(page):
    """Objectives about anything else are about no time."""
    text = page("objectives")

    lines = " ".join(text.split())
    assert "passed flask/steady: service time p50 < 100 ms: measured 35.7 (35.7–35.8) ms" in lines
    assert "passed flask/burst: response time p99.9 < 2 s: the maximum of 16.5 ms proves it" in lines
    assert "failed flask/steady: errors < 1 %: measured 1.64 %" in lines


def test_a_finding_is_a_sentence_a_fix_and_a_code(summary):
    """On the terminal, in a pull request, and with nothing of the names that programs use."""
    sentence = (
        "flask/open: Other VMs took 20 % of the CPU time of host local. Use a dedicated machine or try again later. ["
    )
    shown = " ".join(text(terminal.render(summary)).split())

    assert f"{sentence}host-steal, 1 of 1 trial]" in shown
    assert f"- {sentence}`host-steal, 1 of 1 trial`]" in pull_request.markdown(summary)


@pytest.mark.parametrize(("metric", "heading"), [(Metric.P999, "response time p99.9 ms"), (Metric.THROUGHPUT, "req/s")])
def test_a_trend_says_which_time_it_follows(metric, heading):
    """By the percentile's name as people write it."""
    points = [Point("r1", "VALID", Interval(1000.0, None, None), time=Time.RESPONSE)]

    assert re.search(rf"^ +{re.escape(heading)} ", text(trend.render(points, "a/b", metric, NOW)), re.MULTILINE)


def test_a_comparison_names_metrics_in_words():
    """Every one of them."""
    ratio = Interval(1.4, 1.3, 1.5)
    made = [Comparison(m, "burst", "a", "b", ratio, 0.01, Conclusion.FASTER, "5 pairs", 0.01) for m in ComparedMetric]
    page = text(comparison.render(Compared("a", "b", made, [], [])))

    assert all(re.search(rf"^  {re.escape(metric.label)} +\+40 %", page, re.MULTILINE) for metric in ComparedMetric)
    assert not re.search(r"[a-z]_[a-z]", page)
