"""Where a run's plan came from, so that it can be planned again, and what has changed since. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

# Parts that are compared one by one, so that a change can be named.
NAMED = ("targets", "loads")


@dataclass(frozen=True, slots=True)
class Origin:
    """What was typed. file: the campaign file, absolute, or relative to the run's folder where there was none.

    hosts: the inventory, absolute; None for this machine alone.
    """

    file: str
    overrides: list[str] = field(default_factory=list)
    only: str | None = None
    hosts: str | None = None


def parts_of(plain: dict[str, Any]) -> dict[str, str]:
    """Digest each part of a resolved campaign by its dotted name, targets and loads key by key.

    Digests, because the parts can hold secrets.
    """
    found: dict[str, str] = {}
    for key, value in plain.items():
        if key in NAMED and isinstance(value, dict):
            found |= {f"{key}.{name}.{inner}": _digest(x) for name, part in value.items() for inner, x in part.items()}
        else:
            found[key] = _digest(value)
    return found


def changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Name what is not the same: 'loads.burst.clients changed', 'targets.c.url is new', 'seed is gone'."""
    found = []
    for name in sorted({*before, *now}):
        if name not in now:
            found.append(f"{name} is gone")
        elif name not in before:
            found.append(f"{name} is new")
        elif before[name] != now[name]:
            found.append(f"{name} changed")
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
