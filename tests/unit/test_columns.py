"""Columns of long loads stay short and keep their totals."""

import pytest

from agents.columns import LONGEST, Column, Columns, last, mean


@pytest.mark.parametrize("seconds", [1, LONGEST - 1, LONGEST, LONGEST + 1, 3600, 36_000])
def test_a_column_of_any_length_is_short_and_adds_up(seconds):
    """Sums and levels are those of all seconds, whatever was joined."""
    moved, level, peak = Column(sum), Column(last), Column(max)
    for second in range(seconds):
        for column in (moved, level, peak):
            column.add(second)

    assert sum(moved.values()) == seconds * (seconds - 1) // 2
    assert level.values()[-1] == peak.values()[-1] == seconds - 1
    assert min(LONGEST // 2, seconds) <= len(moved.values()) <= LONGEST
    assert level.values() == sorted(level.values())


def test_seconds_are_joined_as_their_name_asks():
    """Shares get their mean, instants the last one."""
    columns = Columns({"at_s": last}, otherwise=mean)
    for second in range(LONGEST + 2):
        columns.add({"at_s": second, "busy_share": second % 2})

    values = columns.values()
    assert values["at_s"][:2] == [1, 3]
    assert set(values["busy_share"]) == {0.5}
    assert len(values["at_s"]) == len(values["busy_share"]) == LONGEST // 2 + 1
