"""Refuse to start when another distribution provides the package `agents`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from orchestrator.errors import UsageError

PACKAGE = "agents"
# A line of agents/__init__.py. It is read, not imported: a foreign package may be slow to import or fail.
MARK = 'DISTRIBUTION = "volley-load"'


def require_own_agents() -> None:
    """Raise UsageError when Python would import another project's `agents`, or finds none.

    Reads one small file and imports nothing.
    """
    spec = find_spec(PACKAGE)
    origin = spec.origin if spec is not None else None
    if origin is not None and MARK in _text(Path(origin)).splitlines():
        return
    where = f"{Path(origin).parent} belongs to another project" if origin else "the package is missing"
    raise UsageError(
        f"Volley cannot find its own Python package '{PACKAGE}': {where}",
        "install Volley in a virtual environment of its own: python3 -m venv volley && volley/bin/pip install volley-load",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
