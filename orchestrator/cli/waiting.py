"""The option --wait [DURATION], for hosts that another run uses. Typer has no options whose value can be left out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from orchestrator.errors import UsageError

WAIT = "--wait"
# What --wait without a duration is read as.
FOREVER = "forever"
_DURATION = re.compile(r"(\d+(\.\d+)?[a-zµ]+)+|\d+")
# Words after these belong to another program.
_OF_ANOTHER_PROGRAM = ("generator",)


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """Return a command line in which every --wait has a value."""
    if WAIT not in arguments or arguments[0] in _OF_ANOTHER_PROGRAM:
        return list(arguments)
    words: list[str] = []
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        words.append(word)
        if word == WAIT and not _DURATION.fullmatch(following) and following != FOREVER:
            words.append(FOREVER)
    return words


def wait_s_of(wait: str | None) -> float:
    """Return the seconds to wait for hosts: none without --wait, any number without a duration. Raise UsageError."""
    if wait is None:
        return 0.0
    if wait == FOREVER:
        return math.inf
    from orchestrator.spec.units import duration_us

    try:
        return duration_us(wait) / 1e6
    except ValueError as error:
        what, _, hint = str(error).partition(": ")
        raise UsageError(f"{WAIT}: {what}", hint) from None
