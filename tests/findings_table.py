"""A table at the end of a test run: each finding with the tests that provoke it and its controls.

Markers name them: provokes("code", ...) or silent("code", ..., but=[...]). Tests in tests/unit use
made-up facts, all others use real parts.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

PROVOKED: dict[str, dict[str, str]] = defaultdict(dict)
SILENT: dict[str, dict[str, str]] = defaultdict(dict)


def mark(item: pytest.Item, report: pytest.TestReport) -> None:
    """Add a test's findings to its report, because it may have run in another process."""
    for name in ("provokes", "silent"):
        for marker in item.iter_markers(name):
            codes = sorted(set(marker.args) - set(marker.kwargs.get("but", [])))
            report.user_properties.append((name, " ".join(codes)))


def note(report: pytest.TestReport) -> None:
    """Record the findings of a test that has run."""
    name = f"{report.nodeid.split('/')[1]}::{report.nodeid.rpartition('::')[2].partition('[')[0]}"
    for kind, table in (("provokes", PROVOKED), ("silent", SILENT)):
        for codes in (value for key, value in report.user_properties if key == kind):
            for code in str(codes).split():
                # One failed set of parameters makes the test failed.
                if table[code].get(name, "passed") == "passed":
                    table[code][name] = report.outcome


def load(path: Path) -> None:
    """Add what other runs of pytest have saved in a file; nothing where there is none."""
    if path.exists() and (text := path.read_text()):
        for table, saved in zip((PROVOKED, SILENT), json.loads(text), strict=True):
            for code, outcomes in saved.items():
                table[code] |= outcomes


def save(path: Path) -> None:
    """Write what was recorded to a file, with what was in it."""
    load(path)
    path.write_text(json.dumps([PROVOKED, SILENT]))


def write(terminal: Any) -> None:
    """Print the table if any such test ran."""
    codes = sorted({*PROVOKED, *SILENT})
    if not codes:
        return
    terminal.section("finding -> provoked -> control")
    for code in codes:
        terminal.write_line(f"{code:22} {_tests(PROVOKED[code])} -> {_tests(SILENT[code])}")


def _tests(tests: dict[str, str]) -> str:
    """Return the tests in words, those with real parts first."""
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
