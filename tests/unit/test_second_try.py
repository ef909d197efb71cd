"""Which failed tests are tried a second time, and what .ci/part makes of it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests import second_try

PART = Path(__file__).parent.parent.parent / ".ci" / "part"
# In place of pytest: it fails with the names in FIRST, and then as SECOND says.
PYTEST = """#!/bin/sh
for word in "$@"; do case $word in --failed-to=*) echo "$FIRST" >"${word#--failed-to=}"; exit 1;; esac; done
echo "second: $*"
exit "$SECOND"
"""


def failed(name: str, *markers: str) -> pytest.TestReport:
    keywords = dict.fromkeys(markers, 1)
    return pytest.TestReport(name, ("", None, ""), keywords, "failed", None, "call")


def test_a_few_tests_with_real_parts_have_a_second_try():
    """Each once, also where its setup failed beside itself."""
    reports = [failed("a", "integration"), failed("b", "process"), failed("a", "integration")]

    assert second_try.eligible(reports) == ["a", "b"]


def test_a_failure_of_pure_logic_is_no_accident():
    """Nor does it leave a second try to another test."""
    assert second_try.eligible([failed("a", "integration"), failed("b", "unit")]) == []
    assert second_try.eligible([failed("a", "slow")]) == []


def test_many_failures_are_no_accident():
    """One more than allowed, and none is tried again."""
    assert second_try.eligible([failed(str(number), "lab") for number in range(second_try.AT_MOST + 1)]) == []


@pytest.mark.process
@pytest.mark.parametrize(
    ("first", "second", "code", "unsteady"),
    [("tests/a.py::b[c d]", 0, 0, True), ("tests/a.py::b[c d]", 1, 1, False), ("", 0, 1, False)],
    ids=["passes", "fails_again", "not_allowed"],
)
def test_a_part_passes_if_its_few_failures_do_not_come_again(tmp_path, first, second, code, unsteady):
    """It then names them as unsteady, where the times of the parts are."""
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTEST if first else PYTEST.replace('echo "$FIRST" >', ": >"))
    python.chmod(0o755)
    times = tmp_path / "times"
    environment = {**os.environ, "FIRST": first, "SECOND": str(second), "VOLLEY_TIMES": str(times)}

    done = subprocess.run(
        [PART, "a part", "-q"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30
    )

    assert done.returncode == code
    assert (f"second: -m pytest -p no:randomly {first}" in done.stdout) == bool(first)
    assert (f"UNSTEADY: {first}\n" in times.read_text()) == unsteady
