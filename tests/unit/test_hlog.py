"""What other HdrHistogram tools read."""

import numpy as np
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from agents.histogram import HdrCounts
from orchestrator.merge import merge
from orchestrator.report import hlog
from tests.unit.facts import agent_facts, result, trial_facts


def test_v2_encoding_is_read_by_the_public_implementation():
    """Every counter survives, and percentiles are the same."""
    h = HdrCounts()
    h.record(np.random.default_rng(9).lognormal(7, 2, 50_000).astype(np.int64))

    text = hlog.encode_v2(h.counts)
    oracle = HdrHistogram.decode(text)

    assert text.startswith("HISTF")
    assert np.array_equal(hlog.decode_v2(text), h.counts)
    assert oracle.get_total_count() == 50_000
    assert oracle.get_value_at_percentile(99) == h.quantile_us(0.99)


def test_hlog_files_are_read_by_the_public_log_reader(tmp_path):
    """All requests of a trial are in its log, by class."""
    agents = [result(agent_facts(), [100] * 300, [50] * 7), result(agent_facts(agent="local/1"), [900] * 200)]

    (path,) = hlog.write(tmp_path, [(trial_facts(), merge(agents)), (trial_facts(number=2, agents=[]), merge([]))])
    reader = HistogramLogReader(str(path), HdrHistogram(1, 2**36 - 1, 3))
    histograms = []
    while (found := reader.get_next_interval_histogram()) is not None:
        histograms.append(found)

    assert path.name == "0001-flask-burst.hlog"
    assert sorted(h.get_total_count() for h in histograms) == [7, 500]
    assert max(h.get_max_value() for h in histograms) == 900
