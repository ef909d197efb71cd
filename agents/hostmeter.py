"""What a host does while a load runs, sampled every second: cores, steal, interrupts, network, ports, clock."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from agents.columns import Columns, Join, last
from agents.hostfiles import Sample, read_sample, text_of
from agents.lease import others_here
from agents.records import HostRole

INTERVAL_S = 1.0
# The network namespace of this thread rather than of its process: a lab host is a namespace.
_NET = Path("/proc/thread-self/net")
_GOVERNOR = "devices/system/cpu/cpu0/cpufreq/scaling_governor"
# Columns of /proc/stat after the core's name.
_USER, _NICE, _SYSTEM, _IDLE, _IOWAIT, _IRQ, _SOFTIRQ, _STEAL = range(8)


@dataclass(frozen=True, slots=True)
class HostUse:
    """What one host did from T0 until its part of the load was over.

    Shares are of the time of all cores; free is idle time and waiting for disks. busiest_core: the
    largest share of one core in one second. link: the interface with the most traffic. link_share:
    of its speed, in the busiest second and direction; None when the speed is not known. ports: the
    size of the ephemeral range. held: the largest number of TCP sockets. opened: TCP connections
    opened on this host, by any process. clock_moved_ns: the largest change of wall clock minus
    monotonic clock between two samples; of a load host, also before T0. series: columns by name,
    one value per sample after the first: seconds since T0, clock in µs relative to the first
    sample, shares (cpu0_busy ... of each core), bytes and counts per interval. other_runs: runs of
    Volley that used this host meanwhile.
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
    other_runs: list[str] = field(default_factory=list)


class HostMeter:
    """Samples every second from start() to stop(), in its own thread."""

    def __init__(self, proc: Path = Path("/proc"), net: Path = _NET, system: Path = Path("/sys")) -> None:
        self._proc, self._net, self._system = proc, net, system
        self._seen = Samples()
        self._others: set[str] = set()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def busy_share(self) -> float | None:
        """Return the share of the time of all cores that was used between the last two samples; None before."""
        return self._seen.busy_share

    def start(self) -> None:
        """Take the first sample now and continue until stop()."""
        self.stop()
        self._over.clear()
        self._seen = Samples()
        self._others = set(others_here())
        self._seen.add(self.sample())
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
            self._seen.add(self.sample())
            self._others.update(others_here())

    def sample(self) -> Sample:
        """Return the counters of now. A file that the kernel does not provide counts as empty."""
        return read_sample(self._proc, self._net)

    def use(self, host: str, role: HostRole) -> HostUse | None:
        """Return what happened between start() and stop(); None with fewer than two samples."""
        if not self._seen.intervals:
            return None
        governor = text_of(self._system / _GOVERNOR).strip()
        low, _, high = text_of(self._proc / "sys/net/ipv4/ip_local_port_range").strip().partition("\t")
        use = self._seen.use(
            host,
            role,
            speed_of=self._speed,
            ports=int(high) - int(low) + 1 if low.isdigit() and high.isdigit() else 0,
            governor=governor or None,
        )
        return replace(use, other_runs=sorted(self._others))

    def _speed(self, link: str) -> int | None:
        """Return the speed that an interface reports, in bits per second; None when it reports none."""
        text = text_of(self._system / "class/net" / link / "speed").strip()
        return int(text) * 1_000_000 if text.isdigit() and int(text) > 0 else None


