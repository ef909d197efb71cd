"""The environment goes from host to host over real SSH, between hosts that share a network."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.errors import HostError
from orchestrator.fleet import provision, raynode, relay_plan
from orchestrator.fleet.claims import Claim
from orchestrator.fleet.environment import Archive, project
from orchestrator.fleet.nodes import Nodes
from orchestrator.fleet.relay import EnvironmentRelay
from orchestrator.fleet.relay_plan import SEEDS
from orchestrator.fleet.ssh import SshHost
from orchestrator.spec.load import load_inventory
from tests.integration.machine import ROOT
from tests.mini_hosts import until
from tests.unit.test_relay import names

BYTES = 2_000_000
HOSTS = 11
MARK = "run-of-the-relay-test"


def fake_archive(folder):
    """Return an archive that cannot be compressed, in place of the 50 MB of packages."""
    file = folder / "packages"
    if not file.exists():
        file.write_bytes(os.urandom(BYTES))
    return Archive("packages-fake", [("data", file)])


async def distribute(inventory, folder, hold=None):
    """Bring the archive to all hosts; return what the coordinator sent and what it said. hold: called before the end."""
    listed, said = load_inventory(inventory), []
    archive = fake_archive(folder)
    relay = EnvironmentRelay(archive, raynode.pinned(listed.ports).relay, MARK, said.append)
    hosts = [SshHost(name, listed, folder) for name in listed.hosts]
    try:
        await asyncio.gather(*(host.connect() for host in hosts))
        ours = await asyncio.gather(*(provision.send(host, [project()], zstd=False) for host in hosts))
        if hold is not None:
            relay.expect("never-comes", zstd=False)
        await relay.ask([(host, False) for host in hosts])

        async def bring(host, prepared):
            await relay.deliver(host, host.address, prepared)
            return (await provision.send(host, [archive], zstd=False)).sent_bytes

        sent = await asyncio.gather(*(bring(host, prepared) for host, prepared in zip(hosts, ours, strict=True)))
        if hold is not None:
            hold()
    finally:
        relay.close()
        await asyncio.gather(*(host.close() for host in hosts))
    return relay.sent_bytes + sum(sent), said


def relays():
    """Return the relays of these tests that run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, variables = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        if b"agents.relay" in command and MARK.encode() in variables:
            found.append(int(folder.name))
    return found


