"""What happens, as it happens, on stderr: a live line on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

PLAIN_EVERY_S = 5.0


class Happening(Protocol):
    """What is shown of an event."""

    @property
    def kind(self) -> str:
        """For programs."""

    @property
    def text(self) -> str:
        """For people."""

    @property
    def passing(self) -> bool:
        """Of interest only while it is shown."""


class Progress:
    """Shows events until it is closed."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._began = time.monotonic()
        self._status: Any = None
        self._console: Any = None
        self._last_passing = 0.0
        if not quiet and sys.stderr.isatty():
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False)
            self._status = self._console.status("")
            self._status.start()

    def show(self, event: Happening) -> None:
        """Show one event."""
        if self._quiet:
            return
        elapsed = time.monotonic() - self._began
        if self._status is not None:
            from rich.markup import escape

            if event.passing:
                self._status.update(f"[dim]{escape(event.text)}[/dim]")
            else:
                self._console.print(f"[dim]{elapsed:6.1f} s[/dim]  {escape(event.text)}", soft_wrap=True)
                self._status.update("")
            return
        now = time.monotonic()
        # A build's output is wanted in full; counters only now and then.
        if event.passing and event.kind != "build" and now - self._last_passing < PLAIN_EVERY_S:
            return
        if event.passing:
            self._last_passing = now
        print(f"{elapsed:6.1f} s  {event.text}", file=sys.stderr, flush=True)  # noqa: T201

    def close(self) -> None:
        """Take the live line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None
