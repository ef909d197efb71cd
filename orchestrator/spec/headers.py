"""Header fields that cannot be sent with a request, because of its protocol or its body. Pure.

No message shows a value: it can be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# They say how one HTTP/1.1 connection is used, which HTTP/2 does itself (RFC 9113, 8.2.2).
OF_CONNECTIONS = ("connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade")
_HOST = re.compile(r"[^\s/?#@,]+")


def contradiction(headers: Mapping[str, str], http2: bool, body_bytes: int | None, whose: str = "") -> str | None:
    """Return what is wrong with the headers of a request as 'what: what to write'; None for nothing.

    body_bytes: the length of its body; None where it is not known. whose: of which request, such as " of 'GET /a'".
    """
    by_name = {name.lower(): (name, value) for name, value in headers.items()}
    for forbidden in OF_CONNECTIONS if http2 else ():
        if forbidden in by_name:
            return f"HTTP/2 forbids the header {by_name[forbidden][0]!r}{whose}: remove it, or use protocol: http1"
    if http2 and "te" in by_name and by_name["te"][1].lower() != "trailers":
        return (
            f"HTTP/2 allows the header {by_name['te'][0]!r}{whose} with the value 'trailers' only: change or remove it"
        )
    if "transfer-encoding" in by_name:
        name = by_name["transfer-encoding"][0]
        return f"the header {name!r}{whose} announces chunks, and the body is sent whole, with its length: remove it"
    if "host" in by_name and not _HOST.fullmatch(by_name["host"][1]):
        return f"the value of header {by_name['host'][0]!r}{whose} is not a host: write HOST or HOST:PORT"
    if "content-length" not in by_name or body_bytes is None:
        return None
    name, length = by_name["content-length"]
    if length.isascii() and length.isdigit() and len(length) < 20 and int(length) == body_bytes:
        return None
    return f"the header {name!r}{whose} does not fit the body of {body_bytes:,} bytes: remove it, the right one is sent"