@pytest.fixture
def lan(mini_hosts, trusted, monkeypatch, tmp_path):
    """Return a function that starts hosts on one network, the named one alone, and returns them and their inventory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "our-cache"))

    def start(alone=None):
        hosts = [mini_hosts.start(name, lan="alone" if name == alone else "open") for name in names(HOSTS)]
        trusted(*(host.known() for host in hosts))
        return hosts, mini_hosts.inventory({host.name: {"address": host.address} for host in hosts})

    return start


def nothing_is_left(hosts):
    until(lambda: not relays(), lambda: f"relays are left: {relays()}")
    for host in hosts:
        left = sorted(path.name for path in host.home.glob(".cache/volley/*") if not path.name.startswith("agents-"))
        left += [path.name for path in host.home.glob(".cache/volley/.*")]
        assert left == ["packages-fake"], host.name
        assert (host.home / ".cache/volley/packages-fake/data").stat().st_size == BYTES


@pytest.mark.process
def test_hosts_pass_the_environment_on(lan, tmp_path):
    """One cannot reach the others: the coordinator sends to it and to 4 seeds, and says so once."""
    hosts, inventory = lan(alone="h7")

    sent, said = asyncio.run(distribute(inventory, tmp_path))

    assert SEEDS * BYTES < sent < (SEEDS + 1.5) * BYTES, said
    (fallback,) = [line for line in said if "did not get" in line]
    assert "host h7: did not get the environment from h" in fallback
    assert "Network is unreachable; this machine sends it" in fallback
    assert sum(": got 2 MB from h" in line for line in said) == HOSTS - SEEDS - 1
    nothing_is_left(hosts)


@pytest.mark.process
def test_a_host_that_serves_wrong_bytes(lan, tmp_path, monkeypatch):
    """They are noticed before anything is unpacked, the sender is named, and it does not send again."""
    # The host is the first that sends to another.
    monkeypatch.setattr(relay_plan, "SEEDS", 1)
    hosts, inventory = lan()
    wrong = hosts[0].home / ".cache" / "volley" / project().name / "agents"
    for inside, source in project().files:
        target = wrong.parent / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    text = (wrong / "relay.py").read_text()
    assert "self.wfile.write(chunk)" in text
    (wrong / "relay.py").write_text(text.replace("self.wfile.write(chunk)", "self.wfile.write(bytes(len(chunk)))"))

    sent, said = asyncio.run(distribute(inventory, tmp_path))

    (fallback,) = [line for line in said if "did not get" in line]
    assert "from h0: the SHA-256 of what was received is wrong; this machine sends it" in fallback
    # To that host, to its receiver, and to another host in its place.
    assert 3 * BYTES < sent < 3.5 * BYTES
    nothing_is_left(hosts)


@pytest.mark.process
def test_a_coordinator_that_is_killed_leaves_nothing(lan, tmp_path):
    """Its hosts serve at that moment."""
    hosts, inventory = lan()
    fake_archive(tmp_path)
    code = (
        "import asyncio, sys; from pathlib import Path; from tests.unit.test_relay_over_hosts import distribute\n"
        "def hold(): print('ready', flush=True); sys.stdin.read()\n"
        "asyncio.run(distribute(Path(sys.argv[1]), Path(sys.argv[2]), hold))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(inventory), str(tmp_path)], cwd=ROOT,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    try:
        assert process.stdout.readline() == b"ready\n"
        assert len(relays()) == HOSTS
    finally:
        process.kill()
        process.communicate(timeout=10)
    nothing_is_left(hosts)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("inventory", "count", "takes_part"), [("relay", 9, True), ("relay", 8, False), ("direct", 100, False)]
)
def test_when_hosts_pass_it_on(monkeypatch, tmp_path, inventory, count, takes_part):
    """Above 8 that lack it, unless the inventory says otherwise; 3 further hosts have it already."""

    async def has(host, archives):
        return host.name.startswith("has")

    async def packed():
        return [fake_archive(tmp_path)]

    async def relay():
        hosts = [SimpleNamespace(name=name) for name in [*names(count), "has-1", "has-2", "has-3"]]
        members = [SimpleNamespace(ssh=host, zstd=False) for host in hosts]
        nodes = Nodes(Claim(MARK, MARK), "127.0.0.1", raynode.pinned(20000), None, members, relay=inventory == "relay")
        made = await nodes._relay_to(members, asyncio.ensure_future(packed()), print)
        return made is not None and made.worthwhile("h0"), made is not None and made.worthwhile("has-1")

    monkeypatch.setattr(provision, "has", has)
    assert asyncio.run(relay()) == (takes_part, False)


@pytest.mark.unit
def test_hosts_that_leave_while_they_wait(tmp_path, monkeypatch):
    """An interrupted run cancels them all, in any order, and those that stay get their turn."""

    async def transfer(kind, host, address, prepared, sender):
        await asyncio.sleep(0)
        kind.plan.received(host.name, serves=True)

    async def unpacked(kind, host):
        return True

    async def leave(which):
        relay = EnvironmentRelay(fake_archive(tmp_path), 20009, MARK, print)
        monkeypatch.setattr(relay, "_transfer", transfer)
        monkeypatch.setattr(relay, "_unpacked", unpacked)
        for name in names(20):
            relay.expect(name, zstd=False)
        tasks = [asyncio.create_task(relay.deliver(SimpleNamespace(name=name), "", None)) for name in names(20)]
        await asyncio.sleep(0)
        for number in which:
            tasks[number].cancel()
        async with asyncio.timeout(10):
            return await asyncio.gather(*tasks, return_exceptions=True)

    for which in (range(20), range(19, -1, -1), range(4), range(4, 10), range(0, 20, 3)):
        results = asyncio.run(leave(which))
        assert {type(results[number]) for number in which} == {asyncio.CancelledError}
        assert all(result is True for number, result in enumerate(results) if number not in which)


@pytest.mark.process
def test_a_connection_that_is_lost_while_the_coordinator_sends(mini_hosts, trusted, tmp_path, monkeypatch):
    """What was being unpacked over SSH is removed."""
    made = mini_hosts.start("h")
    trusted(made.known())
    listed = load_inventory(mini_hosts.inventory({"h": {"address": made.address, "port": made.port}}))
    packed = subprocess.run(["tar", "-czf", "-", "."], cwd=ROOT / "docs", check=True, capture_output=True).stdout
    pipe = tmp_path / "packed"
    os.mkfifo(pipe)
    monkeypatch.setattr(Archive, "packed", lambda self, zstd: pipe)

    def drafts():
        return list(made.home.glob(".cache/volley/.packages-x.*"))

    async def send():
        host = SshHost("h", listed, tmp_path)
        await host.connect()
        sending = asyncio.create_task(provision.send(host, [Archive("packages-x", [])], zstd=False))
        with await asyncio.to_thread(pipe.open, "wb") as end:
            end.write(packed[: len(packed) // 2])
            end.flush()
            await asyncio.to_thread(until, drafts, lambda: "nothing is unpacked")
            host.connection.abort()
        with pytest.raises(HostError, match="was lost"):
            await sending
        await host.close()

    asyncio.run(send())
    until(lambda: not drafts(), lambda: f"left: {drafts()}")
