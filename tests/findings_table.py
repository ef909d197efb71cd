"""A table at the end of a test run: each finding, the tests that provoked it, the tests in which it had to stay silent.

A test says so by a marker: provokes("code", ...) or silent("code", ..., but=[...]). Tests in tests/unit provoke with made-up
facts, all others with real parts.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

PROVOKED: dict[str, dict[str, str]] = defaultdict(dict)
SILENT: dict[str, dict[str, str]] = defaultdict(dict)


def note(item: pytest.Item, outcome: str) -> None:
    """Remember what a test that has just run says of findings."""
    name = f"{item.location[0].split('/')[1]}::{getattr(item, 'originalname', item.name)}"
    for marker in item.iter_markers("provokes"):
        for code in marker.args:
            PROVOKED[code][name] = outcome
    for marker in item.iter_markers("silent"):
        for code in set(marker.args) - set(marker.kwargs.get("but", [])):
            SILENT[code][name] = outcome


def write(terminal: Any) -> None:
    """Print the table, if any such test ran."""
    codes = sorted({*PROVOKED, *SILENT})
    if not codes:
        return
    terminal.section("finding -> provoked -> control")
    for code in codes:
        terminal.write_line(f"{code:22} {_told(PROVOKED[code])} -> {_told(SILENT[code])}")


def _told(tests: dict[str, str]) -> str:
    """Real parts first: they say more."""
    if not tests:
        return "NOT IN THIS RUN"
    bad = sorted(name for name, outcome in tests.items() if outcome != "passed")
    real = sorted(name for name in tests if not name.startswith("unit::"))
    facts = len(tests) - len(real)
    shown = [
        *real[:2],
        *([f"+{len(real) - 2} more"] if len(real) > 2 else []),
        *([f"{facts} on facts"] if facts else []),
    ]
    return ", ".join(shown) + (f" FAILED: {', '.join(bad)}" if bad else "")
