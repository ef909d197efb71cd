"""Pages over runs and hosts at 80 and 120 columns: golden files, and what holds for every line of them."""

import re
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agents.clock import OffsetBound
from agents.records import HostRole
from orchestrator.analyse.regression import gates, limits
from orchestrator.cli.check import doctor_lines
from orchestrator.cli.hosts_table import lines as host_lines
from orchestrator.errors import HostError
from orchestrator.fleet.care import HostReport, Survey
from orchestrator.fleet.fixing import Fixes
from orchestrator.fleet.survey import judge, read_survey
from orchestrator.report import comparison, comparison_ci, listing, trend
from orchestrator.result import (
    BetweenRuns,
    Compared,
    ComparedMetric,
    Comparison,
    Conclusion,
    Difference,
    DifferenceKind,
    Interval,
    Point,
    Time,
)
from orchestrator.stored.compare import SAME_RUN
from orchestrator.stored.listing import ListedRun
from tests.unit.test_survey import GOOD

NOW = datetime(2026, 11, 26, 23, 30, tzinfo=UTC)
BASE, NEW = "search-api-20261125T140200Z", "search-api-20261126T225606Z"
REASON = "6 trials on each side; smallest effect of interest 3%"
NOT_SETTLED = f"{REASON}; about 9 repetitions of both, interleaved in one campaign, would settle it"
MEASURED = BetweenRuns(0.031, 8.0, 9)


def compared_metric(metric, change, conclusion, p, values, reason=REASON, case="search"):
    """A comparison of two runs; change: estimate, low and high, as shares."""
    estimate, low, high = change
    errors = metric is ComparedMetric.ERRORS
    ratio = None if errors else Interval(1 + estimate, 1 + low, 1 + high)
    return Comparison(
        metric, "steady", BASE, NEW, ratio, p, conclusion, reason, p, Interval(*change) if errors else None, case,
        between_runs=MEASURED, trials=6, smallest_effect=0.001 if errors else 0.03,
        baseline_value=values[0], candidate_value=values[1],
    )  # fmt: skip


def four_states():
    """Slower, more slowly in the tail as far as noise allows, without errors, and a case whose image differs."""
    image = Difference(DifferenceKind.IMAGE, "image of index", "index:1.4.0", "index:1.5.0")
    memory = Difference(DifferenceKind.LIMITS, "memory_bytes", str(256 << 20), str(512 << 20))
    found = [
        compared_metric(
            ComparedMetric.THROUGHPUT, (-0.1214, -0.1633, -0.0771), Conclusion.SLOWER, 0.0002, (2751.0, 2417.0)
        ),
        compared_metric(
            ComparedMetric.SERVICE_P50, (0.138, 0.091, 0.187), Conclusion.SLOWER, 0.0021, (12_510.0, 14_236.0)
        ),
        compared_metric(
            ComparedMetric.SERVICE_P999,
            (0.251, -0.18, 0.91),
            Conclusion.INCONCLUSIVE,
            0.31,
            (80_200.0, 100_330.0),
            NOT_SETTLED,
        ),
        compared_metric(ComparedMetric.ERRORS, (0.0, 0.0, 0.0004), Conclusion.EQUIVALENT, 1.0, (0.0, 0.0)),
    ]
    reason = "image of index: index:1.4.0 / index:1.5.0"
    found += [
        Comparison(metric, "steady", BASE, NEW, None, None, Conclusion.INCOMPARABLE, reason, target="index", differences=[image, memory])
        for metric in (ComparedMetric.THROUGHPUT, ComparedMetric.SERVICE_P50, ComparedMetric.SERVICE_P999, ComparedMetric.ERRORS)
    ]  # fmt: skip
    asked = limits("throughput<-5%, service p99.9>10%, errors>0.1%")
    return Compared(BASE, NEW, found, ["search/burst"], gates(found, asked))


def same_run():
    """A run with itself."""
    found = [
        replace(c, candidate=BASE, reason=SAME_RUN, ratio=c.ratio and Interval(1.0, 0.9, 1.1))
        for c in four_states().comparisons[:4]
    ]
    return Compared(BASE, BASE, found, [], gates(found, limits("throughput<-5%")), same_run=True)


def points():
    """Nine runs of a case: one slower from the sixth on, one INVALID, one of another year."""
    made = [Point(f"search-api-202511{i:02d}T091000Z", "VALID", Interval(2750.0 + i, 2640.0, 2840.0)) for i in (1,)]
    for i in range(18, 26):
        value = Interval((2750.0 if i < 22 else 2420.0) + i, 2_300.0 + i, 2_900.0 + i)
        made.append(Point(f"search-api-202611{i}T140200Z", "SUSPECT" if i == 19 else "VALID", value))
    made[3] = replace(made[3], verdict="INVALID", value=None)
    image = Difference(DifferenceKind.IMAGE, "image of search", "search:1.4.0", "search:1.5.0")
    made[5] = replace(made[5], change=-0.1196, differences=[image])
    return [replace(point, time=Time.RESPONSE) for point in made]


