"""Compare two stored runs, or the targets of one, in Python."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.analyse import regression
from orchestrator.analyse.people import digits, percent
from orchestrator.data.frames import frame
from orchestrator.data.run import Run
from orchestrator.errors import UsageError
from orchestrator.report.columns import COMPARISONS
from orchestrator.report.tables import Table, comparison_rows
from orchestrator.result import Compared, Comparison, Conclusion, DifferenceKind, Outcome
from orchestrator.stored.compare import compare_stored, compare_targets

if TYPE_CHECKING:
    import pandas as pd

AnyRun = Run | str | os.PathLike[str]


def compare(
    base: AnyRun,
    new: AnyRun | None = None,
    *,
    baseline: str | None = None,
    allow: Collection[str] = (),
    smallest_effect: float | None = None,
    fail_on: str = "",
) -> ComparedRuns:
    """Compare two runs, or without `new` the targets of one run, as `volley compare` does.

    baseline: with one run, the target to compare the others with. allow: differences between two runs to accept, such
    as 'image' or 'load'. smallest_effect: ignore differences smaller than this share (0.03: 3 %). fail_on: gates, such
    as 'throughput<-5%, p99>10%'. Raise StoredRunError, and UsageError for what cannot be compared.
    """
    kinds = [str(kind) for kind in DifferenceKind]
    if unknown := [name for name in allow if name not in kinds]:
        raise UsageError(f"{unknown[0]!r} is not a difference that can be allowed", f"write one of: {', '.join(kinds)}")
    if smallest_effect is not None and not 0 < smallest_effect <= 10:
        raise UsageError(f"smallest_effect={smallest_effect!r} is not a share", "write 3 % as 0.03")
    limits = _limits(fail_on)
    if new is None:
        if allow:
            raise UsageError("allow applies to two runs", "pass a second run, or omit allow")
        return ComparedRuns(compare_targets(_folder(base), baseline, smallest_effect, limits))
    if baseline is not None:
        raise UsageError("baseline applies to a single run", "omit it: the first run is the baseline")
    return ComparedRuns(compare_stored(_folder(base), _folder(new), smallest_effect, frozenset(allow), limits))


def _limits(fail_on: str) -> list[regression.Limit]:
    try:
        return regression.limits(fail_on) if fail_on else []
    except ValueError as error:
        what, _, hint = str(error).partition(": ")
        raise UsageError(f"fail_on: {what}", hint) from None


def _folder(run: AnyRun) -> Path:
    return run.path if isinstance(run, Run) else Path(run)


@dataclass(frozen=True)
class ComparedRuns:
    """The result of compare(). compared: everything in it, as a record."""

    compared: Compared

    @property
    def outcome(self) -> Outcome | None:
        """FAIL when a gate of fail_on failed, PASS when none did, None without gates or where none could be checked."""
        return self.compared.outcome

    @property
    def comparable(self) -> bool:
        """Whether something could be compared, and every gate could be checked."""
        return self.compared.comparable

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per comparison; the columns are those of comparisons.csv."""
        return frame(Table(COMPARISONS, comparison_rows(self.compared.comparisons)))

    @cached_property
    def gates(self) -> pd.DataFrame:
        """One row per gate: case, limit, state, change (a share; NaN where it could not be compared), reason."""
        import pandas as pd

        rows = [(g.case, g.limit, str(g.state), g.change, g.reason) for g in self.compared.gates]
        gates = pd.DataFrame(rows, columns=["case", "limit", "state", "change", "reason"])
        return gates.astype({"change": "float64"})

    @property
    def sentences(self) -> list[str]:
        """Each comparison in a sentence."""
        return [_sentence(comparison) for comparison in self.compared.comparisons]

    def __repr__(self) -> str:
        return "\n".join([f"<{self.compared.candidate} against {self.compared.baseline}>", *self.sentences])

    def _repr_html_(self) -> str:
        from orchestrator.data.page import compared_html

        return compared_html(self)


def _sentence(c: Comparison) -> str:
    subject = f"{c.target or c.candidate}/{c.load}, {c.metric.label}: {c.conclusion}"
    if c.conclusion is Conclusion.INCOMPARABLE:
        return f"{subject}. {c.reason}".rstrip()
    if c.ratio is not None:
        low, high = digits(c.ratio.low), digits(c.ratio.high)
        return f"{subject}, {digits(c.ratio.estimate)}× (95 % interval {low}–{high}×)."
    if c.difference is not None:
        return f"{subject}, a difference of {percent(c.difference.estimate)} of the requests."
    return f"{subject}."
