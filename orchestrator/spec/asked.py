"""What a request on a command line is to be, the same for `bench`, `saturate URL` and `sweep URL`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

from orchestrator.slo import shown
from orchestrator.spec.messages import WEBSOCKET, is_websocket_url
from orchestrator.spec.secrets import is_secret_name
from orchestrator.spec.units import Micros, duration_us

T = TypeVar("T")

GENERATORS = ("h2load", "paced", "websocket")
ONE_MINUTE = Micros(60_000_000)
# By field: the option that sets it. The order is that of messages.
OPTIONS: dict[str, str] = {
    "method": "-X", "data": "--data", "data_file": "--data-file", "headers": "-H", "paths": "--paths",
    "timeout": "--timeout", "http2": "--http2", "streams": "-m", "generator": "--generator",
    "expect_status": "--expect-status", "verify": "--verify", "ca": "--cacert", "cert": "--cert", "key": "--key",
    "server_name": "--server-name", "socket": "--unix-socket",
}  # fmt: skip
# By key of a load or a target: the option that sets it.
KEYS: dict[str, str] = {
    "url": "URL", "status": "--expect-status", "method": "-X", "body": "--data", "body_file": "--data-file",
    "headers": "-H", "paths": "--paths", "timeout": "--timeout", "protocol": "--http2", "streams": "-m",
    "generator": "--generator", "verify": "--verify", "message": "--data", "message_file": "--data-file",
    "ca": "--cacert", "cert": "--cert", "key": "--key",
    "server_name": "--server-name", "socket": "--unix-socket", "tls": "--cacert, --cert or --server-name",
    "load": "the request",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What is requested, and how: as typed. headers: 'NAME: VALUE'; paths: each 'P1' or 'P1,P2'.

    generator: a name, or a command line; None: what suits the load. verify: None: certificates of other machines.
    """

    method: str | None = None
    data: str | None = field(default=None, repr=False)
    data_file: Path | None = None
    headers: Sequence[str] = field(default=(), repr=False)
    paths: Sequence[str] = ()
    timeout: str | None = None
    http2: bool = False
    streams: int = 1
    generator: str | None = None
    expect_status: int | None = None
    verify: bool | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None
    socket: Path | None = None

    def given(self) -> list[str]:
        """Return the options that were set, as they are typed."""
        set_ = [f.name for f in fields(self) if getattr(self, f.name) not in (f.default, [], ())]
        names = [OPTIONS[name] for name in set_]
        return ["--insecure" if name == "--verify" and self.verify is False else name for name in names]

    def all_paths(self) -> list[str]:
        """Return the paths one by one."""
        return [path.strip() for text in self.paths for path in text.split(",")]

    def expect(self) -> dict[str, Any]:
        """Return what a target of a campaign says about its answers, and about its socket."""
        expect: dict[str, Any] = {} if self.expect_status is None else {"expect": {"status": self.expect_status}}
        return expect if self.socket is None else expect | {"socket": str(self.socket.absolute())}

    @property
    def is_secret(self) -> bool:
        """Return whether the request holds what must not be stored."""
        return bool(self.headers) or self.data is not None


# A GET of the URL itself.
PLAIN = RequestOptions()


class Line(Protocol):
    """The command line that options are read from."""

    def read(self, option: str, read: Callable[[str], T], text: str, otherwise: T) -> T:
        """Return the value of an option; `otherwise` after noting why it cannot be read."""

    def refuse(self, option: str, what: str, hint: str = "") -> None:
        """Note a problem with an option."""


def load_of(asked: RequestOptions, url: str, line: Line) -> dict[str, Any]:
    """Return the keys of a load that say what is requested. Problems are noted on the line."""
    if is_websocket_url(url):
        return _messages_of(asked, line)
    load: dict[str, Any] = {"protocol": "http2" if asked.http2 else "http1", "streams": asked.streams}
    if asked.method is not None:
        load["method"] = asked.method.upper()
    if asked.data is not None:
        load["body"] = asked.data
    if asked.data_file is not None:
        # Absolute, so that it is found again from the folder of the run.
        load["body_file"] = str(asked.data_file.absolute())
    if asked.paths:
        load["paths"] = asked.all_paths()
    return load | _common(asked, line)


def _messages_of(asked: RequestOptions, line: Line) -> dict[str, Any]:
    """Return the keys of a load over WebSocket: --data is its message."""
    load: dict[str, Any] = {"protocol": WEBSOCKET}
    if asked.data is not None:
        load["message"] = asked.data
    if asked.data_file is not None:
        load["message_file"] = str(asked.data_file.absolute())
    return load | _common(asked, line)


