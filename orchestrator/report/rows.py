"""Tables that survive being pasted into a chat."""

from __future__ import annotations

from typing import Any

from orchestrator.result import Verdict

VERDICT_STYLE = {Verdict.VALID: "green", Verdict.SUSPECT: "yellow", Verdict.INVALID: "bold red"}


def table(*columns: str) -> Any:
    """Make a table whose first column is text and whose others are numbers; Markdown, so that it survives a chat."""
    from rich import box
    from rich.table import Table

    rows = Table(box=box.MARKDOWN)
    for position, name in enumerate(columns):
        rows.add_column(name, justify="right" if position else "left", no_wrap=True)
    return rows
