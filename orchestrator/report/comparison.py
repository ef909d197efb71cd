"""What `volley compare` prints: for the terminal, for a pull request, for CI, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.records import to_plain
from orchestrator.analyse.history import FEWEST
from orchestrator.report.junit import Result, Suite
from orchestrator.report.rows import CONCLUSION_STYLE, GATE_STYLE, OUTCOME_STYLE, table
from orchestrator.result import FORMAT, Compared, Comparison, Conclusion, Difference, GateState, Interval

NOT_INTERLEAVED = (
    "The trials of two runs do not alternate. For a reliable claim, compare both as targets of one campaign."
)
_RESULTS = {
    GateState.PASSED: None,
    GateState.FAILED: Result.FAILURE,
    GateState.UNDECIDED: Result.SKIPPED,
    GateState.NOT_COMPARED: Result.ERROR,
}


def document(compared: Compared) -> dict[str, object]:
    """Return what --json prints."""
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
    """Return what rich prints, piece by piece."""
    from rich.text import Text

    pieces: list[Any] = [f"{compared.candidate} against {compared.baseline}"]
    shown = _shown(compared)
    if shown:
        rows = table("case", "metric", "change", "95 % interval", "p", "conclusion")
        for c in shown:
            conclusion = Text(c.conclusion, style=CONCLUSION_STYLE[c.conclusion])
            rows.add_row(_case(c), c.metric.label, *_numbers(c), conclusion)
        pieces += [rows, *_reasons(shown), ""]
    pieces += _incomparable(compared.comparisons)
    if compared.alone:
        pieces.append(f"only in one of the two runs: {', '.join(compared.alone)}")
    for gate in compared.gates:
        line = Text(f"{gate.case}: {gate.limit}: ")
        line.append(gate.state, style=GATE_STYLE[gate.state])
        pieces.append(line.append("" if gate.change is None else f", {gate.change:+.1%} ({gate.reason})"))
    if compared.outcome is not None:
        pieces.append(Text("outcome ").append(compared.outcome, style=OUTCOME_STYLE[compared.outcome]))
    if shown and compared.between_runs:
        pieces += [*_variation(shown), NOT_INTERLEAVED]
    return pieces


def notes(compared: Compared) -> list[str]:
    """Return what a reader of the numbers must know: what could not be compared, and what the intervals include."""
    shown = _shown(compared)
    apart = [line.strip() for line in _incomparable(compared.comparisons)]
    alone = [f"only in one of the two runs: {', '.join(compared.alone)}"] if compared.alone else []
    between = [*_variation(shown), NOT_INTERLEAVED] if shown and compared.between_runs else []
    return [*apart, *alone, *between]


def _variation(shown: list[Comparison]) -> list[str]:
    """Return what the intervals of two runs include, one line for equal numbers of past runs."""
    sources: dict[int, dict[str, None]] = {}
    for c in shown:
        if c.between_runs is not None and c.ratio is not None:
            text = f"{100 * c.between_runs.deviation:.1f} % ({c.metric.label})"
            sources.setdefault(c.between_runs.runs, {})[text] = None
    lines = []
    for runs, deviations in sources.items():
        source = (
            f"measured on {runs} other runs"
            if runs
            else f"assumed, because fewer than {FEWEST} other runs of this case are beside these"
        )
        lines.append(f"The intervals include the variation from run to run: {', '.join(deviations)}; {source}.")
    return lines


def _shown(compared: Compared) -> list[Comparison]:
    return [c for c in compared.comparisons if c.conclusion is not Conclusion.INCOMPARABLE]


def _case(c: Comparison) -> str:
    return f"{c.target}/{c.load}"


def _numbers(c: Comparison) -> tuple[str, str, str]:
    """Return the change, its interval and the adjusted p-value.

    Of an error share in percentage points.
    """
    if c.ratio is not None:
        change, unit = Interval(c.ratio.estimate - 1, (c.ratio.low or 0) - 1, (c.ratio.high or 0) - 1), "%"
    elif c.difference is not None:
        change, unit = c.difference, " points"
    else:
        return "0 points", "", ""
    low, high = change.low or 0.0, change.high or 0.0
    p = "" if c.p_holm is None else f"{c.p_holm:.3f}"
    return f"{100 * change.estimate:+.2f}{unit}", f"{100 * low:+.2f} to {100 * high:+.2f}{unit}", p


def _reasons(shown: list[Comparison]) -> list[str]:
    """Return what would settle a comparison that is not settled; one line for equal reasons of a case."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for c in shown:
        if c.conclusion in (Conclusion.INCONCLUSIVE, Conclusion.DIFFERS_HERE):
            reasons.setdefault((_case(c), c.conclusion, c.reason), []).append(c.metric.label)
    return [f"{case}: {', '.join(metrics)} {what}: {reason}" for (case, what, reason), metrics in reasons.items()]


