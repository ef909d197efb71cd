"""What can be wrong with a host: one line with what to do, exit code 4, and the other hosts unharmed."""

import asyncio
import dataclasses
import shutil
import subprocess
import time

import pytest

from orchestrator.errors import EXIT_UNREACHABLE, HostError
from orchestrator.fleet import guarded, nodes, raynode
from orchestrator.fleet.members import members
from orchestrator.spec.load import load_inventory
from tests.integration.machine import ROOT, VOLLEY, volley
from tests.lab import world


def up(inventory):
    """Bring a fleet up, and take it down again; give how `up` went."""
    try:
        return volley("hosts", "up", "--hosts", inventory)
    finally:
        volley("hosts", "down", "--hosts", inventory)


def told(done, host, *words):
    """One line about the one host, one with what to do; 4; and the other host came up."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == EXIT_UNREACHABLE, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"error: host {host}: "), lines
    assert done.stderr.splitlines()[-1].startswith("  -> ")
    for word in words:
        assert word in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    other = world.SERVER if host != world.SERVER else world.PLAIN
    assert done.stdout.startswith(f"up: {other};"), done.stdout


def pair(folder, **bad):
    """The server host as it is, and a load host with something wrong."""
    return world.inventory(folder, {world.SERVER: {}, world.PLAIN: bad})


def test_an_unknown_key_is_refused_with_its_fingerprint_until_it_is_trusted(tmp_path):
    """Nothing is accepted silently: the fingerprint, `volley hosts trust`, and then it goes; a changed key is refused."""
    mine = tmp_path / "known_hosts"
    lines = (world.STATE / "known_hosts").read_text().splitlines(keepends=True)
    mine.write_text("".join(line for line in lines if world.ADDRESSES[world.PLAIN] not in line))
    inventory = pair(tmp_path, known_hosts=str(mine))
    listed = subprocess.run(["ssh-keygen", "-lf", str(world.STATE / world.PLAIN / "host_key.pub")],
                            capture_output=True, text=True, check=True)  # fmt: skip
    fingerprint = listed.stdout.split()[1]

    told(up(inventory), world.PLAIN, "is unknown", fingerprint, "volley hosts trust")
    unasked = volley("hosts", "trust", "--hosts", inventory, stdin=subprocess.DEVNULL)
    assert (unasked.returncode, fingerprint in unasked.stdout) == (2, True)
    assert volley("hosts", "trust", "--hosts", inventory, "--yes").returncode == 0
    checked = volley("hosts", "check", "--hosts", inventory)
    assert checked.returncode == 0, checked.stderr

    mine.write_text("".join(line.replace(world.ADDRESSES[world.FAR], world.ADDRESSES[world.PLAIN]) for line in lines
                            if world.ADDRESSES[world.FAR] in line))  # fmt: skip
    changed = volley("hosts", "check", "--hosts", inventory)
    assert changed.returncode == 4
    assert "HAS CHANGED" in changed.stderr
    assert "ssh-keygen -R" in changed.stderr


def test_accept_new_records_the_key(tmp_path):
    """An explicit choice: the key is recorded, and the second time it is known."""
    mine = tmp_path / "known_hosts"
    inventory = world.inventory(tmp_path, {world.PLAIN: {"known_hosts": str(mine)}}, host_keys="accept-new")

    assert volley("hosts", "check", "--hosts", inventory).returncode == 0
    assert world.ADDRESSES[world.PLAIN] in mine.read_text()


def test_a_wrong_key(tmp_path):
    """The host lets nobody in with it."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)

    told(up(pair(tmp_path, key=str(key))), world.PLAIN, "lets root not in", "ssh-copy-id")


def test_a_host_that_is_down(tmp_path):
    """Nothing answers there."""
    told(up(pair(tmp_path, address="198.18.0.99")), world.PLAIN, "no SSH to 198.18.0.99", "is the host up")


def test_no_docker_on_a_server_host(tmp_path):
    """A host with the role server and without an engine."""
    told(up(pair(tmp_path, roles=["server"])), world.PLAIN, "docker engine: does not answer", "deploy/engine.sh up")


def test_no_h2load_on_a_load_host(tmp_path):
    """Hidden behind a file that is no program."""
    path = shutil.which("h2load")
    world.on(world.PLAIN, f"touch /tmp/nothing && chmod 600 /tmp/nothing && mount --bind /tmp/nothing {path}")
    try:
        told(up(pair(tmp_path)), world.PLAIN, "'h2load' is not on the PATH", "apt-get install nghttp2-client")
    finally:
        world.on(world.PLAIN, f"umount {path}")


