"""Text in files that has a form of its own: names, URLs, paths, header fields, addresses."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from orchestrator.slo import shown
from orchestrator.spec.urls import checked_path, checked_url

# A trial's folder is named after its target and its load; file names have at most 255 bytes.
LONGEST_NAME = 80
NAME_HINT = "use letters, digits, '.', '_' and '-'"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CORES = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_HIGHEST_CORE = 8191
_METHOD = re.compile(r"[A-Z]+")
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
# As many bytes as the kernel takes for the name of a socket, without the NUL behind it.
_LONGEST_SOCKET = 107
_JUMP = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[^@\s\]]+\]|[^@:\s\[\]]+)(?::(?P<port>[0-9]{1,5}))?")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{shown(value)} is not a valid name: {NAME_HINT}")
    if len(value) > LONGEST_NAME:
        raise ValueError(f"a name of {len(value)} characters is too long: use at most {LONGEST_NAME}")
    return value


def _header_texts(value: Any) -> Any:
    """Refuse values that are not text, such as a number, without showing them."""
    for name, text in value.items() if isinstance(value, dict) else ():
        if not isinstance(text, str):
            raise ValueError(f"the value of header {shown(name)} is not text: put it in quotes")
    return value


def _headers(value: dict[str, str]) -> dict[str, str]:
    """Return header fields without blanks around their values. These can be secrets: no message shows one."""
    seen: dict[str, str] = {}
    for name, text in value.items():
        if (other := seen.setdefault(name.lower(), name)) != name:
            raise ValueError(f"{name!r} is the same header as {other!r}: write it once, several values with a comma")
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{shown(name)} is not a header name: use letters, digits and '-'")
        if _CONTROL.search(text.replace("\t", "")):
            raise ValueError(f"the value of header {name!r} holds a line break or control character: remove it")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the value of header {name!r} is not Unicode text: remove what is not") from None
    return {name: text.strip(" \t") for name, text in value.items()}


def _printable(value: str) -> str:
    if not value:
        raise ValueError("is empty: write a value, or remove the key")
    if _CONTROL.search(value):
        raise ValueError("holds a control character: write plain text")
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character: remove it")
    return value


def _address(value: str) -> str:
    if value.startswith("[") and value.endswith("]"):
        raise ValueError(f"{shown(value)} has brackets: write {value[1:-1]}")
    if "%" in value:
        raise ValueError(f"{shown(value)} has a zone, which HTTP cannot name: use another address")
    try:
        ipaddress.ip_address(value)
    except ValueError:
        # Only digits and dots, but not an address: a typing error, not a name.
        if not _HOST.fullmatch(value) or len(value) > 253 or re.fullmatch(r"[0-9.]+", value):
            raise ValueError(f"{shown(value)} is not a host name or an IP address: write e.g. 10.0.0.5") from None
    return value


def _socket_path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f"{shown(value)} is not an absolute path: write socket: /run/app.sock")
    if "\0" in value or len(os.fsencode(value)) > _LONGEST_SOCKET:
        raise ValueError(f"{shown(value)} cannot be a socket: use a path of at most {_LONGEST_SOCKET} bytes")
    return value


def _cores(value: str) -> str:
    if not _CORES.fullmatch(value):
        raise ValueError(f"{shown(value)} is not a list of cores: write it as '0-1' or '0,2'")
    for part in value.split(","):
        first, _, last = part.partition("-")
        if len(part) > 9 or int(last or first) > _HIGHEST_CORE:
            raise ValueError(f"{shown(part)} is out of range: write cores from 0 to {_HIGHEST_CORE}")
        if int(last or first) < int(first):
            raise ValueError(f"{shown(part)} ends before it begins: write {last}-{first}")
    return value


def _jump(value: str) -> str:
    parts = _JUMP.fullmatch(value)
    if parts is None or not 0 < int(parts["port"] or 22) < 65536:
        hint = "write an IPv6 address in brackets"
        raise ValueError(f"{shown(value)} is not [USER@]HOST[:PORT]: {hint}")
    _address(parts["host"].removeprefix("[").removesuffix("]"))
    return value


def _body(value: Any) -> str:
    """Check the text of a body. It can be a secret: no message shows it."""
    if not isinstance(value, str):
        raise ValueError("is not text: put it in quotes, or use 'json' for a document")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8 text: put it into a file and use 'body_file'") from None
    return value


def _document(value: Any) -> Any:
    """Check a JSON document. It can hold secrets: no message shows it."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise ValueError(
            "is not a JSON document: use mappings, lists, text, finite numbers, true, false and null"
        ) from None
    return value


def matching(pattern: re.Pattern[str], what: str, hint: str) -> Callable[[str], str]:
    """Return a validator that accepts text of a form. Its errors read 'VALUE is not WHAT: HINT'."""

    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"{shown(value)} is not {what}: {hint}")
        return value

    return check


def authority(host: str, port: int | None) -> str:
    """Return HOST:PORT, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _in_schema(pattern: re.Pattern[str], **more: int) -> object:
    return Field(json_schema_extra={"pattern": f"^{pattern.pattern}$", **more})


Name = Annotated[str, AfterValidator(_name), _in_schema(_NAME, maxLength=LONGEST_NAME)]
Url = Annotated[
    str,
    AfterValidator(checked_url),
    Field(json_schema_extra={"pattern": r"^ *([Hh][Tt][Tt][Pp]|[Ww][Ss])[Ss]?://[^\s/?#@]+([/?#].*)?$"}),
]
UrlPath = Annotated[str, AfterValidator(checked_path), Field(json_schema_extra={"pattern": r"^/.*$"})]
Headers = Annotated[dict[str, str], BeforeValidator(_header_texts), AfterValidator(_headers)]
Body = Annotated[str, BeforeValidator(_body)]
Document = Annotated[Any, AfterValidator(_document)]
Printable = Annotated[str, AfterValidator(_printable)]
Text = Annotated[str, AfterValidator(_no_nul)]
NonEmpty = Annotated[str, Field(min_length=1), AfterValidator(_no_nul)]
Address = Annotated[str, AfterValidator(_address)]
SocketPath = Annotated[str, AfterValidator(_socket_path), Field(json_schema_extra={"pattern": r"^/.+$"})]
Jump = Annotated[str, AfterValidator(_jump)]
Cores = Annotated[str, AfterValidator(_cores), _in_schema(_CORES)]
Subprotocol = Annotated[
    str,
    AfterValidator(matching(_TOKEN, "the name of a subprotocol", "write it like mqtt or v1.json")),
    _in_schema(_TOKEN),
]
Method = Annotated[
    str, AfterValidator(matching(_METHOD, "an HTTP method", "write it in capitals, e.g. GET")), _in_schema(_METHOD)
]
