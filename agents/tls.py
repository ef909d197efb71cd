"""TLS of everything that asks a server: the check before a load, and the generator paced."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

# What a certificate that is not trusted is called, everywhere.
UNTRUSTED = "its certificate is not trusted"
OTHER_NAME = "its certificate is for another name than"
NEEDS_CERTIFICATE = "it wants a client certificate that it accepts"
NO_TLS = "it does not speak TLS"
_REASON = re.compile(r"certificate verify failed: (.+?)(?: \(_ssl\.c:\d+\))?$")
_NAME = re.compile(r"mismatch, certificate is not valid for '(.+)'")
# By a part of OpenSSL's reason.
_WORDS = {
    "WRONG_VERSION_NUMBER": NO_TLS,
    "HTTP_REQUEST": NO_TLS,
    "RECORD_LAYER_FAILURE": NO_TLS,
    "CERTIFICATE_REQUIRED": NEEDS_CERTIFICATE,
    "BAD_CERTIFICATE": NEEDS_CERTIFICATE,
    "ALERT_UNKNOWN_CA": NEEDS_CERTIFICATE,
    "ALERT_ACCESS_DENIED": NEEDS_CERTIFICATE,
    "UNRECOGNIZED_NAME": "it does not know the name that TLS sent it",
}


class Encrypted(ValueError):
    """A private key needs a passphrase."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What a client uses in TLS, as text: it travels inside tasks and orders, and is never a file on a host.

    ca: certificates of the authorities to trust instead of the host's own, PEM; '' for the host's. certificate, key: the
    client's own, PEM. server_name: the name to send and to check instead of the URL's.
    """

    ca: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    server_name: str = ""


PLAIN = Tls()


def client_context(verify: bool, tls: Tls = PLAIN) -> ssl.SSLContext:
    """Return a client context that checks the server's certificate, or one that accepts every certificate.

    Certificates are checked against `tls.ca`, else against the host's own store; the environment variables SSL_CERT_FILE
    and SSL_CERT_DIR replace that store. Raises ssl.SSLError for what OpenSSL cannot use, Encrypted.
    """
    import ssl  # the records that hold a Tls are read at every start

    if verify:
        context = ssl.create_default_context(cadata=tls.ca or None)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate:
        _load_own(context, tls)
    return context


def _load_own(context: ssl.SSLContext, tls: Tls) -> None:
    """Load the client's certificate and key. OpenSSL reads files only: these are in memory and have no name."""
    descriptor = os.memfd_create("volley", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "w") as memory:
            memory.write(f"{tls.certificate}\n{tls.key}\n")
        # Without a passphrase of ours OpenSSL would ask the terminal for one.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_refuse_to_ask)
    finally:
        os.close(descriptor)


def _refuse_to_ask() -> str:
    raise Encrypted("the private key needs a passphrase")


def explained(text: str) -> str | None:
    """Return what is wrong with TLS, in words, from the text of an error; None for any other error."""
    if (found := _REASON.search(text)) is not None:
        name = _NAME.search(found[1])
        return f"{OTHER_NAME} '{name[1]}'" if name else f"{UNTRUSTED}: {found[1]}"
    if "SSL" not in text and "tls" not in text.lower():
        return None
    return next((words for reason, words in _WORDS.items() if reason in text.upper().replace(" ", "_")), None)
