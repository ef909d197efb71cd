"""SSH as people have it set up: names, login shells, limits, ssh_config, jump hosts. Against real sshds."""

import asyncio
import socket
import subprocess

import pytest

from orchestrator.errors import HostError
from orchestrator.fleet import provision
from orchestrator.fleet.ssh import ConnectionLimit
from tests.conftest import require
from tests.mini_hosts import free_port
from tests.unit.ssh_logins import behind, config, logs_in, refused, ssh_host, with_host

pytestmark = pytest.mark.process


# Names.


def test_a_host_is_reached_by_name(mini_hosts, trusted):
    """The name is an address, or an alias of ssh_config; its key is looked up as OpenSSH does."""
    host = mini_hosts.start("web")
    trusted(host.known(name=f"[localhost]:{host.port}"))
    config(f"Host web-alias\n  HostName localhost\n  Port {host.port}\n")

    assert logs_in(mini_hosts.inventory({"h": {"address": "localhost", "port": host.port}}))
    assert logs_in(mini_hosts.inventory({"web-alias": {}}), "web-alias")


# Login shells.

SCRIPT = """printf '%s|' "it's" '!x' '\\n' `echo back` "$0"; cat; echo err >&2; exit 3"""


@pytest.mark.parametrize(
    ("shell", "files"),
    [
        ("/bin/sh", {}),
        ("/bin/bash", {".bashrc": "echo noise; echo noise >&2; printf 'no newline'\n"}),
        ("/usr/bin/fish", {".config/fish/config.fish": "echo noise; echo noise >&2\n"}),
        ("/usr/bin/tcsh", {".tcshrc": "echo noise\n"}),
    ],
    ids=["sh", "noisy bash", "fish", "tcsh"],
)
def test_commands_mean_the_same_in_every_login_shell(mini_hosts, trusted, shell, files):
    """And what its start files print is not taken for output."""
    require(shell)
    host = mini_hosts.start("web", shell=shell, files=files)
    trusted(host.known())
    inventory = mini_hosts.inventory({"h": {"address": host.address, "port": host.port}})

    async def work(host):
        done = await host.run(SCRIPT, b"given")
        surveyed = await provision.survey(host)
        return done, surveyed, await provision.clock_bound(host)

    done, surveyed, clock = with_host(inventory, work)
    assert (done.status, done.out, done.err) == (3, "it's|!x|\\n|back|sh|given", "err\n")
    assert surveyed.python
    assert clock.low_ns < clock.high_ns


@pytest.mark.parametrize(
    ("shell", "rc", "word"),
    [("/usr/sbin/nologin", "", "not available"), ("/bin/bash", "exec cat\n", "did not run a command")],
)
def test_a_login_shell_that_runs_nothing(mini_hosts, trusted, shell, rc, word):
    """One error that names the cause and how to see it."""
    host = mini_hosts.start("web", shell=shell, files={".bashrc": rc})
    trusted(host.known())
    text = refused(mini_hosts.inventory({"h": {"address": host.address, "port": host.port}}))

    assert "its login shell did not run a command" in text
    assert word in text
    assert f"ssh -p {host.port} root@{host.address} echo ready" in text


# Limits of sshd.


def test_one_session_at_a_time_is_enough(mini_hosts, trusted):
    """With MaxSessions 1 commands wait for each other; with 0 the error names the setting."""
    host, closed = (mini_hosts.start(f"s{most}", settings=f"MaxSessions {most}") for most in (1, 0))
    trusted(host.known(), closed.known())
    inventory = mini_hosts.inventory({h.name: {"address": h.address, "port": h.port} for h in (host, closed)})

    async def many(host):
        return await asyncio.gather(*(host.run(f"echo {i}") for i in range(4)))

    assert {done.out for done in with_host(inventory, many, "s1")} == {"0\n", "1\n", "2\n", "3\n"}
    assert "refused another session" in (text := refused(inventory, "s0"))
    assert "MaxSessions" in text


def test_logins_that_a_busy_sshd_drops_are_repeated(mini_hosts, trusted):
    """MaxStartups is full when we come: the login succeeds once the others are gone."""
    host = mini_hosts.start("web", settings="MaxStartups 1\nLoginGraceTime 60")
    trusted(host.known())
    inventory = mini_hosts.inventory({"h": {"address": host.address, "port": host.port}})

    async def contend():
        other = socket.create_connection((host.address, host.port))
        other.recv(10)  # its banner: the only place is taken
        mine = ssh_host(inventory)
        connecting = asyncio.create_task(mine.connect())
        try:
            while "MaxStartups" not in host.log() and "beginning" not in host.log():
                await asyncio.sleep(0.01)
            other.close()
            await connecting
            return (await mine.run("echo in")).out
        finally:
            other.close()
            await mine.close()

    assert asyncio.run(asyncio.wait_for(contend(), 30)) == "in\n"


def test_many_hosts_behind_one_jump_host(mini_hosts, trusted):
    """ProxyJump counts like `jump:`: no more logins at a time than sshd accepts by default."""
    gate, host = mini_hosts.start("gate", settings="MaxStartups 10:100:10"), mini_hosts.start("web")
    trusted(gate.known(), host.known())
    config(f"Host gate\n  HostName {gate.address}\n  Port {gate.port}\n  User root\n"
           f"Host far*\n  HostName {host.address}\n  Port {host.port}\n  ProxyJump gate\n")  # fmt: skip
    names = [f"far{i}" for i in range(40)]
    inventory = mini_hosts.inventory({name: {} for name in names}, defaults={
        "user": "root", "key": str(mini_hosts.client_key)})  # fmt: skip

    async def all_at_once():
        limit = ConnectionLimit()

        async def one(name):
            far = ssh_host(inventory, name)
            try:
                async with limit.to(far):
                    await far.connect()
                return (await far.run("echo in")).out
            finally:
                await far.close()

        return await asyncio.gather(*(one(name) for name in names))

    assert asyncio.run(all_at_once()) == ["in\n"] * 40
    assert "MaxStartups" not in gate.log()


