"""The environment goes from host to host: who sends to whom, and the process that sends."""

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

import pytest

from agents.relay import Failed, Order, fetch
from orchestrator.fleet.relay_plan import SEEDS, USES, From, RelayPlan
from tests.integration.machine import ROOT
from tests.mini_hosts import free_port, until


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
