"""How a run, a histogram and a comparison look in a notebook. Text from files and servers is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from orchestrator.analyse.people import count, milliseconds
from orchestrator.report.conditions import counted_in
from orchestrator.report.format import shown_time, with_interval
from orchestrator.result import Time, Verdict
from orchestrator.slo import Metric

if TYPE_CHECKING:
    from orchestrator.data.comparing import ComparedRuns
    from orchestrator.data.histogram import Histogram
    from orchestrator.data.run import Run

_COLOURS = {Verdict.VALID: "#1a7f37", Verdict.SUSPECT: "#9a6700", Verdict.INVALID: "#cf222e"}
_TIMES = (Metric.P50, Metric.P90, Metric.P99)
_ROW = Markup('<tr><td style="text-align:left">{}</td><td>{}</td><td>{}</td>{}</tr>')
_CELL = Markup("<td>{}</td>")


def run_html(run: Run) -> str:
    """Return the answer, the verdict, and a line for each case."""
    parts = [Markup("<div><b>{}</b></div>").format(run.name), *_sentences(run.answer), _verdict(run.verdict)]
    cases = run.summary.cases
    for time in Time:
        own = [case for case in cases if shown_time(case)[0] is time]
        if not own:
            continue
        rows = [
            _ROW.format(
                case.case,
                Markup('<span style="color:{}">{}</span>').format(_COLOURS[case.verdict], case.verdict),
                with_interval(case.throughput_per_s),
                Markup("").join(_CELL.format(with_interval(shown_time(case)[1].get(name), 1000)) for name in _TIMES),
            )
            for case in own
        ]
        heads = Markup("").join(Markup("<th>{} {}, ms</th>").format(time, name.label) for name in _TIMES)
        head = Markup('<tr><th style="text-align:left">case</th><th>verdict</th><th>{}</th>{}</tr>').format(
            counted_in(*own).per_s, heads
        )
        parts.append(Markup("<table>{}{}</table>").format(head, Markup("").join(rows)))
    return str(Markup("<div>{}</div>").format(Markup("").join(parts)))


def histogram_html(histogram: Histogram) -> str:
    """Return the case, the number of requests and the percentiles."""
    cells = histogram.shown()
    heads = Markup("").join(Markup("<th>{}</th>").format(name) for name, _ in cells)
    row = Markup("").join(_CELL.format(milliseconds(us)) for _, us in cells)
    text = f"{histogram.case}: {histogram.time} of {count(histogram.requests)} requests, {_trials(histogram.trials)}"
    page = Markup("<div><div>{}</div><table><tr>{}</tr><tr>{}</tr></table>{}</div>")
    return str(page.format(text, heads, row, _verdict(histogram.verdict)))


def _trials(numbers: list[int]) -> str:
    names = ", ".join(map(str, numbers))
    return f"trial {names}" if len(numbers) == 1 else f"trials {names}"


def compared_html(compared: ComparedRuns) -> str:
    """Return the sentence of each comparison, and the table."""
    parts = [*_sentences(compared.sentences), Markup(compared.table.to_html(index=False, escape=True))]
    return str(Markup("<div>{}</div>").format(Markup("").join(parts)))


def _sentences(sentences: list[str]) -> list[Markup]:
    return [Markup("<div>{}</div>").format(sentence) for sentence in sentences]


def _verdict(verdict: Verdict) -> Markup:
    return Markup('<div>Verdict: <b style="color:{}">{}</b></div>').format(_COLOURS[verdict], verdict)
