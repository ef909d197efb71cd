"""What can be wrong with a host: one error with a hint, exit code 4, and the other hosts unaffected."""

import asyncio
import dataclasses
import shutil
import subprocess
import time

from orchestrator.errors import EXIT_UNREACHABLE, HostError
from orchestrator.fleet import guarded, nodes, raynode
from orchestrator.fleet.claims import Claim
from orchestrator.fleet.members import members
from orchestrator.spec.load import load_inventory
from tests.integration.machine import ROOT, VOLLEY, volley
from tests.lab import world


def up(inventory):
    """Bring a fleet up and take it down again; return how `up` went."""
    try:
        return volley("hosts", "up", "--hosts", inventory)
    finally:
        volley("hosts", "down", "--hosts", inventory)


def require_errors(done, wrong, up):
    """One error with a hint for each host that is wrong, exit code 4, and the other hosts came up."""
    lines = [line for line in done.stderr.splitlines() if line.startswith(("error: ", "  -> "))]
    assert done.returncode == EXIT_UNREACHABLE, done.stderr
    assert len(lines) == 2 * len(wrong), done.stderr
    for line, hint in zip(lines[::2], lines[1::2], strict=True):
        host = line.removeprefix("error: host ").partition(":")[0]
        assert hint.startswith("  -> ")
        for word in wrong[host]:
            assert word in line + hint, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith(f"up: {', '.join(up)};"), done.stdout


def pair(folder, **bad):
    """The server host as it is, and a load host with something wrong."""
    return world.inventory(folder, {world.SERVER: {}, world.PLAIN: bad})


def test_hosts_that_cannot_be_reached_or_refuse_the_login(tmp_path):
    """A host that is down, a wrong key, an unknown host key: all reported at once, and the server host is up."""
    key, nobody = tmp_path / "key", tmp_path / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    hosts = {
        world.SERVER: {},
        world.FAR: {"address": "198.18.0.99"},
        world.WRONG_CLOCK: {"key": str(key)},
        world.PLAIN: {"known_hosts": str(nobody)},
    }

    wrong = {
        world.FAR: ["cannot connect to 198.18.0.99 with SSH", "host is up"],
        world.WRONG_CLOCK: ["refused the login of root", "ssh-copy-id"],
        world.PLAIN: ["is unknown", "SHA256:", "volley hosts trust"],
    }
    require_errors(up(world.inventory(tmp_path, hosts)), wrong, [world.SERVER])


def test_hosts_without_what_they_need(tmp_path):
    """No Docker, and a Python that reports an old version (no real one is available here). h2load is not needed."""
    path = shutil.which("h2load")
    world.on(world.WRONG_CLOCK, f"touch /tmp/nothing && chmod 600 /tmp/nothing && mount --bind /tmp/nothing {path}")
    world.on(world.PLAIN, "printf '#!/bin/sh\\necho 3 6\\n' > /tmp/python3.6; chmod +x /tmp/python3.6")
    hosts = {
        world.SERVER: {},
        world.FAR: {"roles": ["server"]},
        world.WRONG_CLOCK: {},
        world.PLAIN: {"python": "/tmp/python3.6"},
    }
    wrong = {
        world.FAR: ["docker engine: does not answer", "sudo systemctl start docker"],
        world.PLAIN: ["Python 3.6 is too old"],
    }
    try:
        require_errors(up(world.inventory(tmp_path, hosts)), wrong, [world.SERVER, world.WRONG_CLOCK])
    finally:
        world.on(world.WRONG_CLOCK, f"umount {path}; rm /tmp/nothing")
        world.on(world.PLAIN, "rm /tmp/python3.6")


