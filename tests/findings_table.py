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


def mark(item: pytest.Item, report: pytest.TestReport) -> None:
    """Put into a test's report what it says of findings: it may have run in another process."""
    for name in ("provokes", "silent"):
        for marker in item.iter_markers(name):
            codes = sorted(set(marker.args) - set(marker.kwargs.get("but", [])))
            report.user_properties.append((name, " ".join(codes)))


def note(report: pytest.TestReport) -> None:
    """Remember what a test that has run says of findings."""
    name = f"{report.nodeid.split('/')[1]}::{report.nodeid.rpartition('::')[2].partition('[')[0]}"
    for kind, table in (("provokes", PROVOKED), ("silent", SILENT)):
        for codes in (value for key, value in report.user_properties if key == kind):
            for code in str(codes).split():
                # One bad set of parameters is enough.
                if table[code].get(name, "passed") == "passed":
                    table[code][name] = report.outcome


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
