"""Rows of data under the conformance check: a run with placeholders and its rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from agents.generators.conformance_program import Outcome
from agents.generators.conformance_rules import COMMON, Rule, Seen, released
from agents.generators.conformance_runs import Run
from agents.generators.contract import PLACEHOLDER, GeneratorTask, TaskData, TaskRequest

COLUMNS = ("url:id", "text:word")
DATA = TaskData(COLUMNS, (("1", "one"), ("%C3%BC%20x", "two"), ("3", "three")))


def takes_rows(outcome: Outcome) -> Seen:
    """Judge the values at the server: each request has those of one row, and the rows are taken in turn."""
    said = None if outcome.summary is None else outcome.summary.rows_taken
    if said is None:
        return Seen(True, "does not report rows_taken: Volley calls a load with data incomplete")
    came = Counter(dict.fromkeys(range(len(DATA.rows)), 0))
    for receipt in released(outcome):
        word = next((value for name, value in receipt.headers if name == "x-word"), "")
        if PLACEHOLDER.search(receipt.target + word):
            return Seen(False, f"'{receipt.target[:40]}' still holds a placeholder")
        pair = (receipt.target.removeprefix("/rows/"), word)
        if pair not in DATA.rows:
            return Seen(False, f"'{receipt.target[:40]}' with the header '{word[:20]}' is of no row")
        came[DATA.rows.index(pair)] += 1
    if max(came.values()) - min(came.values()) > 1:
        return Seen(
            False, f"the rows were taken {', '.join(str(n) for _, n in sorted(came.items()))} times, not in turn"
        )
    if abs(said - came.total()) > 2:
        return Seen(False, f"rows_taken is {said}, and the server received {came.total()} requests")
    return Seen(True, f"{came.total()} requests with the values of {len(DATA.rows)} rows in turn")


ROWS_TAKEN = Rule(
    "data",
    "replaces placeholders by the rows of `data`, in turn",
    "Replace each ${row.COLUMN} by the text in the row that the request takes, without encoding it, and count rows_taken.",
    takes_rows,
    ("complete", "nothing-before-go"),
)


def run(task: GeneratorTask) -> Run:
    """Return the run with rows, for a short load of either model."""
    request = TaskRequest("/rows/${row.url:id}", headers=(("X-Word", "${row.text:word}"),))
    return Run("data", replace(task, requests=(request,), data=DATA), (*COMMON, ROWS_TAKEN), feature="rows of data")
