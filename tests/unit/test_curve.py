"""The curve of a search: what is drawn on the terminal, in the page, and during a search."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from agents.generators.contract import Arrivals
from orchestrator.cli.exit import exit_code
from orchestrator.report import curve, progress, pull_request
from orchestrator.report.capacity import board, measured_how
from orchestrator.report.html.run import Stored
from orchestrator.report.html.run import page as html_page
from orchestrator.report.summary import to_document as summary_document
from orchestrator.report.terminal import render as page_of
from orchestrator.result import Interval, Probe, Saturation, Summary
from orchestrator.run.events import Event
from orchestrator.spec.slo import terms
from orchestrator.stored.evaluate import Finished

SLO = "p99 < 50ms, errors < 1%"


def probe(rate, p99_ms=10.0, errors=0.0, passed=True, **changes):
    times = dict.fromkeys(("p50", "p90", "p95", "p99", "p999", "max"), None if p99_ms is None else p99_ms * 1000)
    failed = [] if passed else ["p99 < 50ms"]
    made = Probe(1, "probe", rate, passed, None, failed, rate, times, errors, None, "VALID", window_s=10.0)
    return replace(made, **changes)


CAPACITY = Interval(700.0, 680.0, 720.0)


def search(*probes, slo=SLO, capacity=CAPACITY, **changes):
    made = Saturation(
        "shop", slo, terms(slo), "capacity", capacity, True, 690.0, None, "p99 < 50ms", "CPU quota (1 core)",
        len(probes), 1000.0, list(probes), "VALID",
    )  # fmt: skip
    return replace(made, **changes)


FOUND = search(
    probe(100, kind="reference"), probe(350, 8), probe(560, 15), probe(680, 41, kind="soak", window_s=30.0), probe(690, 45),
    probe(715, 60, passed=False), probe(741, 130, passed=False, kind="above"), probe(900, 400, passed=False),
    probe(1400, 30, passed=False, limited_by="generator"),
)  # fmt: skip


def render(found, width=80):
    return page_of(Summary("c", found.verdict, None, [], [], [found]), width)


def printed(*pieces, width=100):
    console = Console(file=io.StringIO(), width=width, highlight=False, soft_wrap=True)
    for piece in pieces:
        console.print(piece)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"  # type: ignore[attr-defined]


def test_the_page_on_the_terminal(golden):
    """Every probe, the curve with the objective's line, what was met and what was not, the interval; then the answer."""
    golden("saturation.txt", printed(*render(FOUND)))


def test_the_page_on_the_terminal_fits_80_columns():
    """Also where a probe missed two objectives, and where its limit has the longest name."""
    two = probe(800, 99, passed=False, failed=["p99 < 50ms", "errors < 1%"])
    limited = probe(10_000, 99, passed=False, limited_by="connections")
    text = printed(*render(replace(FOUND, curve=[*FOUND.curve, two, limited])), width=240)

    assert max(map(len, text.splitlines())) <= 80
    assert "no: p99 < 50 ms +1" in text
    assert "limit: connections" in text


def test_the_answer_says_for_which_arrivals_windows_and_soak_it_is():
    """Windows differ where a percentile needs more requests; without a soak the page says so."""
    poisson = [replace(one, arrivals=Arrivals.POISSON) for one in FOUND.curve]
    longer = search(probe(100, window_s=12.0), *poisson)
    none = search(probe(100))

    assert "even arrivals, windows of 10 s, a soak of 30 s" in measured_how(FOUND)
    assert "even arrivals and random (Poisson) arrivals, windows of 10 to 12 s, a soak of 30 s" in measured_how(longer)
    assert "windows of 10 s, no soak" in measured_how(none)


def test_a_capacity_that_no_soak_held_is_a_failure_everywhere():
    """Terminal, page, Markdown and JUnit say the same; the verdict is SUSPECT, and nothing says PASS."""
    found = search(
        probe(350), probe(680, 60, passed=False, kind="soak"), capacity=None, ending="not sustained", confirmed=False,
        held_per_s=350.0, soak_failed_per_s=680.0, verdict="SUSPECT",
    )  # fmt: skip
    summary = Summary("c", "SUSPECT", "FAIL", [], [], [found])
    words, sentence = "not sustained: a soak failed at 680/s", "shop did not sustain p99 &lt; 50 ms and errors &lt; 1 %"

    assert "shop did not sustain p99 < 50 ms and errors < 1 %: a soak failed at 680" in printed(*render(found))
    page = html_page(summary, [], Stored()).replace("\u00a0", " ")
    assert f"{sentence}: a soak failed at 680 requests per second." in page
    assert words in pull_request.markdown(summary)
    assert f"; {measured_how(found)}" in pull_request.markdown(summary)
    assert re.search(f'<failure message="{words}', pull_request.junit(summary))
    assert summary_document(summary)["saturation"][0]["soak_failed_per_s"] == 680.0
    assert exit_code(Finished(Path(), summary, [])) == 99


