"""What travels and what is stored: msgpack in frames that state their version and length, decoded strictly.

frame   = magic "VLYF", version (u16), length (u32), payload (msgpack, `length` bytes); big-endian
stream  = frame*, then a frame {"kind": "end", "frames": n}: a stream that was cut is noticed
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from agents.histogram import COUNTERS, HIGHEST_US, SIGNIFICANT_DIGITS, HdrCounts
from agents.recorder import CLASSES
from agents.records import AgentFacts, BadRecord, from_plain, to_plain
from agents.series import Series, Sparse

VERSION = 1
MAX_BYTES = 64 << 20
# What msgpack reads: a map whose values are checked where they are used.
Payload = dict[str, Any]
_HEADER = struct.Struct("!4sHI")
_MAGIC = b"VLYF"
_MAX_COUNT = 1 << 62


class BadFrame(ValueError):
    """A frame that must not be believed: says what is wrong with it."""


@dataclass(slots=True)
class AgentResult:
    """One agent's facts and counters. response, lag and unanswered are None in the closed loop.

    unanswered: the part of response that is of requests without an answer, at their age.
    """

    facts: AgentFacts
    service: dict[str, HdrCounts]
    series: dict[str, Series]
    response: HdrCounts | None = None
    lag: HdrCounts | None = None
    unanswered: HdrCounts | None = None


def encode(payload: Payload) -> bytes:
    """Make one frame. Raises BadFrame when it would be longer than MAX_BYTES."""
    body: bytes = msgpack.packb(payload, use_bin_type=True)
    if len(body) > MAX_BYTES:
        raise BadFrame(f"a frame of {len(body)} bytes is longer than the {MAX_BYTES} that are allowed")
    return _HEADER.pack(_MAGIC, VERSION, len(body)) + body


def decode(data: bytes) -> Payload:
    """Read exactly one frame. Raises BadFrame."""
    payload, rest = _next(data)
    if rest:
        raise BadFrame(f"{len(rest)} bytes follow the frame")
    return payload


def _next(data: bytes) -> tuple[Payload, bytes]:
    if len(data) < _HEADER.size:
        raise BadFrame(f"truncated: {len(data)} bytes are less than a frame's header")
    magic, version, length = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise BadFrame(f"no frame starts with {magic!r}")
    if version != VERSION:
        raise BadFrame(f"frame of version {version}; this Volley reads version {VERSION}: use the same on every host")
    if length > MAX_BYTES:
        raise BadFrame(f"a frame of {length} bytes is longer than the {MAX_BYTES} that are allowed")
    body = data[_HEADER.size : _HEADER.size + length]
    if len(body) < length:
        raise BadFrame(f"truncated: {len(body)} of {length} bytes")
    try:
        payload = msgpack.unpackb(body, raw=False, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise BadFrame(f"the payload is not msgpack: {error}") from error
    if not isinstance(payload, dict):
        raise BadFrame("the payload is not a map")
    return payload, data[_HEADER.size + length :]


def encode_stream(payloads: Iterable[Payload]) -> bytes:
    """Make a stream of frames with its end frame."""
    frames = [encode(payload) for payload in payloads]
    return b"".join([*frames, encode({"kind": "end", "frames": len(frames)})])


def decode_stream(data: bytes) -> list[Payload]:
    """Read a whole stream. Raises BadFrame, also when the end frame is missing or counts other frames than there are."""
    payloads: list[Payload] = []
    while data:
        payload, data = _next(data)
        if payload.get("kind") == "end":
            if data or payload.get("frames") != len(payloads):
                raise BadFrame(f"the stream says {payload.get('frames')} frames and has {len(payloads)}")
            return payloads
        payloads.append(payload)
    raise BadFrame(f"truncated: the stream has no end frame after {len(payloads)} frames")


def pack_result(result: AgentResult) -> Payload:
    """Turn an agent's result into a frame's payload."""
    return {
        "kind": "agent",
        "histogram": [COUNTERS, HIGHEST_US, SIGNIFICANT_DIGITS],
        "facts": to_plain(result.facts),
        "service": {name: _pack_counts(h) for name, h in result.service.items()},
        "series": {name: _pack_series(s) for name, s in result.series.items()},
        "response": None if result.response is None else _pack_counts(result.response),
        "lag": None if result.lag is None else _pack_counts(result.lag),
        "unanswered": None if result.unanswered is None else _pack_counts(result.unanswered),
    }


def unpack_result(payload: Payload) -> AgentResult:
    """Read an agent's result back. Raises BadFrame for anything that is not exactly that."""
    try:
        if payload["kind"] != "agent":
            raise BadFrame(f"a frame of kind {payload['kind']!r} where an agent's was expected")
        if payload["histogram"] != [COUNTERS, HIGHEST_US, SIGNIFICANT_DIGITS]:
            raise BadFrame(f"histograms of another configuration: {payload['histogram']}")
        if set(payload["service"]) != set(CLASSES) or set(payload["series"]) != set(CLASSES):
            raise BadFrame(f"classes {sorted(payload['service'])} where {sorted(CLASSES)} were expected")
        return AgentResult(
            facts=from_plain(AgentFacts, payload["facts"]),
            service={name: _unpack_counts(h) for name, h in payload["service"].items()},
            series={name: _unpack_series(s) for name, s in payload["series"].items()},
            response=None if payload["response"] is None else _unpack_counts(payload["response"]),
            lag=None if payload["lag"] is None else _unpack_counts(payload["lag"]),
            # Not in runs of version 0.1.
            unanswered=None if payload.get("unanswered") is None else _unpack_counts(payload["unanswered"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, BadRecord) as error:
        if isinstance(error, BadFrame):
            raise
        raise BadFrame(f"an agent's frame is incomplete or wrongly typed: {error!r}") from error


def _pack_sparse(sparse: Sparse) -> list[list[int]]:
    return [np.diff(sparse.index, prepend=0).tolist(), sparse.count.tolist()]


def _unpack_sparse(packed: Any) -> Sparse:
    steps, counts = packed
    if len(steps) != len(counts):
        raise BadFrame(f"{len(steps)} indices and {len(counts)} counts")
    if not all(type(v) is int for v in steps) or not all(type(v) is int for v in counts):
        raise BadFrame("a counter that is no whole number")
    if any(not 0 < count < _MAX_COUNT for count in counts):
        raise BadFrame(f"a counter of {next(c for c in counts if not 0 < c < _MAX_COUNT)}: counts are positive")
    if any(step < 1 for step in steps[1:]) or (steps and (steps[0] < 0 or sum(steps) >= COUNTERS)):
        raise BadFrame("counter indices that do not ascend within the histogram")
    return Sparse(np.cumsum(np.array(steps, dtype=np.int64)), np.array(counts, dtype=np.int64))


def _pack_counts(h: HdrCounts) -> Payload:
    # A sum of squares can exceed 64 bits, which msgpack has no number for.
    return {
        "counts": _pack_sparse(Sparse.of(h.counts)),
        "overflow": h.overflow,
        "min": h.minimum_us,
        "max": h.maximum_us,
        "sum": str(h.total_us),
        "squares": str(h.squares_us2),
    }


def _unpack_counts(packed: Payload) -> HdrCounts:
    if set(packed) != {"counts", "overflow", "min", "max", "sum", "squares"}:
        raise BadFrame(f"a histogram with the fields {sorted(packed)}")
    numbers = [packed["overflow"], packed["min"], packed["max"]]
    try:
        numbers += [int(packed["sum"]), int(packed["squares"])]
    except ValueError as error:
        raise BadFrame(f"a sum that is no number: {error}") from error
    if any(type(v) is not int or v < 0 for v in numbers):
        raise BadFrame(f"a negative or broken count: {numbers}")
    overflow, low, high, total, squares = numbers
    return HdrCounts(_unpack_sparse(packed["counts"]).dense(), overflow, low, high, total, squares)


def _pack_series(series: Series) -> Payload:
    return {"interval_s": series.interval_s, "at": [[k, _pack_sparse(s)] for k, s in series.intervals()]}


def _unpack_series(packed: Payload) -> Series:
    interval = packed["interval_s"]
    if type(interval) is not int or interval < 1 or interval & (interval - 1):
        raise BadFrame(f"a series with an interval of {interval} s: powers of two are")
    return Series(interval, {int(k): _unpack_sparse(s) for k, s in packed["at"]})
