"""The page of `volley compare`: two runs beside each other, or the targets of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.report import comparison_words as words
from orchestrator.report.conditions import counted_in
from orchestrator.report.gates import of_gates
from orchestrator.report.html import doubts, head, over_time, ratios, tables
from orchestrator.report.html.collect import Drawn, by_case, collect
from orchestrator.report.html.page import rendered
from orchestrator.result import CaseResult, Compared
from orchestrator.stored.evaluate import Finished, evaluate_run
from orchestrator.stored.layout import folders_by_number
from orchestrator.stored.reading import read_trial


@dataclass(frozen=True, slots=True)
class Side:
    """One of the runs: its numbers, and what is drawn of it."""

    finished: Finished
    drawn: list[Drawn]

    @staticmethod
    def read(run: Path) -> Side:
        """Read a stored run. Raise StoredRunError."""
        finished, folders = evaluate_run(run), folders_by_number(run)
        groups = by_case(finished.trials, [case.case for case in finished.summary.cases])
        return Side(finished, collect(groups, finished.trials, lambda number: read_trial(folders[number])[1]))


def page(compared: Compared, sides: Sequence[Side]) -> str:
    """Return the page. sides: baseline and candidate; one where the targets of a run are compared."""
    between = len(sides) > 1
    names = ["baseline", "candidate"] if between else [""]
    drawn = [_named(own, name) for side, name in zip(sides, names, strict=True) for own in side.drawn]
    colours = {own.name: i for i, own in enumerate(drawn)}
    spectrum = over_time.spectrum(drawn, colours)
    found = ratios.pairs(compared.comparisons, between)
    figures = [*([spectrum] if spectrum else []), *(pair.figure for pair in found)]
    summaries = [
        replace(side.finished.summary, cases=_cases(side, name)) for side, name in zip(sides, names, strict=True)
    ]
    together = replace(summaries[-1], cases=[case for summary in summaries for case in summary.cases])
    differences = dict.fromkeys(
        (d.kind, d.key, d.baseline, d.candidate) for c in compared.comparisons for d in c.differences
    )
    return rendered(
        "compare.html.jinja",
        figures,
        sent=counted_in(*together.cases),
        title=f"{compared.candidate} compared with {compared.baseline}",
        question=f"Is {compared.candidate} faster than {compared.baseline}?",
        between_runs=between,
        compared=compared,
        sentences=words.sentences(compared),
        sides=[
            {"name": side.finished.path.resolve().name, "role": name.capitalize() or "Run"}
            | {"verdict": side.finished.summary.verdict, "when": head.when(side.finished.trials)}
            for side, name in zip(sides, names, strict=True)
        ],
        pairs=found,
        comparisons=tables.comparisons(compared.comparisons, between),
        lines=[*words.incomparable(compared), *words.doubts(compared)],
        gates=tables.gates(of_gates(compared.gates)),
        differences=tables.made(
            ["kind", "what", "baseline", "candidate"],
            [[tables.Cell(str(part), tables.WORDS) for part in row] for row in differences],
        ),
        results=tables.results(together),
        doubts=doubts.of_summary(together),
        searches=[],
        number_of_trials=sum(len(side.finished.trials) for side in sides),
        notes=[],
    )


def _cases(side: Side, name: str) -> list[CaseResult]:
    return [replace(case, case=_label(case.case, name)) for case in side.finished.summary.cases]


def _named(drawn: Drawn, name: str) -> Drawn:
    return replace(drawn, name=_label(drawn.name, name))


def _label(case: str, name: str) -> str:
    return f"{case} ({name})" if name else case
