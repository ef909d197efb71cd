"""`encrypt: true`: what Ray sends over the network cannot be read there, and needs a certificate of the fleet."""

import contextlib
import json
import socket
import ssl
import struct
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orchestrator.fleet.certificates import CERTIFICATE, KEY
from tests.integration.machine import measured, only_run, volley
from tests.lab import world

COORDINATOR, GCS, LAST = "198.18.0.1", 20000, 20039
PLANTED = "planted-3f9a61c7"
ALL_PROTOCOLS = 0x0003


class Wire:
    """Everything that Ray's ports send over the lab's network meanwhile. met: how the GCS met a stranger and a member."""

    def __init__(self) -> None:
        self.seen, self.bytes = False, 0
        self.met, self.lock = [], threading.Lock()
        self._over = threading.Event()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        self._socket.bind(("volley-lab", 0))
        self._socket.settimeout(0.1)
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _listen(self):
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                self._take(self._socket.recv(1 << 17))

    def _take(self, frame):
        if frame[12:14] != b"\x08\x00" or frame[23] != socket.IPPROTO_TCP:
            return
        tcp = frame[14 + 4 * (frame[14] & 15) :]
        source, to = struct.unpack("!HH", tcp[:4])
        if any(GCS <= port <= LAST for port in (source, to)):
            self.bytes += len(tcp)
            self.seen = self.seen or PLANTED.encode() in tcp


class Handler(BaseHTTPRequestHandler):
    """Answers, and at the first request meets the fleet's GCS: as a stranger, and as a member where there is a certificate."""

    protocol_version = "HTTP/1.1"
    wire: Wire

    def do_GET(self):
        with self.wire.lock:
            if not self.wire.met:
                self.wire.met = [met(None), met(member())]
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def member():
    """Return the folder with the certificate of the coordinator's own node, the newest one; None without encryption."""
    keys = Path(tempfile.gettempdir()).glob(f"volley-*/{KEY}")
    return max((key.parent for key in keys), key=lambda folder: folder.stat().st_mtime, default=None)


def met(folder):
    """Return what the GCS does with a peer that speaks TLS, with the certificate in a folder or without one."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if folder is not None:
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    try:
        secure = context.wrap_socket(socket.create_connection((COORDINATOR, GCS), 3))
    except OSError:
        return "no TLS"
    with secure:
        try:
            secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            # The answer to a client that was accepted begins with its settings.
            return "accepted" if secure.recv(4096)[3:4] == b"\4" else "refused"
        except OSError:
            return "refused"


@pytest.mark.full
@pytest.mark.parametrize("encrypt", [False, True])
def test_what_an_observer_of_the_network_reads(tmp_path, encrypt):
    """Without encryption a header of the load, on its way to a load host; with it nothing. The run is the same."""
    with Wire() as wire:
        server = ThreadingHTTPServer((COORDINATOR, 0), type("Watching", (Handler,), {"wire": wire}))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = tmp_path / "c.yaml"
        load = {"clients": 2, "requests": 60, "generator": "paced", "headers": {"X-Plan": PLANTED}}
        url = f"http://{COORDINATOR}:{server.server_address[1]}/"
        document = {"campaign": "wire", "targets": {"a": {"url": url}}, "loads": {"l": load}, "repetitions": 1}
        file.write_text(json.dumps(document))
        hosts = world.inventory(tmp_path, {world.PLAIN: {}, world.FAR: {}}, encrypt=encrypt)
        done = volley("run", str(file), "--hosts", hosts, "--out", str(tmp_path / "runs"))
        server.shutdown()
        server.server_close()

    assert measured(done.returncode, only_run(tmp_path / "runs")), done.stderr
    (trial,) = only_run(tmp_path / "runs").glob("trials/*/trial.json")
    assert json.loads(trial.read_text())["metrics"]["requests"]["ok"] == 60
    assert wire.bytes > 10_000
    assert wire.seen is not encrypt
    assert wire.met == (["refused", "accepted"] if encrypt else ["no TLS", "no TLS"])


def test_a_fleet_that_is_kept_up_encrypts_too(tmp_path):
    """A run that joins it reads the certificates of the coordinator's node: two runs, one after the other."""
    hosts = world.inventory(tmp_path, {world.PLAIN: {}}, encrypt=True)
    server = ThreadingHTTPServer((COORDINATOR, 0), type("Watching", (Handler,), {"wire": Wire()}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    file = tmp_path / "c.yaml"
    url = f"http://{COORDINATOR}:{server.server_address[1]}/"
    load = {"clients": 2, "requests": 60}
    file.write_text(
        json.dumps({"campaign": "kept", "targets": {"a": {"url": url}}, "loads": {"l": load}, "repetitions": 1})
    )
    up = volley("hosts", "up", "--hosts", hosts)
    try:
        assert up.returncode == 0, up.stderr
        done = [volley("run", str(file), "--hosts", hosts, "--out", str(tmp_path / f"runs{turn}")) for turn in range(2)]
    finally:
        down = volley("hosts", "down", "--hosts", hosts)
        server.shutdown()
        server.server_close()

    for turn, each in enumerate(done):
        assert measured(each.returncode, only_run(tmp_path / f"runs{turn}")), each.stderr
    assert "joined the fleet" in done[0].stderr
    assert down.returncode == 0, down.stderr
