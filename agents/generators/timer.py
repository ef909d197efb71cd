"""A timer of the kernel that fires at an instant of CLOCK_MONOTONIC, in ns, and is waited for as a file descriptor."""

from __future__ import annotations

import ctypes
import os
import struct

# Numbers of <sys/timerfd.h> and <time.h>; Python has timerfd from 3.13 on.
_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = 0o2004000
_ABSOLUTE = 1
_SECOND_NS = 1_000_000_000
_SPECIFICATION = struct.Struct("qqqq")


class Timer:
    """One absolute timer. It is readable from its instant on, until it is armed again or disarmed."""

    __slots__ = ("_set", "fd")

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._set = libc.timerfd_settime

    def arm(self, at_ns: int) -> None:
        """Fire at an instant; at once when it has passed. Arming also ends a readiness that was not read."""
        self._set(self.fd, _ABSOLUTE, _SPECIFICATION.pack(0, 0, at_ns // _SECOND_NS, at_ns % _SECOND_NS), None)

    def disarm(self) -> None:
        """Never fire, and end a readiness that was not read."""
        self._set(self.fd, 0, _SPECIFICATION.pack(0, 0, 0, 0), None)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)
