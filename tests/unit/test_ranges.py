"""Sentences that differ only in their numbers become one."""

import pytest

from orchestrator.analyse.ranges import together, without_numbers

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("sentences", "one"),
    [
        (["It waited 13 % of the time.", "It waited 9.5 % of the time."], "It waited 9.5–13 % of the time."),
        (["It waited 1–2 % of the time.", "It waited 1.5–4 % of the time."], "It waited 1–4 % of the time."),
        (["1,000 of 2,000 requests", "1,200 of 2,000 requests"], "1,000–1,200 of 2,000 requests"),
        (["Agent local/0 sent 5.", "Agent local/0 sent 5."], "Agent local/0 sent 5."),
    ],
)
def test_numbers_become_ranges(sentences, one):
    """Names keep theirs, equal numbers stand once, and ranges are joined."""
    assert len({without_numbers(sentence) for sentence in sentences}) == 1
    assert together(sentences) == one


def test_a_range_counts_as_a_number():
    """So that a case with several values and one with a single value share an entry."""
    assert without_numbers("It waited 1–2 %.") == without_numbers("It waited 7 %.")


def test_statuses_are_no_range():
    """301 and 302 are two things, not a range of one."""
    assert without_numbers("7 requests with status 301.") == "# requests with status 301."
