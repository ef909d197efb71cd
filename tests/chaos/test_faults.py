"""Rows of the table of faults that no other test has. `make chaos` runs all of them."""

from pathlib import Path

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.moments import Moment
from tests.chaos.several import run_rows

ROWS = [
    ("local", "server actor killed", Moment.COLLECT),
    ("local", "clock -2 s", Moment.WINDOW),
    ("local", "clock -2 s", Moment.START),
    ("ray", "load actor killed", Moment.COLLECT),
    ("ray", "guard killed", Moment.COLLECT),
]


@pytest.mark.full
@pytest.mark.parametrize(("world", "fault", "moment"), ROWS)
def test_a_fault_keeps_the_promise_of_its_row(tmp_path: Path, world, fault, moment, record_property):
    """It is noticed in time and recorded, the finished trial is kept, resume completes the plan, nothing is left."""
    (row,) = run_rows([(world, FAULTS[fault], moment)], tmp_path)

    record_property("print", f"{fault}, {moment}, {world}: noticed after {row.noticed_s} s, {', '.join(row.codes)}")
    assert row.wrong == [], row