# ssh_config.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Port abc\n", ["line 1: Invalid Port integer value: abc", "ssh_config: FILE"]),
        ("Match address 1.2.3.4\n  User x\n", ["line 1: Invalid match condition address", "Match with all"]),
        ("Host 'open\n", ["line 1: No closing quotation"]),
        ("Compression maybe\n", ["Invalid Compression boolean value: maybe", ".ssh/config"]),
        ("ProxyJump a:b:c\n", ["jump host 'a:b:c' is not [USER@]HOST[:PORT]", "ProxyJump"]),
        ("Host h\n  ProxyJump h\n", ["more than 8 jump hosts"]),
    ],
)
def test_an_ssh_config_that_cannot_be_used(mini_hosts, text, words):
    """One clean error, with file and line where there is one."""
    config(text)
    found = refused(mini_hosts.inventory({"h": {"address": "127.0.0.1" if "Host h" not in text else "h"}}))

    for word in words:
        assert word in found
    assert found.startswith("host h: ")


def test_conditions_of_ssh_config_hold(mini_hosts, trusted):
    """Match by host, user and final, and settings for terminals are ignored."""
    host = mini_hosts.start("web")
    trusted(host.known())
    config(f"Match originalhost h user root\n  HostName {host.address}\nMatch final all\n  Port {host.port}\n"
           "Host *\n  RequestTTY force\n  RemoteCommand false\n  ForwardAgent yes\n")  # fmt: skip

    assert logs_in(mini_hosts.inventory({"h": {}}))


def test_identities_of_ssh_config(mini_hosts, trusted, tmp_path):
    """Missing files are passed over, as OpenSSH does; an encrypted key is named, with the command that unlocks it."""
    host = mini_hosts.start("web")
    trusted(host.known())
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(locked)], check=True)
    entry = {"h": {"address": host.address, "port": host.port}}
    own = {"user": "root"}

    config(f"IdentityFile ~/.ssh/absent\nIdentityFile {mini_hosts.client_key}\n")
    assert logs_in(mini_hosts.inventory(entry, defaults=own))
    config(f"IdentityFile {locked}\n")
    text = refused(mini_hosts.inventory(entry, defaults=own))
    assert f"{locked} is encrypted" in text
    assert f"ssh-add {locked}" in text
    config("")
    assert f"ssh-add {locked}" in refused(mini_hosts.inventory(entry, defaults=own | {"key": str(locked)}))
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
    assert f"cannot use the private key {broken}" in refused(
        mini_hosts.inventory(entry, defaults=own | {"key": str(broken)})
    )


def test_an_ssh_config_that_is_missing(mini_hosts):
    """The inventory names it."""
    text = refused(mini_hosts.inventory({"h": {}}, ssh_config="nowhere"))

    assert "nowhere: No such file" in text
    assert "'ssh_config' in the inventory" in text


def test_a_second_factor_is_named(mini_hosts, trusted):
    """The key was accepted, and no question can be answered."""
    host = mini_hosts.start("web", settings="PasswordAuthentication yes\nAuthenticationMethods publickey,password")
    trusted(host.known())
    found = refused(mini_hosts.inventory({"h": {"address": host.address, "port": host.port}}))

    assert "accepted the key of root but also wants a second factor" in found
    assert "AuthenticationMethods publickey" in found


# Jump hosts.


def test_a_jump_host_that_cannot_be_used_is_named(mini_hosts, trusted):
    """It is down, or may not connect to the host."""
    gate, host = mini_hosts.start("gate"), mini_hosts.start("web")
    strict = mini_hosts.start("strict", settings="AllowTcpForwarding no")
    trusted(*(h.known(name=f"[localhost]:{h.port}") for h in (gate, strict)), host.known())
    assert logs_in(behind(mini_hosts, gate.port, host))

    closed = free_port()
    text = refused(behind(mini_hosts, closed, host))
    assert f"host h: jump host localhost: cannot connect to localhost:{closed} with SSH" in text
    text = refused(behind(mini_hosts, strict.port, host))
    assert f"host h: jump host localhost cannot connect to 127.0.0.1:{host.port}" in text
    assert "AllowTcpForwarding" in text


def test_a_jump_host_that_refuses_the_login(mini_hosts, trusted):
    """Its name is in the error, not only that of the host behind it."""
    host = mini_hosts.start("web")
    gate = mini_hosts.start("gate", settings="DenyUsers root")
    trusted(gate.known(name=f"[localhost]:{gate.port}"), host.known())

    text = refused(behind(mini_hosts, gate.port, host))
    assert f"host h: jump host localhost: localhost:{gate.port} refused the login of root" in text


def test_a_host_that_closes_every_connection(mini_hosts, monkeypatch):
    """The hint names what does that."""
    monkeypatch.setattr("orchestrator.fleet.ssh_login.LOGIN_PAUSES_S", (0.01,))

    async def against_a_wall():
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        inventory = mini_hosts.inventory({"h": {"address": "127.0.0.1", "port": port}})
        async with server:
            with pytest.raises(HostError) as error:
                await ssh_host(inventory).connect()
        return f"{error.value.message} {error.value.hint}"

    text = asyncio.run(against_a_wall())
    assert "closed the connection before the login" in text
    assert "MaxStartups" in text
