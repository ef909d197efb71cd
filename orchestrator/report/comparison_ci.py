"""A comparison in CI: Markdown for a pull request, and a JUnit file with one test per case and gate."""

from __future__ import annotations

from datetime import datetime

from orchestrator.analyse.regression import change_of
from orchestrator.report import gates
from orchestrator.report.comparison_words import cases_of, change_words, doubts, incomparable, name_of, sentences
from orchestrator.report.junit import Result, Suite, result_of
from orchestrator.report.markdown import MARKS, cell, code, link
from orchestrator.result import Compared, Comparison, Conclusion


def markdown(compared: Compared, when: datetime, report_url: str | None = None) -> str:
    """Return a page for a pull request. when: the comparison was made."""
    outcome = "" if compared.outcome is None else f": **{compared.outcome}**"
    lines = [f"### Volley: comparison of two runs{outcome}" if compared.between_runs else f"### Volley{outcome}", ""]
    lines += [*(f"{cell(sentence)}" for sentence in sentences(compared)), ""]
    lines += [
        f"Baseline {code(compared.baseline)}, candidate {code(compared.candidate)}; compared {when:%Y-%m-%d %H:%M} UTC."
    ]
    lines += [*link(report_url), ""]
    if compared.gates:
        lines += ["| | case | gate | change (95 % interval) |", "|---|---|---|---:|"]
        for line in gates.of_gates(compared.gates):
            found = line.found or line.why
            lines.append(f"| {MARKS[line.state]} {line.state} | {cell(line.case)} | {code(line.what)} | {found} |")
        lines.append("")
    for case in cases_of(compared):
        lines += [f"| {cell(case.name)} | change | 95 % interval | p | |", "|---|---:|---:|---:|---|"]
        lines += [_row(c) for c in case.comparisons]
        lines.append("")
    lines += [f"- {cell(line)}" for line in [*incomparable(compared), *doubts(compared)]]
    return "\n".join(lines).rstrip() + "\n"


def _row(c: Comparison) -> str:
    change, unit = change_of(c), " %" if c.ratio is not None else " points"
    p = gates.p_in_words(c.p_holm)
    numbers = " | ".join((gates.signed(change.estimate, unit), gates.bounds(change, unit), p))
    return f"| {c.metric.label} | {numbers} | {change_words(c)} |"


def junit(compared: Compared, when: datetime, took_s: float = 0.0) -> str:
    """Return the XML. when: the comparison was made; took_s: how long it took.

    A failed gate is a failure; one that was not judged, and a case that cannot be compared, an error; an undecided gate
    is skipped. strict: what is not passed is a failure.
    """
    suite = Suite(f"volley compare {compared.baseline} {compared.candidate}", when)
    cases = list(dict.fromkeys(name_of(c) for c in compared.comparisons))
    for case in cases:
        own = [c for c in compared.comparisons if name_of(c) == case]
        broken = all(c.conclusion is Conclusion.INCOMPARABLE for c in own)
        reasons = "; ".join(dict.fromkeys(c.reason for c in own))
        suite.add(case, "comparable", Result.ERROR if broken else None, reasons, took_s / len(cases))
    for gate in compared.gates:
        found = next(gates.message(line) for line in gates.of_gates([gate]))
        message = f"{found}: {gate.reason}" if found else gate.reason
        suite.add(gate.case, gate.limit, result_of(gate.state, compared.strict), message)
    return suite.xml()
