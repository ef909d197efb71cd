"""The page of a run on the terminal: the answer, the numbers, the doubts, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.report import answer, capacity, gates, mix, several, single
from orchestrator.report.conditions import circumstances
from orchestrator.report.finding import Entry, entries, entries_of_probes
from orchestrator.report.layout import UNBROKEN, wrapped
from orchestrator.report.rows import GATE_STYLE, SEVERITY_STYLE, VERDICT_STYLE
from orchestrator.result import OPEN_STATES, CaseResult, Severity, Summary, Trial, Verdict

WIDTH = 80
# Answers are sentences; more of them than these are a table's job.
_MOST_ANSWERS = 8
_VERDICT = 9
# The widest state of an objective: not judged.
_STATE = 10


def render(summary: Summary, width: int = WIDTH, trials: Sequence[Trial] = ()) -> list[Any]:
    """Return what rich prints, line by line, none longer than `width`.

    trials: those of the run, from which the page knows its hosts.
    """
    answers = answer.sentences(summary)
    lines: list[Any] = [line for each in answers[:_MOST_ANSWERS] for line in wrapped(each, width)]
    if rest := len(answers) - _MOST_ANSWERS:
        lines += wrapped(f"{rest} more below.", width) if rest > 0 else []
    # The answer of an INVALID case says so itself.
    said = summary.verdict is Verdict.VALID or (summary.verdict is Verdict.INVALID and not summary.saturation)
    if not said and _doubts(summary, trials):
        lines += wrapped(f"These numbers are {summary.verdict}: the doubts are listed below.", width)
    if summary.saturation:
        lines += capacity.render(summary.saturation, width)
    elif len(summary.cases) == 1:
        lines += ["", *single.render(summary.cases[0], width)]
    else:
        lines += several.render(summary, width)
    lines += mix.render(summary.cases, width)
    lines += _objectives(summary.cases, width)
    if summary.outcome is None and any(each.state in OPEN_STATES for case in summary.cases for each in case.slo):
        lines += wrapped(gates.STRICT, width, "  ")
    lines += ["", *verdict(summary, width, trials)]
    return lines


def verdict(summary: Summary, width: int, trials: Sequence[Trial] = ()) -> list[Any]:
    """Return the verdict with its circumstances, every doubt, and notes of what does no harm."""
    from rich.text import Text

    first, *others = wrapped(circumstances(summary, trials), width, f"{summary.verdict:<{_VERDICT}}") or [
        summary.verdict
    ]
    head = Text(first)
    head.stylize(VERDICT_STYLE[summary.verdict], 0, len(summary.verdict))
    lines: list[Any] = [head, *others]
    for entry in _doubts(summary, trials):
        lines += doubt(entry, width, len(summary.cases) + len(summary.saturation) > 1)
    for entry in entries(summary.cases, (Severity.INFORMATION,)):
        of = f" ({', '.join(entry.cases)})" if len(entry.cases) < len(summary.cases) else ""
        lines += wrapped(f"Note: {entry.sentence}{of} [{entry.code}]", width, "  ", "    ")
    return lines


def _doubts(summary: Summary, trials: Sequence[Trial]) -> list[Entry]:
    return [
        *entries(summary.cases, (Severity.INVALID, Severity.SUSPECT)),
        *entries_of_probes(summary.saturation, trials),
    ]


def doubt(entry: Entry, width: int, named: bool) -> list[Any]:
    """Return a finding as prose: its cases, what happened, what to do, its code in brackets. named: with its cases."""
    from rich.text import Text

    cases = f"{', '.join(entry.cases)}: " if named else ""
    tag = entry.tag.replace(" ", UNBROKEN) if width >= WIDTH else entry.tag
    lines = [Text(line) for line in wrapped(f"{cases}{entry.sentence} {entry.hint} [{tag}]", width, "  ", "    ")]
    for line in lines:
        line.highlight_words([entry.code], SEVERITY_STYLE[entry.severity])
    return lines


def links(path: Path, has_report: bool, unfinished: bool = False) -> list[str]:
    """Return where to read on: the page with pictures, the command for every detail, and to resume an unfinished search."""
    run = shlex.quote(str(path))
    resume = [f"{'Resume':<{_VERDICT}}volley resume {run}"] if unfinished else []
    report = [f"{'Report':<{_VERDICT}}{path / 'report.html'}"] if has_report else []
    return [*report, f"{'Details':<{_VERDICT}}volley show {run} --all", *resume]


def _objectives(cases: Sequence[CaseResult], width: int) -> list[Any]:
    """Return one entry for each objective: what became of it, and what was measured."""
    from rich.text import Text

    lines: list[Any] = []
    for each in gates.of_objectives(cases):
        of = f"{each.case}: " if len(cases) > 1 else ""
        found = ", ".join(part for part in (f"measured {each.found}" if each.found else "", each.why) if part)
        made = [Text(line) for line in wrapped(f"{of}{each.what}: {found}", width, f"  {each.state:<{_STATE}}  ")]
        made[0].stylize(GATE_STYLE[each.state], 2, 2 + len(each.state))
        lines += made
    return ["", "Objectives", *lines] if lines else []
