"""A server that was not allowed gets no packet, whatever the verb; one that was allowed is measured.

In a network namespace with a public address of its own: the documentation's 203.0.113.1, which exists nowhere else.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import require
from tests.integration.machine import ROOT, VOLLEY, measured, only_run

STRANGER, PORT = "203.0.113.1", 8080
SERVER = """
import http.server, sys
connections, hosts = open(sys.argv[1], "a"), sys.argv[2]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def setup(self):
        super().setup()
        connections.write(self.connection.getsockname()[0] + "\\n")
        connections.flush()
    def do_GET(self):
        if self.path == "/rebind":
            open(hosts, "w").write("203.0.113.1 inner.example\\n")
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


class World:
    """A network namespace with a stranger in it, and a hosts file of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.hosts, self._seen = folder, folder / "hosts", folder / "connections"
        self._seen.touch()
        self.resolves({"shop.example": STRANGER, "inner.example": "127.0.0.1"})
        (folder / "server.py").write_text(SERVER)
        script = (
            f"ip link set lo up && ip addr add {STRANGER}/32 dev lo && mount --bind {self.hosts} /etc/hosts && "
            f"exec {sys.executable} {folder}/server.py {self._seen} {self.hosts}"
        )
        self.process = subprocess.Popen(["unshare", "-n", "-m", "--propagation", "private", "sh", "-c", script])
        deadline = time.monotonic() + 20
        while self.volley_free("import socket; socket.create_connection(('127.0.0.1', 8080), 1)"):
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)

    def volley_free(self, code: str) -> int:
        """Run a line of Python inside; return its exit status."""
        return subprocess.run([*self._enter, sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode

    @property
    def _enter(self) -> list[str]:
        return ["nsenter", "-t", str(self.process.pid), "-n", "-m", f"--wd={ROOT}"]

    def resolves(self, names: dict[str, str]) -> None:
        """Write the hosts file."""
        self.hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{at} {name}\n" for name, at in names.items()))

    def volley(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a verb inside."""
        return subprocess.run([*self._enter, *VOLLEY, *words], capture_output=True, text=True, timeout=120)

    def met(self) -> int:
        """Return how many connections the stranger has had."""
        return self._seen.read_text().split().count(STRANGER)

    def close(self) -> None:
        """End the server; the namespace ends with it."""
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    require("unshare", "nsenter", "ip", "h2load")
    made = World(tmp_path_factory.mktemp("stranger"))
    yield made
    made.close()


def campaign(world, **changes):
    path = world.folder / "c.yaml"
    document = {
        "campaign": "stranger",
        "targets": {"shop": {"url": f"http://shop.example:{PORT}/"}},
        "loads": {"burst": {"clients": 2, "requests": 50}},
        "repetitions": 1,
        **changes,
    }
    path.write_text(json.dumps(document))
    return str(path)


def own_generator():
    command = [sys.executable, str(ROOT / "configs" / "generators" / "example.py")]
    return {"own": {"clients": 2, "requests": 50, "generator": {"command": command}}}


def test_no_verb_reaches_a_stranger_without_permission(world, tmp_path):
    """Exit code 2, the way to allow it, and no connection: neither load nor probe."""
    out, url = ["--out", str(tmp_path)], f"http://shop.example:{PORT}/"
    refused = [
        world.volley("bench", url, *out),
        world.volley("bench", f"ws://{STRANGER}:{PORT}/", *out),
        world.volley("saturate", url, "--slo", "p99<50ms", *out),
        world.volley("sweep", url, *out),
        world.volley("run", campaign(world), "--dry-run"),
        world.volley("run", campaign(world, loads=own_generator()), *out),
    ]
    checked = world.volley("validate", campaign(world))

    for done in refused:
        assert done.returncode == 2, done.stderr
        assert "--allow-target " in done.stderr
        assert STRANGER in done.stderr
    assert checked.returncode == 0
    assert "--allow-target shop.example" in " ".join(checked.stderr.split())
    assert world.met() == 0
    assert list(tmp_path.iterdir()) == []


def test_a_permission_by_name_and_by_address(world, tmp_path):
    """The load then goes there, from h2load and from a generator of one's own."""
    before = world.met()
    done = world.volley(
        "bench", f"http://shop.example:{PORT}/", "-n", "50", "-c", "2", "--repeat", "1", "--allow-target", "shop.example",
        "--out", str(tmp_path / "a"),
    )  # fmt: skip
    assert measured(done.returncode, only_run(tmp_path / "a")), done.stderr
    assert world.met() >= before + 2

    # A private name needs no permission, and h2load connects to the address that was checked.
    private = f"http://inner.example:{PORT}/"
    done = world.volley("bench", private, "-n", "50", "-c", "2", "--repeat", "1", "--out", str(tmp_path / "b"))
    assert measured(done.returncode, only_run(tmp_path / "b")), done.stderr

    before = world.met()
    file = campaign(world, allow_targets=[f"{STRANGER}/32"], loads=own_generator())
    done = world.volley("run", file, "--out", str(tmp_path / "c"))
    assert measured(done.returncode, only_run(tmp_path / "c")), done.stderr
    assert world.met() > before


@pytest.mark.parametrize("when", [pytest.param("before the probe", marks=pytest.mark.full), "before the load"])
@pytest.mark.parametrize("generator", ["h2load", "paced"])
def test_a_name_that_changes_its_address_after_it_was_checked(world, tmp_path, when, generator):
    """The load host resolves and checks it again, for the probe and for the generators: the stranger meets nobody."""
    world.resolves({"inner.example": "127.0.0.1"})
    before, path = world.met(), "/" if when == "before the probe" else "/rebind"
    rebind = {"run": f"echo '{STRANGER} inner.example' > {world.hosts}", "host": "local"}
    file = campaign(
        world,
        targets={"inner": {"url": f"http://inner.example:{PORT}{path}"}},
        loads={"burst": {"clients": 2, "requests": 50, "generator": generator}},
        retries=0,
        **({"before": [rebind]} if when == "before the probe" else {}),
    )
    done = world.volley("run", file, "--out", str(tmp_path / "runs"))

    assert done.returncode == 4, done.stdout + done.stderr
    assert "not allowed as a target" in done.stderr
    assert "--allow-target" in done.stderr
    assert world.met() == before
