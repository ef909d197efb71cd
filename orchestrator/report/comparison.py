"""What `volley compare` prints: the answer, the changes, the gates, the doubts. For programs, a document."""

from __future__ import annotations

from typing import Any

from agents.records import to_plain
from orchestrator.analyse.people import digits
from orchestrator.analyse.regression import change_of
from orchestrator.counted import counted
from orchestrator.report import gates
from orchestrator.report.comparison_words import Case, cases_of, change_words, doubts, incomparable, sentences
from orchestrator.report.gates import GateLine, bounds, signed
from orchestrator.report.rows import CONCLUSION_STYLE, GATE_STYLE, OUTCOME_STYLE
from orchestrator.result import FORMAT, OPEN_STATES, Compared, Comparison
from orchestrator.slo import Metric
from orchestrator.typeset import USUAL, Column, fill, table

_UNITS = {Metric.THROUGHPUT: (1.0, ""), Metric.ERRORS: (0.01, ", %")}
_MILLISECONDS = (1000.0, ", ms")


def document(compared: Compared) -> dict[str, object]:
    """Return what --json prints."""
    return {
        "format": FORMAT,
        "baseline": compared.baseline,
        "candidate": compared.candidate,
        "same_run": compared.same_run,
        "outcome": compared.outcome,
        "answer": sentences(compared),
        "comparisons": [to_plain(c) for c in compared.comparisons],
        "gates": [to_plain(gate) for gate in compared.gates],
        "alone": compared.alone,
    }


def render(compared: Compared, width: int = USUAL) -> list[Any]:
    """Return what rich prints, piece by piece; no line is wider than `width` unless a name is."""
    pieces: list[Any] = []
    for i, sentence in enumerate(sentences(compared)):
        outcome = compared.outcome if i == 0 else None
        if outcome is None:
            pieces += fill(sentence, width)
            continue
        first, *rest = fill(f"{outcome}  {sentence}", width)
        pieces += [_coloured(first, outcome, OUTCOME_STYLE[outcome]), *rest]
    pieces += ["", *_sides(compared)]
    for case in cases_of(compared):
        pieces += ["", *_case(case, width)]
    if compared.gates:
        pieces += ["", "Gates", *gate_lines(gates.of_gates(compared.gates), width)]
    for title, lines in (("Cannot be compared", incomparable(compared)), ("Doubts", doubts(compared))):
        if lines:
            pieces += ["", title, *(part for line in lines for part in fill(line, width, "  ", "    "))]
    open_ = any(gate.state in OPEN_STATES for gate in compared.gates)
    if open_ and not compared.strict:
        pieces += ["", *fill(gates.STRICT, width)]
    return pieces


def _sides(compared: Compared) -> list[str]:
    if not compared.between_runs:
        return [f"  baseline   {compared.baseline}"]
    return [f"  baseline   {compared.baseline}", f"  candidate  {compared.candidate}"]


def _case(case: Case, width: int) -> list[Any]:
    """Return a heading with the number of trials, and the table of one case."""
    c = case.comparisons
    heading = f"{case.name}  ({case.basis})" if case.basis else case.name
    words = [change_words(each) for each in c]
    columns = [
        Column("", [each.metric.label for each in c]),
        Column("baseline", [_value(each, each.baseline_value) for each in c], right=True, rank=2),
        Column("candidate", [_value(each, each.candidate_value) for each in c], right=True, rank=2),
        Column("change", [_change(each) for each in c], right=True),
        Column("95 % interval", [_bounds(each) for each in c], right=True),
        Column("p", [gates.p_in_words(each.p_holm) for each in c], right=True, rank=1),
        Column("", words),
    ]
    lines = table(columns, width)
    styled = [
        _coloured(line, word, CONCLUSION_STYLE[each.conclusion])
        for line, word, each in zip(lines[1:], words, c, strict=True)
    ]
    return [*fill(heading, width), lines[0], *styled]


def _value(c: Comparison, value: float | None) -> str:
    if value is None:
        return ""
    unit, name = _UNITS.get(c.metric.metric, _MILLISECONDS)
    if c.metric.metric == Metric.THROUGHPUT:
        name = f" {counted([c.protocol]).per_s}"
    return f"{digits(value / unit)}{name.removeprefix(',')}"


def _change(c: Comparison) -> str:
    if c.ratio is not None:
        return signed(c.ratio.estimate - 1)
    return "0 points" if c.difference is None else signed(c.difference.estimate, " points")


def _bounds(c: Comparison) -> str:
    found, unit = change_of(c), " %" if c.ratio is not None else " points"
    return bounds(found, unit)


def gate_lines(lines: list[GateLine], width: int) -> list[Any]:
    """Return one line for each gate or objective: its state, what it is about, and what was found."""
    columns = [
        Column("", [str(line.state) for line in lines]),
        Column("", [line.case for line in lines], most=16),
        Column("", [line.what for line in lines]),
        Column("", [line.found for line in lines], most=12),
        Column("", [line.why for line in lines], rank=1),
    ]
    made = table(columns, width)
    return [_coloured(text, line.state, GATE_STYLE[line.state]) for text, line in zip(made, lines, strict=True)]


def _coloured(line: str, word: str, style: str) -> Any:
    """Return a line with the last occurrence of a word in a colour, the first where the line begins with it."""
    from rich.text import Text

    text = Text(line)
    start = line.find(word) if line.lstrip().startswith(word) else line.rfind(word)
    if start >= 0:
        text.stylize(style, start, start + len(word))
    return text
