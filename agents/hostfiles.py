"""Counters of a host as the kernel shows them: cores, interfaces, TCP, both clocks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from agents.clock import wall_minus_monotonic_ns


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters at one moment.

    at_ns: monotonic. clock_ns: wall clock minus monotonic clock. cores: ticks by core, in the
    columns of /proc/stat. links: received and sent bytes, received and sent packets, drops, by
    interface. opened, sent, again: TCP connections opened, segments sent and retransmitted. held:
    TCP sockets in use and in TIME_WAIT.
    """

    at_ns: int
    clock_ns: int
    cores: dict[str, tuple[int, ...]]
    links: dict[str, tuple[int, int, int, int, int]]
    opened: int
    sent: int
    again: int
    held: int


def read_sample(proc: Path, net: Path) -> Sample:
    """Return the counters of now from /proc and from its folder of the network, or from folders like them.

    A file that the kernel does not provide counts as empty.
    """
    tcp = _tcp(text_of(net / "snmp"))
    return Sample(
        at_ns=time.monotonic_ns(),
        clock_ns=wall_minus_monotonic_ns(),
        cores=_cores(text_of(proc / "stat")),
        links=_links(text_of(net / "dev")),
        opened=tcp.get("ActiveOpens", 0),
        sent=tcp.get("OutSegs", 0),
        again=tcp.get("RetransSegs", 0),
        held=_held(text_of(net / "sockstat")),
    )


def text_of(path: Path) -> str:
    """Return the text of a file; none where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _cores(text: str) -> dict[str, tuple[int, ...]]:
    cores = {}
    for line in text.splitlines():
        name, *numbers = line.split()
        if name.startswith("cpu") and name != "cpu":
            cores[name] = tuple(int(number) for number in numbers[:8])
    return cores


def _links(text: str) -> dict[str, tuple[int, int, int, int, int]]:
    links = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        n = [int(number) for number in rest.split()]
        links[name.strip()] = (n[0], n[8], n[1], n[9], n[3] + n[11])
    return links


def _tcp(text: str) -> dict[str, int]:
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith("Tcp:")]
    return dict(zip(lines[0], (int(n) for n in lines[1]), strict=True)) if len(lines) == 2 else {}


def _held(text: str) -> int:
    held = 0
    for line in text.splitlines():
        name, *words = line.split()
        if name in ("TCP:", "TCP6:"):
            values = dict(zip(words[::2], words[1::2], strict=False))
            held += int(values.get("inuse", 0)) + int(values.get("tw", 0))
    return held
