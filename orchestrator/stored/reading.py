"""Read a run folder: its plan, environment, trials and summary. Every error names the file and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from agents.records import AgentFacts, BadRecord, from_plain
from agents.wire import BadFrame, frames_of, unpack_result
from orchestrator import bounded
from orchestrator.errors import StoredRunError
from orchestrator.facts import Environment, TrialFacts
from orchestrator.merge import Merged, merge
from orchestrator.result import FORMAT, Severity
from orchestrator.slo import legible, shown
from orchestrator.stored.checksums import read_checked, refuse_foreign
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
# Of plan.json, trial.json and their like: of the largest campaign they have a tenth of this.
MOST_JSON_BYTES, MOST_VALUES = 32 << 20, 1_500_000
MOST_IN_A_TEXT = 300
NOT_A_RUN = "name a folder that 'volley run' made"


def read_plan(run: Path) -> CampaignPlan | SearchPlan:
    """Return the plan of a run. Raises StoredRunError."""
    if not run.exists():
        raise StoredRunError(f"{run} does not exist", NOT_A_RUN)
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


def read_trials(run: Path) -> Iterator[tuple[TrialFacts, Merged]]:
    """Yield the facts and the merged counters of every stored trial, in order, one after the other.

    Raises StoredRunError.
    """
    for folder in stored_trials(run):
        yield read_trial(folder)


def stored_trials(run: Path) -> list[Path]:
    """Return the folders of the stored trials, in order. Raises StoredRunError, also when one is of another run."""
    if not (run / PLAN_FILE).is_file():
        raise StoredRunError(f"{run} is not a run folder: it has no {PLAN_FILE}", NOT_A_RUN)
    folders = trial_folders(run)
    refuse_foreign(folders)
    return folders


def read_trial(folder: Path) -> tuple[TrialFacts, Merged]:
    """Return the facts and the merged counters of one stored trial. Raises StoredRunError.

    Agents are added up frame by frame: a trial of thousands of agents takes the memory of its sum.
    """
    plain = _object(folder / TRIAL_FILE, read_checked(folder / TRIAL_FILE))
    if plain.get("format") != FORMAT:
        raise StoredRunError(
            f"{folder / TRIAL_FILE} has format {shown(plain.get('format'))}", f"this Volley reads format {FORMAT}"
        )
    try:
        facts = from_plain(TrialFacts, plain["facts"])
        merged = merge(unpack_result(payload) for payload in frames_of(read_checked(folder / AGENTS_FILE)))
    except (ValueError, KeyError, OSError, BadFrame) as error:
        raise StoredRunError(
            f"{folder} cannot be read: {legible(str(error), MOST_IN_A_TEXT)}",
            "restore it, or delete that trial's folder",
        ) from error
    return _with_output(facts, [part.facts for part in merged.parts]), merged


def read_failure(path: Path) -> str:
    """Return why the attempt stored in a trial.json did not count: its error, or its INVALID findings.

    Raises StoredRunError.
    """
    plain = _object(path, read_checked(path))
    try:
        facts, findings = from_plain(TrialFacts, plain["facts"]), plain["findings"]
        if not isinstance(findings, list):
            raise BadRecord("the findings are not a list")
        invalid = [finding["code"] for finding in findings if finding["severity"] == Severity.INVALID]
    except (KeyError, TypeError, ValueError) as error:
        raise StoredRunError(
            f"{path} cannot be read: {legible(str(error), MOST_IN_A_TEXT)}", "delete that attempt's folder"
        ) from error
    return facts.error or ", ".join(dict.fromkeys(invalid))


def read_json(path: Path) -> dict[str, object]:
    """Return the content of a JSON file that holds one object. Raises StoredRunError."""
    try:
        content = bounded.read_bytes(path, MOST_JSON_BYTES)
    except OSError as error:
        raise StoredRunError(f"{path} cannot be read: {error.strerror}", NOT_A_RUN) from error
    return _object(path, content)


def _object(path: Path, data: bytes) -> dict[str, object]:
    # Before it is parsed: a value takes far more memory than its text.
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_VALUES:
        raise StoredRunError(f"{path} was not written by Volley: it has more than {MOST_VALUES:,} values", NOT_A_RUN)
    try:
        content = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise StoredRunError(f"{path} cannot be read: {legible(str(error), MOST_IN_A_TEXT)}", NOT_A_RUN) from error
    if not isinstance(content, dict):
        raise StoredRunError(f"{path} was not written by Volley: it is not a JSON object", NOT_A_RUN)
    return content


def _read(path: Path, build: Callable[[Mapping[str, object]], T]) -> T:
    try:
        return build(read_json(path))
    except BadRecord as error:
        raise StoredRunError(f"{path} cannot be used: {legible(str(error), MOST_IN_A_TEXT)}", NOT_A_RUN) from error


def _with_output(facts: TrialFacts, reported: list[AgentFacts]) -> TrialFacts:
    """Restore the output of each generator, which trial.json leaves to the agents' own file."""
    output = {agent.agent: agent.output for agent in reported}
    agents = [replace(agent, output=output.get(agent.agent, agent.output)) for agent in facts.agents]
    return replace(facts, agents=agents)
