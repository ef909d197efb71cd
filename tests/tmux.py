"""A real terminal of a size: tmux, on a server of its own, whose screen can be read and resized."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# What a shell of a test has and a terminal of a person has not.
NOT_INHERITED = ("CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TMUX")


class Terminal:
    """One pane. done: the file that appears when its command has ended, with the exit status."""

    def __init__(self, socket: str, folder: Path) -> None:
        self._socket, self.done = socket, folder / "done"

    def _tmux(self, *arguments: str) -> str:
        return subprocess.run(
            ["tmux", "-L", self._socket, "-f", "/dev/null", *arguments],
            capture_output=True, text=True, check=True, timeout=20,
        ).stdout  # fmt: skip

    def start(self, columns: int, lines: int, command: list[str], environment: dict[str, str]) -> None:
        """Run a command in a pane; the pane stays when it has ended."""
        unset = " ".join(f"-u {name}" for name in NOT_INHERITED)
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
        # The shell ignores the interrupt that is meant for the command.
        script = f"trap : INT; env {unset} {variables} {shlex.join(command)}; echo $? > {self.done}; sleep 600"
        self._tmux("new-session", "-d", "-x", str(columns), "-y", str(lines), "sh", "-c", script)

    def screen(self, history: int = 0) -> list[str]:
        """Return the lines on the screen; history: and so many that have left it at the top."""
        return self._tmux("capture-pane", "-p", "-S", str(-history)).split("\n")[:-1]

    def frames(self, deadline_s: float, pause_s: float = 0.02) -> Iterator[list[str]]:
        """Yield the screen over and over until the command has ended, and once more."""
        until = time.monotonic() + deadline_s
        while not self.done.exists():
            assert time.monotonic() < until, self.screen(200)
            yield self.screen()
            time.sleep(pause_s)
        yield self.screen()

    def wait_for(self, seen: Callable[[list[str]], bool], deadline_s: float) -> list[str]:
        """Return the first screen of which something holds."""
        for screen in self.frames(deadline_s):
            if seen(screen):
                return screen
        raise AssertionError("\n".join(self.screen(200)))

    def status(self, deadline_s: float) -> int:
        """Wait until the command has ended, and return its exit status."""
        for _ in self.frames(deadline_s, 0.1):
            pass
        return int(self.done.read_text())

    def keys(self, *keys: str) -> None:
        """Type."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the terminal."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def has_cursor(self) -> bool:
        """Return whether the cursor is visible."""
        return self._tmux("display-message", "-p", "#{cursor_flag}").strip() == "1"

    def close(self) -> None:
        """End the pane and this server, which is no other test's."""
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], capture_output=True, check=False, timeout=20)


@contextmanager
def terminal(columns: int, lines: int, command: list[str], environment: dict[str, str]) -> Iterator[Terminal]:
    """Run a command in a terminal of a size."""
    with tempfile.TemporaryDirectory() as folder:
        shown = Terminal(f"volley-{os.getpid()}-{Path(folder).name}", Path(folder))
        try:
            shown.start(columns, lines, command, environment)
            yield shown
        finally:
            shown.close()
