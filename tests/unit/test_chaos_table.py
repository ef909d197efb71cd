"""The table of faults: which rows are WRONG, and how they are shown."""

from dataclasses import replace

import pytest

from tests.chaos import expected, records, table
from tests.chaos.faults import ANYWHERE, FAULTS
from tests.chaos.moments import Moment
from tests.chaos.records import Expected, Row, judge

GOOD = Row(
    "load actor killed", "window", "local",
    noticed_s=0.4, cleaned_s=0.1, ending=0, codes=["host-lost", "retried"], tries=1, intact=True, resumed=0,
    counts=[150, 150], rates_per_s=[92.0, 91.0],
)  # fmt: skip
PROMISED = Expected(5, {0}, ("host-lost",))


def test_a_row_as_promised_is_not_wrong():
    assert judge(GOOD, PROMISED) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"noticed_s": 5.1}, "noticed after 5.1 s, not within 5 s"),
        ({"noticed_s": None}, "noticed after never"),
        ({"codes": ["start-skew"]}, "none of host-lost is recorded"),
        ({"ending": 4}, "exit code 4"),
        ({"ending": 1}, "a traceback"),
        ({"sentence": "Traceback: KeyError"}, "a traceback"),
        ({"left": ["process 7"]}, "left: process 7"),
        ({"cleaned_s": None}, "left: cleaned up too late"),
        ({"intact": False}, "the finished trial was changed"),
        ({"resumed": 4, "resume_sentence": "error: x"}, "resume ended with 4: error: x"),
        ({"counts": [150]}, "counts [150]"),
        ({"counts": [150, 149]}, "counts [150, 149]"),
        ({"counts": [None, 150]}, "counts [None, 150]"),
        ({"missing": ["/tmp/volley-results"]}, "foreign things gone: /tmp/volley-results"),
        ({"trouble": "the moment was missed"}, "the moment was missed"),
    ],
)
def test_each_broken_promise_makes_a_row_wrong(change, words):
    assert any(words in each for each in judge(replace(GOOD, **change), PROMISED))


def test_a_harmless_fault_may_go_unnoticed_only_if_the_run_ends_well():
    harmless = replace(PROMISED, harmless=True)
    unnoticed = replace(GOOD, noticed_s=None, codes=[], tries=0)

    assert judge(unnoticed, harmless) == []
    assert judge(replace(unnoticed, ending=4), harmless) != []
    assert judge(replace(unnoticed, counts=[150, 151]), harmless) != []
    assert judge(replace(unnoticed, rates_per_s=[92.0, 45.0]), harmless) == [
        "throughput [92.0, 45.0], and no finding says why"
    ]


def test_every_fault_has_a_promise_at_every_moment_and_in_every_world():
    """The faults that the table must have are there, each wherever it can happen."""
    rows = [(f, moment, world) for f in FAULTS.values() for moment in f.moments for world in f.worlds]

    assert len(FAULTS) >= 18
    assert {world for _, _, world in rows} == set(ANYWHERE)
    assert all(expected.expected(*row).endings for row in rows)
    # A generator that has ended can neither be killed nor stopped while its results are collected.
    assert {f.name for f in FAULTS.values() if f.moments != tuple(Moment)} == {"h2load killed", "h2load stopped 5 s"}


def test_a_row_survives_the_file_of_rows():
    assert records.from_line(records.to_line(GOOD)) == GOOD


def test_the_line_of_a_wrong_row_says_why():
    text = table.line(replace(GOOD, ending=4, sentence="error: host gone", wrong=["exit code 4"]))

    assert text.splitlines()[0].split()[:5] == ["load", "actor", "killed", "window", "local"]
    assert "error: host gone" in text
    assert "WRONG: exit code 4" in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_the_page_has_the_last_row_of_each_kind():
    old, other = replace(GOOD, noticed_s=9.9), replace(GOOD, moment="start", world="lab")
    text = table.page([old, other, GOOD], list(FAULTS), {"local": 1, "lab": 3})

    assert "9.9 s" not in text
    assert text.endswith("1 of the 3 rows were run for this page.\n")
    assert text.count("were run for this page") == 1
    assert text.index("## On one machine\n") < text.index("## On two hosts")
    assert "| load actor killed | window | 0.4 s | 0 | host-lost, retried | 1 | 0.1 s | 0 | 150 + 150 |" in text
