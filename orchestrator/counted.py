"""What loads are counted in, in words: requests, or messages over WebSocket. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from agents.generators.contract import Protocol


@dataclass(frozen=True, slots=True)
class Counted:
    """One and many of them, how many per second, and a short form for the heading of a narrow column."""

    one: str
    many: str
    per_s: str
    short: str

    def said(self, text: str) -> str:
        """Return words about requests as words about these. Keys of a campaign, which are quoted, stay as they are."""
        return text if self is REQUESTS else _WORD.sub(lambda word: self.many if word[1] else self.one, text)


_WORD = re.compile(r"(?<!['.])\brequest(s?)\b(?!')")
REQUESTS = Counted("request", "requests", "req/s", "req")
MESSAGES = Counted("message", "messages", "msg/s", "msg")
# Of tables and sentences about both kinds.
EITHER = Counted("request or message", "requests and messages", "answers/s", "answer")


def counted(protocols: Iterable[Protocol | None]) -> Counted:
    """Return what loads with these protocols are counted in. None: not known; earlier versions had no WebSocket."""
    kinds = {protocol == Protocol.WEBSOCKET for protocol in protocols}
    if len(kinds) > 1:
        return EITHER
    return MESSAGES if True in kinds else REQUESTS
