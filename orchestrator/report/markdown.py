"""Pieces of Markdown that the pages for a pull request share."""

from __future__ import annotations

from agents.printable import printable
from orchestrator.result import GateState

MARKS = {
    GateState.PASSED: "✅",
    GateState.FAILED: "❌",
    GateState.UNDECIDED: "❔",
    GateState.NOT_JUDGED: "⚠️",
}


def cell(text: str) -> str:
    """Return a text as it can stand in a cell of a table: one line, and nothing that Markdown or HTML would read."""
    plain = " ".join(printable(text).split()).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    # Links and images, code, and names that would be told of the page.
    plain = plain.replace("](", "]\\(").replace("][", "]\\[").replace("`", "\\`").replace("@", "&#64;")
    return plain.replace("|", "\\|")


def code(text: str) -> str:
    """Return a text as code, also in a cell of a table."""
    return f"`{' '.join(printable(text).split()).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def link(report_url: str | None) -> list[str]:
    """Return a line with the link to the full report; none without one."""
    return [] if report_url is None else [f"[Full report]({report_url.replace(')', '%29').replace(' ', '%20')})"]
