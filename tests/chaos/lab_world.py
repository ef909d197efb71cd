"""Two hosts of the lab as a world: the container runs on one, the load on the other, and Volley on this machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.chaos.clock import Clock
from tests.chaos.worlds import DECOY, HERE, LOAD, SERVER, SHARED_MEMORY_BYTES, THEIRS, World, until, words
from tests.lab import world as lab

HOSTS = {LOAD: lab.FAR, SERVER: lab.SERVER}
# Of what a run leaves on a host, without the environment that is sent once and kept.
_LOOK = """
ls -d /tmp/volley-* /dev/shm/volley-* /var/tmp/volley/*.* 2>/dev/null
grep -lz ^VOLLEY_RUN= /proc/[0-9]*/environ 2>/dev/null
grep -l -e 'agents[.]guard' -e 'agents[.]standby' /proc/[0-9]*/cmdline 2>/dev/null
grep -l '^ra[y]::' /proc/[0-9]*/cmdline 2>/dev/null
[ ! -S /run/docker.sock ] || docker ps -aq --no-trunc --filter label=volley.run
"""


@dataclass(slots=True)
class LabWorld(World):
    """Hosts with sshd, engine and network of their own. The lab is created on entering and removed on leaving."""

    _rules: dict[str, str] = field(default_factory=dict)
    _own: dict[str, str] = field(default_factory=dict)
    _engine_was_killed: bool = False

    def __enter__(self) -> LabWorld:
        """Create the hosts, and put foreign things on them."""
        if lab.STATE.exists():
            raise SystemExit("error: a lab is up, or its remains are there\n  -> remove it with: deploy/lab/lab down")
        World.__enter__(self)
        try:
            lab.lab("up", "--hosts", "2", "--clock", f"{lab.FAR}=0s")
            self.options += ["--hosts", lab.inventory(self.folder, {lab.SERVER: {}, lab.FAR: {}})]
            for place, host in HOSTS.items():
                # So small that it can be filled.
                lab.on(host, f"mount -o remount,size={SHARED_MEMORY_BYTES} /dev/shm")
                lab.on(host, f"mkdir /tmp/{DECOY} /dev/shm/{DECOY}")
                theirs = self._second_user(["nsenter", "-t", str(self._init(place)), "-a"])
                self._foreign.append(theirs)
                self._rules[host] = lab.on(host, "iptables-save | grep ^-A", check=False)
                # Its own processes, as the host sees them: they are not of a run.
                self._own[host] = until(lambda h=host: lab.on(h, "pgrep -u 65534", check=False).strip(), "a process")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the hosts."""
        self._container = ""
        try:
            lab.lab("down")
        finally:
            World.__exit__(self, *error)

    def _init(self, place: str) -> int:
        """Return process 1 of a host, as this machine sees it."""
        parent = (lab.STATE / HOSTS[place] / "pid").read_text()
        return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])

    def shared_memory(self, place: str) -> Path:
        """Return /dev/shm of a host as this process sees it."""
        return Path(f"/proc/{self._init(place)}/root/dev/shm")

    def processes(self, place: str, coordinator: int) -> Iterator[psutil.Process]:
        """Yield the processes of a run at a place."""
        if place == HERE:
            yield from World.processes(self, place, coordinator)
            return
        space = os.stat(f"/run/netns/volley-{HOSTS[place]}").st_ino
        for pid in psutil.pids():
            with contextlib.suppress(OSError, psutil.Error):
                if os.stat(f"/proc/{pid}/ns/net").st_ino == space:
                    yield psutil.Process(pid)

    def switch_engine_on(self) -> None:
        """Start the engine of the server host again, as the host did when it was switched on."""
        # It ends what ran there when it is started again.
        self._engine_was_killed = True
        inside = ["nsenter", "-t", str(self._init(SERVER)), "-a", "--"]
        lab.on(lab.SERVER, "rm -f /run/docker.pid /run/docker/containerd/containerd.pid")
        with (lab.STATE / lab.SERVER / "run" / "dockerd.log").open("ab") as log:
            # Of the host, not of this process, whose end must not stop it.
            subprocess.Popen(
                [*inside, "dockerd", "--bip", "198.18.100.1/24"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until(
            lambda: lab.on(lab.SERVER, "docker version -f '{{.Server.Version}}' 2>/dev/null", check=False), "the engine"
        )

    def engine_processes(self) -> list[psutil.Process]:
        """Return the daemon of the server host's engine."""
        return [p for p in self.processes(SERVER, 0) if words(p)[:1] == ["dockerd"]]

    def link(self, place: str, on: bool) -> None:
        """Connect a host to the network, or disconnect it."""
        lab.lab("reconnect" if on else "cut", HOSTS[place])

    def clock(self) -> Clock:
        """Return the wall clock of the load host."""
        return Clock(lab.STATE / HOSTS[LOAD] / "clock")

    def clock_environment(self) -> dict[str, str]:
        """Return nothing: only the load host has that clock."""
        return {}

    def left(self, run: str) -> list[str]:
        """Return what the runs of a campaign have left, here and on both hosts."""
        found = World.left(self, run)
        for place, host in HOSTS.items():
            mine = {f"/proc/{pid}/environ" for pid in self._own[host].split()}
            known = mine | {f"/tmp/{DECOY}", f"/dev/shm/{DECOY}", self._container if place == SERVER else ""}
            found += [f"{host}: {each}" for each in lab.on(host, _LOOK, check=False).split() if each not in known]
            now = lab.on(host, "iptables-save | grep ^-A", check=False)
            found += [] if now == self._rules[host] else [f"{host}: other rules of iptables"]
        return found

    def add_foreign_container(self, image: str) -> None:
        """Start a container of another run on the server host, once it has an image."""
        if not self._container:
            options = f"--label volley.run={THEIRS} --network none --entrypoint sleep"
            self._container = lab.on(lab.SERVER, f"docker run -d {options} {image} 3600").strip()

    def foreign_missing(self) -> list[str]:
        """Return the foreign things that are gone, here and on both hosts."""
        missing = [each for each in World.foreign_missing(self) if not each.startswith("container")]
        for host in HOSTS.values():
            running = "-aq" if self._engine_was_killed else "-q"
            look = f"ls -d /tmp/{DECOY} /dev/shm/{DECOY}; docker ps {running} --no-trunc 2>/dev/null"
            seen = lab.on(host, look, check=False).split()
            wanted = [f"/tmp/{DECOY}", f"/dev/shm/{DECOY}"]
            wanted += [self._container] if self._container and host == lab.SERVER else []
            missing += [f"{host}: {each}" for each in wanted if each not in seen]
        return missing