def test_ports_that_are_blocked(tmp_path):
    """In either direction: the error names address and port, the hint what the firewall must allow."""
    rules = {
        world.PLAIN: "OUTPUT -p tcp --dport 20000 -j DROP",
        world.WRONG_CLOCK: "INPUT -p tcp --dport 20001 -j DROP",
    }
    for host, rule in rules.items():
        world.on(host, f"iptables -A {rule}")
    wrong = {
        world.PLAIN: ["cannot reach the coordinator at 198.18.0.1:20000", "allow TCP ports 20000-20039"],
        world.WRONG_CLOCK: ["cannot reach its node at 198.18.0.13:20001", "allow TCP ports 20000-20039"],
    }
    try:
        require_errors(up(world.inventory(tmp_path)), wrong, [world.SERVER, world.FAR])
    finally:
        for host, rule in rules.items():
            world.on(host, f"iptables -D {rule}")


def test_an_unknown_key_is_refused_with_its_fingerprint_until_it_is_trusted(tmp_path):
    """No key is accepted silently: fingerprint, `volley hosts trust`, then it works; a changed key is refused."""
    mine = tmp_path / "known_hosts"
    lines = (world.STATE / "known_hosts").read_text().splitlines(keepends=True)
    mine.write_text("".join(line for line in lines if world.ADDRESSES[world.PLAIN] not in line))
    inventory = pair(tmp_path, known_hosts=str(mine))
    listed = subprocess.run(["ssh-keygen", "-lf", str(world.STATE / world.PLAIN / "host_key.pub")],
                            capture_output=True, text=True, check=True)  # fmt: skip
    fingerprint = listed.stdout.split()[1]

    refused = volley("hosts", "check", "--hosts", inventory)
    assert refused.returncode == 4
    assert f"host {world.PLAIN}: the key of {world.ADDRESSES[world.PLAIN]} is unknown" in refused.stderr
    assert fingerprint in refused.stderr
    assert "volley hosts trust" in refused.stderr
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
    """On explicit request, the key is recorded."""
    mine = tmp_path / "known_hosts"
    inventory = world.inventory(tmp_path, {world.PLAIN: {"known_hosts": str(mine)}}, host_keys="accept-new")

    assert volley("hosts", "check", "--hosts", inventory).returncode == 0
    assert world.ADDRESSES[world.PLAIN] in mine.read_text()


def test_a_wrong_token(tmp_path, monkeypatch):
    """A node with another token is refused and reported; the other host comes up."""
    ask = guarded.Guard.ask

    async def with_another_token(self, order):
        token = "0" * 64 if self.host == world.PLAIN else order.token
        await ask(self, dataclasses.replace(order, token=token))

    monkeypatch.setattr(guarded.Guard, "ask", with_another_token)
    inventory = load_inventory(tmp_path / pair(tmp_path))
    hosts = members(inventory, tmp_path)
    fleet = nodes.Nodes(Claim("token-test", "token-test"), "198.18.0.1", raynode.pinned(20000), None, hosts)

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
    """Switched off in the middle: reported soon, and the other host is up."""
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


def test_check_reports_all_hosts_while_some_are_down(tmp_path):
    """One table, an error for the broken host, exit code 4."""
    inventory = world.inventory(tmp_path, {world.SERVER: {}, world.PLAIN: {}, "gone": {"address": "198.18.0.99"}})

    done = volley("hosts", "check", "--hosts", inventory)

    assert done.returncode == 4
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("  ") and line.strip()}
    assert rows["host"].split()[:7] == ["host", "state", "cores", "memory", "kernel", "h2load", "clock"]
    assert "ready" in rows[world.SERVER]
    assert "not reached" in rows["gone"]
    assert "±" in rows[world.PLAIN]
    assert "error: host gone: cannot connect to 198.18.0.99 with SSH" in done.stderr


def test_a_jump_host(tmp_path):
    """SSH goes through another host; the load goes directly."""
    jump = f"root@{world.ADDRESSES[world.SERVER]}"
    inventory = world.inventory(tmp_path, {world.SERVER: {}, world.PLAIN: {"jump": jump}})

    done = up(inventory)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"up: {world.SERVER}, {world.PLAIN};")
