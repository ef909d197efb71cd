"""What `volley compare` and `volley trend` print: for the terminal, for a pull request, for CI, for programs."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from agents.records import to_plain
from orchestrator.result import FORMAT, Compared, Comparison, Difference, Interval, Point

NOT_INTERLEAVED = (
    "trials of two runs do not alternate: what else changed between the two would look like a difference. For a claim, make "
    "both targets of one campaign"
)
_CONCLUSIONS = {"faster": "green", "slower": "red"}
_STATES = {"passed": "green", "failed": "bold red", "undecided": "yellow", "not compared": "bold red"}


def document(compared: Compared) -> dict[str, Any]:
    """Give what --json prints."""
    return {
        "format": FORMAT,
        "baseline": compared.baseline,
        "candidate": compared.candidate,
        "outcome": compared.outcome,
        "comparisons": [to_plain(c) for c in compared.comparisons],
        "gates": [to_plain(gate) for gate in compared.gates],
        "alone": compared.alone,
    }


def render(compared: Compared) -> list[Any]:
    """Give what is to be printed with rich, piece by piece."""
    from rich.text import Text

    from orchestrator.report.rows import table

    pieces: list[Any] = [f"{compared.candidate} against {compared.baseline}"]
    shown = [c for c in compared.comparisons if c.conclusion != "incomparable"]
    if shown:
        rows = table("case", "metric", "change", "95 % interval", "p", "conclusion")
        for c in shown:
            conclusion = Text(c.conclusion, style=_CONCLUSIONS.get(c.conclusion, "bold"))
            rows.add_row(_case(c), c.metric, *_numbers(c), conclusion)
        pieces += [rows, *_reasons(shown), ""]
    pieces += _incomparable(compared.comparisons)
    if compared.alone:
        pieces.append(f"in one of the two only: {', '.join(compared.alone)}")
    for gate in compared.gates:
        line = Text(f"{gate.case}: {gate.limit}: ")
        line.append(gate.state, style=_STATES[gate.state])
        pieces.append(line.append("" if gate.change is None else f", {gate.change:+.1%} ({gate.reason})"))
    if compared.outcome is not None:
        pieces.append(
            Text("outcome ").append(compared.outcome, style="green" if compared.outcome == "PASS" else "bold red")
        )
    if shown and compared.between_runs:
        pieces.append(NOT_INTERLEAVED)
    return pieces


def _case(c: Comparison) -> str:
    return f"{c.target}/{c.load}"


def _numbers(c: Comparison) -> tuple[str, str, str]:
    """Change, its interval, adjusted p; of an error share in percentage points."""
    if c.ratio is not None:
        found, unit = Interval(c.ratio.estimate - 1, (c.ratio.low or 0) - 1, (c.ratio.high or 0) - 1), "%"
    elif c.difference is not None:
        found, unit = c.difference, " points"
    else:
        return "0 points", "", ""
    low, high = found.low or 0.0, found.high or 0.0
    p = "" if c.p_holm is None else f"{c.p_holm:.3f}"
    return f"{100 * found.estimate:+.2f}{unit}", f"{100 * low:+.2f} to {100 * high:+.2f}{unit}", p


def _reasons(shown: list[Comparison]) -> list[str]:
    """What would settle what is not settled, and what 'no difference' means; one line for equal reasons of a case."""
    told: dict[tuple[str, str], list[str]] = {}
    for c in shown:
        if c.conclusion == "inconclusive":
            told.setdefault((_case(c), c.reason), []).append(c.metric)
    return [f"{case}: {', '.join(metrics)} inconclusive: {reason}" for (case, reason), metrics in told.items()]


def _incomparable(comparisons: list[Comparison]) -> list[str]:
    """Each reason once, with every difference on a line of its own, and what allows it."""
    lines: list[str] = []
    told: set[tuple[str, str]] = set()
    for c in comparisons:
        if c.conclusion != "incomparable" or (_case(c), c.reason) in told:
            continue
        told.add((_case(c), c.reason))
        if not c.differences:
            same = [o.metric for o in comparisons if (_case(o), o.reason) == (_case(c), c.reason)]
            lines.append(f"{_case(c)}: {', '.join(same)} incomparable: {c.reason}")
            continue
        lines += [f"{_case(c)}: incomparable:", *(f"  {line}" for line in unlike(c.differences))]
        kinds = " ".join(f"--allow {kind}" for kind in dict.fromkeys(d.kind for d in c.differences))
        lines.append(f"  where that is what you compare: {kinds}")
    return lines


def unlike(differences: list[Difference]) -> list[str]:
    """Tell differences, one a line."""
    return [f"{d.kind}: {d.key}: {d.baseline} -> {d.candidate}" for d in differences]


def markdown(compared: Compared) -> str:
    """Give a page for a pull request."""
    outcome = "" if compared.outcome is None else f": **{compared.outcome}**"
    lines = [f"### Volley: {compared.candidate} against {compared.baseline}{outcome}", ""]
    if compared.gates:
        lines += ["| gate | change | |", "|---|---:|---|"]
        for gate in compared.gates:
            change = "n/a" if gate.change is None else f"{gate.change:+.1%}"
            lines.append(f"| {gate.case}: `{gate.limit}` | {change} | {gate.state} |")
        lines.append("")
    shown = [c for c in compared.comparisons if c.conclusion != "incomparable"]
    if shown:
        lines += ["| case | metric | change | 95 % interval | p | |", "|---|---|---:|---:|---:|---|"]
        lines += [f"| {_case(c)} | {c.metric} | {' | '.join(_numbers(c))} | {c.conclusion} |" for c in shown]
        lines.append("")
    lines += [
        f"- {line}" for line in [*_reasons(shown), *(line.strip() for line in _incomparable(compared.comparisons))]
    ]
    return "\n".join(lines).rstrip() + "\n"


def junit(compared: Compared) -> str:
    """Give the XML: a failed gate is a failure, a case that cannot be compared an error, an undecided gate is skipped."""
    suite = ElementTree.Element("testsuite", name=f"volley compare {compared.baseline} {compared.candidate}")
    for case in dict.fromkeys(_case(c) for c in compared.comparisons):
        test = ElementTree.SubElement(suite, "testcase", classname=case, name="comparable")
        own = [c for c in compared.comparisons if _case(c) == case]
        if all(c.conclusion == "incomparable" for c in own):
            ElementTree.SubElement(test, "error", message="; ".join(dict.fromkeys(c.reason for c in own)))
    for gate in compared.gates:
        test = ElementTree.SubElement(suite, "testcase", classname=gate.case, name=gate.limit)
        message = gate.reason if gate.change is None else f"{gate.change:+.1%}: {gate.reason}"
        kind = {"failed": "failure", "not compared": "error", "undecided": "skipped"}.get(gate.state)
        if kind:
            ElementTree.SubElement(test, kind, message=message)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("./testcase/failure"))))
    suite.set("errors", str(len(suite.findall("./testcase/error"))))
    suite.set("skipped", str(len(suite.findall("./testcase/skipped"))))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def trend(points: list[Point], case: str, metric: str) -> list[Any]:
    """Give the table of a trend, and what else changed where it did."""
    from rich.text import Text

    from orchestrator.report.rows import table

    unit = 1.0 if metric == "throughput" else 1000.0
    rows = table("run", "verdict", f"{metric} {'req/s' if unit == 1.0 else 'ms'}", "change")
    for point in points:
        change = "" if point.change is None else f"{point.change:+.1%}"
        rows.add_row(point.run, point.verdict, _shown(point.value, unit), Text(change, style="bold yellow"))
    changed = [point for point in points if point.change is not None]
    lines = [f"{case}: {len(changed)} change points in {len(points)} runs"]
    for point in changed:
        others = unlike(point.differences) or ["nothing else that was recorded"]
        lines += [f"{point.run}: {point.change:+.1%}; with it changed:", *(f"  {line}" for line in others)]
    return [rows, *lines]


def _shown(value: Interval | None, unit: float) -> str:
    if value is None:
        return "n/a"
    if value.low is None or value.high is None:
        return _digits(value.estimate / unit)
    return f"{_digits(value.estimate / unit)} ({_digits(value.low / unit)}–{_digits(value.high / unit)})"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def trend_document(points: list[Point], case: str, metric: str) -> dict[str, Any]:
    """Give what --json prints of a trend: per second, or µs."""
    return {"format": FORMAT, "case": case, "metric": metric, "runs": [to_plain(point) for point in points]}
