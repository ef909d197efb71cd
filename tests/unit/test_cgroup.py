"""Counters of a container's cgroup, both versions, from files as the kernel writes them."""

import os

import pytest

from agents.cgroup import Cgroup, Counters


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_cgroup_v1(tmp_path):
    """Each controller has its own tree; times are in ns and in ticks."""
    tree(
        tmp_path,
        {
            "proc/7/cgroup": "4:memory:/docker/x\n2:cpuacct:/docker/x\n1:cpu:/docker/x\n0::/\n",
            "fs/cpu/docker/x/cpu.stat": "nr_periods 34\nnr_throttled 5\nthrottled_time 426895414\nnr_bursts 0\n",
            "fs/cpuacct/docker/x/cpuacct.usage": "1234567890\n",
            "fs/cpuacct/docker/x/cpuacct.stat": f"user 65\nsystem {os.sysconf('SC_CLK_TCK')}\n",
            "fs/memory/docker/x/memory.usage_in_bytes": "90000000\n",
            "fs/memory/docker/x/memory.max_usage_in_bytes": "104857600\n",
            "fs/memory/docker/x/memory.limit_in_bytes": "104857600\n",
            "fs/memory/docker/x/memory.stat": "pgmajfault 1\ntotal_pgmajfault 734\n",
            "fs/memory/docker/x/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 51\n",
        },
    )

    counters = Cgroup(7, "x", tmp_path / "fs", tmp_path / "proc").read()

    assert counters == Counters(1_234_567, 1_000_000, 34, 5, 426_895, 90_000_000, 104_857_600, 104_857_600, 51, 734)


def test_cgroup_v2(tmp_path):
    """One tree; times in µs; no limit is the word max."""
    tree(
        tmp_path,
        {
            "proc/7/cgroup": "0::/system.slice/docker-x.scope\n",
            "fs/system.slice/docker-x.scope/cpu.stat": "usage_usec 500\nuser_usec 300\nsystem_usec 200\n"
            "nr_periods 4\nnr_throttled 3\nthrottled_usec 99\n",
            "fs/system.slice/docker-x.scope/memory.current": "10\n",
            "fs/system.slice/docker-x.scope/memory.peak": "20\n",
            "fs/system.slice/docker-x.scope/memory.max": "max\n",
            "fs/system.slice/docker-x.scope/memory.events": "low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\n",
            "fs/system.slice/docker-x.scope/memory.stat": "anon 5\npgmajfault 6\n",
        },
    )

    assert Cgroup(7, "x", tmp_path / "fs", tmp_path / "proc").read() == Counters(500, 200, 4, 3, 99, 10, 20, 0, 2, 6)


def test_a_container_that_is_gone_is_an_error(tmp_path):
    """The counters of nothing are not zeros."""
    tree(tmp_path, {"proc/7/cgroup": "0::/x-gone\n"})

    with pytest.raises(FileNotFoundError, match="is gone"):
        Cgroup(7, "x", tmp_path / "fs", tmp_path / "proc").read()


@pytest.mark.parametrize("line", ["4:memory:/\n2:cpuacct:/\n1:cpu:/\n0::/\n", "0::/\n", "0::/docker/another\n"])
def test_a_process_that_has_left_the_container_has_no_counters_of_it(tmp_path, line):
    """A container that exits at once: its process is in the host's cgroup, whose memory is not the container's."""
    tree(tmp_path, {"proc/7/cgroup": line})

    with pytest.raises(ProcessLookupError):
        Cgroup(7, "x", tmp_path / "fs", tmp_path / "proc")
