"""Hosts for SSH alone: one sshd process each, in a mount namespace of its own with its own user, home and login shell.

A host is up in a fraction of a second, and needs root, openssh-server and util-linux. It shares this
machine's network unless it is given one of its own, and has no engine: tests/lab has whole hosts.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import require

if TYPE_CHECKING:
    import asyncssh

UP_WITHIN_S = 10.0
SSH_PORT = 22
# Runs in the host's mount namespace: $1 its folder, $2 what is mounted on its home.
_START = """
set -e
mount --bind "$1/passwd" /etc/passwd
[ -z "$2" ] || mount -t tmpfs -o "$2" tmpfs "$1/home"
[ ! -d /run/sshd ] && mkdir -p /run/sshd
exec /usr/sbin/sshd -D -E "$1/log" -f "$1/sshd_config"
"""


@dataclass(frozen=True, slots=True)
class MiniHost:
    """A host that is up. keys: its public host keys by type. client_key: what may log in as root.

    coordinator: this machine's address as the host sees it."""

    name: str
    address: str
    port: int
    folder: Path
    keys: dict[str, asyncssh.SSHKey]
    client_key: Path
    coordinator: str

    @property
    def home(self) -> Path:
        """The home folder of root there, as this machine sees it: before anything is mounted on it."""
        return self.folder / "home"

    def known(self, kind: str = "ed25519", name: str | None = None, marker: str = "") -> str:
        """Return a line for known_hosts."""
        line = self.keys[kind].export_public_key().decode().strip()
        place = self.address if self.port == SSH_PORT else f"[{self.address}]:{self.port}"
        return f"{marker}{name or place} {line}\n"

    def log(self) -> str:
        """Return what its sshd has logged."""
        return (self.folder / "log").read_text()


