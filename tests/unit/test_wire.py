"""Frames that must be refused, each with its reason."""

import struct

import msgpack
import numpy as np
import pytest

from agents import wire
from agents.histogram import Sparse
from tests.unit.facts import agent_facts, result


def packed(**changes):
    return wire.pack_result(result(agent_facts(), [5, 6, 7])) | changes


def frame(body, version=wire.VERSION, length=None):
    return struct.pack("!4sHI", b"VLYF", version, len(body) if length is None else length) + body


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated: 0 bytes"),
        (b"GET / HTTP/1.1\r\n", "no frame starts with b'GET '"),
        (
            frame(b"\x80", version=3),
            "frame of version 3; this Volley reads versions 1 and 2: use the same on every host",
        ),
        (frame(b"\x80", length=wire.MAX_BYTES + 1), "longer than the"),
        (frame(b"\x80", length=5), "truncated: 1 of 5 bytes"),
        (frame(b"\xc1"), "not msgpack"),
        (frame(msgpack.packb([1])), "not a map"),
        (frame(msgpack.packb({})) + b"x", "1 bytes follow"),
    ],
)
def test_a_frame_that_is_none(data, message):
    """Another version, too long, cut, something else entirely: refused, and said why."""
    with pytest.raises(wire.BadFrame, match=message):
        wire.decode(data)


def test_a_stream_without_its_end_is_refused():
    """An agent that died while sending is noticed."""
    with pytest.raises(wire.BadFrame, match="no end frame after 1 frames"):
        wire.decode_stream(wire.encode(packed()))


def test_a_stream_that_lost_a_frame_is_refused():
    """The last frame says how many came before it."""
    with pytest.raises(wire.BadFrame, match="says 2 frames and has 1"):
        wire.decode_stream(wire.encode(packed()) + wire.encode({"kind": "end", "frames": 2}))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("service", "ok", "counts"), [[5], [-1]], "a counter of -1: counts are positive"),
        (("service", "ok", "counts"), [[5], [0]], "a counter of 0"),
        (("service", "ok", "counts"), [[5, 0], [1, 1]], "do not ascend"),
        (("service", "ok", "counts"), [[99_999], [1]], "do not ascend within"),
        (("service", "ok", "counts"), [[5], [1.5]], "no whole number"),
        (("service", "ok", "counts"), [[5, 6], [1]], "2 indices and 1 counts"),
        (("service", "ok", "counts"), [b"\5\0", b"\0"], "a counter of 0"),
        (("service", "ok", "counts"), [b"\5\0\5\0", b"\1\1"], "do not ascend"),
        (("service", "ok", "counts"), [b"\xff\xff", b"\1"], "do not ascend within"),
        (("service", "ok", "counts"), [b"\5\0", b"\xff" * 8], "larger than any count"),
        (("service", "ok", "counts"), [b"\5\0", b"\1\1\1"], "1 indices and 3 bytes of counts"),
        (("service", "ok", "counts"), [b"\5", b"\1"], "each has two"),
        (("series", "ok", "sizes"), [2], "3 counters, and sizes for 2"),
        (("series", "ok", "sizes"), [2, 1], "1 intervals with sizes for 2"),
        (("series", "ok", "at"), [0.5], "1 intervals with sizes for 1"),
        (("service", "ok", "overflow"), -3, "negative"),
        (("service", "ok", "sum"), "many", "no number"),
        (("series", "ok", "interval_s"), 3, "powers of two"),
        (("histogram",), [1, 2, 3], "another configuration"),
        (("kind",), "server", "of kind 'server'"),
        (("facts", "rows"), "5", "AgentFacts.rows: str '5' where"),
        (("facts", "extra"), 1, "unknown field 'extra'"),
    ],
)
def test_a_result_that_must_not_be_believed(path, value, message):
    """Every field is checked; the message names what is wrong."""
    payload = packed()
    node = payload
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value

    with pytest.raises(wire.BadFrame, match=message):
        wire.unpack_result(wire.decode(wire.encode(payload)))


def test_a_missing_field_is_named():
    """A frame of an older agent lacks what is new."""
    payload = packed()
    del payload["facts"]["gate"]

    with pytest.raises(wire.BadFrame, match="field 'gate' is missing"):
        wire.unpack_result(payload)


def test_frames_of_version_1_hold_lists_and_are_read():
    """Stored runs have them: differences of indices and counts, per histogram and per interval."""
    sent = result(agent_facts(), [5, 5, 7, 5_000_000], seconds=3)
    payload = wire.pack_result(sent)
    for name, counts in sent.service.items():
        payload["service"][name]["counts"] = lists(counts.sparse)
    for name, series in sent.series.items():
        payload["series"][name] = {"interval_s": 1, "at": [[k, lists(sparse)] for k, sparse in series.intervals()]}

    got = wire.unpack_result(wire.decode(frame(msgpack.packb(payload), version=1)))

    assert (got.service, got.series) == (sent.service, sent.series)


def lists(sparse):
    return [np.diff(sparse.index, prepend=0).tolist(), sparse.count.tolist()]


def test_counts_of_every_width_travel_exactly():
    """One byte each, and eight, for the indices in between too."""
    for count in (1, 255, 256, 65_536, (1 << 32) - 1, 1 << 32, (1 << 62) - 1):
        payload = packed()
        payload["service"]["ok"]["counts"] = wire._pack_sparse(Sparse.made(np.array([0, 27_647]), np.array([count, 1])))
        got = wire.unpack_result(wire.decode(wire.encode(payload))).service["ok"].sparse

        assert (got.index.tolist(), got.count.tolist()) == ([0, 27_647], [count, 1])


def test_a_stream_is_read_frame_by_frame():
    """What comes first is there before what comes later is looked at."""
    frames = wire.frames_of(wire.encode(packed()) + b"GET / HTTP/1.1")

    assert wire.unpack_result(next(frames)).service["ok"].n == 3
    with pytest.raises(wire.BadFrame, match="no frame starts with"):
        next(frames)
