"""Find the past runs of a case: what the variation between runs is taken from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agents.records import BadRecord, from_plain
from orchestrator.analyse.history import Past, between
from orchestrator.analyse.sameness import Circumstances, differences
from orchestrator.analyse.statistics import CONFIDENCE, t_quantile
from orchestrator.errors import StoredRunError
from orchestrator.result import BetweenRuns, ComparedMetric, Interval, Requests, Verdict
from orchestrator.stored.layout import SUMMARY_FILE, TRIAL_FILE, runs_in, trial_folders
from orchestrator.stored.reading import read_environment, read_json, read_plan

# Older runs say little about the machine of today.
MOST = 30
Values = dict[ComparedMetric, Past]
# Where summary.json has each time: the field of the case, and the name in it.
_TIMES = {each: (f"{each.time.replace(' ', '_')}_us", each.metric) for each in ComparedMetric if each.time is not None}


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run of a case: its metrics, and how they came to be."""

    values: Values
    circumstances: Circumstances


def variation(
    compared: Collection[Path], like: Circumstances, case: str, allowed: Collection[str]
) -> dict[ComparedMetric, BetweenRuns]:
    """Return the variation from run to run of every metric of a case, from the runs beside `compared`."""
    past = past_runs(compared, like, case, allowed)
    found = {}
    for metric in ComparedMetric:
        runs = [run for run in past if metric in run.values]
        pairs = enumerate(itertools.pairwise(runs), 1)
        changed = [i for i, (old, new) in pairs if differences(old.circumstances, new.circumstances, case)]
        found[metric] = between(metric, [run.values[metric] for run in runs], changed)
    return found


def past_runs(compared: Collection[Path], like: Circumstances, case: str, allowed: Collection[str]) -> list[PastRun]:
    """Return a case in the other finished runs of the folders of `compared`, the oldest first.

    Only runs of the same campaign in which the case differs from `like` by nothing but the allowed kinds, and is not
    INVALID. Runs that cannot be read are left out: `volley runs` lists them.
    """
    known = {run.resolve() for run in compared}
    campaigns = {read_plan(run).campaign for run in compared}
    folders = dict.fromkeys(run.parent.resolve() for run in compared)
    others = [run for folder in folders for run in runs_in(folder) if run.resolve() not in known]
    found: list[PastRun] = []
    for run in reversed(others):
        if len(found) == MOST:
            break
        try:
            plan = read_plan(run)
            if plan.campaign not in campaigns or case not in {each.name for each in plan.cases}:
                continue
            values = _values(read_json(run / SUMMARY_FILE), case)
            own = Circumstances({each.name: each for each in plan.cases}, plan.parts, read_environment(run))
            urls, generators = _as_measured(run, case)
            own = replace(own, urls=urls, generators=generators)
        except (StoredRunError, BadRecord, KeyError, TypeError, ValueError):
            continue
        if values and not [d for d in differences(like, own, case) if d.kind not in allowed]:
            found.append(PastRun(values, own))
    return found[::-1]


def _as_measured(run: Path, case: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the URL of the case's target where it is external, and the case's generator, as its first trial has them."""
    for folder in trial_folders(run):
        facts = read_json(folder / TRIAL_FILE)["facts"]
        assert isinstance(facts, dict)
        planned, agents = facts["case"], facts["agents"]
        if planned["name"] == case:
            urls = {planned["target"]: agents[0]["url"]} if planned["external"] and agents else {}
            return urls, {case: planned["generator"]} if agents and "generator" in planned else {}
    return {}, {}


def _values(summary: Mapping[str, object], case: str) -> Values:
    """Return a case's metrics from summary.json; none where it is INVALID, or lost a part of its load in every trial."""
    cases = summary["cases"]
    assert isinstance(cases, list)
    plain = next(each for each in cases if each["case"] == case)
    if plain["verdict"] == Verdict.INVALID or plain.get("load_lost") is not None:
        return {}
    trials = int(plain["used"])
    values = {ComparedMetric.THROUGHPUT: _past(plain["throughput_per_s"], trials)}
    for metric, (time, percentile) in _TIMES.items():
        values[metric] = _past((plain[time] or {}).get(str(percentile)), trials)
    share = from_plain(Requests, plain["requests"]).error_share
    values[ComparedMetric.ERRORS] = None if share is None else Past(share, 0.0)
    return {metric: past for metric, past in values.items() if past is not None}


def _past(plain: object, trials: int) -> Past | None:
    """Return the logarithm of a geometric mean and its standard error."""
    if plain is None:
        return None
    interval = from_plain(Interval, plain)
    if interval.low is None or interval.high is None or trials < 2:
        return Past(math.log(interval.estimate), 0.0)
    half = math.log(interval.high / interval.low) / 2
    return Past(math.log(interval.estimate), half / t_quantile((1 + CONFIDENCE) / 2, trials - 1))
