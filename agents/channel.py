"""Calls and answers over a pair of pipes: each is its length (u32, big-endian) and then that many bytes of msgpack."""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass, field, fields
from typing import IO, Any, TypeVar

import msgpack

MAX_BYTES = 1 << 30
_LENGTH = struct.Struct("!I")
# The number of the answer that a process gives without a call: that it is ready, or why it is not.
READY = 0


class BrokenChannel(OSError):
    """The other side is gone, or what came from it is not a message."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call to a method of a shell. number: from 1; arguments: plain data, by position."""

    number: int
    method: str
    arguments: list[Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a call: its value, plain data, or how it failed.

    failed: the names of the exception's classes, the nearest first; empty when it did not fail. text: the exception's.
    """

    number: int
    value: Any = None
    failed: list[str] = field(default_factory=list)
    text: str = ""


Message = TypeVar("Message", Call, Answer)


class Channel:
    """Sends from any thread; receives in one."""

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        self._reader, self._writer = reader, writer
        self._sending = threading.Lock()

    def send(self, message: Call | Answer) -> None:
        """Send a call or an answer. Raises BrokenChannel when the other side is gone, ValueError when it is too long."""
        # Not asdict(), which would copy every piece of an image.
        body: bytes = msgpack.packb([getattr(message, part.name) for part in fields(message)], use_bin_type=True)
        if len(body) > MAX_BYTES:
            raise ValueError(f"a message of {len(body)} bytes exceeds the limit of {MAX_BYTES}")
        try:
            with self._sending:
                self._writer.write(_LENGTH.pack(len(body)) + body)
                self._writer.flush()
        except (OSError, ValueError) as error:  # ValueError: the pipe was closed on this side
            raise BrokenChannel(f"the other side is gone: {error}") from error

    def receive(self, kind: type[Message]) -> Message | None:
        """Return the next call or answer; None when the other side has closed the channel. Raises BrokenChannel."""
        if not (head := self._exactly(_LENGTH.size)):
            return None
        (length,) = _LENGTH.unpack(head)
        if length > MAX_BYTES:
            raise BrokenChannel(f"a message of {length} bytes exceeds the limit of {MAX_BYTES}")
        body = self._exactly(length)
        if len(body) < length:
            raise BrokenChannel("the channel ended inside a message")
        try:
            parts = msgpack.unpackb(body, raw=False, strict_map_key=False)
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
            raise BrokenChannel(f"a message is not msgpack: {error}") from error
        if not isinstance(parts, list) or len(parts) != len(fields(kind)):
            raise BrokenChannel(f"a message is not of kind {kind.__name__}")
        return kind(*parts)

    def _exactly(self, length: int) -> bytes:
        """Read `length` bytes; none at the end of the input, fewer when it ends in between (only the body may)."""
        data = b""
        while len(data) < length:
            more = self._reader.read(length - len(data))
            if not more:
                if data and length == _LENGTH.size:
                    raise BrokenChannel("the channel ended inside a message")
                return data
            data += more
        return data
