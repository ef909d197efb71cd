"""Set-up by ordinary users: with everything installed, with something missing, in the docker group and not in it.

The users are real, as far as the kernel and the engine can see: another uid and other groups. They have Debian's PATH of
an ordinary user, which has no sbin. The scripts are copied, because a checkout may be closed to others.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.integration.machine import ROOT

NOBODY = pwd.getpwnam("nobody")
SOCKET = Path("/var/run/docker.sock")
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
IMAGE = "python:3.13-slim"


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """The scripts of a checkout, where every user can read them."""
    require("setpriv")
    folder = Path(tempfile.mkdtemp(prefix="ordinary-user-"))
    for part in ("deploy", "orchestrator/fleet"):
        (folder / part).mkdir(parents=True)
        for script in (ROOT / part).glob("*.sh"):
            shutil.copy(script, folder / part)
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def docker_group() -> int:
    """Return the group that may use the engine."""
    found = SOCKET.stat()
    assert found.st_gid != 0, "the engine's socket belongs to root's group: create the group docker, restart the engine"
    assert found.st_mode & stat.S_IWGRP
    return found.st_gid


def run_as_nobody(checkout: Path, script: str, group: int = NOBODY.pw_gid) -> subprocess.CompletedProcess[str]:
    """Run a script in the checkout as an ordinary user. group: a further one."""
    user = ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", f"--groups={group}"]
    return subprocess.run(
        [*user, "--inh-caps=-all", "--bounding-set=-all", "bash", "-c", script],
        cwd=checkout, env={"PATH": PATH, "HOME": "/nonexistent"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip


def run_in_a_container(checkout: Path, sudo: Path | None) -> subprocess.CompletedProcess[str]:
    """Check a load host that really lacks h2load, as a user that is made there. sudo: the one of this host, if any."""
    mounts = [f"--volume={checkout}:/checkout:ro", *([] if sudo is None else [f"--volume={sudo}:/usr/bin/sudo:ro"])]
    become = "useradd ada && exec su ada -c 'deploy/bootstrap-host.sh load'"
    return subprocess.run(
        ["docker", "run", "--rm", "--network=none", *mounts, "--workdir=/checkout", IMAGE, "bash", "-c", become],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_with_everything_installed_there_is_no_complaint(checkout: Path) -> None:
    """Although docker's, sshd's and nginx's programs are not in this user's PATH."""
    done = run_as_nobody(
        checkout, "command -v dockerd; deploy/setup.sh system && deploy/bootstrap-host.sh --check lab tests"
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_user_in_the_docker_group_can_use_the_engine(checkout: Path) -> None:
    """No root and no debootstrap is needed where the base image is there."""
    done = run_as_nobody(checkout, "deploy/setup.sh system engine base", docker_group())

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("base image: python:3.13-slim exists")


@pytest.mark.parametrize("step", ["engine", "base"])
def test_a_user_outside_the_docker_group_gets_the_command_that_lets_them_in(checkout: Path, step: str) -> None:
    """Not that the engine is missing, and not to install anything."""
    docker_group()

    done = run_as_nobody(checkout, f"deploy/setup.sh {step}")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "docker engine: this user may not use it. Run: sudo usermod -aG docker nobody, and log in again\n"
    )


def test_a_user_without_sudo_gets_the_command_of_an_administrator(checkout: Path) -> None:
    """What is missing, and the whole command. Nobody is asked for a password, because nobody could answer."""
    sudo = checkout / "sudo"
    sudo.write_text("#!/bin/sh\nexit 1\n")
    sudo.chmod(0o755)

    refused, absent = (run_in_a_container(checkout, each) for each in (sudo, None))

    install = "apt-get install --no-install-recommends nghttp2-client"
    missing = "missing system packages: nghttp2-client."
    assert (refused.returncode, absent.returncode) == (1, 1)
    assert refused.stdout == absent.stdout == ""
    assert refused.stderr == f"{missing} Run: sudo apt-get update && sudo {install}\n"
    assert absent.stderr == f"{missing} Run as root: apt-get update && {install}\n"


def test_root_has_the_engine_and_the_image(checkout: Path) -> None:
    """What CI and containers do."""
    done = subprocess.run(
        ["deploy/setup.sh", "system", "engine", "base"], cwd=checkout, env={**os.environ, "PATH": f"{PATH}:/usr/sbin:/sbin"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert "exists" in done.stdout
