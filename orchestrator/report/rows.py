"""Tables that survive being pasted into a chat, and the colours of verdicts and conclusions."""

from __future__ import annotations

from typing import Any

from orchestrator.result import Conclusion, GateState, Outcome, Severity, Verdict

VERDICT_STYLE = {Verdict.VALID: "green", Verdict.SUSPECT: "yellow", Verdict.INVALID: "bold red"}
SEVERITY_STYLE = {Severity.INFORMATION: "", Severity.SUSPECT: "yellow", Severity.INVALID: "red"}
OUTCOME_STYLE = {Outcome.PASS: "green", Outcome.FAIL: "bold red"}
CONCLUSION_STYLE = {
    Conclusion.FASTER: "green",
    Conclusion.SLOWER: "red",
    Conclusion.DIFFERS_HERE: "yellow",
    Conclusion.EQUIVALENT: "bold",
    Conclusion.INCONCLUSIVE: "bold",
    Conclusion.INCOMPARABLE: "bold",
}
GATE_STYLE = {
    GateState.PASSED: "green",
    GateState.FAILED: "bold red",
    GateState.UNDECIDED: "yellow",
    GateState.NOT_JUDGED: "bold yellow",
}


def table(*columns: str) -> Any:
    """Return an empty Markdown table for rich.

    The first column is left-aligned, the others are right-aligned.
    """
    from rich import box
    from rich.table import Table

    rows = Table(box=box.MARKDOWN)
    for position, name in enumerate(columns):
        rows.add_column(name, justify="right" if position else "left", no_wrap=True)
    return rows
