"""Write a run folder: created before the run, extended trial by trial by renaming, never overwritten."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO

from agents.records import to_plain
from agents.wire import AgentResult, encoded_stream, pack_result
from orchestrator.errors import UsageError
from orchestrator.result import FORMAT, Trial
from orchestrator.result.trial import with_former_names
from orchestrator.stored.checksums import CHECKSUMS_FILE, write_checksums
from orchestrator.stored.layout import AGENTS_FILE, JOURNAL_FILE, TRIAL_FILE, TRIALS, TRIES
from orchestrator.stored.reading import read_failure

MOST_RUNS_PER_SECOND = 100
# What services printed, by name.
Logs = Mapping[str, bytes]
NO_LOGS: Logs = {}


class RunStore:
    """The folder of one run, open for writing. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._journal: IO[str] | None = None

    @property
    def name(self) -> str:
        """The run's name: campaign and UTC time. It is also the label of its containers."""
        return self.path.name

    @staticmethod
    def create(parent: Path, campaign: str) -> RunStore:
        """Make a new folder under `parent`. Raises UsageError where that is not possible."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(MOST_RUNS_PER_SECOND):
                path = parent / (f"{campaign}-{stamp}" + (f"-{attempt}" if attempt else ""))
                try:
                    (path / TRIALS).mkdir(parents=True)
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
        """Open an existing run folder for writing. Raises UsageError when it is in use or not writable."""
        try:
            return RunStore(path.resolve())._opened()
        except BlockingIOError:
            raise UsageError(f"{path} is being written by another volley", "wait for it, or end it") from None
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}", "check its permissions and free disk space"
            ) from error

    def _opened(self) -> RunStore:
        """Open the journal. Its lock is the lock of the folder, and ends with the process."""
        journal = (self.path / JOURNAL_FILE).open("a", encoding="utf-8")
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            journal.close()
            raise
        self._journal = journal
        return self

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the journal, which releases the folder."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def discard(self) -> None:
        """Remove the folder, which holds no trial."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the run, whole or not at all."""
        _write(self.path / name, text.encode())

    def write_json(self, name: str, content: Mapping[str, object]) -> None:
        """Write a JSON file of the run, whole or not at all."""
        self.write_text(name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def journal(self, kind: str, text: str, facts: Mapping[str, object]) -> None:
        """Append one event to the journal."""
        assert self._journal is not None
        line = {"at_ns": time.time_ns(), "kind": kind, "text": text, **({"facts": facts} if facts else {})}
        self._journal.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._journal.flush()

    def add(
        self, folder: str, trial: Trial, agents: Iterable[AgentResult], server_log: bytes, service_logs: Logs = NO_LOGS
    ) -> Path:
        """Store one trial. It exists once its complete folder has been renamed into place."""
        return self._add(self.path / TRIALS, folder, trial, agents, server_log, service_logs)

    def add_try(
        self, folder: str, trial: Trial, agents: Iterable[AgentResult], server_log: bytes, service_logs: Logs = NO_LOGS
    ) -> Path:
        """Store one attempt at a trial that does not count, beside the earlier ones."""
        parent = self.path / TRIES
        parent.mkdir(exist_ok=True)
        return self._add(parent, f"{folder}-try{len(self._tries(folder)) + 1}", trial, agents, server_log, service_logs)

    def _add(
        self,
        parent: Path,
        folder: str,
        trial: Trial,
        agents: Iterable[AgentResult],
        server_log: bytes,
        service_logs: Logs,
    ) -> Path:
        final = parent / folder
        draft = parent / f".{folder}.part"
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir()
        _write(draft / TRIAL_FILE, json.dumps(trial_to_plain(trial), indent=1, ensure_ascii=False).encode())
        _write_all(draft / AGENTS_FILE, encoded_stream(pack_result(agent) for agent in agents))
        _write(draft / "server.json", json.dumps(to_plain(trial.facts.server), indent=1).encode())
        if server_log:
            _write(draft / "server.log", server_log)
        for name, log in service_logs.items():
            if log:
                _write(draft / f"service-{name}.log", log)
        for agent in trial.facts.agents:
            _write(draft / f"{agent.generator}-{agent.agent.replace('/', '-')}.txt", agent.output.encode())
        _write(draft / CHECKSUMS_FILE, write_checksums(draft, self.name, folder))
        draft.rename(final)
        _sync(final.parent)
        return final

    def tries(self, folder: str) -> list[str]:
        """Return why each stored attempt at a trial did not count, in order."""
        return [read_failure(path / TRIAL_FILE) for path in self._tries(folder)]

    def _tries(self, folder: str) -> list[Path]:
        return sorted((self.path / TRIES).glob(f"{folder}-try*"), key=lambda path: int(path.name.rpartition("try")[2]))


def trial_to_plain(trial: Trial) -> dict[str, object]:
    """Return trial.json. The generators' output is left to the agents' own file."""
    plain = to_plain(trial)
    for agent in plain["facts"]["agents"]:
        agent["output"] = ""
    if plain["metrics"] is not None:
        plain["metrics"] = with_former_names(plain["metrics"])
    return {"format": FORMAT, **plain}


def _write(path: Path, data: bytes) -> None:
    _write_all(path, [data])


def _write_all(path: Path, pieces: Iterable[bytes]) -> None:
    draft = path.with_name(f".{path.name}.part")
    with draft.open("wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
