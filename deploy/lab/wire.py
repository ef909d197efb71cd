"""A slow or lossy link between two network namespaces, for kernels without netem: two TAP devices and a queue.

    python3 wire.py NAMESPACE INSIDE OUTSIDE DELAY_S LOSS

INSIDE is created in the namespace, OUTSIDE in this one. As with netem on the host's interface, only
packets that the host sends are delayed or dropped. The link carries some 10,000 packets per second:
enough for tests, but not for measuring a network.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator

_TUNSETIFF = 0x400454CA
_TAP_WITHOUT_HEADER = 0x0002 | 0x1000
_LARGEST = 65536


def tap(name: str) -> int:
    """Create a TAP device in the current network namespace; return its descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", name.encode(), _TAP_WITHOUT_HEADER))
    return descriptor


def enter(path: str) -> None:
    """Enter a network namespace. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY)
    if libc.setns(descriptor, 0) != 0:
        raise OSError(ctypes.get_errno(), f"setns {path}")
    os.close(descriptor)


def packets(source: int) -> Iterator[bytes]:
    """Yield the packets that can be read now."""
    with contextlib.suppress(OSError):  # no more packets, or the interface is down
        while True:
            yield os.read(source, _LARGEST)


def send(sink: int, packet: bytes) -> None:
    """Send a packet; it is lost when the interface is down, as on any cable."""
    with contextlib.suppress(OSError):
        os.write(sink, packet)


def main() -> None:
    """Forward packets until the process is stopped."""
    namespace, inside_name, outside_name, delay_s, loss = sys.argv[1:]
    outside = tap(outside_name)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    enter(f"/run/netns/{namespace}")
    inside = tap(inside_name)
    enter(f"/proc/self/fd/{home}")
    delay_ns, lost = int(float(delay_s) * 1e9), float(loss)
    waiting: deque[tuple[int, bytes]] = deque()
    poll = select.poll()
    poll.register(inside, select.POLLIN)
    poll.register(outside, select.POLLIN)
    while True:
        left_ms = None if not waiting else max(0.0, (waiting[0][0] - time.monotonic_ns()) / 1e6)
        poll.poll(left_ms)
        for packet in packets(outside):
            send(inside, packet)
        waiting.extend((time.monotonic_ns() + delay_ns, p) for p in packets(inside) if random.random() >= lost)
        while waiting and waiting[0][0] <= time.monotonic_ns():
            send(outside, waiting.popleft()[1])


if __name__ == "__main__":
    main()
