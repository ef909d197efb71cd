"""Servers that are reached in other ways: IPv6, unix sockets, TLS, another version of HTTP. By the probe and by generators."""

import shutil
import socketserver
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from agents import probe, spoken
from agents.cgroup import Counters
from agents.container import ContainerState, ServerSpec
from agents.generators.contract import format_task
from agents.generators.h2load import command
from agents.generators.h2load_version import detect
from agents.probe import SPEAKS, Expect, Request, check
from agents.readiness import Readiness
from agents.records import Assignment, ServerState
from agents.tls import NEEDS_CERTIFICATE, NO_TLS, OTHER_NAME, UNTRUSTED, Tls
from tests.truth.paced_world import closed_task, paced

pytestmark = pytest.mark.process
TLS = Path(__file__).parents[1] / "fakes" / "tls"
CLIENT = Tls(
    (TLS / "ca.pem").read_text(), (TLS / "client.pem").read_text(), (TLS / "client-key.pem").read_text(), "shop.example"
)
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
SEEN: list[bytes] = []


class Http1(socketserver.BaseRequestHandler):
    """Answers what looks like HTTP/1.1, and keeps the heads of requests."""

    def handle(self):
        text = b""
        try:
            while more := self.request.recv(65536):
                text += more
                if text.startswith(b"\x16"):  # TLS
                    self.request.sendall(b"HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n")
                    return
                while b"\r\n\r\n" in text:
                    head, _, text = text.partition(b"\r\n\r\n")
                    if head.startswith(b"PRI "):
                        self.request.sendall(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                        return
                    SEEN.append(head)
                    self.request.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + b"ok" * (head[:4] != b"HEAD")
                    )
        except OSError:
            return


class Patient(socketserver.BaseRequestHandler):
    """Answers HTTP/1.1, and waits for more of everything else."""

    def handle(self):
        text = b""
        while more := self.request.recv(65536):
            text += more
            if text.endswith(b"\r\n\r\n") and not text.startswith(b"PRI "):
                self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Http2(socketserver.BaseRequestHandler):
    """Speaks HTTP/2 as far as its first frame."""

    def handle(self):
        self.request.recv(65536)
        self.request.sendall(SETTINGS)


class Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    context: ssl.SSLContext | None = None

    def finish_request(self, request, client_address):
        try:
            if self.context is not None:
                request = self.context.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)
            request.close()
        except OSError:
            return


class Tcp6(Tcp):
    address_family = socketserver.socket.AF_INET6  # type: ignore[attr-defined]


class Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def tls_context(*, alpn=("http/1.1",), client=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem", TLS / "server-key.pem")
    context.set_alpn_protocols(list(alpn))
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(TLS / "ca.pem")
    return context


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """All servers at once: what leads to each, by name."""
    folder = tmp_path_factory.mktemp("reached")
    servers = {
        "http1": Tcp(("127.0.0.1", 0), Http1),
        "http2": Tcp(("127.0.0.1", 0), Http2),
        "patient": Tcp(("127.0.0.1", 0), Patient),
        "ipv6": Tcp6(("::1", 0), Http1),
        "unix": Unix(str(folder / "app.sock"), Http1),
        "tls": Tcp(("127.0.0.1", 0), Http1),
        "client": Tcp(("127.0.0.1", 0), Http1),
    }
    servers["tls"].context, servers["client"].context = tls_context(), tls_context(client=True)  # type: ignore[attr-defined]
    with ExitStack() as stack:
        for server in servers.values():
            stack.enter_context(server)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        yield {name: server.server_address for name, server in servers.items()}


def url(serving, name, scheme="http"):
    return f"{scheme}://127.0.0.1:{serving[name][1]}/x"


def checked(request):
    return check(request, Expect(body="ok"), 5, repeat=False)


def sent_by_paced(log, url, **changes):
    """Let paced send 20 requests; return how many were answered."""
    with paced(log) as program:
        program.write(format_task(replace(closed_task(url, 2, count=20), log=str(log), **changes)))
        program.wait_ready()
        program.go()
        return program.finish().summary.done


@pytest.mark.parametrize(
    ("name", "http2", "words"),
    [
        ("http1", True, f"{SPEAKS} HTTP/1.1, and the load is HTTP/2"),
        ("http2", False, f"{SPEAKS} HTTP/2, and the load is HTTP/1.1"),
    ],
)
def test_a_server_of_the_other_version_is_named(serving, name, http2, words):
    """On plain TCP, where nothing is negotiated."""
    found = checked(Request(url(serving, name), http2))

    assert (found.state, found.detail) == (ServerState.NOT_READY, words)


def test_a_server_that_ignores_http2_is_named_while_it_is_waited_for(serving, monkeypatch):
    """Long before the time for the answer is over, also while a container is waited for."""
    monkeypatch.setattr(probe, "DOUBT_S", 0.1)
    monkeypatch.setattr(spoken, "WITHIN_S", 0.3)
    request = Request(url(serving, "patient"), http2=True)
    spec = ServerSpec("t", "i", 80, request=request, expect=Expect(), ready_timeout_s=60.0)
    with ThreadPoolExecutor(1) as threads:
        up = Readiness(spec, Counters, lambda: ContainerState(running=True), threading.Event())
        waiting = threads.submit(up.outcome)
        found = check(request, Expect(), 60.0, repeat=True)
        refused = waiting.result(timeout=30)

    words = f"{SPEAKS} HTTP/1.1, and the load is HTTP/2"
    assert (found.state, found.detail) == (ServerState.NOT_READY, words)
    assert (refused.state, refused.detail) == (ServerState.NOT_READY, f"GET /x: {words}")


@pytest.mark.parametrize(
    ("name", "scheme", "changes", "words"),
    [
        ("tls", "https", {"http2": True}, f"{SPEAKS} HTTP/1.1, and the load is HTTP/2"),
        ("tls", "https", {"verify": True}, f"{UNTRUSTED}: unable to get local issuer certificate"),
        ("tls", "https", {"verify": True, "tls": Tls(CLIENT.ca)}, f"{OTHER_NAME} '127.0.0.1'"),
        ("tls", "https", {"verify": True, "tls": Tls(CLIENT.ca, server_name="x.y")}, f"{OTHER_NAME} 'x.y'"),
        ("client", "https", {}, NEEDS_CERTIFICATE),
        ("http1", "https", {}, NO_TLS),
    ],
)
def test_what_is_wrong_with_tls_has_its_words(serving, name, scheme, changes, words):
    """A name, an authority, a client without a certificate, a server without TLS."""
    assert checked(Request(url(serving, name, scheme), **changes)).detail == words


def test_the_client_has_a_certificate_and_another_name(serving, tmp_path):
    """The probe and paced use them alike."""
    place = url(serving, "client", "https")

    assert checked(Request(place, verify=True, tls=CLIENT)).state == ServerState.READY
    assert sent_by_paced(tmp_path / "log", place, verify=True, tls=CLIENT) == 20


def test_a_unix_socket_carries_the_load(serving, tmp_path):
    """The URL gives Host and path. A socket that is not there is named."""
    SEEN.clear()
    place = serving["unix"]

    assert checked(Request("http://app.example/x?y=1", socket=place)).state == ServerState.READY
    assert sent_by_paced(tmp_path / "log", "http://app.example/x?y=1", socket=place) == 20
    assert {head.split(b"\r\n")[0] for head in SEEN} == {b"GET /x?y=1 HTTP/1.1"}
    assert all(b"\r\nhost: app.example" in head.lower() for head in SEEN)
    assert len(SEEN) == 21
    missing = checked(Request("http://app.example/", socket=f"{place}.no")).detail
    assert missing == f"its socket {place}.no cannot be used: No such file or directory"


def test_an_ipv6_address_stands_in_brackets_in_host(serving, tmp_path):
    """The probe's, and that of paced."""
    SEEN.clear()
    place = f"[::1]:{serving['ipv6'][1]}"

    assert checked(Request(f"http://{place}/")).state == ServerState.READY
    assert sent_by_paced(tmp_path / "log", f"http://{place}/") == 20
    assert all(f"\r\nhost: {place}".encode() in head.lower() for head in SEEN)
    assert len(SEEN) == 21


@pytest.mark.truth
def test_h2load_writes_the_brackets(serving, tmp_path):
    """Old versions leave them out; a Host of the user's stays."""
    place = f"[::1]:{serving['ipv6'][1]}"
    for headers, host in ([], place), ([["Host", "shop.example"]], "shop.example"):
        SEEN.clear()
        task = Assignment("a", "r", f"http://{place}/m%C3%BC?e=[1]", 1, 10**6, count=2, headers=headers)
        argv = command(task, detect(), str(tmp_path / "log"), program=shutil.which("h2load"))
        subprocess.run(argv, check=True, capture_output=True, timeout=20)

        assert [head.split(b"\r\n")[0] for head in SEEN] == [b"GET /m%C3%BC?e=[1] HTTP/1.1"] * 2
        assert all(head.lower().count(b"\r\nhost:") == 1 and f"host: {host}".encode() in head.lower() for head in SEEN)
