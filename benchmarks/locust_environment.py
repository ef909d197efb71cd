"""A virtual environment with Locust, outside this folder: it is heavy, and nothing but one benchmark needs it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).with_name("locust.lock")
INSTALL_WITHIN_S = 300


class NoLocust(RuntimeError):
    """Locust could not be installed. The message has the end of what pip printed."""


def python() -> str:
    """Return the interpreter that has Locust, after creating its environment if needed. Raise NoLocust."""
    key = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "volley-bench" / f"locust-{key}"
    program, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(program), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        _run([*pip, "--require-hashes", "-r", str(LOCK)])
        complete.touch()
    return str(program)


def _run(argv: list[str]) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_WITHIN_S)
    except subprocess.TimeoutExpired:
        raise NoLocust(f"'{' '.join(argv[1:4])}' took longer than {INSTALL_WITHIN_S} s") from None
    if done.returncode:
        raise NoLocust(f"'{' '.join(argv[1:4])}' failed: {done.stderr.strip()[-300:]}")
