"""The lab as the tests use it: its hosts, and what runs or remains on them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from tests import sessions
from tests.integration.machine import ROOT, TINY, tiny_campaign

LAB = str(ROOT / "deploy" / "lab" / "lab")
STATE = Path("/var/lib/volley-lab")
INVENTORY = ROOT / "configs" / "inventories" / "lab.yaml"
SERVER, FAR, WRONG_CLOCK, PLAIN = "web1", "gen1", "gen2", "gen3"
ADDRESSES = {SERVER: "198.18.0.11", FAR: "198.18.0.12", WRONG_CLOCK: "198.18.0.13", PLAIN: "198.18.0.14"}
HERE = "here"
CLOCK_OFF_NS = 3_700_000_000
DELAY_NS = 5_000_000


def lab(*arguments: str, check: bool = True) -> str:
    """Run a verb of deploy/lab/lab and return its output."""
    done = subprocess.run([LAB, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert not check or done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def on(host: str, command: str, check: bool = True) -> str:
    """Run a shell command in a host and return its output."""
    return lab("exec", host, "--", "sh", "-c", command, check=check)


def inventory(folder: Path, hosts: dict[str, dict[str, Any]] | None = None, **changes: Any) -> str:
    """Write an inventory and return its path. hosts: settings by name, by default for all hosts of the lab."""
    given = hosts or {name: {} for name in ADDRESSES}
    document = {
        "coordinator": {"address": "198.18.0.1"},
        "images": "send",
        "ssh_config": "none",
        "defaults": {"user": "root", "key": str(STATE / "key"), "known_hosts": str(STATE / "known_hosts")},
        "hosts": {
            name: {"address": ADDRESSES.get(name), "roles": ["server" if name == SERVER else "load"], **more}
            for name, more in given.items()
        },
        **changes,
    }
    path = folder / "inventory.yaml"
    path.write_text(json.dumps(document))
    return str(path)


def campaign(folder: Path, agents: int = 3, **changes: Any) -> str:
    """Write a campaign for the tiny server and three load hosts; return its path.

    Its name differs from those of other tests: runs of one campaign that start in the same second have the same name.
    """
    loads = {"burst": {"clients": 9, "requests": 900}}
    return tiny_campaign(folder, 18501, agents=agents, **({"campaign": "lab", "loads": loads} | changes))


def host_of(process: psutil.Process) -> str:
    """Return the lab host that a process runs on; HERE for this machine."""
    mine = os.stat(f"/proc/{process.pid}/ns/net").st_ino
    for name in ADDRESSES:
        if os.stat(f"/run/netns/volley-{name}").st_ino == mine:
            return name
    return HERE


def running(name: str) -> dict[int, str]:
    """Return the hosts of all processes with a name, by pid, without those that another session has started here."""
    hosts = {}
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == name:
            with contextlib.suppress(OSError):
                host = host_of(process)
                if host != HERE or not sessions.is_another(sessions.owner(process)):
                    hosts[process.pid] = host
    return hosts


def received_bytes(host: str) -> int:
    """Return the bytes that a host has received on its interface."""
    return int(on(host, "sed -n 's/^ *eth0: *//p' /proc/net/dev").split()[0])


def left_on(host: str) -> list[str]:
    """Return what a run or a fleet has left on a host, except the files that are sent once and kept."""
    # The guard's name is written so that the search does not find itself.
    look = """ls -d /tmp/volley-* /dev/shm/volley-* 2>/dev/null
        grep -lz ^VOLLEY_RUN= /proc/[0-9]*/environ 2>/dev/null
        grep -l -e 'agents[.]guard' -e 'agents[.]standby' /proc/[0-9]*/cmdline 2>/dev/null
        grep -l '^ra[y]::' /proc/[0-9]*/cmdline 2>/dev/null
        [ ! -S /run/docker.sock ] || docker ps -aq --filter label=volley.run"""
    return on(host, look, check=False).split()


def nothing_left_on_hosts(within_s: float = 15.0, hosts: list[str] | None = None) -> None:
    """Fail when something is left on a host after within_s."""
    deadline = time.monotonic() + within_s
    for host in hosts or list(ADDRESSES):
        while left := left_on(host):
            assert time.monotonic() < deadline, f"{host}: {left}"
            time.sleep(0.2)


def tiny_context() -> Path:
    """Return the build context of the tiny server."""
    return TINY
