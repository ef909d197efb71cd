"""A run's folder: opened before the run, added to trial by trial, never overwritten, published by rename."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from agents.records import from_plain, to_plain
from agents.wire import AgentResult, BadFrame, decode_stream, encode_stream, pack_result, unpack_result
from orchestrator.errors import StoredRunError, UsageError
from orchestrator.facts import TrialFacts
from orchestrator.result import FORMAT, Severity, Trial

TRIAL_FILE, AGENTS_FILE, SUMMARY_FILE, JOURNAL_FILE = "trial.json", "agents.msgpack", "summary.json", "journal.jsonl"
REPORT_FILE = "report.html"
TRIES = "tries"
_STAMP = re.compile(r"-(\d{8}T\d{6}Z)(?:-(\d+))?$")


class RunStore:
    """One run's folder, being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._journal: IO[str] | None = None

    @property
    def name(self) -> str:
        """The run's name: campaign and UTC time. It is also the label of its containers."""
        return self.path.name

    @staticmethod
    def create(parent: Path, campaign: str) -> RunStore:
        """Make a new folder under `parent`. Raises UsageError where that cannot be."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(100):
                path = parent / (f"{campaign}-{stamp}" + (f"-{attempt}" if attempt else ""))
                try:
                    (path / "trials").mkdir(parents=True)
                    break
                except FileExistsError:
                    continue
            return RunStore(path)._opened()
        except OSError as error:
            raise UsageError(
                f"no run can be stored in {parent}: {error.strerror}", "choose another folder with --out"
            ) from error

    @staticmethod
    def reopen(path: Path) -> RunStore:
        """Go on with a run's folder. Raises UsageError when somebody else writes it, or it cannot be written."""
        try:
            return RunStore(path.resolve())._opened()
        except BlockingIOError:
            raise UsageError(f"{path} is being written by another volley", "wait for it, or end it") from None
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}", "mend its rights, or free its disk"
            ) from error

    def _opened(self) -> RunStore:
        """Open the journal, which is the lock of the folder; it goes with the process."""
        journal = (self.path / JOURNAL_FILE).open("a", encoding="utf-8")
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            journal.close()
            raise
        self._journal = journal
        return self

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the run, whole or not at all."""
        _write(self.path / name, text.encode())

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file of the run, whole or not at all."""
        self.write_text(name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def journal(self, kind: str, text: str, facts: dict[str, Any]) -> None:
        """Append one event to the journal."""
        assert self._journal is not None
        line = {"at_ns": time.time_ns(), "kind": kind, "text": text, **({"facts": facts} if facts else {})}
        self._journal.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._journal.flush()

    def add(self, folder: str, trial: Trial, agents: list[AgentResult], server_log: bytes) -> Path:
        """Store one trial. It exists once its folder has been renamed into place, complete."""
        return self._add(self.path / "trials", folder, trial, agents, server_log)

    def add_try(self, folder: str, trial: Trial, agents: list[AgentResult], server_log: bytes) -> Path:
        """Store one try of a trial that does not count, beside those before it."""
        parent = self.path / TRIES
        parent.mkdir(exist_ok=True)
        return self._add(parent, f"{folder}-try{len(self._tries(folder)) + 1}", trial, agents, server_log)

    def tries(self, folder: str) -> list[str]:
        """Say of each try of a trial that did not count what was the matter."""
        told = []
        for path in self._tries(folder):
            trial = _read_json(path / TRIAL_FILE)
            codes = dict.fromkeys(f["code"] for f in trial["findings"] if f["severity"] == Severity.INVALID)
            told.append(trial["facts"]["error"] or ", ".join(codes))
        return told

    def _tries(self, folder: str) -> list[Path]:
        return sorted((self.path / TRIES).glob(f"{folder}-try*"), key=lambda path: int(path.name.rpartition("try")[2]))

    def _add(self, parent: Path, folder: str, trial: Trial, agents: list[AgentResult], server_log: bytes) -> Path:
        final = parent / folder
        draft = parent / f".{folder}.part"
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir()
        _write(draft / TRIAL_FILE, json.dumps(trial_to_plain(trial), indent=1, ensure_ascii=False).encode())
        _write(draft / AGENTS_FILE, encode_stream(pack_result(agent) for agent in agents))
        _write(draft / "server.json", json.dumps(to_plain(trial.facts.server), indent=1).encode())
        if server_log:
            _write(draft / "server.log", server_log)
        for agent in agents:
            _write(draft / f"h2load-{agent.facts.agent.replace('/', '-')}.txt", agent.facts.output.encode())
        draft.rename(final)
        _sync(final.parent)
        return final

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def trial_to_plain(trial: Trial) -> dict[str, Any]:
    """Give trial.json. The per-agent output is in files of its own."""
    plain = to_plain(trial)
    for agent in plain["facts"]["agents"]:
        agent["output"] = ""
    return {"format": FORMAT, **plain}


def read_trials(run: Path) -> list[tuple[TrialFacts, list[AgentResult]]]:
    """Read every stored trial's facts and counters, in order; they can be evaluated anew. Raises StoredRunError."""
    folders = sorted(p for p in (run / "trials").glob("*") if not p.name.startswith(".")) if run.is_dir() else []
    if not (run / "plan.json").is_file():
        raise StoredRunError(f"{run} is no run's folder: it has no plan.json", "give a folder that 'volley run' made")
    found = []
    for folder in folders:
        plain = _read_json(folder / TRIAL_FILE)
        if plain.get("format") != FORMAT:
            raise StoredRunError(
                f"{folder / TRIAL_FILE} has format {plain.get('format')}", f"this Volley reads {FORMAT}"
            )
        try:
            facts = from_plain(TrialFacts, plain["facts"])
            agents = [unpack_result(p) for p in decode_stream((folder / AGENTS_FILE).read_bytes())]
        except (ValueError, KeyError, OSError, BadFrame) as error:
            raise StoredRunError(
                f"{folder} cannot be read: {error}", "restore it, or delete that trial's folder"
            ) from error
        found.append((facts, agents))
    return found


def read_environment(run: Path) -> dict[str, Any]:
    """Read environment.json; empty where the hosts never came up. Raises StoredRunError."""
    path = run / "environment.json"
    return _read_json(path) if path.exists() else {}


def read_summary(run: Path) -> dict[str, Any]:
    """Read summary.json. Raises StoredRunError; it is not there before a run has ended."""
    return _read_json(run / SUMMARY_FILE)


def runs_in(folder: Path) -> list[Path]:
    """Give the runs of a folder, the oldest first."""
    return sorted((plan.parent for plan in folder.glob("*/plan.json")), key=_age)


def trials_done(run: Path) -> int:
    """Say how many trials a run has stored."""
    return sum(not path.name.startswith(".") for path in (run / "trials").glob("*"))


def _age(run: Path) -> tuple[str, int]:
    """By the time in its name; the second run of one second has a number behind it."""
    stamp = _STAMP.search(run.name)
    return (stamp[1], int(stamp[2] or 0)) if stamp else ("", 0)


def read_plan(run: Path) -> dict[str, Any]:
    """Read plan.json. Raises StoredRunError."""
    return _read_json(run / "plan.json")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoredRunError(f"{path} cannot be read: {error}", "give a folder that 'volley run' made") from error
    if not isinstance(content, dict):
        raise StoredRunError(f"{path} is not what 'volley run' writes", "give a folder that 'volley run' made")
    return content


def _write(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.part")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
