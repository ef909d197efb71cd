"""report.html of real runs in a real browser: it draws, it asks for nothing, it can be read on a phone and in the dark."""

import json
import re

import pytest

from agents.records import from_plain
from orchestrator.report.format import with_interval
from orchestrator.result import Interval
from tests.hostile_page import EVIL, hostile_page
from tests.integration.machine import only_run, volley
from tests.truth.browser import DESKTOP, PHONE, browser
from tests.truth.harness import server

pytestmark = pytest.mark.counted

DRAWN = """
return [...document.querySelectorAll('.drawing')].map(function (plot) {
  const marks = plot.querySelectorAll('.scatterlayer .trace path, .heatmaplayer image, .barlayer path');
  const visible = [...marks].filter((mark) => mark.getBoundingClientRect().width + mark.getBoundingClientRect().height > 2);
  return [plot.id, visible.length];
});
"""
# Where a value of a plot is in the window: the middle of a cell of a heatmap, or a point of a line.
PLACE = """
const plot = document.getElementById(arguments[0]);
plot.scrollIntoView({block: 'center'});
const trace = plot.data.find((own) => own.hoverinfo !== 'skip' && own.x.length);
// A percentile with too few requests behind it has no value.
const known = [...trace.x.keys()].filter((i) => trace.y[i] !== null);
const middle = known[Math.floor((known.length - 1) / 2)];
let x = trace.x[middle], y = trace.y[middle];
if (trace.type === 'heatmap') {
  const row = trace.customdata.findIndex((counts) => counts.some((count) => count));
  const column = trace.customdata[row].findIndex((count) => count);
  x = (trace.x[column] + trace.x[column + 1]) / 2;
  y = Math.sqrt(trace.y[row] * trace.y[row + 1]);
}
const across = plot._fullLayout.xaxis, up = plot._fullLayout.yaxis, at = plot.getBoundingClientRect();
// A point on the edge of a plot, such as a host that is 100 % busy, is half outside.
const inside = (axis, value) => axis._offset + Math.max(3, Math.min(axis._length - 3, axis.d2p(value)));
return [at.left + inside(across, x), at.top + inside(up, y)];
"""
SHOWN = "return [...document.querySelectorAll('.hoverlayer text')].map((text) => text.textContent).join(' ')"


