"""Ctrl-C and SIGTERM, from the first line of the program to its last. Only the standard library.

While a verb runs, the first signal ends it in an orderly way and the second one at once; the guard then cleans up.
Before and after it nothing has to be cleaned up, and every signal ends the program at once.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from orchestrator.errors import Interrupted

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_AGAIN_AFTER_S = 0.01
_arrived: list[int] = []


def quit_at_once() -> None:
    """Make every signal end the program without a word, with 130 for SIGINT and 143 for SIGTERM."""
    for number in _NUMBERS:
        signal.signal(number, _quit)


def interrupt_the_verb() -> None:
    """Make the first signal raise KeyboardInterrupt in the main thread, and the second one end the program."""
    for number in _NUMBERS:
        signal.signal(number, _interrupt)
    sys.unraisablehook = _dropped


def interruption() -> Interrupted | None:
    """Return what interrupted the verb; None if nothing did."""
    from orchestrator.errors import Interrupted  # takes ten times as long to import as this module

    return Interrupted(_arrived[0]) if _arrived else None


def _interrupt(number: int, frame: object) -> NoReturn:
    quit_at_once()
    _arrived.append(number)
    sys.stderr.write("\ninterrupted: cleaning up (press Ctrl-C again to quit immediately)\n")
    sys.stderr.flush()
    # The one exception that Ray always lets through.
    raise KeyboardInterrupt


def _dropped(told: sys.UnraisableHookArgs) -> None:
    """Interrupt again, a moment later, where Python dropped the exception: in the end of an object, for example."""
    if not (_arrived and isinstance(told.exc_value, KeyboardInterrupt)):
        sys.__unraisablehook__(told)
        return
    import threading

    number, main = _arrived[0], threading.main_thread().ident
    assert main is not None
    signal.signal(number, _interrupt_again)
    again = threading.Timer(_AGAIN_AFTER_S, signal.pthread_kill, (main, number))
    again.daemon = True
    again.start()


def _interrupt_again(number: int, frame: object) -> NoReturn:
    quit_at_once()
    raise KeyboardInterrupt


def _quit(number: int, frame: object) -> NoReturn:
    os._exit(128 + number)
