"""Which rows count, in which class, at which second."""

import numpy as np

from agents.recorder import HTTP_ERROR, OK, STREAM_FAILED, Recorder, Window
from agents.rows import Rows
from agents.series import LONGEST, Series  # type: ignore[attr-defined]

T0 = 1_795_331_418_000_000


def rows(*triples):
    start, status, service = zip(*triples, strict=True)
    return Rows(*(np.array(column, dtype=np.int64) for column in (start, status, service)))


def test_rows_are_selected_by_start_and_classified():
    """Started inside counts, whenever it ended; before, after and never sent are told apart."""
    recorder = Recorder(Window(T0, T0 + 2_000_000))

    recorder.add(
        rows(
            (T0 - 1, 200, 5_000_000),  # before, ends inside
            (T0, 200, 100),
            (T0 + 1_500_000, 302, 900_000),  # inside, ends after: crossing
            (T0 + 1, 404, 7),
            (T0 + 2, 503, 8),
            (T0 + 3, -1, 9),
            (T0 + 4, 0, 10),  # status lost
            (T0 + 2_000_000, 200, 1),  # after: the end is not inside
            (0, -1, 2888264961),  # never sent
        )
    )
    tally = recorder.tally

    assert {name: h.n for name, h in recorder.service.items()} == {OK: 2, HTTP_ERROR: 2, STREAM_FAILED: 1}
    assert (tally.rows, tally.before, tally.after, tally.never_sent, tally.boundary, tally.crossing) == (
        9,
        1,
        1,
        1,
        1,
        1,
    )
    assert tally.statuses == {200: 1, 302: 1, 404: 1, 503: 1, -1: 1, 0: 1}
    assert (tally.first_start_us, tally.last_end_us) == (T0 - 1, T0 + 4_999_999)


def test_every_row_is_in_exactly_one_place():
    """Nothing is dropped without a count."""
    draw = np.random.default_rng(3)
    n = 10_000
    start = T0 + draw.integers(-1_000_000, 5_000_000, n)
    start[draw.random(n) < 0.01] = 0
    recorder = Recorder(Window(T0, T0 + 3_000_000))

    recorder.add(Rows(start, draw.choice([200, 404, 500, -1, 0], n), draw.integers(0, 10_000, n)))
    t = recorder.tally

    assert sum(h.n for h in recorder.service.values()) + t.before + t.after + t.never_sent + t.boundary == t.rows == n


def test_series_holds_each_second_of_the_window():
    """The seconds add up to the whole, and each has its own requests."""
    recorder = Recorder(Window(T0, T0 + 3_000_000))

    recorder.add(rows((T0, 200, 5), (T0 + 999_999, 200, 5), (T0 + 2_000_000, 200, 9)))

    assert [(k, s.n) for k, s in recorder.series[OK].intervals()] == [(0, 2), (2, 1)]


def test_series_of_a_long_run_stays_bounded_and_complete():
    """After 600 intervals neighbours are added up: fewer, longer intervals, and not one request less."""
    series = Series()
    seconds = 5_000
    for second in range(seconds):
        at = np.full(3, second * 1_000_000 + 17, dtype=np.int64)
        series.record(at, np.array([1, 2, 3], dtype=np.int64))

    intervals = list(series.intervals())

    assert len(intervals) <= LONGEST
    assert series.interval_s == 16
    assert sum(s.n for _, s in intervals) == 3 * seconds
