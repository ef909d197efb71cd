"""What a host does while a load runs, sampled every second: cores, steal, interrupts, network, ports, clock."""

from __future__ import annotations

import itertools
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from agents.clock import wall_minus_monotonic_ns
from agents.records import HostRole

INTERVAL_S = 1.0
# The network namespace of this thread rather than of its process: a lab host is a namespace.
_NET = Path("/proc/thread-self/net")
_GOVERNOR = "devices/system/cpu/cpu0/cpufreq/scaling_governor"
# Columns of /proc/stat after the core's name.
_USER, _NICE, _SYSTEM, _IDLE, _IOWAIT, _IRQ, _SOFTIRQ, _STEAL = range(8)


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


@dataclass(frozen=True, slots=True)
class HostUse:
    """What one host did from T0 until its part of the load was over.

    Shares are of the time of all cores; free is idle time and waiting for disks. busiest_core: the
    largest share of one core in one second. link: the interface with the most traffic. link_share:
    of its speed, in the busiest second and direction; None when the speed is not known. ports: the
    size of the ephemeral range. held: the largest number of TCP sockets. opened: TCP connections
    opened on this host, by any process. clock_moved_ns: the largest change of wall clock minus
    monotonic clock between two samples. series: columns by name, one value per sample after the
    first: seconds since T0, clock in µs relative to the first sample, shares (cpu0_busy ... of each
    core), bytes and counts per interval.
    """

    host: str
    role: HostRole
    seconds: float
    cores: int
    busy_share: float
    busiest_core: float
    free_share: float
    steal_share: float
    softirq_share: float
    link: str
    link_bits_per_s: int | None
    link_share: float | None
    received_bytes: int
    sent_bytes: int
    packets: int
    dropped_packets: int
    sent_segments: int
    segments_sent_again: int
    opened: int
    held: int
    ports: int
    clock_moved_ns: int
    kernel: str
    governor: str | None
    series: dict[str, list[float]] = field(default_factory=dict)