def _incomparable(comparisons: list[Comparison]) -> list[str]:
    """Return each reason once, with a line per difference and the option that allows it."""
    lines: list[str] = []
    reported: set[tuple[str, str]] = set()
    for c in comparisons:
        if c.conclusion is not Conclusion.INCOMPARABLE or (_case(c), c.reason) in reported:
            continue
        reported.add((_case(c), c.reason))
        if not c.differences:
            same = [o.metric.label for o in comparisons if (_case(o), o.reason) == (_case(c), c.reason)]
            lines.append(f"{_case(c)}: {', '.join(same)} incomparable: {c.reason}")
            continue
        lines += [f"{_case(c)}: incomparable:", *(f"  {line}" for line in unlike(c.differences))]
        kinds = " ".join(f"--allow {kind}" for kind in dict.fromkeys(d.kind for d in c.differences))
        lines.append(f"  to compare them all the same: {kinds}")
    return lines


def unlike(differences: Sequence[Difference]) -> list[str]:
    """Return one line for each difference."""
    return [f"{d.kind}: {d.key}: {d.baseline} -> {d.candidate}" for d in differences]


def markdown(compared: Compared) -> str:
    """Return a page for a pull request."""
    outcome = "" if compared.outcome is None else f": **{compared.outcome}**"
    lines = [f"### Volley: {compared.candidate} against {compared.baseline}{outcome}", ""]
    if compared.gates:
        lines += ["| gate | change | |", "|---|---:|---|"]
        for gate in compared.gates:
            change = "n/a" if gate.change is None else f"{gate.change:+.1%}"
            lines.append(f"| {gate.case}: `{gate.limit}` | {change} | {gate.state} |")
        lines.append("")
    shown = _shown(compared)
    if shown:
        lines += ["| case | metric | change | 95 % interval | p | |", "|---|---|---:|---:|---:|---|"]
        lines += [f"| {_case(c)} | {c.metric.label} | {' | '.join(_numbers(c))} | {c.conclusion} |" for c in shown]
        lines.append("")
    notes = [*_variation(shown), NOT_INTERLEAVED] if shown and compared.between_runs else []
    apart = (line.strip() for line in _incomparable(compared.comparisons))
    lines += [f"- {line}" for line in [*_reasons(shown), *apart, *notes]]
    return "\n".join(lines).rstrip() + "\n"


def junit(compared: Compared) -> str:
    """Return the XML.

    A failed gate is a failure, a case that cannot be compared an error, an undecided gate is
    skipped.
    """
    suite = Suite(f"volley compare {compared.baseline} {compared.candidate}")
    for case in dict.fromkeys(_case(c) for c in compared.comparisons):
        own = [c for c in compared.comparisons if _case(c) == case]
        broken = all(c.conclusion is Conclusion.INCOMPARABLE for c in own)
        reasons = "; ".join(dict.fromkeys(c.reason for c in own))
        suite.add(case, "comparable", Result.ERROR if broken else None, reasons)
    for gate in compared.gates:
        message = gate.reason if gate.change is None else f"{gate.change:+.1%}: {gate.reason}"
        suite.add(gate.case, gate.limit, _RESULTS[gate.state], message)
    return suite.xml()
