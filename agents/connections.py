"""How many connections a generator opened that does not say so: read from its own sockets, never from the host's counters.

A host counts the connections of every process on it. The kernel also counts, for each socket, the segments with data that
it sent and received: a connection that was opened a moment ago has carried few requests, whatever else the host does.
"""

from __future__ import annotations

import ctypes
import os
import random
import socket
import struct
import time
from pathlib import Path

# The number of the system call on every architecture; since Linux 5.6.
_PIDFD_GETFD = 438
# struct tcp_info: data_segs_in, data_segs_out (Linux 4.6).
_SEGMENTS = struct.Struct("=II")
_SEGMENTS_AT, _INFO_BYTES = 152, 192
# More sockets than this are not looked at, and the same look is repeated: a connection may just have been opened.
MOST_SOCKETS, LOOKS, BETWEEN_S = 64, 4, 0.002
# With this many connections per client some were surely opened again: clients do not all get the same share.
SURELY_REOPENED = 2
# Segments with data by which a client sets up TLS.
HANDSHAKE_SEGMENTS = 2
_libc = ctypes.CDLL(None, use_errno=True)


class ConnectionWatch:
    """Looks at the sockets of one process now and then. most_carried: the most requests that one had carried, so far."""

    def __init__(self, pid: int, tls: bool = False) -> None:
        self.most_carried = 0
        self._pid, self._before = pid, HANDSHAKE_SEGMENTS if tls else 0
        self._answered = 0

    def look(self, answered: int) -> None:
        """Look at the sockets now. answered: how many requests the process has had answered.

        Does nothing once the process is gone.
        """
        try:
            with _Descriptors(self._pid) as descriptors:
                for turn in range(LOOKS):
                    if turn:
                        time.sleep(BETWEEN_S)
                    carried = descriptors.carried(self._before)
                    if carried:
                        self._answered = answered
                        self.most_carried = max(self.most_carried, carried)
        except OSError:
            return  # gone, or a kernel that does not allow this

    def opened(self, answered: int, clients: int) -> int | None:
        """Return about how many connections were opened for this many answers; None where too little was seen.

        It is rather too few: a connection may have carried more after it was looked at. So what came after the last look is
        only added in proportion where connections were seen to be opened again until then.
        """
        if not self.most_carried or not self._answered:
            return None
        until_then = self._answered / self.most_carried
        reopened = until_then > SURELY_REOPENED * clients
        return round(until_then * max(1.0, answered / self._answered) if reopened else until_then)


class _Descriptors:
    """The open sockets of another process, borrowed one at a time."""

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc") / str(pid) / "fd"
        self._process = os.pidfd_open(pid)

    def __enter__(self) -> _Descriptors:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._process)

    def carried(self, before: int) -> int:
        """Return the most requests that a socket has carried; 0 where there is none. before: segments that carry none."""
        names = os.listdir(self._folder)
        most = 0
        for name in random.sample(names, min(len(names), MOST_SOCKETS)):
            segments = self._segments(name)
            if segments is not None:
                received, sent = segments
                # A request or an answer may take several segments, but seldom both.
                most = max(most, min(sent - before, received + 1))
        return most

    def _segments(self, name: str) -> tuple[int, int] | None:
        """Return the segments with data that a TCP socket received and sent; None for anything else."""
        try:
            if not os.readlink(self._folder / name).startswith("socket:"):
                return None
        except OSError:
            return None  # closed meanwhile
        borrowed = _libc.syscall(_PIDFD_GETFD, self._process, int(name), 0)
        if borrowed < 0:
            return None
        with socket.socket(fileno=borrowed) as one:
            try:
                info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
            except OSError:
                return None  # not TCP
        return _SEGMENTS.unpack_from(info, _SEGMENTS_AT) if len(info) >= _SEGMENTS_AT + _SEGMENTS.size else None
