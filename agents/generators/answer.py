"""What the parser of httptools does not do: the end of an answer to HEAD, and of one that ends with the connection."""

from __future__ import annotations

import re
from typing import Protocol

from httptools import HttpResponseParser

_HEAD_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:", re.IGNORECASE)
_CODING = re.compile(rb"\r\ntransfer-encoding[ \t]*:([^\r]*)", re.IGNORECASE)


def ends_with_connection(received: bytes | bytearray) -> bool | None:
    """Return whether an answer lasts until the connection is closed (RFC 9112, 6.3); None while its head is incomplete.

    received: everything since the request, from its first byte on; interim answers (1xx) are skipped.
    """
    begin = 0
    while (end := received.find(_HEAD_END, begin)) >= 0:
        status = _STATUS.match(received, begin)
        if status is None or not status[1].startswith(b"1"):
            head = bytes(received[begin : end + 2])
            codings = _CODING.findall(head)
            if codings:
                return not codings[-1].strip().lower().endswith(b"chunked")
            return _LENGTH.search(head) is None
        begin = end + len(_HEAD_END)
    return None


class Receiver(Protocol):
    """What a HeadAnswer reports to."""

    parser: HttpResponseParser

    def head_answered(self, status: int, keep: bool) -> None:
        """Note that the answer is complete; keep: the connection can be used again."""

    def received_more(self) -> None:
        """Note that bytes follow the answer."""


class HeadAnswer:
    """The answer to one HEAD request: complete after its header fields, whatever length they announce.

    httptools cannot skip the body that Content-Length announces. So each answer gets a parser of its own, which is thrown
    away when the head is complete; a body that comes all the same makes it call one of the callbacks below.
    It holds no reference to its parser, which refers to it: the cycle would never be freed while the collector is off.
    """

    __slots__ = ("_close", "_done", "_keep_alive", "_receiver")

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._close = self._keep_alive = self._done = False

    def on_message_begin(self) -> None:
        """Report bytes after the answer."""
        if self._done:
            self._receiver.received_more()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note what the header Connection says."""
        if name.lower() == b"connection":
            self._close |= b"close" in value.lower()
            self._keep_alive |= b"keep-alive" in value.lower()

    def on_headers_complete(self) -> None:
        """Report the answer, unless it is an interim one."""
        parser = self._receiver.parser
        status = parser.get_status_code()
        if status >= 200 and not self._done:
            self._done = True
            keep = not self._close and (self._keep_alive or parser.get_http_version() == "1.1")
            self._receiver.head_answered(status, keep)

    def on_body(self, data: bytes) -> None:
        """Report bytes after the answer."""
        self._receiver.received_more()

    def on_chunk_header(self) -> None:
        """Report bytes after the answer."""
        self._receiver.received_more()
