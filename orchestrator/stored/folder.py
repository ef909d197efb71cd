"""Write a run folder: created before the run, extended trial by trial by renaming, never overwritten."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType

from agents.records import to_plain
from agents.wire import AgentResult, encoded_stream, pack_result
from orchestrator.errors import NotStored, UsageError
from orchestrator.result import FORMAT, Trial
from orchestrator.result.trial import with_former_names
from orchestrator.stored import disk, kept
from orchestrator.stored.checksums import CHECKSUMS_FILE, write_checksums
from orchestrator.stored.layout import AGENTS_FILE, JOURNAL_FILE, TRIAL_FILE, TRIALS, TRIES
from orchestrator.stored.reading import read_failure

MOST_RUNS_PER_SECOND = 100
# Of the journal, kept in memory while the disk takes none.
MOST_UNWRITTEN_BYTES = 4 << 20
# What services printed, by name.
Logs = Mapping[str, bytes]
NO_LOGS: Logs = {}


class RunStore:
    """The folder of one run, open for writing. Use it as a context manager.

    A disk that is full or fails does not cost a trial that is measured: it is kept elsewhere (stored/kept.py), and the
    error says where. resumable: whether 'volley resume' can continue the run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.resumable = True
        self._journal: int | None = None
        # Lines that the disk has not taken yet.
        self._unwritten = bytearray()

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
                f"no run can be stored in {parent}: {disk.reason(parent, error)}", "choose another folder with --out"
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
                f"{path} cannot be written: {disk.reason(path, error)}", f"{disk.fix(error)}, then resume again"
            ) from error

    def _opened(self) -> RunStore:
        """Open the journal. Its lock is the lock of the folder, and ends with the process."""
        journal = os.open(self.path / JOURNAL_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(journal)
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
            self._write_journal()
            os.close(self._journal)
            self._journal = None

    def discard(self) -> None:
        """Remove the folder, which holds no trial."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the run, whole or not at all. Raises NotStored."""
        try:
            _write(self.path / name, text.encode())
        except OSError as error:
            raise self.not_stored(name, error) from error

    def write_json(self, name: str, content: Mapping[str, object]) -> None:
        """Write a JSON file of the run, whole or not at all. Raises NotStored."""
        self.write_text(name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def journal(self, kind: str, text: str, facts: Mapping[str, object]) -> None:
        """Append one event to the journal. What the disk does not take now is written with the next event, or at the end."""
        assert self._journal is not None
        line = {"at_ns": time.time_ns(), "kind": kind, "text": text, **({"facts": facts} if facts else {})}
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "replace")
        if len(self._unwritten) + len(data) <= MOST_UNWRITTEN_BYTES:
            self._unwritten += data
        self._write_journal()

    def _write_journal(self) -> None:
        # A run does not end for want of an event: where the disk is full, the next trial says so and is kept elsewhere.
        assert self._journal is not None
        with contextlib.suppress(OSError):
            while self._unwritten:
                del self._unwritten[: os.write(self._journal, self._unwritten)]

    def not_stored(self, what: str, error: OSError, where: str = "") -> NotStored:
        """Return the error about something of the run that could not be written. where: where it is kept instead."""
        hint = "start the run again"
        if self._journal is None:
            hint = f"{disk.fix(error)}, then repeat the command"
        elif self.path.exists():
            hint = f"{disk.fix(error)}, then: volley {'resume' if self.resumable else 'report'} {self.path}"
        return NotStored(
            f"{what} cannot be written to {self.path}: {disk.reason(self.path, error)}{where}",
            hint,
        )

    def take_in(self) -> list[str]:
        """Move the trials of this run that are kept elsewhere into its folder; return their names.

        Raises NotStored, StoredRunError.
        """
        try:
            return kept.take_in(self.path)
        except OSError as error:
            raise self.not_stored("a trial that is kept elsewhere", error) from error

    def add(
        self,
        folder: str,
        trial: Trial,
        agents: Collection[AgentResult],
        server_log: bytes,
        service_logs: Logs = NO_LOGS,
    ) -> Path:
        """Store one trial. It exists once its complete folder has been renamed into place.

        Raises NotStored, with the trial kept elsewhere.
        """
        return self._add_or_keep(TRIALS, folder, partial(self._add, folder, trial, agents, server_log, service_logs))

    def add_try(
        self,
        folder: str,
        trial: Trial,
        agents: Collection[AgentResult],
        server_log: bytes,
        service_logs: Logs = NO_LOGS,
    ) -> Path:
        """Store one attempt at a trial that does not count, beside the earlier ones. Raises NotStored as add() does."""
        attempt = f"{folder}-try{len(self._tries(folder)) + 1}"
        return self._add_or_keep(TRIES, attempt, partial(self._add, attempt, trial, agents, server_log, service_logs))

    def _add_or_keep(self, parent: str, folder: str, add: Callable[[Path], Path]) -> Path:
        try:
            (self.path / parent).mkdir(exist_ok=True)
            return add(self.path / parent)
        except OSError as error:
            raise self._kept(parent, folder, add, error) from error

    def _kept(self, parent: str, folder: str, add: Callable[[Path], Path], error: OSError) -> NotStored:
        """Keep a trial elsewhere; return the error that says where."""
        what, where = f"trial {folder}", kept.keep(self.path, parent, add)
        if where is None:
            places = " and ".join(str(place) for place in kept.places())
            return self.not_stored(what, error, f". It is lost: {places} could not hold it either")
        gone = " (in memory, until this machine restarts)" if where.is_relative_to(kept.MEMORY) else ""
        found = self.not_stored(what, error, f". It is kept in {where}{gone}")
        if self.path.exists() and not self.resumable:
            move = f"mv {where} {self.path / parent}/ && volley report {self.path}"
            return NotStored(found.message, f"{disk.fix(error)}, then: {move}")
        return found

    def _add(
        self,
        folder: str,
        trial: Trial,
        agents: Collection[AgentResult],
        server_log: bytes,
        service_logs: Logs,
        parent: Path,
    ) -> Path:
        final = parent / folder
        draft = parent / f".{folder}.part"
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir()
        try:
            self._fill(draft, folder, trial, agents, server_log, service_logs)
            draft.rename(final)
        except BaseException:
            # What is incomplete only takes room on a disk that is full.
            shutil.rmtree(draft, ignore_errors=True)
            raise
        _sync(final.parent)
        return final

    def _fill(
        self,
        draft: Path,
        folder: str,
        trial: Trial,
        agents: Collection[AgentResult],
        server_log: bytes,
        service_logs: Logs,
    ) -> None:
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
