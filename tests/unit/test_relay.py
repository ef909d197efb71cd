"""The environment goes from host to host: who sends to whom, and over real SSH between hosts that share a network."""

import asyncio
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from agents.relay import Failed, Order, fetch
from orchestrator.errors import HostError
from orchestrator.fleet import provision, raynode, relay_plan
from orchestrator.fleet.claims import Claim
from orchestrator.fleet.environment import Archive, project
from orchestrator.fleet.nodes import Nodes
from orchestrator.fleet.relay import EnvironmentRelay
from orchestrator.fleet.relay_plan import SEEDS, USES, From, RelayPlan
from orchestrator.fleet.ssh import SshHost
from orchestrator.spec.load import load_inventory
from tests.integration.machine import ROOT
from tests.mini_hosts import free_port, until

BYTES = 2_000_000
HOSTS = 11
MARK = "run-of-the-relay-test"


def played(hosts, *, works=lambda receiver, sender: True, serves=lambda host: True, blame=False):
    """Play a distribution in rounds; return the transfers of each round and the hosts that the coordinator is left with."""
    plan, rounds, fallback = RelayPlan(), [], []
    for host in hosts:
        plan.want(host)
    while transfers := plan.assign():
        fallback += [receiver for receiver, sender in transfers if sender is From.FALLBACK]
        transfers = [(receiver, sender) for receiver, sender in transfers if sender is not From.FALLBACK]
        rounds.append(transfers)
        for receiver, sender in transfers:
            if works(receiver, sender):
                plan.received(receiver, serves(receiver))
            else:
                plan.failed(receiver, blame)
                fallback.append(receiver)
    return rounds, fallback


def names(count):
    return [f"h{n}" for n in range(count)]


def senders(rounds):
    return [sender for transfers in rounds for _, sender in transfers]


@pytest.mark.unit
@pytest.mark.parametrize("count", [9, 100, 1000])
def test_the_number_of_hosts_that_have_it_doubles(count):
    """The coordinator sends 4 times, however many hosts there are, and no host sends to two at a time."""
    rounds, fallback = played(names(count))

    assert fallback == []
    assert sorted(receiver for transfers in rounds for receiver, _ in transfers) == sorted(names(count))
    assert senders(rounds).count(From.COORDINATOR) == SEEDS
    have = 0
    for transfers in rounds:
        busy = [sender for _, sender in transfers if isinstance(sender, str)]
        assert len(busy) == len(set(busy)) <= have
        have += len(transfers)
    assert len(rounds) <= 9
    assert max(senders(rounds).count(sender) for sender in set(senders(rounds)) - {From.COORDINATOR}) <= USES


@pytest.mark.unit
def test_a_host_that_reaches_no_other_costs_one_transfer():
    """Its senders serve others afterwards."""
    rounds, fallback = played(names(50), works=lambda receiver, sender: receiver != "h30")

    assert fallback == ["h30"]
    assert senders(rounds).count(From.COORDINATOR) == SEEDS


@pytest.mark.unit
def test_a_sender_of_wrong_bytes_sends_once():
    """It is left out after its first receiver."""
    rounds, fallback = played(names(50), works=lambda receiver, sender: sender != "h1", blame=True)

    assert len(fallback) == 1
    assert senders(rounds).count("h1") == 1


@pytest.mark.unit
@pytest.mark.parametrize("way", ["no transfer works", "no host serves"])
def test_hosts_that_cannot_reach_each_other_do_not_wait(way):
    """After a few failures the coordinator sends to all that are left, at the same time."""
    if way == "no host serves":
        rounds, fallback = played(names(100), serves=lambda host: False)
    else:
        rounds, fallback = played(names(100), works=lambda receiver, sender: sender is From.COORDINATOR)

    assert len(rounds) <= 4
    assert len(fallback) + senders(rounds).count(From.COORDINATOR) == 100


@pytest.mark.unit
def test_seeds_that_fail_are_replaced():
    """Even when all of them fail at first, as long as a transfer has worked or few have failed."""
    rounds, fallback = played(names(20), works=lambda receiver, sender: receiver not in ("h0", "h1", "h2"))

    assert fallback == ["h0", "h1", "h2"]
    assert senders(rounds).count(From.COORDINATOR) == SEEDS + 3


@pytest.mark.unit
def test_a_host_that_is_slow_holds_up_only_its_sender():
    """The others are served meanwhile by those that are idle."""
    plan = RelayPlan()
    for host in names(12):
        plan.want(host)
    slow = "h2"
    left = dict(plan.assign())
    while any(host != slow for host in left):
        for host in [each for each in left if each != slow]:
            del left[host]
            plan.received(host, serves=True)
        left |= dict(plan.assign())
    assert list(left) == [slow]
    assert plan.assign() == []


@pytest.mark.unit
def test_a_lost_sender_is_not_used():
    """Nor does a host that left before its turn get one."""
    plan = RelayPlan()
    for host in names(10):
        plan.want(host)
    for host, _ in plan.assign():
        plan.received(host, serves=True)
    plan.cancel("h0")
    plan.cancel("h9")
    assert {sender for _, sender in plan.assign()} == {"h1", "h2", "h3"}
    assert plan.assign() == []


