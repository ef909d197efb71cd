"""Read a run folder: its plan, environment, trials and summary. Every error names the file and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from agents.records import BadRecord, from_plain
from agents.wire import AgentResult, BadFrame, decode_stream, unpack_result
from orchestrator.errors import StoredRunError
from orchestrator.facts import Environment, TrialFacts
from orchestrator.result import FORMAT, Severity
from orchestrator.stored.documents import (
    CampaignPlan,
    SearchPlan,
    SummaryDocument,
    environment_of,
    plan_of,
    summary_of,
)
from orchestrator.stored.layout import (
    AGENTS_FILE,
    ENVIRONMENT_FILE,
    PLAN_FILE,
    SUMMARY_FILE,
    TRIAL_FILE,
    trial_folders,
)

T = TypeVar("T")
NOT_A_RUN = "name a folder that 'volley run' made"


def read_plan(run: Path) -> CampaignPlan | SearchPlan:
    """Return the plan of a run. Raises StoredRunError."""
    if not (run / PLAN_FILE).is_file():
        raise StoredRunError(f"{run} is not a run folder: it has no {PLAN_FILE}", NOT_A_RUN)
    return _read(run / PLAN_FILE, plan_of)


def read_environment(run: Path) -> Environment | None:
    """Return the environment of a run; None when its hosts never came up. Raises StoredRunError."""
    path = run / ENVIRONMENT_FILE
    return _read(path, environment_of) if path.exists() else None


def read_summary(run: Path) -> SummaryDocument:
    """Return the summary of a finished run. Raises StoredRunError, also when the run has not finished."""
    return _read(run / SUMMARY_FILE, summary_of)


def read_trials(run: Path) -> list[tuple[TrialFacts, list[AgentResult]]]:
    """Return the facts and counters of every stored trial, in order. Raises StoredRunError."""
    if not (run / PLAN_FILE).is_file():
        raise StoredRunError(f"{run} is not a run folder: it has no {PLAN_FILE}", NOT_A_RUN)
    return [_read_trial(folder) for folder in trial_folders(run)]


def read_failure(path: Path) -> str:
    """Return why the attempt stored in a trial.json did not count: its error, or its INVALID findings.

    Raises StoredRunError.
    """
    plain = read_json(path)
    try:
        facts, findings = from_plain(TrialFacts, plain["facts"]), plain["findings"]
        if not isinstance(findings, list):
            raise BadRecord("the findings are not a list")
        invalid = [finding["code"] for finding in findings if finding["severity"] == Severity.INVALID]
    except (KeyError, TypeError, ValueError) as error:
        raise StoredRunError(f"{path} cannot be read: {error}", "delete that attempt's folder") from error
    return facts.error or ", ".join(dict.fromkeys(invalid))


def read_json(path: Path) -> dict[str, object]:
    """Return the content of a JSON file that holds one object. Raises StoredRunError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoredRunError(f"{path} cannot be read: {error}", NOT_A_RUN) from error
    if not isinstance(content, dict):
        raise StoredRunError(f"{path} was not written by Volley: it is not a JSON object", NOT_A_RUN)
    return content


def _read(path: Path, build: Callable[[Mapping[str, object]], T]) -> T:
    try:
        return build(read_json(path))
    except BadRecord as error:
        raise StoredRunError(f"{path} cannot be used: {error}", NOT_A_RUN) from error


def _read_trial(folder: Path) -> tuple[TrialFacts, list[AgentResult]]:
    plain = read_json(folder / TRIAL_FILE)
    if plain.get("format") != FORMAT:
        raise StoredRunError(
            f"{folder / TRIAL_FILE} has format {plain.get('format')}", f"this Volley reads format {FORMAT}"
        )
    try:
        facts = from_plain(TrialFacts, plain["facts"])
        agents = [unpack_result(payload) for payload in decode_stream((folder / AGENTS_FILE).read_bytes())]
    except (ValueError, KeyError, OSError, BadFrame) as error:
        raise StoredRunError(
            f"{folder} cannot be read: {error}", "restore it, or delete that trial's folder"
        ) from error
    return _with_output(facts, agents), agents


def _with_output(facts: TrialFacts, results: list[AgentResult]) -> TrialFacts:
    """Restore the output of each generator, which trial.json leaves to the agents' own file."""
    output = {result.facts.agent: result.facts.output for result in results}
    agents = [replace(agent, output=output.get(agent.agent, agent.output)) for agent in facts.agents]
    return replace(facts, agents=agents)
