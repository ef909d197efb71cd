"""What CI shows: a Markdown summary for a pull request, and a JUnit file with one test per case and objective."""

from __future__ import annotations

from xml.etree import ElementTree

from orchestrator.analyse.capacity import in_words
from orchestrator.result import CaseResult, Interval, Objective, Saturation, Severity, Summary, Verdict
from orchestrator.search.engine import Ending
from orchestrator.slo import ERRORS, THROUGHPUT


def markdown(summary: Summary) -> str:
    """Give the page: verdict and outcome, cases, objectives, comparisons, doubts."""
    outcome = "" if summary.outcome is None else f", outcome **{summary.outcome}**"
    lines = [f"### Volley: {summary.campaign}: verdict **{summary.verdict}**{outcome}", ""]
    if summary.saturation:
        lines += [f"- {s.target}: `{s.slo}`: {in_words(s)}{_gave_way(s)}" for s in summary.saturation]
        return "\n".join(lines) + "\n"
    lines += ["| case | verdict | req/s | p50 ms | p99 ms | errors |", "|---|---|---:|---:|---:|---:|"]
    for case in summary.cases:
        times = case.response_time_us or case.service_time_us
        wrong = case.requests.http_error + case.requests.failed
        shown = (_per_s(case.throughput_per_s), _ms(times["p50"]), _ms(times["p99"]), str(wrong))
        lines.append(f"| {case.case} | {case.verdict} | {' | '.join(shown)} |")
    if any(case.slo for case in summary.cases):
        lines += ["", "| objective | measured | |", "|---|---:|---|"]
        for case in summary.cases:
            for objective in case.slo:
                met = "PASS" if objective.passed else "FAIL"
                lines.append(f"| {case.case}: {objective.text} | {shown_value(objective)} | {met} |")
    for c in summary.comparisons:
        if c.ratio is not None:
            who = f"{c.load}: {c.candidate} against {c.baseline}, {c.metric}"
            lines += ["", f"{who}: **{c.conclusion}**, ratio {c.ratio.estimate:.3f}"]
    doubts = [(case, f) for case in summary.cases for f in case.findings if f.severity is not Severity.INFORMATION]
    lines += [
        "",
        *(f"- {case.case}: `{f.code}` in {len(f.trials)} of {case.trials} trials: {f.hint}" for case, f in doubts),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _gave_way(found: Saturation) -> str:
    return "" if found.gave_way is None else f"; first gave way: {found.gave_way} ({found.resource or 'not known'})"


def junit(summary: Summary) -> str:
    """Give the XML: a case that is INVALID is an error, an objective that is not met a failure."""
    suite = ElementTree.Element("testsuite", name=f"volley {summary.campaign}")
    for found in summary.saturation:
        test = ElementTree.SubElement(suite, "testcase", classname=found.target, name=found.slo)
        if found.ending in (Ending.NEVER_MET, Ending.NOT_RECOVERED):
            kind = "failure" if found.ending == Ending.NEVER_MET else "error"
            ElementTree.SubElement(test, kind, message=in_words(found))
    for case in summary.cases:
        _case(suite, case)
        for objective in case.slo:
            test = ElementTree.SubElement(suite, "testcase", classname=case.case, name=objective.text)
            if not objective.passed:
                ElementTree.SubElement(test, "failure", message=f"measured {shown_value(objective)}")
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("./testcase/failure"))))
    suite.set("errors", str(len(suite.findall("./testcase/error"))))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, case: CaseResult) -> None:
    test = ElementTree.SubElement(suite, "testcase", classname=case.case, name="verdict")
    if case.verdict is Verdict.INVALID:
        said = [f"{f.code}: {f.hint}" for f in case.findings if f.severity is Severity.INVALID]
        ElementTree.SubElement(test, "error", message="; ".join(said) or "too few trials remain")


def shown_value(objective: Objective) -> str:
    """What was measured, in the unit of the objective."""
    if objective.measured is None:
        return "n/a"
    if objective.metric == THROUGHPUT:
        return _per_s(objective.measured)
    if objective.metric == ERRORS:
        return f"{objective.measured.estimate:.3%}"
    return f"{_ms(objective.measured)} ms"


def _per_s(value: Interval | None) -> str:
    return "n/a" if value is None else f"{value.estimate:.0f}{_range(value, 1)}"


def _ms(value: Interval | None) -> str:
    return "n/a" if value is None else f"{value.estimate / 1000:.3g}{_range(value, 1000)}"


def _range(value: Interval, unit: float) -> str:
    if value.low is None or value.high is None:
        return ""
    return f" ({value.low / unit:.3g}–{value.high / unit:.3g})"
