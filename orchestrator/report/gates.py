"""Objectives and gates in words: the same four states on every page, one line for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.analyse.people import digits, several
from orchestrator.report.conditions import counted_in
from orchestrator.report.format import measured, objective_text
from orchestrator.result import CaseResult, Gate, GateState, Interval
from orchestrator.stored.compare import SAME_RUN

# What CI does with the states that are open is said once, below the lines.
STRICT = "Use --strict to fail where something is undecided or not judged."


@dataclass(frozen=True, slots=True)
class GateLine:
    """One line: the state, what it is about, what was found, and why."""

    state: GateState
    case: str
    what: str
    found: str
    why: str = ""


def of_objectives(cases: Sequence[CaseResult]) -> list[GateLine]:
    """Return a line for each objective of a run."""
    lines = []
    for case in cases:
        for objective in case.slo:
            found = "" if objective.measured is None else measured(replace(objective, reason=""), counted_in(case))
            what = objective_text(case, objective)
            lines.append(GateLine(objective.state, case.case, what, found, objective.reason))
    return lines


def of_gates(gates: Sequence[Gate]) -> list[GateLine]:
    """Return a line for each gate of a comparison."""
    return [GateLine(gate.state, gate.case, gate.limit, _change(gate), _why(gate)) for gate in gates]


def message(line: GateLine) -> str:
    """Return what was found and why, for a message of one line."""
    return ": ".join(part for part in (line.found, line.why) if part)


def _change(gate: Gate) -> str:
    if gate.change is None:
        return ""
    if gate.reason == SAME_RUN:
        return SAME_RUN
    points = " points" if gate.limit.lstrip().startswith("errors") else " %"
    return with_bounds(gate.interval or Interval(gate.change, None, None), points)


def _why(gate: Gate) -> str:
    if gate.state is GateState.UNDECIDED:
        return "may be noise"
    return "cannot be compared" if gate.state is GateState.NOT_JUDGED else ""


def signed(share: float, unit: str = " %") -> str:
    """Return a change as a percentage with its sign and at most three significant digits: -12.1 %."""
    return f"{_number(share)}{unit}"


def with_bounds(change: Interval, unit: str = " %") -> str:
    """Return a change with its interval: -12.1 % (-16.2 to -7.9)."""
    found = bounds(change, "")
    return signed(change.estimate, unit) + (f" ({found})" if found else "")


def bounds(change: Interval, unit: str = " %") -> str:
    """Return the interval of a change: -16.2 to -7.9 %; empty without one."""
    if change.low is None or change.high is None:
        return ""
    return f"{_number(change.low)} to {_number(change.high)}{unit}"


def _number(share: float) -> str:
    """Return a share in percent, with its sign; what rounds to nothing is 0."""
    value = 100 * share
    if abs(value) < 0.005:
        return "0"
    shown = digits(value) if abs(value) >= 1 else f"{value:.2f}"
    return shown if value < 0 else f"+{shown}"


def p_in_words(p: float | None) -> str:
    """Return a p-value: 0.021, < 0.001, 1; empty without one."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.995 else "1"


def sentence(states: Sequence[GateState], noun: str) -> str:
    """Return how many objectives or gates ended how: '1 of 4 gates failed, 1 is undecided, 1 was not judged.'"""
    counts, total = Counter(states), len(states)
    if total == 1:
        verb = {GateState.UNDECIDED: "is undecided", GateState.NOT_JUDGED: "was not judged"}.get(
            states[0], str(states[0])
        )
        return f"The {noun} {verb}."
    if counts[GateState.PASSED] == total:
        return f"Both {noun}s passed." if total == 2 else f"All {total} {noun}s passed."
    parts = [
        f"{counts[state]} {verb if counts[state] == 1 else verbs}"
        for state, verb, verbs in (
            (GateState.FAILED, "failed", "failed"),
            (GateState.UNDECIDED, "is undecided", "are undecided"),
            (GateState.NOT_JUDGED, "was not judged", "were not judged"),
            (GateState.PASSED, "passed", "passed"),
        )
        if counts[state]
    ]
    return f"Of {several(total, noun, f'{noun}s')}, {', '.join(parts)}."
