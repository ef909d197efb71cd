"""Requests of a mix are counted exactly, each for itself, however the rows come and however many requests there are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.arrivals import Schedule
from agents.generators.contract_log import parse_lines
from agents.histogram import HIGHEST_US, HdrCounts
from agents.mix import MOST_REQUESTS, MixCounters, RequestCounts, Times
from agents.recorder import HTTP_ERROR, OK, STREAM_FAILED, Recorder, Window
from agents.records import AssignedRequest
from agents.requestlog import parse
from agents.rows import MalformedRow, Rows
from agents.wire import AgentResult, BadFrame, decode, encode, pack_result, unpack_result
from orchestrator.merge import merge
from tests.unit.facts import agent_facts

pytestmark = pytest.mark.unit

T0 = 1_795_331_418_000_000
WINDOW = Window(T0, T0 + 1_000_000)
VALUES = st.integers(0, 1 << 24) | st.integers(HIGHEST_US - 2, HIGHEST_US + 2)


def requests(number, **allowed):
    return [AssignedRequest(f"r{i}", f"http://h/{i}", allowed=allowed.get(f"r{i}", [])) for i in range(number)]


def rows(n, number, seed=1, statuses=(200, 404, 500, -2)):
    draw = np.random.default_rng(seed)
    start = T0 + draw.integers(0, 1_000_000, n)
    return Rows(
        start,
        draw.choice(statuses, n),
        draw.integers(1, 1 << 21, n),
        start - draw.integers(0, 500, n).clip(max=start - T0),
        draw.integers(0, number, n),
        draw.integers(-1, 900, n),
        draw.integers(0, 10_000, n),
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), VALUES), max_size=60), st.integers(1, 5))
def test_times_equal_a_histogram_of_each_number(values, pieces):
    times, plain = Times(4), [HdrCounts() for _ in range(4)]
    for piece in (values[i::pieces] for i in range(pieces)):
        number, time = (np.array([pair[k] for pair in piece], dtype=np.int64) for k in (0, 1))
        times.add(number, time)
        times.of(0)  # Reading in between changes nothing.
    for number in range(4):
        plain[number].record(np.array([value for k, value in values if k == number], dtype=np.int64))
        assert times.of(number) == plain[number]


def test_a_negative_time_is_refused():
    with pytest.raises(ValueError, match="negative"):
        Times(1).add(np.array([0]), np.array([-1]))


@pytest.mark.parametrize("open_loop", [False, True])
def test_each_request_of_a_mix_equals_a_load_of_that_request_alone(open_loop):
    schedule = Schedule(1000.0, 1000.0, True, T0, 0.0) if open_loop else None
    everything, mixed = rows(5000, 3), Recorder(WINDOW, schedule, requests(3, r1=[404]))
    for k in range(7):
        mixed.add(everything.where(np.arange(5000) % 7 == k))
    for number, own in mixed.mix.items():
        alone = Recorder(WINDOW, schedule, [requests(3, r1=[404])[number]])
        alone.add(everything.where(everything.request == number))
        assert own.service == alone.service[OK]
        assert (own.response, own.unanswered) == (alone.response, alone.unanswered)
        assert own.first_byte == alone.first_byte
        assert (own.http_error, own.failed) == (alone.service[HTTP_ERROR].n, alone.service[STREAM_FAILED].n)
        assert own.statuses == dict(sorted(alone.tally.statuses.items()))
        assert own.received_bytes == alone.received_bytes
    assert sum(own.service.n for own in mixed.mix.values()) == mixed.service[OK].n


def test_an_allowed_status_is_a_success_of_its_request_only():
    recorder = Recorder(WINDOW, None, requests(2, r1=[404]))
    sent = np.full(4, T0 + 5)
    recorder.add(Rows(sent, np.array([404, 404, 200, 200]), np.full(4, 9), sent, np.array([0, 1, 0, 1])))
    assert {number: (own.service.n, own.http_error) for number, own in recorder.mix.items()} == {0: (1, 1), 1: (1, 1)}
    single = Recorder(WINDOW, None, requests(1, r0=[302, 500]))
    single.add(Rows(sent, np.array([302, 500, 200, -2]), np.full(4, 9)))
    assert {name: h.n for name, h in single.service.items()} == {OK: 2, HTTP_ERROR: 1, STREAM_FAILED: 1}


def test_requests_beyond_the_most_share_their_counters():
    many = MixCounters(MOST_REQUESTS + 50, open_loop=False)
    number = np.array([0, MOST_REQUESTS - 1, MOST_REQUESTS, MOST_REQUESTS + 49])
    many.add(number, np.full(4, 200), np.ones(4, dtype=bool), np.full(4, 7), None, None)
    counts = many.counts()
    assert len(counts) == MOST_REQUESTS + 1
    assert [counts[k].service.n for k in (0, 1, MOST_REQUESTS - 1, MOST_REQUESTS)] == [1, 0, 1, 2]


def test_a_row_of_a_request_that_the_load_does_not_have_is_refused():
    sent = np.full(1, T0 + 5)
    with pytest.raises(MalformedRow, match="request 2; the load's requests are 0 to 1"):
        Recorder(WINDOW, None, requests(2)).add(Rows(sent, np.full(1, 200), np.full(1, 9), sent, np.full(1, 2)))
    with pytest.raises(MalformedRow, match="no request numbers"):
        Recorder(WINDOW, None, requests(2)).add(Rows(sent, np.full(1, 200), np.full(1, 9)))


def result(seed, with_mix=True):
    recorder = Recorder(WINDOW, Schedule(1000.0, 1000.0, True, T0, 0.0), requests(3) if with_mix else ())
    recorder.add(rows(300, 3, seed))
    return AgentResult(
        agent_facts(), recorder.service, recorder.series, recorder.response, recorder.lag, recorder.unanswered,
        recorder.first_byte, recorder.received_bytes, recorder.mix,
    )  # fmt: skip


def test_counters_of_a_mix_travel_and_merge_exactly():
    parts = [result(seed) for seed in range(4)]
    sent = [unpack_result(decode(encode(pack_result(part)))) for part in parts]
    assert sent[0].mix == parts[0].mix
    whole, backwards = merge(sent), merge(reversed(sent))
    assert whole.mix == backwards.mix
    assert whole.received_bytes == sum(part.received_bytes for part in parts)
    pooled = Recorder(WINDOW, Schedule(1000.0, 1000.0, True, T0, 0.0), requests(3))
    for seed in range(4):
        pooled.add(rows(300, 3, seed))
    assert whole.mix == pooled.mix
    assert whole.first_byte == pooled.first_byte
    # What was merged is as before.
    assert sent[0].mix == parts[0].mix


def test_a_frame_without_a_mix_has_no_new_fields_and_a_broken_one_is_refused():
    plain = result(1, with_mix=False)
    plain.first_byte, plain.received_bytes = HdrCounts(), None
    assert not {"mix", "first_byte", "received_bytes"} & pack_result(plain).keys()
    packed = pack_result(result(1))
    for broken in ({999: packed["mix"][0]}, {0: {**packed["mix"][0], "failed": -1}}, {0: {}}):
        with pytest.raises(BadFrame):
            unpack_result({**packed, "mix": broken})


def test_sums_of_requests_start_from_nothing():
    total = RequestCounts()
    total += result(1).mix[0]
    assert total == result(1).mix[0]


def test_a_log_with_seven_columns():
    lines = b"5\t6\t200\t70\t1\t12\t4096\n5\t6\t-2\t70\t0\t-1\t0\n"
    both = parse(lines, lines=parse_lines)
    assert both.first_byte_us.tolist() == [12, -1]
    assert both.bytes.tolist() == [4096, 0]
    assert parse(b"5\t6\t200\t70\t1\n", lines=parse_lines).bytes is None
    # More columns are tolerated, whatever they hold.
    assert parse(b"5\t6\t200\t70\t1\ttext\n", lines=parse_lines).first_byte_us is None
    assert parse(b"5\t6\t200\t70\t1\ttext\tmore\n", lines=parse_lines).first_byte_us.tolist() == [-1]
    assert parse(lines + b"5\t6\t200\t70\t1\n", lines=parse_lines).request.tolist() == [1, 0, 1]
