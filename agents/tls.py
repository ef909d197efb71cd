"""TLS of everything that asks a server: the check before a load, and the generator paced."""

from __future__ import annotations

import re
import ssl

# What a certificate that is not trusted is called, everywhere.
UNTRUSTED = "its certificate is not trusted"
_REASON = re.compile(r"certificate verify failed: (.+?)(?: \(_ssl\.c:\d+\))?$")


def client_context(verify: bool) -> ssl.SSLContext:
    """Return a client context that checks the server's certificate, or one that accepts every certificate.

    Certificates are checked against the host's own store; the environment variables SSL_CERT_FILE and SSL_CERT_DIR
    replace it.
    """
    if verify:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def untrusted(text: str) -> str | None:
    """Return why a certificate is not trusted, from the text of an error; None for any other error."""
    found = _REASON.search(text)
    return None if found is None else f"{UNTRUSTED}: {found[1]}"