class MiniHosts:
    """Starts hosts, and ends them all by process id."""

    def __init__(self, folder: Path) -> None:
        import asyncssh

        self.folder = folder
        self.client_key = folder / "client_key"
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(self.client_key))
        self.client_key.chmod(0o600)
        (folder / "authorized").write_bytes(key.export_public_key())
        self._networks: list[str] = []
        self._lan: str | None = None
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        name: str,
        *,
        address: str = "127.0.0.1",
        shell: str = "/bin/bash",
        files: dict[str, str] | None = None,
        kinds: tuple[str, ...] = ("ed25519",),
        settings: str = "",
        mount: str = "",
        network: int = 0,
        lan: str = "",
        certificates: dict[str, Callable[[asyncssh.SSHKey], asyncssh.SSHCertificate]] | None = None,
    ) -> MiniHost:
        """Start a host. files: of its home. kinds: of its host keys. settings: lines for sshd_config.

        mount: options of a tmpfs that is mounted on the home. network: 4 or 6, for a network namespace
        with an address of that family. lan: "open" for one in a network that all such hosts share, "alone" for one
        there that reaches this machine only. certificates: what makes those of host keys, by kind.
        """
        import asyncssh

        folder = self.folder / name
        (folder / "home").mkdir(parents=True)
        for file, text in (files or {}).items():
            (folder / "home" / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "home" / file).write_text(text)
        lines = Path("/etc/passwd").read_text().splitlines(keepends=True)
        lines[0] = f"root:x:0:0:root:{folder / 'home'}:{shell}\n"
        (folder / "passwd").write_text("".join(lines))
        keys = {}
        # sshd takes the first value of each setting.
        config = [settings, f"AuthorizedKeysFile {self.folder / 'authorized'}", "StrictModes no", "UsePAM no", "PidFile none",
                  "PermitRootLogin yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
                  "PerSourceMaxStartups none"]  # fmt: skip
        for kind in kinds:
            key = asyncssh.generate_private_key("ecdsa-sha2-nistp256" if kind == "ecdsa" else f"ssh-{kind}")
            key.write_private_key(str(folder / kind))
            (folder / kind).chmod(0o600)
            keys[kind] = key
            config.append(f"HostKey {folder / kind}")
        for kind, make in (certificates or {}).items():
            make(keys[kind]).write_certificate(str(folder / f"{kind}-cert.pub"))
            config.append(f"HostCertificate {folder / kind}-cert.pub")
        coordinator, inside = address, []
        if network or lan:
            namespace, coordinator, address = self._connect(network) if network else self._plug(lan == "alone")
            inside = ["nsenter", f"--net=/run/netns/{namespace}"]
        port = SSH_PORT if inside else free_port(address)
        (folder / "sshd_config").write_text("\n".join([f"ListenAddress {address}", f"Port {port}", *config]) + "\n")
        process = subprocess.Popen(
            [*inside, "unshare", "--mount", "--propagation", "private", "sh", "-c", _START, "sh", str(folder), mount],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._processes.append(process)
        host = MiniHost(name, address, port, folder, keys, self.client_key, coordinator)
        until(lambda: answers(address, port), lambda: f"{name} is not up: {process.poll()} {host.log()}")
        return host

    def stop(self) -> None:
        """End every host."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            process.wait(timeout=UP_WITHIN_S)
        for namespace in self._networks:
            _ip("netns", "delete", namespace)

    def _connect(self, family: int) -> tuple[str, str, str]:
        """Create a network namespace; return its name, this machine's address there, and the host's."""
        taken = subprocess.run(["ip", "-o", "address"], capture_output=True, text=True, check=True).stdout
        number = next(n for n in range(64, 250) if f"198.18.{n}." not in taken)
        namespace = f"mini-{number}"
        here, there = (f"198.18.{number}.1", f"198.18.{number}.2") if family == 4 else (
            f"fd18:{number}::1", f"fd18:{number}::2")  # fmt: skip
        self._networks.append(namespace)
        _ip("netns", "add", namespace)
        _ip("link", "add", namespace, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        # An address of IPv4 in any case: it marks the number as taken.
        _ip("address", "add", f"198.18.{number}.1/{30 if family == 4 else 32}", "dev", namespace)
        if family == 6:
            _ip("address", "add", f"{here}/64", "dev", namespace, "nodad")
        _ip("link", "set", namespace, "up")
        mask = "30" if family == 4 else "64"
        _ip("-n", namespace, "address", "add", f"{there}/{mask}", "dev", "eth0", *(["nodad"] if family == 6 else []))
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        # To the addresses of this machine in other networks: hosts of one fleet share a coordinator.
        _ip("-n", namespace, "route", "add", "default", "via", here)
        return namespace, here, there

    def _plug(self, alone: bool) -> tuple[str, str, str]:
        """Create a network namespace on the shared network; return its name, this machine's address, and the host's.

        The bridge has a namespace of its own, because this machine's firewall may drop what it forwards.
        """
        if self._lan is None:
            taken = subprocess.run(["ip", "-o", "address"], capture_output=True, text=True, check=True).stdout
            number = next(n for n in range(64, 250) if f"198.18.{n}." not in taken)
            switch = self._lan = f"mini-{number}"
            self._networks.append(switch)
            _ip("netns", "add", switch)
            _ip("link", "add", switch, "type", "veth", "peer", "name", "uplink", "netns", switch)
            _ip("address", "add", f"198.18.{number}.1/24", "dev", switch)
            _ip("link", "set", switch, "up")
            _ip("-n", switch, "link", "add", "br0", "type", "bridge")
            _ip("-n", switch, "link", "set", "br0", "up")
            _ip("-n", switch, "link", "set", "uplink", "master", "br0", "up")
        switch, own = self._lan, len(self._networks) + 1
        base = f"198.18.{switch.partition('-')[2]}"
        namespace = f"{switch}-{own}"
        self._networks.append(namespace)
        _ip("netns", "add", namespace)
        _ip("-n", switch, "link", "add", f"port{own}", "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("-n", switch, "link", "set", f"port{own}", "master", "br0", "up")
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", namespace, "address", "add", f"{base}.{own}/{32 if alone else 24}", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        if alone:
            _ip("-n", namespace, "route", "add", f"{base}.1", "dev", "eth0")
        return namespace, f"{base}.1", f"{base}.{own}"

    def inventory(self, hosts: dict[str, dict[str, Any]], **settings: Any) -> Path:
        """Write an inventory of hosts and their settings; return its path."""
        path = self.folder / "hosts.yaml"
        defaults = {"user": "root", "key": str(self.client_key), "python": sys.executable}
        entries = {name: {"roles": ["load"], **entry} for name, entry in hosts.items()}
        path.write_text(json.dumps({"defaults": defaults, "hosts": entries} | settings))
        return path


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port that is free at an address."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as trial:
        trial.bind((address, 0))
        return int(trial.getsockname()[1])


def answers(address: str, port: int) -> bool:
    """Return whether something listens."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
        return True
    return False


def until(condition: Callable[[], bool], failed: Callable[[], str], within_s: float = UP_WITHIN_S) -> None:
    """Wait for a condition; fail with a text after within_s."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, failed()
        time.sleep(0.01)


@pytest.fixture
def mini_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MiniHosts]:
    """Hosts of one test, and an empty home of our own on this machine."""
    require("unshare", "sshd")
    assert os.geteuid() == 0, "hosts need root"
    home = tmp_path / "us"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    hosts = MiniHosts(tmp_path)
    try:
        yield hosts
    finally:
        hosts.stop()


@pytest.fixture
def trusted() -> Callable[..., None]:
    """Return a function that records lines in the known_hosts of our own home."""

    def record(*lines: str) -> None:
        (Path.home() / ".ssh" / "known_hosts").write_text("".join(lines))

    return record
