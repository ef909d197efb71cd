"""Certificates of a fleet: for one address each, signed by an authority that nothing outside knows."""

import socket
import ssl
import threading

import pytest

from orchestrator.fleet import certificates, raynode
from orchestrator.fleet.certificates import AUTHORITY, CERTIFICATE, KEY, Authority, in_memory


def written(folder, authority, address):
    folder.mkdir()
    for name, text in authority.files(address).items():
        (folder / name).write_text(text)
    return folder


def context(folder, purpose):
    made = ssl.create_default_context(purpose, cafile=str(folder / AUTHORITY))
    made.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def meet(server, client, name):
    """Shake hands, both with certificates; raise what the client or the server finds wrong."""
    here, there = socket.socketpair()
    wrong = []

    def serve():
        try:
            with context(server, ssl.Purpose.CLIENT_AUTH).wrap_socket(here, server_side=True) as secure:
                secure.recv(1)
        except OSError as error:
            wrong.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with context(client, ssl.Purpose.SERVER_AUTH).wrap_socket(there, server_hostname=name) as secure:
            secure.send(b"x")
    finally:
        there.close()
        thread.join()
    if wrong:
        raise wrong[0]


@pytest.mark.parametrize("address", ["198.18.0.11", "fd00::11"])
def test_nodes_of_one_fleet_accept_each_other(tmp_path, address):
    """At the address in the certificate, and at loopback within a host; at no other."""
    fleet = Authority()
    head, node = written(tmp_path / "head", fleet, "198.18.0.1"), written(tmp_path / "node", fleet, address)

    meet(node, head, address)
    meet(node, node, "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        meet(node, head, "198.18.0.12")


def test_nodes_of_another_fleet_are_refused(tmp_path):
    """A certificate of another authority is refused, by servers and by clients."""
    ours = written(tmp_path / "ours", Authority(), "198.18.0.1")
    other = written(tmp_path / "other", Authority(), "198.18.0.1")

    with pytest.raises(ssl.SSLError):
        meet(other, ours, "198.18.0.1")
    with pytest.raises(ssl.SSLError):
        meet(ours, other, "198.18.0.1")


def test_the_driver_reads_copies_that_outlive_the_folder(tmp_path):
    """A fleet that is renewed has another folder, and Ray keeps the paths that it read first."""
    node = written(tmp_path / "node", Authority(), "198.18.0.1")
    kept = (node / KEY).read_text()

    variables = in_memory(node)
    (node / KEY).unlink()

    assert variables["RAY_USE_TLS"] == "1"
    with open(variables["RAY_TLS_SERVER_KEY"]) as key:
        assert key.read() == kept
    assert not certificates.are_in(node)


def test_only_an_inventory_that_asks_for_it_encrypts():
    """Node and driver must agree, so that one variable too many would break every fleet."""
    assert not any("TLS" in name for name in raynode.environment(loopback=False))
    encrypts = raynode.environment(loopback=False, encrypts=True)
    assert encrypts["RAY_TLS_SERVER_KEY"] == "{folder}/" + KEY