@pytest.fixture(scope="module")
def window():
    """One browser for all tests."""
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of a closed load, an open load, a search and a comparison, by the real command with the real generators."""
    folder = tmp_path_factory.mktemp("pages")
    runs = {}
    with server("http1", delay_us=[1_000]) as url:
        commands = {
            "first": ("bench", url, "-c", "8", "-n", "3000", "--repeat", "2"),
            "second": ("bench", url, "-c", "8", "-n", "3000", "--repeat", "2"),
            "open": ("bench", url, "--rate", "300", "-d", "2s", "--repeat", "2"),
            "search": ("saturate", url, "--slo", "p50<1s", "--window", "500ms", "--highest", "100/s"),
        }
        for name, command in commands.items():
            done = volley(*command, "--out", str(folder / name), "--quiet")
            assert (folder / name).is_dir(), done.stderr
            runs[name] = only_run(folder / name)
            assert (runs[name] / "report.html").is_file(), done.stderr
    compared = volley("compare", str(runs["first"]), str(runs["second"]))
    assert f"page: {runs['second']}/compare-{runs['first'].name}.html" in compared.stderr
    found = {name: run / "report.html" for name, run in runs.items()}
    return found | {"compare": runs["second"] / f"compare-{runs['first'].name}.html"}


def hovered_text(window, plot):
    """What appears beside the pointer over a value of a plot."""
    window.point_at(*window.run(PLACE, plot))
    return window.wait_for(SHOWN)


@pytest.mark.parametrize("name", ["first", "open", "search", "compare"])
def test_a_page_draws_every_plot_and_asks_the_network_for_nothing(window, pages, name):
    """No complaint of the browser, no request but for the file itself, a value under the pointer on every plot."""
    window.open(pages[name])
    drawn = dict(window.run(DRAWN))
    hovered = {plot: hovered_text(window, plot) for plot in drawn}

    assert drawn
    assert all(drawn.values()), drawn
    assert all(re.search(r"\d", text) for text in hovered.values()), hovered
    assert window.complaints() == []
    assert set(window.requests()) == {pages[name].resolve().as_uri()}


@pytest.mark.parametrize("name", ["first", "open", "search", "compare"])
def test_a_page_fits_a_phone_and_follows_the_dark_theme(window, pages, name):
    """Nothing but tables scrolls sideways; page and plots are dark, the words on them are light."""
    window.open(pages[name], PHONE, dark=True)
    width, paper, ink = window.run(
        "const style = getComputedStyle(document.documentElement);"
        "return [document.documentElement.scrollWidth, style.backgroundColor, style.color]"
    )
    plot = window.run("return getComputedStyle(document.querySelector('.drawing .main-svg')).backgroundColor")

    assert width <= PHONE[0]
    assert max(_rgb(paper)) < 40 < 200 < min(_rgb(ink))
    assert max(_rgb(plot)) < 40
    window.open(pages[name], DESKTOP)
    assert min(_rgb(window.run("return getComputedStyle(document.documentElement).backgroundColor"))) > 240


def _rgb(colour):
    return [int(part) for part in re.findall(r"\d+", colour)[:3]]


def test_the_table_says_what_summary_json_says(window, pages):
    """Every number of the table of results, in the format of the terminal."""
    window.open(pages["open"])
    rows = window.run(
        "return [...document.querySelectorAll('#results table')].map((table) => "
        "[...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent)))"
    )
    (case,) = json.loads((pages["open"].parent / "summary.json").read_text())["cases"]

    for table, time in zip(rows, ("response_time", "service_time"), strict=True):
        shown = dict(table)
        assert shown["verdict"] == case["verdict"]
        assert shown["req/s"] == with_interval(from_plain(Interval, case["throughput_per_s"]))
        times = case[f"{time}_us"]
        values = {name: None if value is None else from_plain(Interval, value) for name, value in times.items()}
        values["max"] = Interval(case[f"{time}_longest_us"], None, None)
        for name, label in {"p50": "p50", "p99": "p99", "max": "max", "mean": "mean"}.items():
            if values[name] is not None:
                assert shown[f"{label}, ms"] == with_interval(values[name], 1000)


def test_the_spectrum_goes_through_the_percentiles_of_the_table(window, pages):
    """Its line is the case's own estimate; response time comes first, and a button shows service time."""
    window.open(pages["open"])
    (case,) = json.loads((pages["open"].parent / "summary.json").read_text())["cases"]
    read = """
    const trace = document.getElementById('spectrum').data.find((own) => own.customdata);
    return Object.fromEntries(trace.customdata.map((name, i) => [name, trace.y[i]]));
    """
    for label, times in (("response time", case["response_time_us"]), ("service time", case["service_time_us"])):
        window.run(
            "[...document.querySelectorAll('[data-group=spectrum]')].find((b) => b.textContent === arguments[0]).click()",
            label,
        )
        line = window.run(read)
        assert line["p50"] == pytest.approx(times["p50"]["estimate"] / 1e3, rel=1e-3)
        assert line["p90"] == pytest.approx(times["p90"]["estimate"] / 1e3, rel=1e-3)


def test_without_scripts_answer_and_tables_can_be_read(window, pages):
    """The plots are missing, and the page says why."""
    from selenium.webdriver.common.by import By

    window.open(pages["first"], scripts=False)
    words = window.driver.find_element(By.TAG_NAME, "body").text

    assert "JavaScript is off" in words
    assert "requests per second" in words
    assert "p99, ms" in words
    assert "Doubts" in words


def test_text_that_a_server_or_a_file_supplies_never_runs(window, tmp_path):
    """Scripts in the names of targets, in findings, in a URL, in a campaign: shown as text, in plots as well."""
    page = tmp_path / "report.html"
    page.write_text(hostile_page())
    window.open(page)
    window.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    text = window.run("return document.body.innerText + document.title")
    for plot, _ in window.run(DRAWN):
        text += hovered_text(window, plot)

    assert window.run("return window.ran === undefined")
    assert window.run("return document.querySelectorAll('img, iframe, main a:not([href^=\"#\"]), svg a').length") == 0
    assert window.complaints() == []
    assert window.requests() == [page.resolve().as_uri()]
    assert text.count(EVIL) >= 5
    assert not re.search("[\x07\x1b\u202e]", text)
