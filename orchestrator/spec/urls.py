"""URLs and paths as people write them, and as they are sent: a URL is shown as it was written. Pure.

Sent are ASCII characters only, as by a browser: blanks, non-ASCII and what RFC 3986 does not allow are percent-encoded as
UTF-8, host names are IDNA, '.' and '..' are resolved, and a fragment stays behind. Escapes that are there are kept.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, quote, urlsplit

from orchestrator.slo import shown

FORM = "write http://HOST[:PORT][/PATH], or https://"
SCHEMES = ("http", "https", "ws", "wss")
# Four times what servers accept. h2load takes it as an argument, and the kernel none above 128 KiB.
LONGEST = 32_768
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
# RFC 3986 allows these beside letters, digits and '-._~'. Brackets are not among them, but browsers and curl send them,
# and frameworks read 'a[]=1'.
_IN_PATH = "%/:@!$&'()*+,;=[]"
_IN_QUERY = _IN_PATH + "?"


def checked_url(value: str) -> str:
    """Return a URL as it was written, with a path. Raise ValueError that says what is wrong and what to write."""
    value = value.strip(" ")
    # Before anything that shows the URL.
    if "@" in re.split(r"[/?#]", value.partition("://")[2], maxsplit=1)[0]:
        raise ValueError("a URL must not carry a password: put it into a header, from the environment")
    _refuse_unsendable(value)
    if value.lower().startswith(("unix:", "http+unix:", "http://unix:", "https://unix:")):
        what = f"{shown(value)} names a socket, not a server"
        raise ValueError(f"{what}: write http://localhost/PATH, and the socket as 'socket: FILE' or --unix-socket FILE")
    parts = _split(value)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"{shown(value)} is not a URL: {FORM}")
    _refuse_wrong_port(parts)
    if not parts.hostname:
        raise ValueError(f"{shown(value)} names no host: {FORM}")
    ascii_host(parts.hostname)
    if parts.path:
        return value
    # In front of the query or fragment.
    where = len(value) if (found := re.search(r"[?#]", value)) is None else found.start()
    return f"{value[:where]}/{value[where:]}"


def checked_path(value: str) -> str:
    """Return a path with its query as it was written. Raise ValueError that says what is wrong and what to write."""
    if not value.startswith("/"):
        raise ValueError(f"{shown(value)} is not a path on a server: begin it with '/'")
    _refuse_unsendable(value)
    return value


def sent_url(url: str) -> str:
    """Return a checked URL as it is sent."""
    parts = urlsplit(url)
    host = ascii_host(parts.hostname or "")
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{_sent(parts)}"


def sent_path(path: str) -> str:
    """Return a checked path with its query as it is sent."""
    # With a host, because '//a/b' is a path here.
    return _sent(urlsplit(f"http://host{path}"))


def fragment_of(text: str) -> str:
    """Return what follows '#' in a checked URL or path: it is never sent."""
    return text.partition("#")[2]


def _refuse_unsendable(value: str) -> None:
    if len(value) > LONGEST:
        raise ValueError(f"a URL of {len(value):,} characters is too long: use at most {LONGEST:,}, or send a body")
    if _CONTROL.search(value):
        raise ValueError(f"{shown(value)} holds a line break or control character: remove it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds a character that is not Unicode text: write it as %XX") from None


def _split(value: str) -> SplitResult:
    try:
        return urlsplit(value)
    except ValueError:
        hint = "write an IPv6 address in brackets, http://[::1]:8080/"
        raise ValueError(f"{shown(value)} names no valid host: {hint}") from None


def _refuse_wrong_port(parts: SplitResult) -> None:
    try:
        wrong = parts.port == 0
    except ValueError:
        wrong = True
    if not wrong:
        return
    if "[" not in parts.netloc and parts.netloc.count(":") > 1:
        raise ValueError(f"{shown(parts.netloc)} is not HOST:PORT: write an IPv6 address in brackets, [::1]:8080")
    port = parts.netloc.rpartition(":")[2]
    if re.fullmatch(r"[0-9]+", port):
        raise ValueError(f"port {port[:12]} is out of range: use 1 to 65535")
    raise ValueError(f"{shown(port)} is not a port: write a number from 1 to 65535")


def ascii_host(host: str) -> str:
    """Return a host name as it is sent. Raise ValueError for what is neither a name nor an address."""
    if "%" in host and ":" in host:
        raise ValueError(
            f"the address {shown(host)} has a zone, which HTTP cannot name: use another address, or a name"
        )
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        name = host if host.isascii() else _idna(host)
    if len(name) > 253 or not _HOST.fullmatch(name):
        raise ValueError(f"{shown(host)} is not a host name or an IP address: write e.g. api.example.com or 10.0.0.5")
    return name


def _idna(host: str) -> str:
    import idna  # its tables are large, and few names need them

    try:
        return idna.encode(host, uts46=True).decode()
    except UnicodeError:
        return ""


def _sent(parts: SplitResult) -> str:
    query = f"?{_quoted(parts.query, _IN_QUERY)}" if parts.query else ""
    return _without_dots(_quoted(parts.path or "/", _IN_PATH)) + query


def _quoted(text: str, safe: str) -> str:
    # The braces of ${row.COLUMN}, too: a load with data finds its placeholders in either form.
    return _NO_ESCAPE.sub("%25", quote(text, safe=safe))


def _without_dots(path: str) -> str:
    """Resolve '.' and '..' (RFC 3986, 5.2.4)."""
    parts = path.split("/")
    found: list[str] = []
    for part in parts[1:]:
        if part == "..":
            del found[-1:]
        elif part != ".":
            found.append(part)
    return "/" + "/".join(found + [""] * (parts[-1] in (".", "..")))
