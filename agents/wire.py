"""What travels and what is stored: msgpack in frames that state their version and length, decoded strictly.

frame   = magic "VLYF", version (u16), length (u32), payload (msgpack, `length` bytes); big-endian
stream  = frame*, then a frame {"kind": "end", "frames": n}: a stream that was cut is noticed

Counters are byte arrays, little-endian: indices as uint16, counts in the smallest of 1, 2, 4 or 8 bytes that holds them
all. Frames of version 1 hold lists of numbers instead, and are still read, because stored runs have them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from agents.histogram import COUNTERS, HIGHEST_US, NOTHING, SIGNIFICANT_DIGITS, HdrCounts, Sparse
from agents.mix import MOST_REQUESTS, RequestCounts
from agents.recorder import CLASSES
from agents.records import AgentFacts, BadRecord, from_plain, to_plain
from agents.series import Series

VERSION = 2
READABLE = (1, VERSION)
MAX_BYTES = 64 << 20
# What msgpack reads: a map whose values are checked where they are used.
Payload = dict[str, Any]
_HEADER = struct.Struct("!4sHI")
_MAGIC = b"VLYF"
_MAX_COUNT = 1 << 62
# By the number of bytes of each.
_UNSIGNED: dict[int, np.dtype[np.unsignedinteger[Any]]] = {width: np.dtype(f"<u{width}") for width in (1, 2, 4, 8)}


class BadFrame(ValueError):
    """A frame that must not be believed: says what is wrong with it."""


@dataclass(slots=True)
class AgentResult:
    """One agent's facts and counters. response, lag and unanswered are None in the closed loop.

    unanswered: the part of response that is of requests without an answer, at their age. first_byte, received_bytes: of
    successful answers; empty and None where the log does not hold them. mix: the counters of each request of a load with
    several, by its number.
    """

    facts: AgentFacts
    service: dict[str, HdrCounts]
    series: dict[str, Series]
    response: HdrCounts | None = None
    lag: HdrCounts | None = None
    unanswered: HdrCounts | None = None
    first_byte: HdrCounts = field(default_factory=HdrCounts)
    received_bytes: int | None = None
    mix: dict[int, RequestCounts] = field(default_factory=dict)


def encode(payload: Payload) -> bytes:
    """Make one frame. Raises BadFrame when it would be longer than MAX_BYTES."""
    body: bytes = msgpack.packb(payload, use_bin_type=True)
    if len(body) > MAX_BYTES:
        raise BadFrame(f"a frame of {len(body)} bytes is longer than the {MAX_BYTES} that are allowed")
    return _HEADER.pack(_MAGIC, VERSION, len(body)) + body


def decode(data: bytes) -> Payload:
    """Read exactly one frame. Raises BadFrame."""
    payload, end = _next(memoryview(data), 0)
    if end < len(data):
        raise BadFrame(f"{len(data) - end} bytes follow the frame")
    return payload


def _next(data: memoryview, start: int) -> tuple[Payload, int]:
    """Return the frame that starts at an offset, and where it ends. Nothing but its own bytes is looked at."""
    if len(data) - start < _HEADER.size:
        raise BadFrame(f"truncated: {len(data) - start} bytes are less than a frame's header")
    magic, version, length = _HEADER.unpack_from(data, start)
    if magic != _MAGIC:
        raise BadFrame(f"no frame starts with {magic!r}")
    if version not in READABLE:
        readable = " and ".join(map(str, READABLE))
        raise BadFrame(f"frame of version {version}; this Volley reads versions {readable}: use the same on every host")
    if length > MAX_BYTES:
        raise BadFrame(f"a frame of {length} bytes is longer than the {MAX_BYTES} that are allowed")
    begin = start + _HEADER.size
    body = data[begin : begin + length]
    if len(body) < length:
        raise BadFrame(f"truncated: {len(body)} of {length} bytes")
    try:
        payload = msgpack.unpackb(body, raw=False, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise BadFrame(f"the payload is not msgpack: {error}") from error
    if not isinstance(payload, dict):
        raise BadFrame("the payload is not a map")
    return payload, begin + length


def encode_stream(payloads: Iterable[Payload]) -> bytes:
    """Make a stream of frames with its end frame."""
    return b"".join(encoded_stream(payloads))


def encoded_stream(payloads: Iterable[Payload]) -> Iterator[bytes]:
    """Make a stream frame by frame, so that it can be written without being held."""
    count = 0
    for payload in payloads:
        yield encode(payload)
        count += 1
    yield encode({"kind": "end", "frames": count})


def decode_stream(data: bytes) -> list[Payload]:
    """Read a whole stream. Raises BadFrame, also when the end frame is missing or counts other frames than there are."""
    return list(frames_of(data))


def frames_of(data: bytes) -> Iterator[Payload]:
    """Read a stream frame by frame. Raises BadFrame like decode_stream(), where the reading has come to."""
    view, position, count = memoryview(data), 0, 0
    while position < len(view):
        payload, position = _next(view, position)
        if payload.get("kind") == "end":
            if position < len(view) or payload.get("frames") != count:
                raise BadFrame(f"the stream says {payload.get('frames')} frames and has {count}")
            return
        count += 1
        yield payload
    raise BadFrame(f"truncated: the stream has no end frame after {count} frames")


def pack_result(result: AgentResult) -> Payload:
    """Turn an agent's result into a frame's payload."""
    return {
        "kind": "agent",
        "histogram": [COUNTERS, HIGHEST_US, SIGNIFICANT_DIGITS],
        "facts": to_plain(result.facts),
        "service": {name: _pack_counts(h) for name, h in result.service.items()},
        "series": {name: _pack_series(s) for name, s in result.series.items()},
        "response": _pack_optional(result.response),
        "lag": _pack_optional(result.lag),
        "unanswered": _pack_optional(result.unanswered),
        **({"first_byte": _pack_counts(result.first_byte)} if result.first_byte.n else {}),
        **({} if result.received_bytes is None else {"received_bytes": result.received_bytes}),
        **({"mix": {number: _pack_request(own) for number, own in result.mix.items()}} if result.mix else {}),
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
            response=_unpack_optional(payload["response"]),
            lag=_unpack_optional(payload["lag"]),
            # Not in runs of version 0.1.
            unanswered=_unpack_optional(payload.get("unanswered")),
            # Only where the generator's log holds them, and where a load has several requests.
            first_byte=_unpack_optional(payload.get("first_byte")) or HdrCounts(),
            received_bytes=None if payload.get("received_bytes") is None else _whole(payload["received_bytes"]),
            mix={_number(key): _unpack_request(own) for key, own in payload.get("mix", {}).items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, BadRecord) as error:
        if isinstance(error, BadFrame):
            raise
        raise BadFrame(f"an agent's frame is incomplete or wrongly typed: {error!r}") from error


def _pack_sparse(sparse: Sparse) -> list[bytes]:
    return [_bytes_of(sparse.narrow_index), _bytes_of(sparse.narrow_count)]


def _bytes_of(numbers: npt.NDArray[np.unsignedinteger]) -> bytes:
    return numbers.astype(numbers.dtype.newbyteorder("<"), copy=False).tobytes()


def _unpack_sparse(packed: Any) -> Sparse:
    index, counts = packed
    if type(index) is bytes and type(counts) is bytes:
        sparse = _from_bytes(index, counts)
        _refuse_unless_ascending(sparse.narrow_index[1:] > sparse.narrow_index[:-1])
        return sparse
    return _unpack_lists(index, counts)


def _from_bytes(index_bytes: bytes, count_bytes: bytes) -> Sparse:
    """Return counters that look at the frame's own bytes. That their indices ascend is for the caller to check."""
    if len(index_bytes) % 2:
        raise BadFrame(f"counter indices of {len(index_bytes)} bytes: each has two")
    size = len(index_bytes) // 2
    width = len(count_bytes) // size if size else 0
    if len(count_bytes) != width * size or (size and width not in _UNSIGNED):
        raise BadFrame(f"{size} indices and {len(count_bytes)} bytes of counts")
    if not size:
        return NOTHING
    index = np.frombuffer(index_bytes, dtype="<u2")
    count = np.frombuffer(count_bytes, dtype=_UNSIGNED[width])
    if int(index.max()) >= COUNTERS:
        raise BadFrame("counter indices that do not ascend within the histogram")
    if not count.all():
        raise BadFrame("a counter of 0: counts are positive")
    if width == 8 and int(count.max()) >= _MAX_COUNT:
        raise BadFrame(f"a counter of {int(count.max())}: larger than any count")
    return Sparse(index, count)


