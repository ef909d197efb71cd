"""The runs of a folder, each in one line. Only summary.json is read of a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from agents.records import BadRecord
from orchestrator.analyse.people import digits
from orchestrator.counted import counted
from orchestrator.errors import StoredRunError
from orchestrator.result import Outcome, Verdict
from orchestrator.slo import legible
from orchestrator.stored.documents import CampaignPlan, SummaryDocument, summary_of
from orchestrator.stored.layout import SUMMARY_FILE, runs_in, started_at, trial_folders
from orchestrator.stored.reading import read_json, read_plan

# Campaigns that a command line makes have the name of their verb.
BENCH, SATURATE, SWEEP, RUN = "bench", "saturate", "sweep", "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """One run of a folder.

    started: by its name; None where that has no time. kind: the verb that made it. urls: of servers that were already
    up. verdict: None while it is unfinished. done, planned: trials of an unfinished run; planned is None for a search,
    which plans none. problem: why the run cannot be read; None for one that can.
    """

    path: Path
    started: datetime | None
    campaign: str | None = None
    kind: str | None = None
    urls: list[str] = field(default_factory=list)
    verdict: Verdict | None = None
    outcome: Outcome | None = None
    answer: list[str] = field(default_factory=list)
    result: str = ""
    done: int | None = None
    planned: int | None = None
    problem: str | None = None

    @property
    def state(self) -> str:
        """Return the verdict, 'unfinished' or 'unreadable'."""
        if self.problem is not None:
            return "unreadable"
        return "unfinished" if self.verdict is None else str(self.verdict)


def list_runs(folder: Path, last: int | None = None) -> list[ListedRun]:
    """Return the runs in a folder, the newest first. One that cannot be read does not hide the others.

    last: how many of the newest; None: all.
    """
    return [_listed(run) for run in runs_in(folder)[::-1][:last]]


def _listed(run: Path) -> ListedRun:
    try:
        return _finished(run) if (run / SUMMARY_FILE).exists() else _unfinished(run)
    except StoredRunError as error:
        return ListedRun(path=run, started=started_at(run), problem=error.message)
    except (BadRecord, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        return ListedRun(
            path=run,
            started=started_at(run),
            problem=f"{run / SUMMARY_FILE} cannot be used: {legible(str(error), 300)}",
        )


def _finished(run: Path) -> ListedRun:
    plain: Mapping[str, Any] = read_json(run / SUMMARY_FILE)
    summary = summary_of(plain)
    campaign, answer = str(plain.get("campaign", run.name)), plain.get("answer", [])
    return ListedRun(
        path=run,
        started=started_at(run),
        campaign=campaign,
        kind=_kind(campaign, searched=bool(plain.get("saturation"))),
        urls=_urls(plain),
        verdict=summary.verdict,
        outcome=summary.outcome,
        answer=[str(sentence) for sentence in answer] if isinstance(answer, list) else [],
        result=str(plain.get("result") or _result(plain, summary)),
    )


def _unfinished(run: Path) -> ListedRun:
    plan = read_plan(run)
    planned = len(plan.trials) if isinstance(plan, CampaignPlan) else None
    kind = _kind(plan.campaign, searched=planned is None)
    done = len(trial_folders(run))
    return ListedRun(path=run, started=started_at(run), campaign=plan.campaign, kind=kind, done=done, planned=planned)


def _kind(campaign: str, *, searched: bool) -> str:
    if searched:
        return SATURATE
    return campaign if campaign in (BENCH, SWEEP) else RUN


def _urls(plain: Mapping[str, Any]) -> list[str]:
    """Return the URLs of servers that were already up. Runs of earlier versions do not name them."""
    urls: list[str] = []
    for case in plain.get("cases", []):
        if (case.get("planned") or {}).get("external"):
            urls += case.get("urls", [])
    urls += [search["url"] for search in plain.get("saturation", []) if search.get("url")]
    return list(dict.fromkeys(urls))


def _result(plain: Mapping[str, Any], summary: SummaryDocument) -> str:
    """Return the result of a run whose version did not store it in words."""
    valid = [case for case in summary.cases if case.verdict is not Verdict.INVALID]
    rates = [(case.throughput_per_s, counted([case.protocol]).per_s) for case in valid]
    found = [f"{digits(rate.estimate)} {unit}" for rate, unit in rates if rate is not None]
    for search in plain.get("saturation", []):
        capacity = search.get("capacity_per_s")
        if capacity is not None:
            unit = counted([search.get("protocol")]).per_s
            found.append(f"{digits(capacity['estimate'])} {unit} at {search['slo']}")
    return "; ".join(found[:2]) + (f"; {len(found) - 2} more" if len(found) > 2 else "")
