"""Where Volley keeps files that outlive a run, by inventory."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from orchestrator.spec.inventory import Inventory


def state_root() -> Path:
    """Return the folder of this user's state."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "volley"


def digest_of(inventory: Inventory) -> str:
    """Return a name for an inventory that is derived from its content."""
    return hashlib.sha256(inventory.model_dump_json().encode()).hexdigest()[:16]
