"""Messages over a pair of pipes: each is its length (u32, big-endian) and then that many bytes of msgpack."""

from __future__ import annotations

import struct
import threading
from typing import IO, Any

import msgpack

MAX_BYTES = 1 << 30
_LENGTH = struct.Struct("!I")


class BrokenChannel(OSError):
    """The other side is gone, or what came from it is not a message."""


class Channel:
    """Sends from any thread; receives in one."""

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        self._reader, self._writer = reader, writer
        self._sending = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Send one message. Raises BrokenChannel when nobody reads it, ValueError when it is too long."""
        body: bytes = msgpack.packb(message, use_bin_type=True)
        if len(body) > MAX_BYTES:
            raise ValueError(f"a message of {len(body)} bytes exceeds the limit of {MAX_BYTES}")
        try:
            with self._sending:
                self._writer.write(_LENGTH.pack(len(body)) + body)
                self._writer.flush()
        except (OSError, ValueError) as error:  # ValueError: the pipe was closed on this side
            raise BrokenChannel(f"the other side is gone: {error}") from error

    def receive(self) -> dict[str, Any] | None:
        """Return the next message; None when the other side has closed the channel. Raises BrokenChannel."""
        if not (head := self._exactly(_LENGTH.size)):
            return None
        (length,) = _LENGTH.unpack(head)
        if length > MAX_BYTES:
            raise BrokenChannel(f"a message of {length} bytes exceeds the limit of {MAX_BYTES}")
        body = self._exactly(length)
        if len(body) < length:
            raise BrokenChannel("the channel ended inside a message")
        try:
            message = msgpack.unpackb(body, raw=False, strict_map_key=False)
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
            raise BrokenChannel(f"a message is not msgpack: {error}") from error
        if not isinstance(message, dict):
            raise BrokenChannel("a message is not a map")
        return message

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
