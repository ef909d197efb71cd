"""Certificates of one fleet, with which Ray encrypts what its nodes send each other (docs/adr/0043).

The authority exists in the memory of the process that brings the fleet up, and nowhere else. Each node has a certificate
for its own address. A node accepts only peers with a certificate of this authority.
"""

from __future__ import annotations

import functools
import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, KeyUsage, Name

AUTHORITY, CERTIFICATE, KEY = "tls-authority.pem", "tls-certificate.pem", "tls-key.pem"
# The clock of a host may be off by much. A fleet's certificates are worthless once it has ended.
VALID_BEFORE, VALID_FOR = timedelta(days=400), timedelta(days=800)
# Ray's processes on a node also talk to each other there.
HERE = "127.0.0.1"


class Authority:
    """The authority of one fleet."""

    def __init__(self) -> None:
        self._key = _new_key()
        self._certificate = self._signed("volley fleet", self._key, None)

    def files(self, address: str) -> dict[str, str]:
        """Return the files of the node at an IP address, by name: authority, certificate and key, as PEM."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        key = _new_key()
        certificate = self._signed("volley node", key, address)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return {
            AUTHORITY: self._certificate.public_bytes(Encoding.PEM).decode(),
            CERTIFICATE: certificate.public_bytes(Encoding.PEM).decode(),
            KEY: private.decode(),
        }

    def _signed(self, name: str, key: EllipticCurvePrivateKey, address: str | None) -> Certificate:
        """Return a certificate; address: of a node, None for the authority itself."""
        from cryptography import x509
        from cryptography.hazmat.primitives.hashes import SHA256

        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named("volley fleet"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - VALID_BEFORE)
            .not_valid_after(now + VALID_FOR)
            .add_extension(x509.BasicConstraints(ca=address is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            # RFC 5280 asks for it, and Python 3.13 refuses certificates without it.
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if address is None:
            made = made.add_extension(_signs_certificates(), critical=True)
        else:
            numbers = [ipaddress.ip_address(text) for text in dict.fromkeys((address, HERE))]
            made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(n) for n in numbers]), critical=False)
        return made.sign(self._key, SHA256())


@functools.cache
def authority() -> Authority:
    """Return the authority of this process. Ray keeps what it read first, so a fleet that is renewed has the same one."""
    return Authority()


def environment(folder: str) -> dict[str, str]:
    """Return the variables with which Ray uses the files in a folder."""
    return _variables({name: f"{folder}/{name}" for name in (AUTHORITY, CERTIFICATE, KEY)})


def are_in(folder: Path) -> bool:
    """Return whether the node of a folder encrypts."""
    return (folder / KEY).exists()


def in_memory(folder: Path) -> dict[str, str]:
    """Return the variables with which Ray, in this process, uses copies of a folder's files.

    Ray reads the paths once and the files at each connection, but a fleet that is renewed has another folder. The copies
    are in memory, and have no name that could stay behind.
    """
    return _variables({name: _held((folder / name).read_bytes()) for name in (AUTHORITY, CERTIFICATE, KEY)})


def _held(content: bytes) -> str:
    # Never closed: it is needed as long as this process has connections.
    descriptor = os.memfd_create("volley", os.MFD_CLOEXEC)
    os.write(descriptor, content)
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def _signs_certificates() -> KeyUsage:
    """Return what the key of the authority is for."""
    from cryptography.x509 import KeyUsage

    return KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _variables(paths: dict[str, str]) -> dict[str, str]:
    return {
        "RAY_USE_TLS": "1",
        "RAY_TLS_CA_CERT": paths[AUTHORITY],
        "RAY_TLS_SERVER_CERT": paths[CERTIFICATE],
        "RAY_TLS_SERVER_KEY": paths[KEY],
    }


def _named(name: str) -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())
