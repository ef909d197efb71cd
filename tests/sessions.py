"""Which test session something on this machine belongs to, so that two sessions at once do not accuse each other.

A session is one pytest process: a worker of pytest-xdist is one of its own. Its name is its pid. What it starts has
that name in its environment, and has its own folder for temporary files. What cannot be ascribed to another session
that still runs belongs to every session: it is never overlooked.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from agents import lease

VARIABLE = "VOLLEY_TEST_SESSION"
# pytest's own variable for the parent of its folders, which must outlive a session.
BASE = "PYTEST_DEBUG_TEMPROOT"
MINE = str(os.getpid())
# Begins the names of the files in a session's folder that stand for the sessions inside it.
INSIDE = "session-"
SHARED_MEMORY = Path("/dev/shm")
# Folders that look like those of a run, in tests of what is not removed: another session may have made them. No run has
# such a name, because those of runs end in random letters. Tests that run beside each other use different ones.
DECOYS = ("volley-results", "volley-results-of-a-user")


def begin() -> None:
    """Name this session in the environment and give it a folder for temporary files. Call it once, before any test."""
    base = os.environ.setdefault(BASE, tempfile.gettempdir())
    # The name is short because the path of a Ray socket inside must not exceed 107 bytes.
    folder = _folder(base, MINE)
    folder.mkdir(exist_ok=True)
    if (parent := os.environ.get(VARIABLE)) and _folder(base, parent).is_dir():
        # A worker, or a program of a test that imports this and is killed there.
        (_folder(base, parent) / f"{INSIDE}{MINE}").touch()
    # Leases of its own, too: runs of two sessions would wait for each other.
    os.environ |= {VARIABLE: MINE, "TMPDIR": str(folder), lease.FOLDER_VARIABLE: str(folder / "leases")}
    tempfile.tempdir = None


def end() -> None:
    """Remove the session's folder, and those of sessions inside it that ended before they could."""
    base = os.environ[BASE]
    for inside in _folder(base, MINE).glob(f"{INSIDE}*"):
        if not psutil.pid_exists(int(name := inside.name.removeprefix(INSIDE))):
            shutil.rmtree(_folder(base, name), ignore_errors=True)
    shutil.rmtree(_folder(base, MINE), ignore_errors=True)


def _folder(base: str, name: str) -> Path:
    return Path(base) / f"vt{name}"


def is_another(name: str | None) -> bool:
    """Return whether this is the name of another session that still runs."""
    return name is not None and name.isdecimal() and name != MINE and psutil.pid_exists(int(name))


def owner(process: psutil.Process) -> str | None:
    """Return the session that started a process, by its environment or that of its nearest ancestor that has one.

    Ray's workers write their titles over their environment; the node above them does not. A worker of pytest-xdist has
    the name of the session that started it there.
    """
    with contextlib.suppress(psutil.Error, OSError):
        for each in (process, *process.parents()):
            if each.pid == os.getpid():
                return MINE
            if name := environment(each).get(VARIABLE):
                return name
    return None


def environment(process: psutil.Process) -> dict[str, str]:
    """Return the environment a process was started with; empty where it cannot be read."""
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ()
    return {}


def elsewhere(process: psutil.Process) -> bool:
    """Return whether a process runs in another PID namespace: in a container, or on a host of the lab."""
    try:
        return os.readlink(f"/proc/{process.pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    except OSError:
        return False


def processes() -> Iterator[psutil.Process]:
    """Yield the processes of runs on this machine that no other session has started, with their names in `info`."""
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error, OSError):
            of_a_run = "VOLLEY_RUN" in environment(process) or "".join(process.cmdline()).startswith("ray::")
            if of_a_run and not elsewhere(process) and not is_another(owner(process)):
                yield process


def runs_of_others() -> set[str]:
    """Return the names of runs that another session has under way, and no session else.

    Runs of one campaign that start in the same second have the same name.
    """
    others, own = set(), set()
    for process in psutil.process_iter():
        if (run := environment(process).get("VOLLEY_RUN")) and not elsewhere(process):
            (others if is_another(owner(process)) else own).add(run)
    return others - own


def scratch(folder: Path = SHARED_MEMORY) -> set[str]:
    """Return the names of the request logs in a folder that are not those of another session.

    Such a folder is called volley-RUN-RANDOM. Tests that drive agents in their own process have their pid in RUN.
    """
    names = {name for name in os.listdir(folder) if name.startswith("volley-") and name not in DECOYS}
    named = {name for name in names if any(is_another(part) for part in re.findall(r"(?<=-)\d+(?=-)", name))}
    left = names - named
    others = runs_of_others() if left else set()
    return {name for name in left if not any(name.startswith(f"volley-{run}-") for run in others)}