@pytest.fixture
def relay_process(tmp_path):
    """Start a relay here for an archive; return it with its order and the packed bytes."""
    started = []

    def start(packed, **changes):
        order = {
            "folder": str(tmp_path / "cache"), "name": "packages-x", "zstd": False, "size": len(packed),
            "digest": hashlib.sha256(packed).hexdigest(), "address": "127.0.0.1", "port": free_port(), "token": "secret",
            "uses": 1, "deadline_s": 60.0,
        } | changes  # fmt: skip
        process = subprocess.Popen([sys.executable, "-m", "agents.relay"], cwd=ROOT, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)  # fmt: skip
        started.append(process)
        process.stdin.write(json.dumps(asdict(Order(**order))).encode() + b'\n{"take": true}\n')
        process.stdin.flush()
        return process, order

    yield start
    for process in started:
        process.kill()
        process.wait(timeout=10)
        process.stdin.close()
        process.stdout.close()


@pytest.fixture
def packed(tmp_path):
    """A small packed archive."""
    (tmp_path / "file").write_bytes(os.urandom(300_000))
    return subprocess.run(["tar", "-czf", "-", "file"], cwd=tmp_path, check=True, capture_output=True).stdout


def asked(order, token, path="/archive"):
    request = urllib.request.Request(f"http://127.0.0.1:{order['port']}{path}", headers={"Authorization": token})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return answer.read()


@pytest.mark.process
def test_a_relay_serves_one_file_to_those_with_the_token(relay_process, packed, tmp_path):
    """As often as it may, and nothing else; it ends with its standard input, and the packed file with it."""
    process, order = relay_process(packed)
    process.stdin.write(packed)
    process.stdin.flush()
    assert [json.loads(process.stdout.readline()) for _ in range(2)] == [{"received": True}, {"unpacked": True}]
    for token, path in [("Bearer wrong", "/archive"), ("", "/archive"), ("Bearer secret", "/etc/passwd")]:
        with pytest.raises(urllib.error.HTTPError, match="404"):
            asked(order, token, path)
    assert asked(order, "Bearer secret") == packed
    with pytest.raises(urllib.error.HTTPError, match="410"):
        asked(order, "Bearer secret")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["packages-x"]
    process.stdin.close()
    assert process.wait(timeout=10) == 0


@pytest.mark.process
@pytest.mark.parametrize("end", ["standard input", "deadline", "SIGTERM"])
def test_a_relay_that_ends_in_the_middle_leaves_nothing(relay_process, packed, tmp_path, end):
    """Half of the archive has arrived."""
    process, _ = relay_process(packed, deadline_s=1.0 if end == "deadline" else 60.0)
    process.stdin.write(packed[: len(packed) // 2])
    process.stdin.flush()
    until((tmp_path / "cache").exists, lambda: "the relay stores nothing")
    if end == "standard input":
        process.stdin.close()
    elif end == "SIGTERM":
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.process
def test_wrong_bytes_are_never_unpacked(relay_process, packed, tmp_path):
    """The digest comes from the coordinator."""
    process, _ = relay_process(packed, digest="0" * 64)
    process.stdin.write(packed)
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    assert answer == {"failed": "the SHA-256 of what was received is wrong", "blame": True}
    process.stdin.close()
    assert process.wait(timeout=10) == 0
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.process
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "timed out"),
        (b"HTTP/1.1 200 OK\r\n\r\nhalf", "timed out"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 50, "too slow"),
        (b"what?\r\n\r\n", "what?"),
    ],
    ids=["silent", "stalls", "trickles", "another protocol"],
)
def test_a_sender_that_does_not_send(answer, reason, tmp_path):
    """A receiver gives up within the time that it has."""
    order = Order("", "packages-x", False, "0" * 64, 1000, "127.0.0.1", 0, "", 1, 60.0)
    over = threading.Event()

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            for byte in answer if reason == "too slow" else [answer]:
                if over.wait(0.02):
                    return
                connection.sendall(byte if isinstance(byte, bytes) else bytes([byte]))
            over.wait(20)

    with socket.create_server(("127.0.0.1", 0)) as listener, (tmp_path / "packed").open("wb") as file:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(Failed, match=reason):
                fetch(order, "127.0.0.1", listener.getsockname()[1], "token", 0.5, file)
        finally:
            over.set()
            thread.join()


@pytest.mark.process
def test_a_relay_that_cannot_serve_still_unpacks(relay_process, packed, tmp_path):
    """Its port is in use, or its address is translated on the way."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        process, _ = relay_process(packed, port=other.getsockname()[1])
        process.stdin.write(packed)
        process.stdin.flush()
        reports = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert reports == [{"received": True, "silent": "Address already in use"}, {"unpacked": True}]
    assert (tmp_path / "cache" / "packages-x" / "file").exists()


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
        "import asyncio, sys; from pathlib import Path; from tests.unit.test_relay import distribute\n"
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
