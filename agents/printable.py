"""Text of commands, servers and hosts as a terminal, Markdown or a page can show it: nothing in it acts. Pure."""

from __future__ import annotations

import re

MARK = "\N{REPLACEMENT CHARACTER}"
# Whole sequences of a terminal (ECMA-48): CSI; OSC, DCS, SOS, PM and APC with their text, up to the end of the line where
# they have no end; and all others that begin with ESC. C1 characters begin the same sequences with one character.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
# What is left of control characters; marks that change the direction of the text; characters without a width; tags;
# halves of characters, which no encoding can write.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    """Return text without a terminal's sequences, and with a mark for each character that cannot be seen.

    Newlines and tabs stay; a carriage return is the end of a line in front of a newline, and a blank elsewhere.
    """
    if text.isprintable():
        return text
    text = _SEQUENCES.sub("", text.replace("\r\n", "\n"))
    return _UNSEEN.sub(MARK, text.replace("\r", " "))


def in_colour(text: str) -> str:
    """Return text as printable() does, and leave its colours."""
    if "\x1b" not in text:
        return printable(text)
    parts = zip(_COLOUR.split(text), [*_COLOUR.findall(text), ""], strict=True)
    return "".join(printable(part) + colour for part, colour in parts)
