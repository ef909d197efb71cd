"""The benchmark of 50 agents, small: it counts what its generators write, and its bounds can be missed."""

import pytest

from benchmarks import many_rows
from benchmarks.many_rows import P50_US, P99_US, Memory, slope
from tests.fakes.rows_generator import service_us


def test_the_known_percentiles():
    """Nearest rank over 1,000 different times."""
    times = sorted(service_us(k) for k in range(1000))

    assert (times[499], times[989]) == (P50_US, P99_US)


def test_growth_is_the_slope_over_the_watched_part():
    """What happened before the last 40 s does not count; a leak of 2 MB over them does."""
    memory = Memory()
    memory._samples = [(t / 2, 500.0 - t) for t in range(40)] + [(20 + t / 2, 100 + t / 40) for t in range(81)]

    found = memory.found()

    assert found["growth_mb"] == pytest.approx(2.0)
    assert found["resident_mb"] == 102
    assert slope([(0, 1), (1, 3), (2, 5)]) == 2


def test_wrong_numbers_miss_their_bounds(monkeypatch):
    """A row too few, a percentile that is off, memory that grows."""
    right = {
        "agents": 50, "ok": 6_000_000, "wrong_rows": 0, "p50_us": P50_US, "p99_us": P99_US, "growth_mb": 0.1,
        "resident_mb": 100.0, "peak_mb": 150.0, "cpu_s": 2.0,
    }  # fmt: skip

    def missed(**wrong):
        monkeypatch.setattr(many_rows, "measured", lambda *_: right | wrong)
        return [figure.name for figure in many_rows.measure() if figure.is_missed]

    assert missed() == []
    assert len(missed(wrong_rows=1, ok=5_999_999)) == 2
    assert (
        len(missed(agents=49)) == len(missed(p50_us=600)) == len(missed(p99_us=1000)) == len(missed(growth_mb=1.5)) == 1
    )


@pytest.mark.process
def test_a_short_run_counts_every_row(monkeypatch):
    """Three seconds with four agents: the whole path, in this process."""
    monkeypatch.setattr(many_rows, "AGENTS", 4)
    monkeypatch.setattr(Memory, "found", lambda self: {})

    found = many_rows.counted("3")

    rows = 4 * many_rows.RATE_PER_S * 3
    assert found == {"agents": 4, "ok": rows, "wrong_rows": 0, "p50_us": P50_US, "p99_us": P99_US}
