"""What `volley runs` prints: one line for each run, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from orchestrator.report.rows import VERDICT_STYLE
from orchestrator.report.when import when
from orchestrator.result import FORMAT, Outcome
from orchestrator.stored.listing import BENCH, RUN, SATURATE, SWEEP, ListedRun
from orchestrator.typeset import USUAL, Column, fill, table

# Names and results are cut no shorter than this.
NAME, RESULT = 21, 24


def document(runs: Sequence[ListedRun]) -> dict[str, object]:
    """Return what --json prints, the newest first."""
    return {
        "format": FORMAT,
        "runs": [
            {
                "path": str(run.path),
                "date": None if run.started is None else run.started.isoformat(),
                "state": run.state,
                "kind": run.kind,
                "campaign": run.campaign,
                "urls": run.urls,
                "verdict": run.verdict,
                "outcome": run.outcome,
                "answer": run.answer,
                "result": run.result,
                "done": run.done,
                "planned": run.planned,
                "problem": run.problem,
            }
            for run in runs
        ],
    }


def render(runs: Sequence[ListedRun], now: datetime, width: int = USUAL) -> list[Any]:
    """Return the table, and how to show or continue a run. now: with the time zone of this machine."""
    from rich.text import Text

    columns = [
        Column("when", [when(run.started, now) for run in runs]),
        Column("what", [what(run) for run in runs], most=NAME),
        Column("verdict", states := [_state(run) for run in runs]),
        Column("result", [_result(run) for run in runs], most=RESULT),
        Column("run", [str(run.path) for run in runs], rank=1),
    ]
    heading, *rows = table(columns, width)
    lines: list[Any] = [heading]
    for line, run, state in zip(rows, runs, states, strict=True):
        text, start = Text(line), line.find(f"  {state}", len("  ") + columns[0].wide) + 2
        style = "bold red" if run.outcome == Outcome.FAIL else VERDICT_STYLE[run.verdict] if run.verdict else "yellow"
        text.stylize(style, start, start + len(state))
        lines.append(text)
    return [*lines, "", *_next(runs, width)]


def what(run: ListedRun) -> str:
    """Return what was measured: 'bench 127.0.0.1:8000', the name of a campaign, 'NAME (saturate)'."""
    if run.campaign is None:
        return run.path.name
    if run.urls and run.campaign in (BENCH, SATURATE, SWEEP):
        return f"{run.campaign} {_place(run.urls[0])}"
    return run.campaign if run.kind in (RUN, run.campaign) else f"{run.campaign} ({run.kind})"


def _place(url: str) -> str:
    parts = urlsplit(url)
    scheme = "" if parts.scheme == "http" else f"{parts.scheme}://"
    host = parts.netloc.rpartition("@")[2]
    return f"{scheme}{host}{parts.path.removesuffix('/') if parts.path == '/' else parts.path}"


def _state(run: ListedRun) -> str:
    """Return the verdict, and that objectives failed."""
    return f"{run.state} {run.outcome}" if run.outcome == Outcome.FAIL else run.state


def _result(run: ListedRun) -> str:
    if run.problem is not None:
        return "see below"
    if run.done is None:
        return run.result
    done = f"{run.done} trial{'' if run.done == 1 else 's'}"
    return f"{run.done} of {run.planned} trials" if run.planned is not None else done


# What `volley resume` refuses: these runs do not record the command that started them.
_NOT_RESUMED = (BENCH, SWEEP)


def _next(runs: Sequence[ListedRun], width: int) -> list[str]:
    """Return the commands for the newest finished run and the newest that is unfinished, and what is unreadable."""
    finished = next((run for run in runs if run.verdict is not None), None)
    unfinished = next((run for run in runs if run.state == "unfinished" and run.kind not in _NOT_RESUMED), None)
    lines = []
    if finished is not None:
        lines.append(f"Show       volley show {finished.path}")
    if unfinished is not None:
        lines.append(f"Continue   volley resume {unfinished.path}")
    for run in runs:
        if run.problem is not None:
            what_to_do = f"{run.problem}. Restore the folder from a copy, or delete it."
            lines += fill(f"Unreadable {what_to_do}", width, rest=" " * 11)
    return lines
