"""bootstrap-host.sh and engine.sh: how each user gets what is missing. Nothing of this machine is changed.

id, sudo, apt-get, docker and systemctl are fakes in a folder that is the whole PATH; sudo and apt-get note their calls.
"""

import os
import pty
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from orchestrator.fleet.fixing import BOOTSTRAP, ENGINE

pytestmark = pytest.mark.process

REAL = (
    "bash",
    "sh",
    "cat",
    "sed",
    "awk",
    "env",
    "tail",
    "mktemp",
    "rm",
    "readlink",
    "dirname",
    "touch",
    "sleep",
    "true",
)
NOTE = 'echo "${0##*/} $*" >>"$CALLS"\n'
ID = 'if [ "${1:-}" = -un ]; then echo someone; else echo "${FAKE_UID:-1000}"; fi\n'
# Of a user who may become root without a password, after one, and not at all.
FREE = NOTE + '[ "$1" != -n ] || shift\nexec env FAKE_UID=0 "$@"\n'
ASKS = NOTE + 'case "$1" in -n) exit 1 ;; -v) exit 0 ;; esac\nexec env FAKE_UID=0 "$@"\n'
REFUSES = NOTE + "exit 1\n"
APT = NOTE
INSTALL = "apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=60 nghttp2-client"
BY_HAND = "apt-get install --no-install-recommends nghttp2-client"


class Machine:
    """A PATH with fakes, and what they were asked."""

    def __init__(self, folder: Path):
        self.bin, self.calls_file = folder / "bin", folder / "calls"
        self.bin.mkdir()
        self.calls_file.touch()
        self.environment = {"PATH": str(self.bin), "CALLS": str(self.calls_file), "TMPDIR": str(folder)}
        for name in REAL:
            (self.bin / name).symlink_to(shutil.which(name))
        self.has("id", ID)
        self.has("dockerd", "exit 0\n")
        self.has("docker", "exit 0\n")

    def has(self, name, text):
        program = self.bin / name
        program.write_text(f"#!/bin/sh\n{text}")
        program.chmod(0o755)

    @property
    def calls(self):
        return self.calls_file.read_text().splitlines()

    def run(self, script, *arguments, **options):
        return subprocess.run(
            ["bash", str(script), *arguments],
            env=self.environment, stdin=options.pop("stdin", subprocess.DEVNULL), capture_output=True, text=True, timeout=30,
        )  # fmt: skip


@pytest.fixture
def machine(tmp_path):
    """A machine with apt and an engine, without h2load."""
    made = Machine(tmp_path)
    made.has("apt-get", APT)
    return made


def test_root_installs_what_is_missing(machine):
    """It says so first."""
    machine.environment["FAKE_UID"] = "0"

    done = machine.run(BOOTSTRAP, "load", "server")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "installing system packages: nghttp2-client\n"
    assert machine.calls == ["apt-get update", INSTALL]


def test_a_user_with_sudo_installs_without_a_question(machine):
    """Every command of apt's goes through sudo."""
    machine.has("sudo", FREE)

    done = machine.run(BOOTSTRAP, "load")

    assert (done.returncode, done.stdout) == (0, "installing system packages: nghttp2-client\n")
    assert machine.calls == [
        "sudo -n true", "sudo -n apt-get update", "apt-get update",
        f"sudo -n env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 {INSTALL}", INSTALL,
    ]  # fmt: skip


def test_sudo_asks_on_a_terminal(machine):
    """What for stands before its question."""
    machine.has("sudo", ASKS)
    ours, terminal = pty.openpty()

    done = machine.run(BOOTSTRAP, "load", stdin=terminal)
    os.close(ours)
    os.close(terminal)

    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "installing system packages needs root: nghttp2-client"
    assert machine.calls[:3] == ["sudo -n true", "sudo -v", "sudo apt-get update"]
    assert machine.calls[-1] == INSTALL


@pytest.mark.parametrize(
    ("sudo", "terminal", "command"),
    [
        (ASKS, False, f"Run: sudo apt-get update && sudo {BY_HAND}"),
        (REFUSES, False, f"Run: sudo apt-get update && sudo {BY_HAND}"),
        (REFUSES, True, f"Run: sudo apt-get update && sudo {BY_HAND}"),
        (None, True, f"Run as root: apt-get update && {BY_HAND}"),
    ],
)
def test_who_may_not_install_gets_the_command_for_an_administrator(machine, sudo, terminal, command):
    """Where nobody can be asked, where sudo refuses, and where there is none. apt is not started."""
    if sudo is not None:
        machine.has("sudo", sudo)
    ours, theirs = pty.openpty()

    done = machine.run(BOOTSTRAP, "load", stdin=theirs if terminal else subprocess.DEVNULL)
    os.close(ours)
    os.close(theirs)

    assert done.returncode == 1
    assert done.stderr == f"missing system packages: nghttp2-client. {command}\n"
    assert not [call for call in machine.calls if "apt-get" in call]