def listed():
    """A bench, a campaign that failed, a search, one that is unfinished, and one that cannot be read."""
    folder = Path("runs")

    def one(name, **facts):
        stamp = datetime.strptime(name[-16:], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return ListedRun(path=folder / name, started=stamp, **facts)

    return [
        one("bench-20261126T225606Z", campaign="bench", kind="bench", urls=["http://127.0.0.1:8000/"], verdict="VALID",
            result="7,570 req/s, p99 4.14 ms"),
        one("flask-vs-fastapi-fair-20261125T140200Z", campaign="flask-vs-fastapi-fair", kind="run", verdict="SUSPECT",
            outcome="FAIL", result="fastapi 1.69× flask (steady)"),
        one("search-api-20261123T091000Z", campaign="search-api", kind="saturate", verdict="VALID", outcome="PASS",
            result="2,750 req/s at p99 < 200 ms"),
        one("search-api-20251101T091000Z", campaign="search-api", kind="run", done=3, planned=24),
        one("old-20251031T091000Z",
            problem="runs/old-20251031T091000Z/summary.json cannot be used: it has format 2; this Volley reads format 1"),
    ]  # fmt: skip


def problems():
    """A laptop without h2load and with few file handles."""
    survey = read_survey(
        {**GOOD, "h2load": None, "open_files": 1024, "governor": "powersave", "docker": {"error": "no"}}
    )
    return judge(survey, [HostRole.LOAD, HostRole.SERVER])


def reports():
    """Two hosts that answer, one of them with a warning, and one that is down."""
    clock = OffsetBound(-80_000, 120_000, 210_000, 32, 0)

    def up(name, address, role, **facts):
        found = read_survey({**GOOD, "kernel": "6.1.0-28-cloud-amd64", **facts})
        return HostReport(name, address, [role], Survey(found, clock, judge(found, [role]), environment_sent=True))

    return [
        up("web1", "198.18.0.11", HostRole.SERVER),
        up("gen1", "198.18.0.21", HostRole.LOAD, open_files=1024),
        HostReport("gen2", "198.18.0.22", [HostRole.LOAD], error=HostError("host gen2: cannot connect", "start it")),
    ]


PAGES = {
    "compare": lambda width: comparison.render(four_states(), width),
    "compare-same-run": lambda width: comparison.render(same_run(), width),
    "trend": lambda width: trend.render(points(), "search/steady", "p99", NOW, width),
    "runs": lambda width: listing.render(listed(), NOW, width),
    "doctor": lambda width: doctor_lines(
        problems(), width, fixes=Fixes((HostRole.LOAD, HostRole.SERVER), ("nghttp2-client",), engine=True)
    ),
    "hosts-check": lambda width: host_lines(reports(), width),
}


def page(name, width):
    return "\n".join(str(piece) for piece in PAGES[name](width)) + "\n"


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_the_documented_one(golden, name, width):
    """And no line is over its width, holds a name of a field, or shows a number that is not there."""
    text = page(name, width)

    assert max(map(len, text.splitlines())) <= width
    assert not re.search(r"n/a|None|unknown|\b[a-z]+_[a-z]+\b|p = 0\.000|nan", text)
    golden(f"{name}-{width}.txt", text)


@pytest.mark.parametrize("name", [name for name in PAGES if name not in ("compare-same-run", "doctor")])
def test_a_wider_terminal_shows_more_columns(name):
    """And the same answer."""
    narrow, wide = page(name, 80), page(name, 160)

    assert narrow.split()[:4] == wide.split()[:4]
    assert len(set(wide.split()) - set(narrow.split())) > 0


def test_a_comparison_with_itself_is_said_plainly():
    """Nothing to settle, and no advice to repeat it."""
    text = " ".join(page("compare-same-run", 80).split())

    assert "are the same run" in text
    assert "settle" not in text


def test_every_state_of_a_gate_stands_on_every_page():
    """On the terminal, in Markdown, in JUnit and in JSON."""
    compared = four_states()
    states = [gate.state for gate in compared.gates]
    markdown = comparison_ci.markdown(compared, NOW, "https://ci.example/artifacts/7")
    document = comparison.document(compared)

    assert states == ["failed", "undecided", "passed", "not judged", "not judged", "not judged"]
    for text in (page("compare", 80), markdown):
        assert all(state in text for state in states)
    assert [gate["state"] for gate in document["gates"]] == states  # type: ignore[attr-defined]
    assert "[Full report](https://ci.example/artifacts/7)" in markdown
    assert "compared 2026-11-26 23:30 UTC" in markdown
    assert compared.outcome == "FAIL"
    assert asdict(compared.gates[0])["interval"]["low"] == pytest.approx(-0.1633)


@pytest.mark.parametrize(("kind", "resumed"), [("run", True), ("saturate", True), ("bench", False), ("sweep", False)])
def test_only_a_run_that_can_be_resumed_is_offered(kind, resumed):
    """A bench does not record its command: resume refuses it."""
    run = ListedRun(path=Path("runs/x-20260101T000000Z"), started=None, campaign=kind, kind=kind, done=1, planned=3)

    assert any("volley resume" in str(piece) for piece in listing.render([run], NOW)) is resumed