class HostMeter:
    """Samples every second from start() to stop(), in its own thread."""

    def __init__(self, proc: Path = Path("/proc"), net: Path = _NET, system: Path = Path("/sys")) -> None:
        self._proc, self._net, self._system = proc, net, system
        self._samples: list[Sample] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take the first sample now and continue until stop()."""
        self.stop()
        self._over.clear()
        self._samples = [self.sample()]
        self._thread = threading.Thread(target=self._follow, name="host-meter", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the last sample. May be called at any time and more than once."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._over.set()
            thread.join()

    def _follow(self) -> None:
        due = time.monotonic()
        while not self._over.is_set():
            due += INTERVAL_S
            self._over.wait(max(0.0, due - time.monotonic()))
            self._samples.append(self.sample())

    def sample(self) -> Sample:
        """Return the counters of now. A file that the kernel does not provide counts as empty."""
        tcp = _tcp(_text(self._net / "snmp"))
        return Sample(
            at_ns=time.monotonic_ns(),
            clock_ns=wall_minus_monotonic_ns(),
            cores=_cores(_text(self._proc / "stat")),
            links=_links(_text(self._net / "dev")),
            opened=tcp.get("ActiveOpens", 0),
            sent=tcp.get("OutSegs", 0),
            again=tcp.get("RetransSegs", 0),
            held=_held(_text(self._net / "sockstat")),
        )

    def use(self, host: str, role: HostRole) -> HostUse | None:
        """Return what happened between start() and stop(); None with fewer than two samples."""
        if len(self._samples) < 2:
            return None
        governor = _text(self._system / _GOVERNOR).strip()
        low, _, high = _text(self._proc / "sys/net/ipv4/ip_local_port_range").strip().partition("\t")
        return summarise(
            self._samples,
            host=host,
            role=role,
            speeds={name: self._speed(name) for name in self._samples[0].links},
            ports=int(high) - int(low) + 1 if low.isdigit() and high.isdigit() else 0,
            governor=governor or None,
        )

    def _speed(self, link: str) -> int | None:
        """Return the speed that an interface reports, in bits per second; None when it reports none."""
        text = _text(self._system / "class/net" / link / "speed").strip()
        return int(text) * 1_000_000 if text.isdigit() and int(text) > 0 else None


def summarise(
    samples: list[Sample], host: str, role: HostRole, speeds: dict[str, int | None], ports: int, governor: str | None
) -> HostUse:
    """Return the differences between samples: totals from the first to the last, and a series."""
    first, last = samples[0], samples[-1]
    whole = _shares(first, last)
    pairs = list(itertools.pairwise(samples))
    # The last interval is often a fraction of a second, and says little about a whole one.
    seconds = [(_shares(a, b), a, b) for a, b in pairs if b.at_ns - a.at_ns > INTERVAL_S * 0.5e9] or [
        (whole, first, last)
    ]
    link = max(first.links, key=lambda name: sum(_moved(first, last, name)[:2]), default="")
    speed = speeds.get(link)
    received, sent, packets_in, packets_out, dropped = _moved(first, last, link)
    rates = [max(_moved(a, b, link)[:2]) * 8e9 / (b.at_ns - a.at_ns) for _, a, b in seconds if b.at_ns > a.at_ns]
    return HostUse(
        host=host,
        role=role,
        seconds=round((last.at_ns - first.at_ns) / 1e9, 3),
        cores=len(last.cores),
        busy_share=whole.busy,
        busiest_core=max(shares.busiest for shares, _, _ in seconds),
        free_share=whole.free,
        steal_share=whole.steal,
        softirq_share=whole.softirq,
        link=link,
        link_bits_per_s=speed,
        link_share=round(max(rates, default=0.0) / speed, 3) if speed else None,
        received_bytes=received,
        sent_bytes=sent,
        packets=packets_in + packets_out,
        dropped_packets=dropped,
        sent_segments=last.sent - first.sent,
        segments_sent_again=last.again - first.again,
        opened=last.opened - first.opened,
        held=max(sample.held for sample in samples),
        ports=ports,
        clock_moved_ns=max(abs(b.clock_ns - a.clock_ns) for a, b in pairs),
        kernel=os.uname().release,
        governor=governor,
        series=_series(pairs, link),
    )


@dataclass(frozen=True, slots=True)
class _Shares:
    busy: float
    busiest: float
    free: float
    steal: float
    softirq: float
    by_core: dict[str, float]


def _shares(a: Sample, b: Sample) -> _Shares:
    """Return how the cores' time between two samples was used."""
    cores = [core for core in b.cores if core in a.cores]
    each = [[y - x for x, y in zip(a.cores[core], b.cores[core], strict=True)] for core in cores]
    total = [sum(column) for column in zip(*each, strict=True)] or [0] * 8
    ticks = max(1, sum(total))
    busy = [round(1 - (core[_IDLE] + core[_IOWAIT]) / sum(core), 4) if any(core) else 0.0 for core in each]
    # Two samples within one tick show no use at all.
    free = (total[_IDLE] + total[_IOWAIT]) / ticks if any(total) else 1.0
    return _Shares(
        busy=round(1 - free, 4),
        busiest=max(busy, default=0.0),
        free=round(free, 4),
        steal=round(total[_STEAL] / ticks, 4),
        softirq=round((total[_SOFTIRQ] + total[_IRQ]) / ticks, 4),
        by_core=dict(zip(cores, busy, strict=True)),
    )


def _moved(a: Sample, b: Sample, link: str) -> list[int]:
    zero = (0, 0, 0, 0, 0)
    return [y - x for x, y in zip(a.links.get(link, zero), b.links.get(link, zero), strict=True)]


def _series(pairs: list[tuple[Sample, Sample]], link: str) -> dict[str, list[float]]:
    if not pairs:
        return {}
    start = pairs[0][0]
    columns: dict[str, list[float]] = {}
    for a, b in pairs:
        shares, moved = _shares(a, b), _moved(a, b, link)
        row = {
            "at_s": round((b.at_ns - start.at_ns) / 1e9, 3),
            "busy_share": shares.busy,
            "busiest_core": shares.busiest,
            "steal_share": shares.steal,
            "softirq_share": shares.softirq,
            "received_bytes": moved[0],
            "sent_bytes": moved[1],
            "dropped_packets": moved[4],
            "segments_sent_again": b.again - a.again,
            "sockets": b.held,
            "clock_us": (b.clock_ns - start.clock_ns) // 1000,
        }
        row |= {f"{core}_busy": share for core, share in shares.by_core.items()}
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return columns


def _text(path: Path) -> str:
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