def test_reference_loads_are_not_on_the_curve():
    """They say whether the server is well again, and nothing of the rate."""
    drawn = curve.curve_of(FOUND)

    assert [point.x_per_s for point in drawn.points] == [350, 560, 680, 690, 715, 741, 900, 1400]
    assert [point.state for point in drawn.points].count(curve.State.NOT_COUNTED) == 1
    assert (drawn.limit, drawn.capacity.low) == (50.0, 680.0)


@pytest.mark.parametrize(
    ("slo", "gave_way", "label", "limit"),
    [
        ("p50 < 5ms, p99.9 < 80ms", "p99.9 < 80ms", "response time p99.9, ms", 80.0),
        ("p50 < 5ms, p99.9 < 80ms", None, "response time p50, ms", 5.0),
        ("errors < 1%, p99 < 50ms", "errors < 1%", "requests that failed, %", 1.0),
        ("errors < 1%", None, "requests that failed, %", 1.0),
        ("throughput > 100/s", "throughput > 100/s", "response time p99, ms", None),
    ],
)
def test_what_gave_way_is_what_is_drawn(slo, gave_way, label, limit):
    """Else the first objective about a time; a share that is 0 has a place on its axis as well."""
    found = search(probe(100), probe(200, errors=0.4, passed=False), slo=slo, gave_way=gave_way)
    drawn = curve.curve_of(found)

    assert (drawn.label, drawn.limit) == (label, pytest.approx(limit) if limit else None)
    assert label in printed(curve.drawn(drawn))


@pytest.mark.parametrize(
    "probes",
    [
        [],
        [probe(100, None, passed=False)],
        [probe(100)],
        [probe(100), probe(100.4)],
        [probe(1, 0.05), probe(1e6, 60_000, passed=False)],
        [probe(100, 49.99), probe(101, 50.01, passed=False)],
    ],
)
def test_any_curve_can_be_drawn(probes):
    """None, one, two that all but coincide, six decades: at any time of a search."""
    for capacity in (None, Interval(100.0, 50.0, 400.0)):
        found = search(*probes, capacity=capacity, ending="budget")
        text = printed(*render(found), board([found], "shop", 24))
        page = html_page(Summary("c", "VALID", "PASS", [], [], [found]), [], Stored())

        shown = sum(p.response_time_us["p99"] is not None for p in probes)
        assert bool(re.search("[●×]", text)) == bool(shown)
        assert "curve-0" in page


def test_the_html_page_says_what_the_terminal_says_and_needs_no_network():
    """One file; the points, the line, the band; what comes from a file or a server is text and never markup."""
    evil = "<script>alert(1)</script>"
    found = replace(
        FOUND, target=evil, gave_way=evil, curve=[*FOUND.curve, probe(760, 99, passed=False, failed=[evil])]
    )
    page = html_page(Summary(evil, "VALID", "PASS", [], [], [found]), [], Stored())
    words = page[page.index("<body>") : page.index('<script type="application/json"')]
    (figure,) = figures(page)
    (view,) = figure["views"]
    names = [trace["name"] for trace in view["data"]]
    ends = view["layout"]["xaxis"]["range"]

    assert evil not in page
    assert (
        "holds 700 requests per second with p99 &lt; 50 ms and errors &lt; 1 % (680–720, confirmed)."
        in words.replace("\u00a0", " ")
    )
    assert "objective 50" in names
    assert (view["layout"]["shapes"][0]["x0"], view["layout"]["shapes"][0]["x1"]) == (680.0, 720.0)
    assert 10 ** ends[0] < 350
    assert 1400 < 10 ** ends[1] < 2000
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", words)
    assert words.count('<tr><th scope="row">') == len(found.curve)


def figures(page):
    """The figures that a page holds."""
    return json.loads(re.search(r'<script type="application/json" id="figures">(.*?)</script>', page)[1])


def test_while_it_goes_on_a_terminal_shows_the_curve_and_a_pipe_its_lines(monkeypatch, capsys):
    """The picture is only made for a terminal."""
    made = []

    def picture(lines):
        made.append(lines)
        return board([search(capacity=None), FOUND], "shop", lines)

    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    event = Event("judged", "5  shop: 715/s failed: p99 < 50ms", picture=picture)
    progress.Progress().show(event)
    piped = capsys.readouterr().err
    made_for_a_pipe = len(made)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    live = progress.Progress()
    live.show(event)
    live.show(Event("load", "2 s of 5 s", passing=True))
    live.close()
    live.close()

    assert made_for_a_pipe == 0
    assert "715/s failed" in piped
    assert "●" not in piped
    assert "●" in terminal.getvalue()
    assert "shop: capacity 680 to 720/s" in terminal.getvalue()
    assert picture(9) is None
    assert len(picture(12).plain.split("\n")) <= 12
