"""A stored run, opened for analysis in Python."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from agents.histogram import HdrCounts
from agents.recorder import OK
from orchestrator.analyse.cases import behind
from orchestrator.data.frames import frame
from orchestrator.data.histogram import Histogram
from orchestrator.errors import UsageError
from orchestrator.facts import Environment
from orchestrator.report import answer
from orchestrator.report.tables import Table, tables_of
from orchestrator.result import Outcome, Summary, Time, Trial, Verdict, worst
from orchestrator.stored.evaluate import evaluate_run
from orchestrator.stored.reading import read_environment, read_trial, stored_trials

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open the folder of a run and evaluate it from its counters, as `volley report` does.

    Raise StoredRunError for a folder that is not a run, or that cannot be read.
    """
    folder = Path(path)
    finished = evaluate_run(folder)
    return Run(folder, finished.summary, finished.trials, read_environment(folder))


class Run:
    """A stored run. Its tables are pandas frames; docs/reference/data.md explains the columns.

    path: its folder. summary: everything that summary.json holds, as a record. environment: versions and hosts, None for
    a run whose hosts never came up.
    """

    def __init__(self, path: Path, summary: Summary, judged: list[Trial], environment: Environment | None) -> None:
        self.path = path
        self.summary = summary
        self.environment = environment
        self._judged = judged

    def __repr__(self) -> str:
        return f"<Run {self.name}: {self.verdict}. {' '.join(self.answer)}>"

    @property
    def name(self) -> str:
        """The run's name: campaign and UTC time."""
        return self.path.resolve().name

    @property
    def campaign(self) -> str:
        """The campaign's name."""
        return self.summary.campaign

    @property
    def verdict(self) -> Verdict:
        """Can the numbers be trusted? VALID, SUSPECT or INVALID."""
        return self.summary.verdict

    @property
    def outcome(self) -> Outcome | None:
        """Were the objectives met? PASS or FAIL; None without objectives."""
        return self.summary.outcome

    @property
    def answer(self) -> list[str]:
        """The answer of the run, in sentences."""
        return answer.sentences(self.summary)

    @cached_property
    def _tables(self) -> dict[str, Table]:
        return tables_of(self.summary, self._judged, self.environment)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial, in the order in which they ran."""
        return frame(self._tables["trials"])

    @cached_property
    def cases(self) -> pd.DataFrame:
        """One row per case, with 95 % intervals over its trials. Empty for a search."""
        return frame(self._tables["cases"])

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """One row per comparison with the baseline. Empty without a baseline."""
        return frame(self._tables["comparisons"])

    @cached_property
    def series(self) -> pd.DataFrame:
        """One row per trial and interval of its window: requests and service times over time."""
        return frame(self._tables["series"])

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row per trial and request, for loads with several requests. Empty without such a load."""
        return frame(self._tables["requests"])

    @cached_property
    def services(self) -> pd.DataFrame:
        """One row per trial and service of its target: what it used. Empty without services."""
        return frame(self._tables["services"])

    @cached_property
    def saturation(self) -> pd.DataFrame:
        """One row per probe of a search for capacity. Empty for a campaign."""
        return frame(self._tables["saturation"])

    @cached_property
    def findings(self) -> pd.DataFrame:
        """One row per trial and finding: trial, case, code, severity, sentence, hint."""
        import pandas as pd

        columns = ["trial", "case", "code", "severity", "sentence", "hint"]
        rows = [
            (trial.facts.number, trial.facts.case.name, str(f.code), str(f.severity), f.sentence, f.hint)
            for trial in self._judged
            for f in trial.findings
        ]
        return pd.DataFrame(rows, columns=columns)

    def histogram(self, case: str | None = None, time: str | None = None) -> Histogram:
        """Return the merged times of a case's successful answers, over the trials behind its numbers.

        case: can be omitted where there is only one. time: 'service time' or 'response time'; by default the one
        that the case is judged by: response time in the open loop. Response times include what was due and never
        answered, at its age. Raise UsageError for a case or a time that the run does not have.
        """
        name = self._case(case)
        own = [trial for trial in self._judged if trial.facts.case.name == name]
        chosen = self._time(name, own, time)
        numbers = [trial.facts.number for trial in behind(own)]
        counts = HdrCounts()
        for folder, trial in zip(stored_trials(self.path), self._judged, strict=True):
            if trial.facts.number in numbers:
                _, merged = read_trial(folder)
                part = merged.service[OK] if chosen is Time.SERVICE else merged.response
                if part is not None:
                    counts += part
        return Histogram(name, chosen, numbers, self._verdict_of(name, own), counts)

    def plot(self, kind: str | None = None) -> go.Figure:
        """Return a plotly figure of the run.

        kind: 'spectrum' (percentiles of each case; the default), 'throughput' (of each trial, in order), 'series'
        (throughput over time), 'times' (p50 and p99 over time), 'capacity' (the probes of a search; its default).
        """
        from orchestrator.data.figures import figure

        return figure(self, kind)

    def case_names(self) -> list[str]:
        """Return the names of the cases that have trials, in the order in which they first ran."""
        return list(dict.fromkeys(trial.facts.case.name for trial in self._judged))

    def _case(self, asked: str | None) -> str:
        names = self.case_names()
        if asked is None and len(names) == 1:
            return names[0]
        if asked is None or asked not in names:
            what = f"has no case {asked!r}" if asked is not None else f"has {len(names)} cases"
            hint = f"name one of: {', '.join(names)}" if names else "no trial of this run is finished: resume it"
            raise UsageError(f"{self.name} {what}", hint)
        return asked

    def _verdict_of(self, case: str, trials: list[Trial]) -> Verdict:
        """Return the verdict of a case; of a search, which has no cases, the worst of the trials."""
        known = [result.verdict for result in self.summary.cases if result.case == case]
        return worst(known or [trial.verdict for trial in trials])

    @staticmethod
    def _time(case: str, trials: list[Trial], asked: str | None) -> Time:
        has_response = any(trial.metrics and trial.metrics.response_time_us is not None for trial in trials)
        if asked is None:
            return Time.RESPONSE if has_response else Time.SERVICE
        known = {"service time": Time.SERVICE, "response time": Time.RESPONSE}
        chosen = known.get(asked.replace("_", " ").lower())
        if chosen is None:
            raise UsageError(f"{asked!r} is not a time", "write 'service time' or 'response time'")
        if chosen is Time.RESPONSE and not has_response:
            raise UsageError(f"{case} has no response time: it is a closed loop", "ask for its service time")
        return chosen

    def _repr_html_(self) -> str:
        from orchestrator.data.page import run_html

        return run_html(self)
