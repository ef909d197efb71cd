"""Unit tests start no process and use no socket. An attempt to do so is an error where it happens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Events of Python's own audit: https://docs.python.org/3/library/audit_events.html
FORBIDDEN = {
    "subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system",
    "socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg",
}  # fmt: skip


class NotPure(AssertionError):
    """A unit test started a process or used a socket."""


class _Guard:
    """The audit hook. Python cannot remove one, so it is switched on and off."""

    def __init__(self) -> None:
        self.attempts: list[str] | None = None
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.attempts is not None and event in FORBIDDEN:
            self.attempts.append(event)
            raise NotPure(f"{event}: mark the test 'process', or test it without one")


_guard = _Guard()


@contextmanager
def forbidden() -> Iterator[list[str]]:
    """Refuse processes and sockets inside. Yield the attempts, because code under test may hide the error."""
    _guard.attempts = attempts = []
    try:
        yield attempts
    finally:
        _guard.attempts = None