def _common(asked: RequestOptions, line: Line) -> dict[str, Any]:
    """Return the keys that loads of every protocol have."""
    load: dict[str, Any] = {}
    if asked.timeout is not None:
        load["timeout"] = line.read("--timeout", duration_us, asked.timeout, ONE_MINUTE)
    if asked.generator is not None:
        load["generator"] = asked.generator
        if asked.generator not in ("auto", *GENERATORS):
            load["generator"] = {"command": line.read("--generator", words, asked.generator, [asked.generator])}
    if asked.verify is not None:
        load["verify"] = asked.verify
    # Absolute, as the body's file.
    files = {key: getattr(asked, key) for key in ("ca", "cert", "key")}
    tls: dict[str, Any] = {key: str(file.absolute()) for key, file in files.items() if file is not None}
    tls |= {} if asked.server_name is None else {"server_name": asked.server_name}
    if tls:
        load["tls"] = tls
    if headers := _headers(asked.headers, line):
        load["headers"] = headers
    return load


def refuse_contradictions(asked: RequestOptions, url: str, line: Line) -> None:
    """Note options that exclude each other on the line."""
    if is_websocket_url(url):
        for option, given in (
            ("-X", asked.method), ("--http2", asked.http2), ("--paths", asked.paths), ("-m", asked.streams != 1),
            ("--expect-status", asked.expect_status),
        ):  # fmt: skip
            if given:
                line.refuse(option, "belongs to HTTP requests", f"omit it, or write the URL with {_other_scheme(url)}")
        if asked.generator in ("h2load", "paced"):
            line.refuse("--generator", f"{asked.generator} speaks HTTP only", "omit it: websocket sends messages")
    elif asked.generator == WEBSOCKET:
        line.refuse("--generator", "websocket sends messages only", "write the URL with ws:// or wss://")
    if asked.streams != 1 and not asked.http2:
        line.refuse("-m", "HTTP/1.1 has one request at a time on a connection", "add --http2, or omit -m")
    if len(asked.all_paths()) > 1 and asked.http2:
        line.refuse("--paths", "cannot be mixed over HTTP/2", "omit --http2, or request one path")
    if len(asked.all_paths()) > 1 and asked.generator == "h2load":
        line.refuse("--paths", "cannot be mixed by h2load, which repeats one request", "omit --generator")
    if asked.generator == "h2load" and asked.timeout is not None:
        line.refuse("--timeout", "is not possible with h2load", "omit --generator, or use paced")
    if asked.generator == "paced" and asked.http2:
        line.refuse("--http2", "is not possible with paced, which speaks HTTP/1.1", "omit --generator")
    if (asked.http2 or asked.generator == "h2load") and (secret := _secret_header(asked.headers)) is not None:
        option = "--http2" if asked.http2 else "--generator h2load"
        what = f"h2load would show the secret header {shown(secret)} to every user, in its command line"
        line.refuse(option, what, f"omit {option}, then paced sends the load; or omit the header")
    if asked.data is not None and asked.data_file is not None:
        line.refuse("--data", "cannot be combined with --data-file", "use one of them")
    if asked.data is not None and asked.data.startswith("@"):
        line.refuse("--data", "does not read files", f"write --data-file {shlex.quote(asked.data[1:] or 'FILE')}")
    if asked.verify and url.lower().startswith(("http://", "ws://")):
        scheme, secure = ("ws", "wss") if is_websocket_url(url) else ("http", "https")
        line.refuse("--verify", f"a URL with {scheme}:// has no certificate", f"write {secure}://, or omit --verify")
    elif asked.verify and (asked.generator == "h2load" or asked.http2):
        other = "--http2" if asked.http2 else "--generator h2load"
        hint = f"omit {other}; or omit --verify, then Volley checks the certificate once before each trial"
        line.refuse("--verify", "h2load does not check certificates", hint)


def _secret_header(typed: Sequence[str]) -> str | None:
    """Return the name of a header that is secret by its name; None without one."""
    names = (text.partition(":")[0].strip() for text in typed)
    return next((name for name in names if is_secret_name(name)), None)


def _other_scheme(url: str) -> str:
    return "https://" if url.lower().startswith("wss") else "http://"


def words(text: str) -> list[str]:
    """Return a command line as a shell splits it. Raise ValueError when that cannot be."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"is not a command line, {str(error).lower()}: close every quotation mark") from None


def _headers(typed: Sequence[str], line: Line) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in (_header(text, line) for text in typed):
        if name.lower() in map(str.lower, headers):
            line.refuse("-H", f"{shown(name)} is given twice", "give it once, several values with a comma")
        headers[name] = value
    return headers


def _header(text: str, line: Line) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        # Without the text: it can be a secret.
        line.refuse("-H", "is not a header", "write it as -H 'NAME: VALUE'")
        return "X", ""
    return name.strip(), value.strip()
