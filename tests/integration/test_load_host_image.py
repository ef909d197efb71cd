"""The image of a load host (deploy/host): built, started without systemd and without root, and used over SSH.

The hosts and the coordinator need the same Python. The image has 3.13, so the coordinator of these tests runs in a
container as well, from this checkout.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from tests.conftest import require
from tests.integration.machine import ROOT
from tests.integration.wheel import uv
from tests.mini_hosts import answers, free_port, until

CONTEXT = ROOT / "deploy" / "host"
BASE = "python:3.13-slim"
PORT = 2222
FIRST_PORT = 20400
# What the how-to starts it with, but for the network: the coordinator is on this machine, and cannot be its own host.
OPTIONS = ["--shm-size=1g", "--cap-drop=ALL", "--security-opt=no-new-privileges"]


def docker(*words: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a command of Docker's; its own words are the test's failure."""
    ended = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=timeout, check=False)
    assert not check or ended.returncode == 0, ended.stdout[-2000:] + ended.stderr
    return ended


@dataclass(frozen=True, slots=True)
class Host:
    """A load host that is up. coordinator: this machine's address as the host sees it; key: what may log in."""

    container: str
    address: str
    coordinator: str
    key: Path

    def ssh(self, *words: str, user: str = "volley", options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run OpenSSH's client, without anything of this user's."""
        fixed = ["-F", "none", "-p", str(PORT), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]
        known = ["-o", f"UserKnownHostsFile={self.key.parent / 'ssh_known'}", "-o", "StrictHostKeyChecking=accept-new"]
        return subprocess.run(
            ["ssh", *fixed, *known, "-i", str(self.key), *options, f"{user}@{self.address}", *words],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def log(self) -> str:
        """Return what the container has printed."""
        ended = docker("logs", self.container)
        return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def image() -> str:
    """Build the image; its name depends on its files, so that sessions of other checkouts do not meet it."""
    require("docker", "ssh", "ssh-keygen")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(CONTEXT.iterdir()))).hexdigest()
    name = f"volley-host-test:{digest[:16]}"
    docker("build", "--quiet", "--network=host", "--tag", name, str(CONTEXT))
    return name


@pytest.fixture
def start(image: str, tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Return a function that starts a load host and waits for its sshd. The containers are removed after the test."""
    key = tmp_path / "client_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    started: list[str] = []
    volume = f"volley-host-test-{os.getpid()}"

    def run() -> Host:
        name = f"volley-host-test-{os.getpid()}-{len(started)}"
        started.append(name)
        public = f"VOLLEY_AUTHORIZED_KEYS={Path(f'{key}.pub').read_text()}"
        mounted = f"--volume={volume}:/var/lib/volley-host"
        docker("run", "--detach", "--network=bridge", f"--name={name}", mounted, f"--env={public}", *OPTIONS, image)
        (found,) = json.loads(docker("inspect", name).stdout)
        network = found["NetworkSettings"]["Networks"]["bridge"]
        host = Host(name, network["IPAddress"], network["Gateway"], key)
        until(lambda: answers(host.address, PORT), host.log)
        return host

    yield run
    for name in started:
        docker("rm", "--force", name)
    docker("volume", "rm", "--force", volume)


def fingerprint(host: Host) -> str:
    """Return the fingerprint of the host key that the log shows."""
    found = re.search(r"host key (SHA256:\S+)", host.log())
    assert found is not None, host.log()
    return found[1]


def test_a_load_host_in_a_container_has_what_volley_needs(start: Callable[..., Host]) -> None:
    """h2load and Python over SSH; only the user volley, with the key, and without forwarding; the key outlives it."""
    host = start()

    version = host.ssh("h2load --version && python3 -c 'import sys; print(*sys.version_info[:2])' && command -v zstd")
    assert version.returncode == 0, version.stderr + host.log()
    assert re.search(r"h2load nghttp2/\S+\n3 13\n/usr/bin/zstd", version.stdout)
    assert host.ssh("id -un; df --output=size -m /dev/shm").stdout.split() == ["volley", "1M-blocks", "1024"]
    # Processes whose parents have ended are reaped, and do not stay as zombies.
    orphaned = host.ssh("sh -c '(exec true & exec true) & wait'; sh -c 'true & exec true'; cat /proc/1/comm")
    assert orphaned.stdout.strip() == "sshd"
    states = "for f in /proc/[0-9]*/stat; do cat $f 2>/dev/null; done | grep -c ') Z ' || true"
    until(lambda: host.ssh(states).stdout.strip() == "0", host.log)

    stranger = host.ssh("true", options=("-o", "IdentityFile=/dev/null", "-o", "PubkeyAuthentication=no"))
    assert "Permission denied (publickey)" in stranger.stderr
    assert "Permission denied (publickey)" in host.ssh("true", user="root").stderr
    assert "forwarding failed" in host.ssh("true", options=("-o", "ExitOnForwardFailure=yes", "-R", "0:[::1]:9")).stderr

    docker("rm", "--force", host.container)
    again = start()
    assert fingerprint(again) == fingerprint_known(again)


def fingerprint_known(host: Host) -> str:
    """Return the fingerprint of the only host key that the client of the test has recorded."""
    listed = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(host.key.parent / "ssh_known")], capture_output=True, text=True, check=True
    )
    (line,) = listed.stdout.splitlines()
    return line.split()[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no public key may log in"),
        (["--env=VOLLEY_AUTHORIZED_KEYS=not a key"], "hold no public key that ssh-keygen can read"),
        (["--volume={folder}/private:/authorized_keys:ro"], "cannot be read by the user volley"),
        (["--user=root", "--env=VOLLEY_AUTHORIZED_KEYS=x"], "runs as root"),
    ],
)
def test_a_container_that_cannot_be_a_host_says_why(image: str, tmp_path: Path, given: list[str], message: str) -> None:
    """It exits with 2, a sentence, and what to do."""
    (tmp_path / "private").touch(mode=0o600)
    options = [option.format(folder=tmp_path) for option in given]

    ended = docker("run", "--rm", "--network=none", *options, image, check=False)

    assert ended.returncode == 2, ended.stderr
    assert message in ended.stderr
    assert "\n  -> " in ended.stderr


