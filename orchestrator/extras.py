"""Parts of Volley that are installed on demand: what needs Ray says how to get it before anything is started."""

from __future__ import annotations

from importlib.util import find_spec

from agents import DISTRIBUTION
from orchestrator.errors import UsageError


def install_hint(extra: str) -> str:
    """Return how to install an extra with pipx, uv or pip."""
    wanted = f"'{DISTRIBUTION}[{extra}]'"
    return f"pipx install --force {wanted}, uv tool install {wanted}, or pip install {wanted} in its environment"


def require_ray() -> None:
    """Raise UsageError if Ray is not installed. It is looked up, not imported: importing it takes a second."""
    if find_spec("ray") is None:
        raise UsageError("runs over hosts need Ray, which is not installed", install_hint("hosts"))
