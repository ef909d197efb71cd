"""Progress on stderr: one line per event.

On a terminal also a live line below them, and a picture at times.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

PLAIN_EVERY_S = 5.0


class Happening(Protocol):
    """What progress needs to know of an event."""

    @property
    def kind(self) -> str:
        """The kind of event, for programs."""

    @property
    def text(self) -> str:
        """The line for people."""

    @property
    def passing(self) -> bool:
        """Whether the line is only of interest until the next one."""

    @property
    def picture(self) -> Callable[[], Any] | None:
        """What a terminal shows below the lines until the next picture."""


class Progress:
    """Shows events until it is closed."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._began = time.monotonic()
        self._live: Any = None
        self._line: Any = None
        self._last_passing = 0.0
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live
            from rich.spinner import Spinner

            self._line = Spinner("dots")
            self._live = Live(self._line, console=Console(stderr=True, highlight=False), transient=True)
            self._live.start()

    def show(self, event: Happening) -> None:
        """Show one event."""
        if self._quiet:
            return
        elapsed = time.monotonic() - self._began
        if self._live is not None:
            self._show_live(event, elapsed)
            return
        now = time.monotonic()
        # A build is shown in full, counters only every few seconds.
        if event.passing and event.kind != "build" and now - self._last_passing < PLAIN_EVERY_S:
            return
        if event.passing:
            self._last_passing = now
        print(f"{elapsed:6.1f} s  {event.text}", file=sys.stderr, flush=True)  # noqa: T201

    def _show_live(self, event: Happening, elapsed_s: float) -> None:
        from rich.console import Group
        from rich.markup import escape

        if not event.passing:
            self._live.console.print(f"[dim]{elapsed_s:6.1f} s[/dim]  {escape(event.text)}", soft_wrap=True)
        self._line.update(text=f"[dim]{escape(event.text)}[/dim]" if event.passing else "")
        if event.picture is not None:
            self._live.update(Group(event.picture(), self._line))

    def close(self) -> None:
        """Remove the live line."""
        if self._live is not None:
            self._live.stop()
            self._live = None