def names_in(archive: IO[bytes]) -> list[str]:
    """Return the paths of a tar file's members."""
    with tarfile.open(fileobj=archive) as layer:
        return layer.getnames()


def test_the_image_holds_no_secret(image: str, tmp_path: Path) -> None:
    """No host key in any layer, no password that something matches, and not root."""
    (found,) = json.loads(docker("inspect", image).stdout)
    looked = docker("run", "--rm", "--user=root", "--entrypoint=sh", image, "-c",
                    "ls /etc/ssh/ssh_host_* /var/lib/volley-host /home/volley/.ssh 2>/dev/null; "
                    "grep -E '^(root|volley):' /etc/shadow | cut -d : -f 2")  # fmt: skip
    docker("save", "--output", str(tmp_path / "image.tar"), image)
    with tarfile.open(tmp_path / "image.tar") as saved:
        (manifest,) = json.load(saved.extractfile("manifest.json"))
        names = [name for layer in manifest["Layers"] for name in names_in(saved.extractfile(layer))]

    assert found["Config"]["User"] == "volley"
    assert looked.stdout.split() == ["/home/volley/.ssh:", "/var/lib/volley-host:", "*", "*"]
    assert "usr/sbin/sshd" in names
    assert [name for name in names if "ssh_host_" in name] == []


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs volley of this checkout on this machine's network, in a container with Python 3.13."""
    folder = tmp_path_factory.mktemp("coordinator")
    packages, work = folder / "packages", folder / "work"
    work.mkdir()
    lock = str(ROOT / "deploy" / "requirements.lock")
    uv("--target", str(packages), "--python-version", "3.13", "--only-binary", ":all:", "--require-hashes", "-r", lock)

    def run(files: Path, *words: str) -> subprocess.CompletedProcess[str]:
        mounts = [f"--volume={packages}:/packages:ro", f"--volume={ROOT}:/checkout:ro", f"--volume={files}:/files:ro"]
        variables = ["--env=PYTHONPATH=/packages:/checkout", "--env=HOME=/data", "--env=PYTHONDONTWRITEBYTECODE=1"]
        return docker(
            "run", "--rm", "--init", "--network=host", "--shm-size=1g", f"--volume={work}:/data", "--workdir=/data",
            *mounts, *variables, BASE, "python", "-m", "orchestrator.cli", *words, check=False,
        )  # fmt: skip

    return run


@pytest.mark.full
def test_a_run_sends_its_load_from_a_container(
    start: Callable[..., Host], coordinator: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """As the how-to shows it: trust, check, bench; the load comes from the container's address."""
    host = start()
    files = tmp_path / "files"
    files.mkdir()
    (files / "key").write_bytes(host.key.read_bytes())
    (files / "key").chmod(0o600)
    (files / "inventory.yaml").write_text(
        json.dumps(
            {
                "coordinator": {"address": host.coordinator},
                "ports": FIRST_PORT,
                "defaults": {"user": "volley", "port": PORT, "key": "key", "known_hosts": "/data/known_hosts"},
                "hosts": {"gen1": {"address": host.address, "roles": ["load"]}},
            }
        )
    )
    over_hosts = ("--hosts", "/files/inventory.yaml")

    trusted = coordinator(files, "hosts", "trust", "--yes", *over_hosts)
    assert fingerprint(host) in trusted.stdout, trusted.stdout + trusted.stderr
    checked = coordinator(files, "hosts", "check", "--json", *over_hosts)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    port = free_port(host.coordinator)
    server = subprocess.Popen(
        [sys.executable, "-m", "agents.trivial", host.coordinator, str(port), "1"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert server.stdout.readline()
        url = f"http://{host.coordinator}:{port}/"
        run = coordinator(files, "bench", url, *over_hosts, "-n", "400", "-c", "4", "--repeat", "1", "--json")
    finally:
        server.communicate(timeout=10)

    (report,) = json.loads(checked.stdout)
    assert report["ready"], report
    assert run.returncode in (0, 3), run.stdout + run.stderr
    (case,) = json.loads(run.stdout)["cases"]
    assert case["requests"]["ok"] == 400, run.stdout
    assert coordinator(files, "hosts", "clean", *over_hosts).returncode == 0
    assert host.ssh("ls .cache/volley").returncode != 0
