"""One answer to a check: its body, decoded and bounded, and what its head asks for."""

from __future__ import annotations

import email.utils
import re
import time
import zlib
from typing import NamedTuple

# Statuses by which a server asks a client to come back later, with Retry-After or, of the first, without.
TOO_MANY, UNAVAILABLE = 429, 503
# How the reason begins where a server answers a WebSocket handshake as any other request.
NO_WEBSOCKET = "it answers the handshake with status"
COME_BACK_S, SHORTEST_PAUSE_S = 1.0, 0.1
_SHORT = re.compile(r"received (\d+) bytes, expected (\d+)")
_NOT_HTTP = re.compile(r"illegal status line: (?:bytearray\()?b?(['\"].*['\"])")
_ERRNO = re.compile(r"\[Errno -?\d+\] ")
# How much of a body is read: enough to compare it, and to see that it ends.
MOST_BYTES = 1 << 20
# What zlib takes as window size for a body of this coding.
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_RAW_DEFLATE = -15


class Body:
    """Takes a body piece by piece. keep: how many decoded bytes are wanted, 0 for none; most: how many are read at most.

    data: decoded. received: bytes as they came. unreadable: why it cannot be decoded, for a person. full: a limit was
    reached, so that what follows is not read.
    """

    def __init__(self, coding: str, keep: int, most: int) -> None:
        self.data = bytearray()
        self.received = 0
        self.full = False
        self.unreadable = ""
        self._keep, self._most = keep, most
        self._coding = coding.strip().lower()
        self._decoder = None
        if self._coding in _WINDOWS:
            self._decoder = zlib.decompressobj(_WINDOWS[self._coding])
        elif keep and self._coding not in ("", "identity"):
            self.unreadable = f"it is encoded with {self._coding[:40]!r}, which Volley cannot decode"

    def add(self, piece: bytes) -> bool:
        """Take the next piece; return whether more is wanted."""
        self.received += len(piece)
        if self._keep and not self.unreadable:
            if self._decoder is None:
                self.data += piece[: self._room]
                self.full = self.full or len(self.data) > self._keep
            else:
                self._decode(piece)
        self.full = self.full or self.received > self._most
        return not self.full

    @property
    def _room(self) -> int:
        # One byte more than is wanted shows that the body is longer.
        return self._keep + 1 - len(self.data)

    def _decode(self, piece: bytes) -> None:
        """Decode no more than there is room for: a small piece can become a thousand times as long."""
        while piece and self._decoder is not None:
            try:
                self.data += self._decoder.decompress(piece, self._room)
            except zlib.error:
                if self._coding == "deflate" and not self.data:
                    # Some servers send deflate without the header of zlib.
                    self._coding = "raw deflate"
                    self._decoder = zlib.decompressobj(_RAW_DEFLATE)
                    continue
                self.unreadable = f"it is not the {self._coding} that its header announces"
                return
            if len(self.data) > self._keep:
                self.full = True
                return
            # gzip may have several parts, one after the other.
            piece = self._decoder.unused_data
            if piece:
                self._decoder = zlib.decompressobj(_WINDOWS.get(self._coding, _RAW_DEFLATE))


class Answer(NamedTuple):
    """One response, as far as it was read.

    closes: the server ends the connection after it. until_close: nothing but that end shows where the body ends.
    body: decoded. received: the length of the body as it came. ended: the whole body came; sized: its length was
    announced. unreadable: why its body cannot be decoded. wrong: why it is not an answer that was asked for, whatever is
    expected. took_us: from the request to the last byte that was read.
    """

    status: int
    body: bytes
    closes: bool
    received: int = 0
    ended: bool = True
    sized: bool = True
    until_close: bool = False
    unreadable: str = ""
    location: str = ""
    retry_after: str = ""
    took_us: int = 0
    wrong: str = ""


def pause_s(answer: Answer) -> float | None:
    """Return how long a server asks a client to wait before its next request; None: it does not ask for that."""
    if answer.status not in (TOO_MANY, UNAVAILABLE):
        return None
    if not answer.retry_after:
        return COME_BACK_S if answer.status == TOO_MANY else None
    try:
        seconds = float(int(answer.retry_after))
    except ValueError:
        try:
            then = email.utils.parsedate_to_datetime(answer.retry_after)
        except ValueError:
            return COME_BACK_S
        seconds = then.timestamp() - time.time()
    return max(SHORTEST_PAUSE_S, seconds)


def unended(answer: Answer) -> str:
    """Return how far a body was read that had not ended."""
    if len(answer.body) > MOST_BYTES or answer.received > MOST_BYTES:
        return f"it is longer than {(max(len(answer.body), answer.received) - 1) // 2**20} MiB"
    return f"it had not ended after {answer.took_us / 1e6:.1f} s and {answer.received:,} bytes"


def in_words(error: str) -> str:
    """Return why a request was not answered, from the text of an error of the HTTP client."""
    if error.startswith("Server disconnected"):
        return "the server closed the connection without an answer"
    if short := _SHORT.search(error):
        return f"the connection ended in the body, after {short[1]} of {short[2]} bytes"
    if error == "illegal request line":
        return "its answer is not HTTP"
    if "incomplete chunked read" in error:
        return "the connection ended in the body"
    if line := _NOT_HTTP.search(error):
        return f"its answer is not HTTP: it begins with {line[1][:80]}"
    return _ERRNO.sub("", error)