def _refuse_unless_ascending(steps: npt.NDArray[np.bool_]) -> None:
    if not steps.all():
        raise BadFrame("counter indices that do not ascend within the histogram")


def _unpack_lists(steps: Any, counts: Any) -> Sparse:
    """Read counters of version 1: differences of indices, and counts, as lists."""
    if len(steps) != len(counts):
        raise BadFrame(f"{len(steps)} indices and {len(counts)} counts")
    if {*map(type, steps), *map(type, counts)} - {int}:
        raise BadFrame("a counter that is no whole number")
    if counts and not 0 < min(counts) <= max(counts) < _MAX_COUNT:
        raise BadFrame(f"a counter of {next(c for c in counts if not 0 < c < _MAX_COUNT)}: counts are positive")
    if steps and (steps[0] < 0 or min(steps[1:], default=1) < 1 or sum(steps) >= COUNTERS):
        raise BadFrame("counter indices that do not ascend within the histogram")
    return Sparse.made(np.cumsum(np.array(steps, dtype=np.int64)), np.array(counts, dtype=np.int64))


def _pack_counts(h: HdrCounts) -> Payload:
    # A sum of squares can exceed 64 bits, which msgpack has no number for.
    return {
        "counts": _pack_sparse(h.sparse),
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
    return HdrCounts(_unpack_sparse(packed["counts"]), overflow, low, high, total, squares)


def _pack_optional(h: HdrCounts | None) -> Payload | None:
    return None if h is None else _pack_counts(h)


def _unpack_optional(packed: Payload | None) -> HdrCounts | None:
    return None if packed is None else _unpack_counts(packed)


def _pack_request(own: RequestCounts) -> Payload:
    return {
        "service": _pack_counts(own.service),
        "response": _pack_optional(own.response),
        "unanswered": _pack_optional(own.unanswered),
        "first_byte": _pack_optional(own.first_byte if own.first_byte.n else None),
        "http_error": own.http_error,
        "failed": own.failed,
        "statuses": own.statuses,
        "received_bytes": own.received_bytes,
    }


def _unpack_request(packed: Payload) -> RequestCounts:
    statuses = packed["statuses"]
    if {type(status) for status in statuses} - {int}:
        raise BadFrame("a status that is not a whole number")
    return RequestCounts(
        service=_unpack_counts(packed["service"]),
        response=_unpack_optional(packed["response"]),
        unanswered=_unpack_optional(packed["unanswered"]),
        first_byte=_unpack_optional(packed["first_byte"]) or HdrCounts(),
        http_error=_whole(packed["http_error"]),
        failed=_whole(packed["failed"]),
        statuses={status: _whole(count) for status, count in statuses.items()},
        received_bytes=_whole(packed["received_bytes"]),
    )


def _number(key: Any) -> int:
    if _whole(key) > MOST_REQUESTS:
        raise BadFrame(f"a request with the number {key}: they end at {MOST_REQUESTS}")
    return int(key)


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise BadFrame(f"a count that is not a whole number from 0 on: {str(value)[:40]}")
    return value


def _pack_series(series: Series) -> Payload:
    """Put all intervals into one pair of byte arrays. sizes: how many counters each interval has."""
    intervals = list(series.intervals())
    widest = max((sparse.narrow_count.dtype for _, sparse in intervals), key=lambda t: t.itemsize, default=np.uint8)
    return {
        "interval_s": series.interval_s,
        "at": [k for k, _ in intervals],
        "sizes": [sparse.narrow_index.size for _, sparse in intervals],
        "counts": [
            b"".join(_bytes_of(sparse.narrow_index) for _, sparse in intervals),
            b"".join(_bytes_of(sparse.narrow_count.astype(widest)) for _, sparse in intervals),
        ],
    }


def _unpack_series(packed: Payload) -> Series:
    interval = packed["interval_s"]
    if type(interval) is not int or interval < 1 or interval & (interval - 1):
        raise BadFrame(f"a series with an interval of {interval} s: powers of two are")
    if "sizes" not in packed:
        return Series(interval, {int(k): _unpack_sparse(s) for k, s in packed["at"]})
    at, sizes = packed["at"], packed["sizes"]
    if len(set(at)) != len(sizes) or {*map(type, at), *map(type, sizes)} - {int} or min(sizes, default=1) < 1:
        raise BadFrame(f"a series of {len(set(at))} intervals with sizes for {len(sizes)}")
    whole = _from_bytes(*packed["counts"])
    ends = np.cumsum(sizes, dtype=np.int64).tolist()
    if whole.narrow_index.size != (ends[-1] if ends else 0):
        raise BadFrame(f"a series of {whole.narrow_index.size} counters, and sizes for {sum(sizes)}")
    ascends = whole.narrow_index[1:] > whole.narrow_index[:-1]
    ascends[[end - 1 for end in ends[:-1]]] = True
    _refuse_unless_ascending(ascends)
    cuts = zip(at, [0, *ends], ends, strict=False)
    return Series(interval, {k: Sparse(whole.narrow_index[a:b], whole.narrow_count[a:b]) for k, a, b in cuts})
