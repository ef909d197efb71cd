"""Name a target by its URL: '127.0.0.1-8000_search'. Pure.

Two URLs never share a name, a name never holds a secret, and it is valid as the name of a target and of a folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

# Room for the rest of a trial's folder name, and for a column of a page.
LONGEST = 48
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_READABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(/[A-Za-z0-9.-]+)*/?")
# What a port, a digest and a scheme look like in a name: text of a URL that looks like one must not be taken for it.
_LOOKS_LIKE_PORT = re.compile(r".*-\d+")
_LOOKS_LIKE_DIGEST = re.compile(r".*-[0-9a-f]{8}")
# The name of what is no URL, and of every target of a command line in the runs of earlier versions.
OTHERWISE = "url"


def url_name(url: str, paths: Sequence[str] = (), socket: str = "") -> str:
    """Return the name of the target at a URL. paths: those that are requested instead of the URL's own. socket: its path.

    A URL whose parts can all be read from its name has no more than them; any other ends in a digest of the whole.
    What is not a URL has a name, too, because the campaign's checks report it.
    """
    try:
        parts = urlsplit(url)
        host, port, scheme = parts.hostname or "", parts.port, parts.scheme
    except ValueError:
        return OTHERWISE
    own = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    wanted = list(paths) or [own]
    port = None if port == _PORTS.get(scheme) else port
    shown = f"{'' if scheme == 'http' else f'{scheme}-'}{host}{'' if port is None else f'-{port}'}"
    if socket:
        shown = socket.rpartition("/")[2]
    # Of several paths none stands for all.
    path = wanted[0].partition("?")[0] if len(wanted) == 1 else ""
    whole = re.sub(r"[^A-Za-z0-9._-]+", "-", shown + path.rstrip("/").replace("/", "_"))
    name = whole.strip("-._") or OTHERWISE
    ambiguous = (
        bool(socket)
        or name != whole
        or len(wanted) > 1
        or not _READABLE.fullmatch(host + wanted[0])
        or (wanted[0].endswith("/") and wanted[0] != "/")
        or (port is None and _LOOKS_LIKE_PORT.fullmatch(host))
        or host.startswith(("https-", "ws-", "wss-"))
        or _LOOKS_LIKE_DIGEST.fullmatch(name)
        or len(name) > LONGEST
    )
    if not ambiguous:
        return name
    identity = "\n".join((scheme, host, str(port), *wanted, *([socket] if socket else [])))
    digest = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{name[: LONGEST - 9].rstrip('-._')}-{digest}"
