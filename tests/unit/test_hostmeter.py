"""What a host does while a load runs, from files as the kernel writes them."""

from agents.hostfiles import Sample
from agents.hostmeter import HostMeter, Samples

STAT = "cpu  0 0 0 0\n{}intr 1 2 3\nctxt 5\n"
DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0
  eth0: {received}     {packets}    0    {dropped}    0     0          0         0    5000      50    0    1    0     0       0          0
"""
SNMP = """Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm ActiveOpens InSegs OutSegs RetransSegs
Tcp: 1 {opened} 500 {sent} {again}
"""
SOCKSTAT = "sockets: used 9\nTCP: inuse 7 orphan 0 tw 5 alloc 9 mem 1\nUDP: inuse 1 mem 0\n"


def files(root, received=0, packets=0, dropped=0, opened=0, sent=0, again=0, cores=((0,) * 8, (0,) * 8)):
    lines = "".join(f"cpu{i} {' '.join(map(str, ticks))} 0 0\n" for i, ticks in enumerate(cores))
    written = {
        "proc/stat": STAT.format(lines),
        "net/dev": DEV.format(received=received, packets=packets, dropped=dropped),
        "net/snmp": SNMP.format(opened=opened, sent=sent, again=again),
        "net/sockstat": SOCKSTAT,
        "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
        "sys/class/net/eth0/speed": "1000\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    }
    for name, text in written.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_totals_shares_and_the_link(tmp_path):
    """Two samples: differences by column, the link with the most traffic, its speed, ports and governor."""
    meter = HostMeter(tmp_path / "proc", tmp_path / "net", tmp_path / "sys")
    # user nice system idle iowait irq softirq steal
    files(tmp_path, received=1_000, packets=10, opened=3, sent=100, again=1)
    first = meter.sample()
    files(
        tmp_path, received=101_000, packets=110, dropped=4, opened=43, sent=1100, again=21,
        cores=((50, 0, 20, 10, 0, 0, 10, 10), (0, 0, 0, 90, 10, 0, 0, 0)),
    )  # fmt: skip
    last = meter.sample()
    meter._seen.add(first)
    meter._seen.add(last)

    use = meter.use("gen1", "load")

    assert (use.host, use.role, use.cores) == ("gen1", "load", 2)
    assert (use.busy_share, use.busiest_core, use.free_share) == (0.45, 0.9, 0.55)
    assert (use.steal_share, use.softirq_share) == (0.05, 0.05)
    assert (use.link, use.link_bits_per_s) == ("eth0", 10**9)
    assert (use.received_bytes, use.packets, use.dropped_packets) == (100_000, 100, 4)
    assert (use.sent_segments, use.segments_sent_again, use.opened) == (1000, 20, 40)
    assert (use.held, use.ports, use.governor) == (12, 28_232, "powersave")
    assert use.series["cpu0_busy"] == [0.9]
    assert use.series["dropped_packets"] == [4]


def seen(samples):
    all_of_them = Samples()
    for one in samples:
        all_of_them.add(one)
    return all_of_them


def sample(second, **changes):
    plain = {
        "at_ns": int(second * 1e9), "clock_ns": 10**18, "cores": {"cpu0": (0, 0, 0, int(second * 100), 0, 0, 0, 0)},
        "links": {"eth0": (0, 0, 0, 0, 0)}, "opened": 0, "sent": 0, "again": 0, "held": 0,
    }  # fmt: skip
    return Sample(**plain | changes)


def test_the_busiest_second_counts_and_a_short_last_one_does_not():
    """100 Mbit in one of three seconds on a link of 125 Mbit/s; the last 50 ms do not count as a second."""
    moved = [0, 0, 12_500_000, 12_500_000, 25_000_000]
    samples = [
        sample(second, links={"eth0": (received, 0, 0, 0, 0)})
        for second, received in zip((0, 1, 2, 3, 3.05), moved, strict=True)
    ]

    use = seen(samples).use("h", "load", {"eth0": 125_000_000}.get, 1000, None)

    assert use.link_share == 0.8
    assert use.seconds == 3.05
    assert use.received_bytes == 25_000_000
    assert len(use.series["at_s"]) == 4


def test_a_wall_clock_that_is_stepped_is_seen():
    """The largest change from one sample to the next."""
    samples = [sample(0), sample(1, clock_ns=10**18 + 1_000), sample(2, clock_ns=10**18 - 50_000_000)]

    assert seen(samples).use("h", "load", {}.get, 0, None).clock_moved_ns == 50_001_000


def test_a_kernel_without_these_files_is_not_an_error(tmp_path):
    """Everything is zero, and nothing is invented."""
    meter = HostMeter(tmp_path, tmp_path, tmp_path)
    meter.start()
    meter.stop()
    use = meter.use("h", "load")

    assert (use.cores, use.link, use.link_share, use.ports, use.governor) == (0, "", None, 0, None)
    assert (use.busy_share, use.free_share, use.busiest_core) == (0.0, 1.0, 0.0)


def test_a_meter_that_was_never_started_has_no_use():
    """Without samples there is no result."""
    assert HostMeter().use("h", "load") is None
