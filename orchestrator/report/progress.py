"""Progress on stderr: a live block on a terminal, plain lines elsewhere, nothing where nothing is wanted."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time
from typing import Any, Protocol, TextIO

from orchestrator.report.live.state import Happening as Happening
from orchestrator.report.live.state import State

# Where nobody looks at a terminal: a line for each trial, and one at least this often.
PLAIN_EVERY_S = 10.0
TICK_S = 1.0
# Kinds of events that are not a line of their own in a log: the line of the finished trial says the same.
NOT_IN_A_LOG = ("trial",)
_INDENT = 10


class _View(Protocol):
    def show(self, event: Happening) -> None:
        """Show one event."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Progress:
    """Shows events until it is closed."""

    def __init__(self, quiet: bool = False) -> None:
        self._view: _View | None = None
        if not quiet:
            self._view = _Terminal(sys.stderr) if is_live(sys.stderr) else _Lines(sys.stderr)

    def show(self, event: Happening) -> None:
        """Show one event."""
        if self._view is not None:
            self._view.show(event)

    def close(self) -> None:
        """Remove the live block, if there is one."""
        view, self._view = self._view, None
        if view is not None:
            view.close()


def is_live(stream: TextIO) -> bool:
    """Return whether a stream is a terminal on which lines can be redrawn, with a person in front of it."""
    dumb = os.environ.get("TERM", "dumb").lower() in ("dumb", "unknown", "")
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return stream.isatty() and not dumb and not in_ci


class _Lines:
    """Plain lines, for pipes and logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = self._last = time.monotonic()
        self._trial = ""

    def show(self, event: Happening) -> None:
        """Print the line of an event, or keep it back."""
        now = time.monotonic()
        if event.kind == "trial":
            self._trial = _name(event)
        elif event.kind == "judged":
            self._trial = ""
        if event.kind in NOT_IN_A_LOG and now - self._last < PLAIN_EVERY_S:
            return
        # A build is shown in full, counters only every few seconds.
        if event.passing and event.kind != "build" and now - self._last < PLAIN_EVERY_S:
            return
        self._last = now
        of_trial = event.kind == "load" and self._trial
        text = f"{self._trial}: {event.text}" if of_trial else event.text
        print(f"{now - self._began:6.1f} s  {text}", file=self._stream, flush=True)

    def close(self) -> None:
        """Do nothing: lines stay."""


def _name(event: Happening) -> str:
    of = event.facts.get("of")
    return f"trial {event.facts['number']} of {of}" if of is not None else f"probe {event.facts['number']}"


class _Terminal:
    """The live block, redrawn at each event and once a second, with the lines that stay above it."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        from orchestrator.report.live.marks import marks_for
        from orchestrator.report.live.painter import Above, Painter

        self._began = time.monotonic()
        self._state = State(self._began)
        self._marks = marks_for(getattr(stream, "encoding", None))
        # Only renders: colours as the terminal and NO_COLOR have them.
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._painter = Painter(stream)
        self._lock = threading.RLock()
        self._stream, self._above = stream, Above(self._painter, stream)
        sys.stderr = self._above
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="live-view", daemon=True)
        self._ticker.start()

    def show(self, event: Happening) -> None:
        """Take in an event and draw."""
        now_s = time.monotonic()
        with self._lock:
            self._state.take_in(event, now_s)
            stays = not event.passing and event.kind not in NOT_IN_A_LOG
            self._draw(now_s, self._staying(event.text, now_s) if stays else [])

    def _staying(self, text: str, now_s: float) -> list[str]:
        """Return a line that stays above the block, folded to the terminal's width."""
        columns, _ = self._painter.size()
        width = max(20, columns - 1)
        stamp, indent = f"{now_s - self._began:6.1f} s  ", " " * _INDENT
        folded = textwrap.wrap(
            self._marks.plain(text.strip()),
            width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_on_hyphens=False,  # so that a path or a command can be copied
        )
        first = (folded or [indent])[0][_INDENT:]
        return [self._rendered(f"[dim]{stamp}[/dim]") + first, *folded[1:]]

    def _tick(self) -> None:
        while not self._over.wait(TICK_S):
            with self._lock:
                if not self._over.is_set():
                    self._draw(time.monotonic(), [])

    def _draw(self, now_s: float, above: list[str]) -> None:
        from orchestrator.report.live.block import Room, block
        from orchestrator.report.live.painter import Line

        lines = block(self._state, now_s, Room.of(*self._painter.size()), self._marks)
        self._painter.draw([Line(self._rendered(line), line.cell_len) for line in lines], above)

    def _rendered(self, text: Any) -> str:
        with self._console.capture() as captured:
            self._console.print(text, end="")
        return captured.get()

    def close(self) -> None:
        """Remove the block, and give stderr back."""
        self._over.set()
        with self._lock:
            self._above.finish()
            self._painter.close()
            if sys.stderr is self._above:
                sys.stderr = self._stream
        self._ticker.join(timeout=2 * TICK_S)
