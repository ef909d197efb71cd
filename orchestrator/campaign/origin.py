"""Digest the parts of a campaign, to name what has changed since a run was planned. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

# Parts that are compared key by key, so that a change can be named.
NAMED = ("targets", "services", "loads")


def parts_of(plain: Mapping[str, object]) -> dict[str, str]:
    """Return a digest of each part of a resolved campaign by its dotted name, targets and loads key by key.

    Digests, because the parts can hold secrets.
    """
    parts: dict[str, str] = {}
    for key, value in plain.items():
        if key in NAMED and isinstance(value, dict):
            parts |= {f"{key}.{name}.{inner}": _digest(x) for name, part in value.items() for inner, x in part.items()}
        else:
            parts[key] = _digest(value)
    return parts


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the parts that differ: 'loads.burst.clients changed', 'targets.c.url is new', 'seed is gone'."""
    differences = []
    for name in sorted({*before, *now}):
        if name not in now:
            differences.append(f"{name} is gone")
        elif name not in before:
            differences.append(f"{name} is new")
        elif before[name] != now[name]:
            differences.append(f"{name} changed")
    return differences


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
