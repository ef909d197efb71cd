"""Arithmetic that must hold for all inputs: merge, wire, reader."""

from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents import wire
from agents.histogram import HIGHEST_US, HdrCounts, highest_equivalent_us, index_of, rank_of
from agents.recorder import CLASSES, Recorder, Window
from agents.records import AgentFacts
from agents.requestlog import LogTail, parse
from agents.rows import MalformedRow
from agents.series import Series
from orchestrator.spec.variables import Names, interpolate, literal
from tests.unit.facts import agent_facts

SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
T0 = 1_795_331_418_000_000
values_us = st.integers(0, 2**38)  # beyond the histogram's range as well
many = st.lists(values_us, max_size=60)
row = st.tuples(
    st.one_of(st.just(0), st.integers(T0 - 10**7, T0 + 10**7)),
    st.sampled_from([200, 204, 302, 404, 503, 103, -1, 0]),
    st.integers(0, 10**12),
)
log_lines = st.lists(row, max_size=40).map(lambda rs: b"".join(b"%d\t%d\t%d\n" % r for r in rs))


def of(values):
    h = HdrCounts()
    h.record(np.array(values, dtype=np.int64))
    return h


@SETTINGS
@given(many, many, many)
def test_merge_is_associative_commutative_and_has_an_identity(a, b, c):
    """Whatever the order in which agents report, the sum is the same."""
    x, y, z = of(a), of(b), of(c)

    assert (x + y) + z == x + (y + z)
    assert x + y == y + x
    assert x + HdrCounts() == x == HdrCounts() + x


@SETTINGS
@given(st.lists(many, min_size=1, max_size=6))
def test_merge_equals_the_histogram_of_the_pooled_values(parts):
    """Adding counters and pooling rows are one."""
    assert reduce(add, map(of, parts), HdrCounts()) == of([v for part in parts for v in part])


@SETTINGS
@given(
    st.lists(st.integers(0, HIGHEST_US), min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.9, 0.99, 0.999, 1.0])
)
def test_quantile_is_the_nearest_rank_to_a_thousandth(values, q):
    """The reported value is that of the nearest rank, at most a thousandth above it."""
    exact = sorted(values)[rank_of(q, len(values)) - 1]

    got = of(values).quantile_us(q)

    assert exact <= got <= exact * 1.001


@SETTINGS
@given(st.integers(0, HIGHEST_US))
def test_index_and_upper_edge_are_inverse(value):
    """A value is not above its counter's edge, and the edge is in that counter."""
    index = index_of(np.array([value], dtype=np.int64))
    edge = highest_equivalent_us(index)

    assert value <= int(edge[0])
    assert index_of(edge)[0] == index[0]


@SETTINGS
@given(log_lines, st.lists(st.integers(1, 200), min_size=1, max_size=30))
def test_any_split_of_the_log_gives_the_same_counters(data, cuts):
    """However the file grows under the reader, the result is that of the whole file."""

    def counters(pieces):
        recorder = Recorder(Window(T0 - 10**6, T0 + 10**6))
        with TemporaryDirectory() as folder:
            path = Path(folder) / "log"
            path.touch()
            tail = LogTail(path, chunk_bytes=57)
            with path.open("ab", buffering=0) as file:
                for piece in pieces:
                    file.write(piece)
                    while (rows := tail.read()) is not None:
                        recorder.add(rows)
            assert tail.close() == b""
        return recorder

    pieces, position = [], 0
    for cut in cuts:
        pieces.append(data[position : position + cut])
        position += cut
    pieces.append(data[position:])
    whole, split = Recorder(Window(T0 - 10**6, T0 + 10**6)), counters(pieces)
    whole.add(parse(data))

    assert split.service == whole.service
    assert split.series == whole.series
    assert split.tally == whole.tally


@SETTINGS
@given(st.binary(max_size=120))
def test_the_reader_takes_a_line_as_a_regular_expression_would(junk):
    """Arbitrary bytes are either rows by the book or refused: never something else."""
    import re

    data = junk.replace(b"\n", b"") + b"\n"
    book = re.fullmatch(rb"(\d{1,18})\t(-1|\d{1,3}|0{1,15}\d{1,3})\t(\d{1,18})(\t[\t\x20-\xff]*)?\n", data)
    try:
        rows = parse(data)
    except MalformedRow:
        assert not book
    else:
        assert book
        assert (rows.start_us[0], rows.status[0], rows.service_us[0]) == tuple(int(g) for g in book.groups()[:3])


@SETTINGS
@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 10**6)), max_size=50), st.integers(0, 50))
def test_series_merge_is_that_of_the_pooled_values(points, cut):
    """Seconds of two agents add up to those of both."""

    def series(some):
        s = Series()
        for at, value in some:
            s.record(np.array([at], dtype=np.int64), np.array([value], dtype=np.int64))
        return s

    assert series(points[:cut]) + series(points[cut:]) == series(points)
    assert series(points) + Series() == series(points)


def result_of(a, b) -> wire.AgentResult:
    series = Series()
    series.record(np.arange(len(a), dtype=np.int64) * 10**6, np.array(a, dtype=np.int64))
    service = {name: HdrCounts() for name in CLASSES} | {"ok": of(a), "http_error": of(b)}
    return wire.AgentResult(
        facts=replace(agent_facts(), rows=len(a)),
        service=service,
        series={name: Series() for name in CLASSES} | {"ok": series},
        response=of(b),
    )


@SETTINGS
@given(many, many)
def test_wire_round_trip_is_exact(a, b):
    """What is decoded is what was encoded."""
    sent = result_of(a, b)

    got = wire.unpack_result(wire.decode(wire.encode(wire.pack_result(sent))))

    assert got.facts == sent.facts
    assert (got.service, got.series, got.response, got.lag) == (sent.service, sent.series, sent.response, None)


@SETTINGS
@given(many, st.data())
def test_a_cut_or_changed_stream_is_noticed(a, data):
    """A truncated stream never decodes; a flipped byte never makes another exception than BadFrame."""
    stream = wire.encode_stream([wire.pack_result(result_of(a, a))])
    cut = data.draw(st.integers(0, len(stream) - 1))
    with pytest.raises(wire.BadFrame):
        wire.decode_stream(stream[:cut])

    position = data.draw(st.integers(0, len(stream) - 1))
    changed = bytearray(stream)
    changed[position] ^= data.draw(st.integers(1, 255))
    try:
        for payload in wire.decode_stream(bytes(changed)):
            wire.unpack_result(payload)
    except wire.BadFrame:
        pass


def test_facts_are_a_record():
    """The helper above makes real facts."""
    assert isinstance(agent_facts(), AgentFacts)


@given(st.text(alphabet="${}AB:-\\ ", max_size=12))
def test_text_that_was_made_literal_is_read_back_as_it_was(text):
    """Whatever dollar signs and braces it has: the campaign in a run's folder is read again."""
    unset = []

    assert interpolate(literal({"k": [text]}), Names({"A": "a"}, {"B": 1}), (), unset) == {"k": [text]}
    assert not unset