def test_a_python_that_is_too_old(tmp_path):
    """It says so itself; no second Python of that age can be had here."""
    world.on(world.PLAIN, "printf '#!/bin/sh\\necho 3 6\\n' > /tmp/python3.6; chmod +x /tmp/python3.6")
    try:
        told(up(pair(tmp_path, python="/tmp/python3.6")), world.PLAIN, "Python 3.6 is too old")
        told(up(pair(tmp_path, python="/no/python")), world.PLAIN, "no Python there", "python: PATH")
    finally:
        world.on(world.PLAIN, "rm /tmp/python3.6")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("OUTPUT -p tcp --dport 20000", "cannot reach the coordinator at 198.18.0.1:20000"),
        ("INPUT -p tcp --dport 20001", "its node at 198.18.0.14:20001 cannot be reached from here"),
    ],
)
def test_a_blocked_port(tmp_path, rule, words):
    """One way or the other: which address, which port, where they are listed."""
    world.on(world.PLAIN, f"iptables -A {rule} -j DROP")
    try:
        told(up(pair(tmp_path)), world.PLAIN, words, "docs/hosts.md")
    finally:
        world.on(world.PLAIN, f"iptables -D {rule} -j DROP")


def test_a_wrong_token(tmp_path, monkeypatch):
    """A node with another token is not let in, and that is said; the other host comes up."""
    begin = guarded.Guard.begin

    async def with_another_token(self, order):
        token = "0" * 64 if self.host == world.PLAIN else order.token
        await begin(self, dataclasses.replace(order, token=token))

    monkeypatch.setattr(guarded.Guard, "begin", with_another_token)
    inventory = load_inventory(tmp_path / pair(tmp_path))
    hosts = members(inventory, tmp_path, list(inventory.hosts))
    fleet = nodes.Nodes("token-test", "198.18.0.1", raynode.pinned(20000), None, hosts)

    async def both():
        try:
            errors = await fleet.up(lambda text: None, partly=True)
            return errors, [m.machine.name for m in hosts if m.guard is not None and m.guard.ended is None]
        finally:
            await fleet.down()

    (error,), there = asyncio.run(both())

    assert isinstance(error, HostError)
    assert error.exit_code == EXIT_UNREACHABLE
    assert "refused its token" in error.message, error.message
    assert error.hint
    assert there == [world.SERVER]


def test_a_host_that_dies_while_it_comes_up(tmp_path):
    """Switched off in the middle: said soon, and the other host is up."""
    inventory = pair(tmp_path)
    process = subprocess.Popen([*VOLLEY, "hosts", "up", "--hosts", inventory], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not world.on(world.PLAIN, "grep -l 'agents[.]guard' /proc/[0-9]*/cmdline 2>/dev/null", check=False):
            assert process.poll() is None
            assert time.monotonic() < deadline
        world.lab("kill", world.PLAIN)
        out, err = process.communicate(timeout=60)
    finally:
        volley("hosts", "down", "--hosts", inventory)
        world.lab("start", world.PLAIN)

    assert process.returncode == 4, err
    assert err.count("error: ") == 1
    assert f"error: host {world.PLAIN}: " in err
    assert "\n  -> " in err
    assert out.startswith(f"up: {world.SERVER};")


def test_check_tells_all_hosts_while_some_are_down(tmp_path):
    """One table; the broken host in a line of its own; 4."""
    inventory = world.inventory(tmp_path, {world.SERVER: {}, world.PLAIN: {}, "gone": {"address": "198.18.0.99"}})

    done = volley("hosts", "check", "--hosts", inventory)

    assert done.returncode == 4
    rows = {line.split("|")[1].strip(): line for line in done.stdout.splitlines() if line.startswith("|")}
    assert {"round trip", "system", "kernel", "python", "h2load", "docker engine", "cores", "memory", "governor",
            "time service", "clock offset", "open files", "ephemeral ports", "free disk"} <= set(rows)  # fmt: skip
    assert [cell.strip() for cell in rows["fit"].split("|")[2:5]] == ["yes", "yes", "NO"]
    assert "±" in rows["clock offset"]
    assert "error: host gone: no SSH to 198.18.0.99" in done.stderr


def test_a_jump_host(tmp_path):
    """SSH through another host; the load takes the direct way."""
    jump = f"root@{world.ADDRESSES[world.SERVER]}"
    inventory = world.inventory(tmp_path, {world.SERVER: {}, world.PLAIN: {"jump": jump}})

    done = up(inventory)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"up: {world.SERVER}, {world.PLAIN};")
