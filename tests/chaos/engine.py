"""A Docker engine of a test's own, which can be killed: it shares nothing with the machine's engine but the kernel."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil

from tests.integration.machine import Container

UP_WITHIN_S = 40.0
BRIDGE, BRIDGE_ADDRESS = "volley-own", "198.18.253.1/24"
BASE_IMAGE = "python:3.13-slim"


class OwnEngine:
    """dockerd with its own data, socket and containerd. It has a bridge of its own and writes no rule of iptables.

    With --bridge=none a daemon would remove docker0 when it starts, which is the machine's.
    """

    def __init__(self, folder: Path) -> None:
        """folder: its path is short, because there are sockets in it."""
        self.folder = folder
        self.address = f"unix://{folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the daemon, and wait until it answers. Raises TimeoutError."""
        self.folder.mkdir(exist_ok=True)
        # A daemon that was killed leaves its file, and another process may have its id by now.
        (self.folder / "pid").unlink(missing_ok=True)
        subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["ip", "addr", "replace", BRIDGE_ADDRESS, "dev", BRIDGE], check=True)
        subprocess.run(["ip", "link", "set", BRIDGE, "up"], check=True)
        options = [
            f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec", f"--pidfile={self.folder}/pid",
            f"--host={self.address}", f"--bridge={BRIDGE}", "--iptables=false", "--ip-forward=false", "--ip-masq=false",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["dockerd", *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + UP_WITHIN_S
        while self.docker("version", "-f", "{{.Server.Version}}").returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"dockerd did not start: {(self.folder / 'log').read_text()[-1000:]}")
            time.sleep(0.05)

    def load_base_image(self) -> None:
        """Copy the base image of the tiny server from the machine's engine."""
        with subprocess.Popen(["docker", "save", BASE_IMAGE], stdout=subprocess.PIPE) as saved:
            environment = {**os.environ, "DOCKER_HOST": self.address}
            subprocess.run(
                ["docker", "load", "-q"], stdin=saved.stdout, stdout=subprocess.DEVNULL, env=environment, check=True
            )

    def process(self) -> psutil.Process:
        """Return the daemon."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def reap(self) -> None:
        """Collect the status of a daemon that was killed."""
        if self._process is not None:
            self._process.wait(timeout=UP_WITHIN_S)

    def docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the docker command against it."""
        environment = {**os.environ, "DOCKER_HOST": self.address}
        return subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, timeout=60, env=environment, check=False
        )

    def labelled(self) -> list[Container]:
        """Return the containers and volumes of runs."""
        form = '{{.ID}} {{.Label "volley.run"}}'
        lines = self.docker("ps", "-a", "--filter", "label=volley.run", "--format", form).stdout.splitlines()
        return [Container(*line.split(maxsplit=1)) for line in lines]

    def stop(self) -> None:
        """Remove its containers, stop it and its containerd, and unmount what it has mounted."""
        if self._process is None:
            return
        if self._process.poll() is None:
            if left := self.docker("ps", "-aq").stdout.split():
                self.docker("rm", "-f", *left)
            self._process.terminate()
            self._process.wait(timeout=UP_WITHIN_S)
        with contextlib.suppress(OSError, ValueError):
            # It outlives a daemon that was killed.
            containerd = int((self.folder / "exec" / "containerd" / "containerd.pid").read_text())
            if str(self.folder) in " ".join(psutil.Process(containerd).cmdline()):
                os.kill(containerd, signal.SIGKILL)
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (point := line.split()[1]).startswith(f"{self.folder}/"):
                subprocess.run(["umount", "-l", point], check=False)
        subprocess.run(["ip", "link", "del", BRIDGE], stderr=subprocess.DEVNULL, check=False)
