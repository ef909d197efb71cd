"""The generator paced over TLS."""

import ssl
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from agents.generators.contract import Failure
from agents.probe import Expect, Request, check
from agents.records import ServerState
from agents.tls import UNTRUSTED
from tests.truth.paced_world import (
    OK,
    all_answered,
    answers,
    answers_ok,
    carry_out,
    closed_task,
    closes_on_the_second,
    open_task,
    serving,
)

# Needs no quiet machine: only what happened is checked, or times with wide bounds.
pytestmark = pytest.mark.process


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def tls(tmp_path):
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=t",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout",
            "key",
            "-out",
            "certificate",
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_tls(log, tls, host):
    """HTTPS to a server with a certificate of its own; a name is sent as SNI, an address is not."""
    names = []
    tls.sni_callback = lambda _, name, __: names.append(name)
    with serving(answers_ok, context=tls) as server:
        outcome = carry_out(all_answered(f"https://{host}:{server.port}/", 100, 50), log)
    assert outcome.rows.status.tolist() == [200] * 50
    assert set(names) == {"localhost" if host == "localhost" else None}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_is_checked_where_that_is_asked_for(tmp_path, log, tls, monkeypatch, host, trusted):
    """By the check before a load and by paced alike. An untrusted server is not sent a single request."""
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate"))
    with serving(answers_ok, context=tls) as server:
        url = f"https://{host}:{server.port}/"
        accepted = check(Request(url), Expect(), 5.0)
        checked = check(Request(url, verify=True), Expect(), 5.0, repeat=False)
        outcome = carry_out(replace(closed_task(url, 2, count=20), verify=True), log)

    assert accepted.state is ServerState.READY
    assert (checked.state, outcome.summary.done) == ((ServerState.READY, 20) if trusted else (ServerState.NOT_READY, 0))
    if not trusted:
        assert checked.detail == f"{UNTRUSTED}: self-signed certificate"


@pytest.mark.parametrize("model", ["open", "closed"])
def test_tls_with_a_server_that_closes(log, tls, model):
    """Connections that end after one answer, and ones that end before it, are distinguished under TLS as well."""
    with serving(closes_on_the_second, context=tls) as server:
        task = all_answered(server.url, 100, 20) if model == "open" else closed_task(server.url, 2, count=20)
        outcome = carry_out(task, log)
    assert outcome.rows.status.tolist() == [200] * 20
    assert outcome.summary.retried > 0


def test_no_tls_where_tls_is_expected(log):
    """A handshake that fails is a connection that could not be opened."""
    with serving(answers(b"HTTP/1.1 400 x\r\n\r\n")) as server:
        outcome = carry_out(open_task(server.url.replace("http:", "https:"), 20, 0.5), log)
    assert outcome.statuses() <= {Failure.REFUSED, Failure.UNSENT}
    assert len(outcome.rows) == 10


def test_connecting_is_no_part_of_the_service_time(log, tls):
    """A server that closes every connection is reconnected to; the handshake's time is in no row."""

    async def slow_greeting(talk):
        await talk.request()
        await talk.write(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    with serving(slow_greeting, context=tls) as server:
        outcome = carry_out(closed_task(server.url, 2, count=30), log)
    assert outcome.rows.status.tolist() == [200] * 30
    # One of the two clients may be reconnecting while the other takes the last request.
    assert 30 <= outcome.summary.connects <= 31
    starts, ends = np.sort(outcome.rows.start_us), np.sort(outcome.rows.start_us + outcome.rows.service_us)
    assert starts[-1] - starts[0] > outcome.rows.service_us.sum() / 2, (starts, ends)
