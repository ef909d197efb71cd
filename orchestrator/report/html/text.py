"""Text from files, servers and logs on a page: visible, and never markup, style or a control sequence."""

from __future__ import annotations

import re

from agents.printable import printable

_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:%|µs|ms|s|(?:req|msg|answers)/s|[KMG]iB)(?!\w))")
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Values that a campaign may hold literally although they are secrets.
_SECRET = re.compile(
    r"""(?ix) ( ["']? [\w-]* (?: authorization | cookie | token | secret | passw(?:or)?d | api[_-]?key ) [\w-]* ["']?
    \s* [:=] \s* ) (?! \s* (?: \$ | ["']? \$\{ | ["']? \.\.\. ) ) ( "[^"\n]*" | '[^'\n]*' | [^\s,{}\[\]\#][^,{}\n]* )"""
)
_IN_URL = re.compile(r"(?<=://)[^/\s\"'@]+(?=@)")
HIDDEN = "(hidden on this page)"


def visible(text: str) -> str:
    """Return text without a terminal's sequences, and with a mark for each character that cannot be seen.

    Newlines and tabs stay.
    """
    return printable(text)


def unbroken(text: str) -> str:
    """Return text in which no line ends between a number and its unit."""
    return _BEFORE_UNIT.sub("\u00a0", text)


def plotted(text: str) -> str:
    """Return text for plotly, which takes labels and hover texts for HTML."""
    return visible(text).translate(_MARKUP)


def without_secrets(campaign: str) -> str:
    """Return a campaign file without the values of keys that sound like secrets, and without passwords in URLs."""
    return _IN_URL.sub(HIDDEN, _SECRET.sub(lambda match: match[1] + HIDDEN, campaign))
