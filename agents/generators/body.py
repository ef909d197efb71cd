"""Bodies of answers under load: a sample is compared with what is expected."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable, Sequence

from httptools import HttpParserError, HttpResponseParser

from agents.generators.contract import TaskRequest, Wanted

# At most this many answers a second are compared, so that comparing does not delay sending.
INTERVAL_NS = 20_000_000
# What is kept of one answer. A longer one is not compared, except for its size.
MOST_BYTES = 1 << 20
SHOWN_CHARACTERS = 80


class Sample:
    """Which answers are compared, and what came of it. compares: whether any request has something to compare.

    The first answer of every request is compared, then one each INTERVAL_NS.
    """

    __slots__ = ("_allowed", "_next_ns", "_read", "_seen", "_wanted", "checked", "compares", "examples", "unexpected")

    def __init__(
        self, requests: Sequence[TaskRequest], read: Callable[[bytes | bytearray], Body | Message] | None = None
    ) -> None:
        """read: what makes an answer of the bytes that were kept; by default that of HTTP."""
        self._read = read or Body
        # An answer to HEAD has no body.
        self._wanted = [None if request.method == "HEAD" else request.wanted for request in requests]
        self._allowed = [frozenset(request.allowed) for request in requests]
        self.compares = any(wanted is not None for wanted in self._wanted)
        self._seen = [wanted is None for wanted in self._wanted]
        self._next_ns = 0
        self.checked = 0
        self.unexpected: dict[int, int] = {}
        self.examples: dict[int, str] = {}

    def wants(self, index: int, now_ns: int) -> bool:
        """Return whether the answer to a request that is sent now is to be kept for compare()."""
        if not self.compares or self._wanted[index] is None:
            return False
        if self._seen[index]:
            if now_ns < self._next_ns:
                return False
            self._next_ns = now_ns + INTERVAL_NS
        self._seen[index] = True
        return True

    def compare(self, index: int, status: int, kept: bytes | bytearray, length: int) -> None:
        """Compare an answer. One whose status is not allowed is an error already, and is not counted here.

        kept: the beginning of what was received, at least MOST_BYTES. length: of the body as it was sent.
        """
        wanted = self._wanted[index]
        allowed = self._allowed[index]
        if wanted is None or not (status in allowed if allowed else 100 <= status < 400):
            return
        answer = self._read(kept)
        if answer.unreadable:
            return
        if not answer.coded and len(answer.body) < length:
            # Too long to be kept: only its length is known.
            if wanted.size is None:
                return
            wrong = None if length == wanted.size else f"{wanted.size:,} bytes were expected"
        else:
            length = len(answer.body)
            wrong = difference(wanted, answer.body)
        self.checked += 1
        if wrong is not None:
            self.unexpected[index] = self.unexpected.get(index, 0) + 1
            self.examples.setdefault(index, f"status {status}, {length:,} bytes: {wrong}")


class Message:
    """An answer that is nothing but its body: a WebSocket message."""

    coded = unreadable = False

    def __init__(self, received: bytes | bytearray) -> None:
        self.body = bytes(received)


class Body:
    """The body of an answer, from what was received of it. coded: it was compressed, and is decompressed here.

    unreadable: of a coding that is not known here, or larger than MOST_BYTES.
    """

    def __init__(self, received: bytes | bytearray) -> None:
        self._parts: list[bytes] = []
        self._coding = b""
        self._length = 0
        # What follows an answer is an error that the connection deals with.
        with contextlib.suppress(HttpParserError):
            HttpResponseParser(self).feed_data(bytes(received))
        self.unreadable = False
        self.body = b"".join(self._parts)
        self.coded = self._coding not in (b"", b"identity")
        if self.coded:
            self._decode()

    def _decode(self) -> None:
        if self._coding not in (b"gzip", b"x-gzip", b"deflate"):
            self.unreadable = True
            return
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            self.body = decoder.decompress(self.body, MOST_BYTES)
        except zlib.error:
            self.unreadable = True
        self.unreadable = self.unreadable or bool(decoder.unconsumed_tail)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note the coding of the body."""
        if name.lower() == b"content-encoding":
            self._coding = value.strip().lower()

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body."""
        self._parts.append(data)


def difference(wanted: Wanted, body: bytes) -> str | None:
    """Return what is unexpected about a body, None if nothing. At most SHOWN_CHARACTERS of the body are shown."""
    if wanted.size is not None and len(body) != wanted.size:
        return f"{wanted.size:,} bytes were expected"
    if wanted.body is not None and body.strip() != wanted.body.strip().encode():
        return f"body {shown(body)} is not the expected one"
    if wanted.json_text is not None:
        try:
            got = json.loads(body)
        except (ValueError, RecursionError):
            return f"body {shown(body)} is not JSON"
        if got != json.loads(wanted.json_text):
            return f"JSON {shown(body)} is not the expected document"
    return None


def shown(body: bytes) -> str:
    """Return the beginning of a body as a message shows it."""
    text = body[: 4 * SHOWN_CHARACTERS].decode(errors="replace")
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "...")