class Samples:
    """What the samples of one load say, kept in bounded memory, however long the load is. intervals: how many there were.

    busy_share: of all cores in the last interval.
    """

    def __init__(self) -> None:
        self.intervals = 0
        self.busy_share: float | None = None
        self._first: Sample | None = None
        self._last: Sample | None = None
        self._busiest: float | None = None
        # The most bits per second in one direction, by interface.
        self._fastest: dict[str, float] = {}
        self._held = self._clock_moved_ns = 0
        self._columns = Columns(_JOINS)
        self._links: dict[str, Columns] = {}

    def add(self, sample: Sample) -> None:
        """Add the next sample."""
        self._held = max(self._held, sample.held)
        before, self._last = self._last, sample
        if self._first is None or before is None:
            self._first = sample
            return
        self.intervals += 1
        self._clock_moved_ns = max(self._clock_moved_ns, abs(sample.clock_ns - before.clock_ns))
        shares = _shares(before, sample)
        self._columns.add(_row(self._first, before, sample, shares))
        self.busy_share = shares.busy
        for name in sample.links:
            received, sent, _, _, dropped = _moved(before, sample, name)
            self._links.setdefault(name, Columns({}, otherwise=sum)).add(
                {"received_bytes": received, "sent_bytes": sent, "dropped_packets": dropped}
            )
        # The last interval is often a fraction of a second, and says little about a whole one.
        if sample.at_ns - before.at_ns > INTERVAL_S * 0.5e9:
            self._busiest = max(self._busiest or 0.0, shares.busiest)
            self._note_rates(before, sample)

    def _note_rates(self, before: Sample, sample: Sample) -> None:
        for name in sample.links:
            bits_per_s = max(_moved(before, sample, name)[:2]) * 8e9 / (sample.at_ns - before.at_ns)
            self._fastest[name] = max(self._fastest.get(name, 0.0), bits_per_s)

    def use(
        self, host: str, role: HostRole, speed_of: Callable[[str], int | None], ports: int, governor: str | None
    ) -> HostUse:
        """Return the totals from the first to the last sample, and the series. speed_of: an interface's bits per second."""
        first, last = self._first, self._last
        assert first is not None
        assert last is not None
        whole = _shares(first, last)
        if self._busiest is None and last.at_ns > first.at_ns:
            self._note_rates(first, last)
        link = max(first.links, key=lambda name: sum(_moved(first, last, name)[:2]), default="")
        speed = speed_of(link)
        received, sent, packets_in, packets_out, dropped = _moved(first, last, link)
        return HostUse(
            host=host,
            role=role,
            seconds=round((last.at_ns - first.at_ns) / 1e9, 3),
            cores=len(last.cores),
            busy_share=whole.busy,
            busiest_core=whole.busiest if self._busiest is None else self._busiest,
            free_share=whole.free,
            steal_share=whole.steal,
            softirq_share=whole.softirq,
            link=link,
            link_bits_per_s=speed,
            link_share=round(self._fastest.get(link, 0.0) / speed, 3) if speed else None,
            received_bytes=received,
            sent_bytes=sent,
            packets=packets_in + packets_out,
            dropped_packets=dropped,
            sent_segments=last.sent - first.sent,
            segments_sent_again=last.again - first.again,
            opened=last.opened - first.opened,
            held=self._held,
            ports=ports,
            clock_moved_ns=self._clock_moved_ns,
            kernel=os.uname().release,
            governor=governor,
            series=self._columns.values() | (self._links[link].values() if link in self._links else {}),
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


# How values of a column are joined in a long load; shares get their mean.
_JOINS: dict[str, Join] = {
    "at_s": last,
    "busiest_core": max,
    "segments_sent_again": sum,
    "sockets": max,
    "clock_us": last,
}


def _row(start: Sample, before: Sample, now: Sample, shares: _Shares) -> dict[str, float]:
    row: dict[str, float] = {
        "at_s": round((now.at_ns - start.at_ns) / 1e9, 3),
        "busy_share": shares.busy,
        "busiest_core": shares.busiest,
        "steal_share": shares.steal,
        "softirq_share": shares.softirq,
        "segments_sent_again": now.again - before.again,
        "sockets": now.held,
        "clock_us": (now.clock_ns - start.clock_ns) // 1000,
    }
    return row | {f"{core}_busy": share for core, share in shares.by_core.items()}
