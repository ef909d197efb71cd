"""Checksums of a stored trial: which run and folder its files were written for, and the SHA-256 of each.

They tell a disk that forgets, a copy that was cut, and a trial folder that was put where it does not belong. They do not
tell a person who changes results on purpose: who can write a file can write its checksum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator import bounded
from orchestrator.errors import StoredRunError
from orchestrator.slo import legible

CHECKSUMS_FILE = "checksums.json"
# Of the file of checksums, and of one that it is for. What is larger was not written by Volley.
MOST_CHECKSUM_BYTES, MOST_BYTES = 1 << 20, 512 << 20
DELETE = "restore it from a copy, or delete that trial's folder"


@dataclass(frozen=True, slots=True)
class Checksums:
    """What a trial folder says of itself. run: the name that its run had; files: SHA-256 in hexadecimal by file name."""

    run: str
    trial: str
    files: dict[str, str]


def write_checksums(folder: Path, run: str, trial: str) -> bytes:
    """Return the content of CHECKSUMS_FILE for a trial folder that is complete but for it."""
    files = {path.name: _of(path) for path in sorted(folder.iterdir())}
    return json.dumps({"run": run, "trial": trial, "files": files}, indent=1).encode()


def _of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checksums(folder: Path) -> Checksums | None:
    """Return the checksums of a stored trial; None for one of an earlier version, which has none.

    Raises StoredRunError when they cannot be read, or were written for a folder of another name.
    """
    path = folder / CHECKSUMS_FILE
    try:
        plain = json.loads(bounded.read_bytes(path, MOST_CHECKSUM_BYTES))
        found = Checksums(plain["run"], plain["trial"], plain["files"])
        whole = isinstance(found.files, dict) and all(isinstance(text, str) for text in (found.run, found.trial))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise StoredRunError(f"{path} cannot be read: {legible(str(error), 300)}", DELETE) from error
    if not whole:
        raise StoredRunError(f"{path} was not written by Volley", DELETE)
    if found.trial != folder.name:
        raise StoredRunError(
            f"{folder} holds trial {legible(found.trial)}, and not the one in its name",
            "move it back, or delete it",
        )
    return found


def read_checked(path: Path) -> bytes:
    """Return the content of a file of a stored trial. Raises StoredRunError unless it is what was written."""
    sums = read_checksums(path.parent)
    try:
        content = bounded.read_bytes(path, MOST_BYTES)
    except OSError as error:
        raise StoredRunError(f"{path} cannot be read: {error.strerror}", DELETE) from error
    if sums is not None and sums.files.get(path.name) != hashlib.sha256(content).hexdigest():
        raise StoredRunError(f"{path} is not what was written: its checksum differs", DELETE)
    return content


def refuse_foreign(folders: Iterable[Path]) -> None:
    """Raise StoredRunError for a trial folder of another run than the first: one that was copied or exchanged.

    The run's own folder may have been renamed, so its name says nothing.
    """
    first: tuple[str, Path] | None = None
    for folder in folders:
        sums = read_checksums(folder)
        if sums is None:
            continue
        if first is None:
            first = sums.run, folder
        elif sums.run != first[0]:
            raise StoredRunError(
                f"{folder} belongs to run {legible(sums.run)}, and {first[1].name} beside it to run {legible(first[0])}",
                "delete the one that does not belong there",
            )
