"""Trials that were measured and could not be stored in their run's folder: kept elsewhere, and taken in by resume.

    PLACE/volley-kept-XXXXXXXX/of.json     the run's folder, and the folder in it where the trial belongs
    PLACE/volley-kept-XXXXXXXX/0002-...    the trial, complete, as it would be there

PLACE is the folder that VOLLEY_SPILL names; without it the temporary folder, then memory. Only folders of this user are
read: others can write there, too.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.errors import StoredRunError
from orchestrator.stored.checksums import read_checked, read_checksums
from orchestrator.stored.layout import TRIALS, TRIES

VARIABLE = "VOLLEY_SPILL"
PREFIX, OF_FILE = "volley-kept-", "of.json"
MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Kept:
    """A trial that is kept elsewhere. run: the folder of its run, absolute; parent: its place there, TRIALS or TRIES."""

    run: str
    parent: str


def places() -> list[Path]:
    """Return where trials can be kept, in the order in which they are tried."""
    if chosen := os.environ.get(VARIABLE):
        return [Path(chosen)]
    return list(dict.fromkeys([Path(tempfile.gettempdir()), MEMORY]))


def keep(run: Path, parent: str, write: Callable[[Path], Path]) -> Path | None:
    """Write a trial to the first place that can hold it; return its folder there, None where no place can.

    write: writes the trial's folder into the one that it is given, and returns it.
    """
    for place in places():
        try:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        except OSError:
            continue
        try:
            trial = write(folder)
            (folder / OF_FILE).write_text(json.dumps(asdict(Kept(str(run.resolve()), parent))))
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        return trial
    return None


def take_in(run: Path) -> list[str]:
    """Move the trials of a run that are kept elsewhere into its folder; return their names.

    Raises StoredRunError for one that is not as it was written, OSError where the run's folder cannot hold it.
    """
    taken = []
    for folder, kept in _kept_here():
        if Path(kept.run) != run.resolve() or kept.parent not in (TRIALS, TRIES):
            continue
        for trial in [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]:
            _move(trial, run / kept.parent)
            taken.append(trial.name)
        shutil.rmtree(folder)
    return taken


def _kept_here() -> Iterator[tuple[Path, Kept]]:
    for place in places():
        for folder in sorted(place.glob(f"{PREFIX}*")):
            try:
                found = folder.lstat()
                if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                    continue
                yield folder, Kept(**json.loads((folder / OF_FILE).read_text()))
            except (OSError, ValueError, TypeError):
                continue  # of another program, or one that is being written


def _move(trial: Path, parent: Path) -> None:
    """Copy a trial's folder and rename the copy into place. The original goes once that is done."""
    final, draft = parent / trial.name, parent / f".{trial.name}.part"
    if final.exists():
        return
    if (sums := read_checksums(trial)) is None:
        raise StoredRunError(f"{trial} has no checksums", "delete its folder, then resume again")
    for name in sums.files:
        read_checked(trial / name)
    parent.mkdir(exist_ok=True)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(trial, draft)
        for path in [*draft.iterdir(), draft]:
            _sync(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    draft.rename(final)
    _sync(parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
