"""Which tests of a full run may be tried a second time, alone, before the run counts as failed.

The machine of CI is shared, and tests run beside each other. What a test with real parts does then may be right and yet
not what it waits for. So a few of them have one more try, on a machine with nothing else on it (.ci/part). A test that
needs it is named at the end as unsteady, with its first failure further up. That is a bug in the test or in Volley, and
waits for somebody to mend it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

# More than this is no accident.
AT_MOST = 3


def save(path: Path, failed: Iterable[pytest.TestReport]) -> None:
    """Write the names of the failed tests to a file, one in a line; nothing where they may not be tried again."""
    path.write_text("".join(f"{name}\n" for name in eligible(failed)))


def eligible(failed: Iterable[pytest.TestReport]) -> list[str]:
    """Return the names of the failed tests; none if there are too many, or if one of them is pure logic."""
    reports = {report.nodeid: report for report in failed}
    pure = any("unit" in report.keywords or "slow" in report.keywords for report in reports.values())
    return [] if pure or len(reports) > AT_MOST else list(reports)