def test_a_machine_without_apt(machine):
    """It says so, and names what is missing."""
    (machine.bin / "apt-get").unlink()
    machine.environment["FAKE_UID"] = "0"

    done = machine.run(BOOTSTRAP, "load")

    assert done.returncode == 1
    assert "nghttp2-client (Debian's names). This machine has no apt-get" in done.stderr


def test_checking_and_listing_install_nothing(machine):
    """Also for root. A package that two roles need is listed once."""
    machine.environment["FAKE_UID"] = "0"
    (machine.bin / "docker").unlink()

    check, listed = (
        machine.run(BOOTSTRAP, "--check", "load"),
        machine.run(BOOTSTRAP, "--list", "load", "server", "service"),
    )

    assert (check.returncode, listed.returncode) == (1, 0)
    assert BY_HAND in check.stderr
    first, *engine = listed.stdout.split()
    assert first == "nghttp2-client"
    assert engine in (["docker.io"], ["docker-cli"])
    assert machine.calls == []


def test_everything_is_there(machine):
    """Not a word."""
    machine.has("h2load", "exit 0\n")

    for mode in ([], ["--check"], ["--list"]):
        done = machine.run(BOOTSTRAP, *mode, "load", "server")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_reason_of_apt_is_shown(machine):
    """Its last lines, and no success."""
    machine.environment["FAKE_UID"] = "0"
    machine.has("apt-get", "echo 'E: Unable to locate package nghttp2-client'; exit 100\n")

    done = machine.run(BOOTSTRAP, "load")

    assert done.returncode == 1
    assert done.stderr.endswith("E: Unable to locate package nghttp2-client\n")


@pytest.fixture
def stopped(machine, tmp_path):
    """A machine with systemd, and an engine that answers once its service was started."""
    machine.has("docker", '[ -e "$UP" ] && echo 28.1 || exit 1\n')
    machine.has("systemctl", NOTE + '[ "$1" != start ] || touch "$UP"\n')
    (tmp_path / "systemd").mkdir()
    machine.environment |= {
        "UP": str(tmp_path / "up"),
        "VOLLEY_SYSTEMD": str(tmp_path / "systemd"),
        "VOLLEY_ENGINE_STATE": str(tmp_path / "state"),
        "VOLLEY_ENGINE_SOCKET": str(tmp_path / "docker.sock"),
    }
    return machine


def test_root_starts_the_service_of_the_engine(stopped):
    """And it is started once."""
    stopped.environment["FAKE_UID"] = "0"

    first, second = stopped.run(ENGINE, "up"), stopped.run(ENGINE, "up")

    assert (first.returncode, first.stdout) == (0, "docker engine: started (systemctl start docker)\n")
    assert (second.returncode, second.stdout) == (0, "docker engine: already running (28.1)\n")
    assert stopped.calls == ["systemctl cat docker.service", "systemctl start docker"]


def test_a_user_with_sudo_starts_it_too(stopped):
    """Through the script itself."""
    stopped.has("sudo", FREE)

    done = stopped.run(ENGINE, "up")

    assert (done.returncode, done.stdout) == (0, "docker engine: started (systemctl start docker)\n")


def test_a_user_without_sudo_gets_the_command(stopped):
    """A full path, because root has another PATH and no checkout."""
    done = stopped.run(ENGINE, "up")

    assert done.returncode == 1
    assert done.stderr.endswith(f"this user may not start one. Run: sudo {ENGINE} up\n")
    assert stat.S_IXUSR & ENGINE.stat().st_mode
    assert stopped.calls == []


def test_a_user_who_may_not_use_the_engine_after_its_start(stopped):
    """The engine answers root only: the group is what is missing."""
    stopped.has("sudo", FREE)
    stopped.has("docker", '[ -e "$UP" ] && [ "${FAKE_UID:-}" = 0 ] && echo 28.1 || exit 1\n')

    done = stopped.run(ENGINE, "up")

    assert done.returncode == 1
    assert "Run: sudo usermod -aG docker someone, and log in again" in done.stderr


def test_a_service_that_does_not_start(stopped):
    """Where to read why."""
    stopped.environment["FAKE_UID"] = "0"
    stopped.has("systemctl", '[ "$1" != start ]\n')

    done = stopped.run(ENGINE, "up")

    assert done.returncode == 1
    assert "Read: journalctl -u docker" in done.stderr
