"""The firewall of docs/explanation/security.md, as it is written there, in front of a host: who connects, and who does not."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT, require

PAGE = ROOT / "docs" / "explanation" / "security.md"
HOST, MEMBER, STRANGER = "198.18.1.12", "198.18.1.11", "198.18.1.99"
HOST6, MEMBER6 = "fd00:18::12", "fd00:18::11"
LISTENING = """
import selectors, socket, sys
watched = selectors.DefaultSelector()
for kind, port in (pair.split("/") for pair in sys.argv[1:]):
    one = socket.socket(socket.AF_INET6, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    one.bind(("::", int(port)))
    if kind == "tcp":
        one.listen()
    watched.register(one, selectors.EVENT_READ, kind)
print("up", flush=True)
while True:
    for key, _ in watched.select():
        if key.data == "tcp":
            key.fileobj.accept()[0].close()
        else:
            key.fileobj.sendto(*key.fileobj.recvfrom(64))
"""
ASKING = """
import socket, sys
kind, here, there, port = sys.argv[1:]
family = socket.AF_INET6 if ":" in there else socket.AF_INET
one = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
one.settimeout(0.4)
one.bind((here, 0))
one.connect((there, int(port)))
if kind == "udp":
    one.send(b"x")
    one.recv(64)
"""
PORTS = ("tcp/20000", "tcp/20010", "tcp/20039", "tcp/20040", "tcp/8000", "udp/20007", "udp/20009", "udp/20010")


def rules():
    (block,) = re.findall(r"^```nft\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return block


def inside(pid, *argv, **options):
    return subprocess.run(["nsenter", "-t", str(pid), "-n", *argv], capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def host():
    """Yield a function that asks the host behind the firewall from an address; it returns whether that was answered."""
    require("nft", "ip", "unshare", "nsenter")
    listening = subprocess.Popen(
        ["unshare", "-n", sys.executable, "-c", LISTENING, *PORTS], stdout=subprocess.PIPE, text=True
    )
    others = subprocess.Popen(
        ["unshare", "-n", "sh", "-c", "echo up; exec sleep 300"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert [each.stdout.readline() for each in (listening, others)] == ["up\n", "up\n"]
        link = ["ip", "link", "add", "fw0", "netns", str(listening.pid), "type", "veth", "peer", "name", "fw1", "netns"]
        subprocess.run([*link, str(others.pid)], check=True)
        for pid, device, addresses in (
            (listening.pid, "fw0", (f"{HOST}/24", f"{HOST6}/64")),
            (others.pid, "fw1", (f"{MEMBER}/24", f"{STRANGER}/24", f"{MEMBER6}/64")),
        ):
            for address in addresses:
                nodad = ["nodad"] if ":" in address else []
                inside(pid, "ip", "addr", "add", address, "dev", device, *nodad, check=True)
            for name in ("lo", device):
                inside(pid, "ip", "link", "set", name, "up", check=True)
        loaded = inside(listening.pid, "nft", "-f", "-", input=rules())
        assert loaded.returncode == 0, loaded.stderr

        def answered(kind, port, here, there=HOST):
            pid = listening.pid if here == there else others.pid
            argv = [sys.executable, "-c", ASKING, kind, here, there, str(port)]
            return inside(pid, *argv).returncode == 0

        yield answered
    finally:
        for process in (listening, others):
            process.kill()
            process.wait()


def test_members_of_the_fleet_reach_volleys_ports(host):
    """From the coordinator or another host, and from the host itself."""
    for kind, port in (("tcp", 20000), ("tcp", 20010), ("tcp", 20039), ("udp", 20007), ("udp", 20009)):
        assert host(kind, port, MEMBER), (kind, port)
        assert host(kind, port, HOST), (kind, port)


def test_strangers_do_not(host):
    """Nor does anybody over IPv6, whose addresses the set does not hold."""
    for kind, port in (("tcp", 20000), ("tcp", 20039), ("udp", 20007), ("udp", 20009)):
        assert not host(kind, port, STRANGER), (kind, port)
    assert not host("tcp", 20000, MEMBER6, HOST6)


def test_other_ports_are_left_alone(host):
    """The target's port, for example: strangers reach it as before, which also shows that they are connected at all."""
    for kind, port in (("tcp", 8000), ("tcp", 20040), ("udp", 20010)):
        assert host(kind, port, STRANGER), (kind, port)
    assert host("tcp", 8000, MEMBER6, HOST6)


def test_the_rules_cover_the_ports_of_a_fleet():
    """As the code pins them: a port that is added there must be added to the page."""
    from orchestrator.fleet.raynode import pinned

    ports = pinned(20000)
    assert f"tcp dport {ports.gcs}-{ports.last_worker} " in rules()
    assert f"udp dport {ports.clock_server}-{ports.clock_service} " in rules()
