"""How the servers of a campaign are reached, checked before a run: files of TLS, and what a target and a load exclude.

This works on plain data, as the checks in references.py.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agents.tls import Encrypted, Tls, client_context
from orchestrator import bounded
from orchestrator.slo import shown
from orchestrator.spec.headers import contradiction
from orchestrator.spec.requests import merged
from orchestrator.spec.urls import fragment_of

Location = tuple[Any, ...]
Wrong = tuple[Location, str, str]
FILES = ("ca", "cert", "key")
ENCRYPTED = ("https", "wss")
# Far above any list of authorities: what is longer is another file.
MOST_BYTES = 8 << 20


def unreachable(plain: Mapping[str, Any], folder: Path) -> Iterator[Wrong]:
    """Yield (location, what, hint) for every load that cannot reach one of its targets. Malformed parts are skipped."""
    targets = {name: one for name, one in _mapping(plain, "targets").items() if isinstance(one, dict)}
    for name, load in _mapping(plain, "loads").items():
        if not isinstance(load, dict):
            continue
        driven = {key: target for key, target in targets.items() if _wanted(f"{key}/{name}", plain)}
        yield from _sockets(name, load, driven)
        options = load.get("tls")
        if isinstance(options, dict) and options:
            yield from _without_tls(name, options, driven)
            yield from _wrong_files(("loads", name, "tls"), options, folder)
        yield from _stale_length(name, load, folder)


def notes(plain: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each part of a URL or path that is written and never sent."""
    for name, target in _mapping(plain, "targets").items():
        if isinstance(target, dict):
            ready = target.get("ready")
            found = {key: target.get(key) for key in ("url", "path")}
            found["ready.path"] = ready.get("path") if isinstance(ready, dict) else None
            yield from _fragments(f"targets.{name}", found)
    for name, load in _mapping(plain, "loads").items():
        for key in ("paths", "requests"):
            listed = load.get(key) if isinstance(load, dict) else None
            if isinstance(listed, list):
                paths = [each.get("path") if isinstance(each, dict) else each for each in listed]
                yield from _fragments(f"loads.{name}", {f"{key}[{i}]": path for i, path in enumerate(paths)})


def read_tls(options: Mapping[str, Any], folder: Path) -> Tls:
    """Return the TLS of a load with the contents of its files. Raises OSError and ValueError for unreadable ones."""
    texts = {key: _text(folder, options[key]) if options.get(key) else "" for key in FILES}
    return Tls(texts["ca"], texts["cert"], texts["key"], options.get("server_name") or "")


def _text(folder: Path, name: str) -> str:
    data = bounded.read_bytes(folder / name, MOST_BYTES)
    # Text around the certificates of a PEM file is a comment.
    return data.decode(errors="replace")


def _sockets(name: str, load: Mapping[str, Any], driven: Mapping[str, Any]) -> Iterator[Wrong]:
    behind = next((key for key, target in driven.items() if target.get("socket")), None)
    if behind is None:
        return
    what = f"target {behind!r} is behind a unix socket, which only the generator paced connects to"
    if load.get("protocol") == "http2":
        yield ("loads", name, "protocol"), what, "remove protocol: http2"
    elif load.get("generator", "auto") not in ("auto", "paced"):
        yield ("loads", name, "generator"), what, "omit 'generator'"


def _without_tls(name: str, options: Mapping[str, Any], driven: Mapping[str, Any]) -> Iterator[Wrong]:
    schemes = [
        urlsplit(url).scheme if isinstance(url := target.get("url"), str) else target.get("scheme", "http")
        for target in driven.values()
    ]
    if schemes and not any(scheme in ENCRYPTED for scheme in schemes):
        yield (
            ("loads", name, "tls"),
            "no target of this load speaks TLS",
            "write https:// or wss:// in its URL, or remove 'tls'",
        )


def _wrong_files(place: Location, options: Mapping[str, Any], folder: Path) -> Iterator[Wrong]:
    """Yield the files of TLS that cannot be read or used, and a key that is not the certificate's."""
    texts: dict[str, str] = {}
    for key in FILES:
        if not isinstance(file := options.get(key), str) or not file:
            continue
        try:
            texts[key] = _text(folder, file)
        except FileNotFoundError:
            yield (*place, key), f"there is no file {shown(file)}", f"write a path relative to {folder}"
        except (OSError, ValueError) as error:
            reason = (error.strerror or "") if isinstance(error, OSError) else str(error)
            yield (*place, key), f"{shown(file)} cannot be read: {reason}", "use a readable PEM file"
    if "ca" in texts and not _usable(Tls(ca=texts["ca"]), verify=True):
        what = f"{shown(options['ca'])} holds no certificate"
        yield (*place, "ca"), what, "use a PEM file with -----BEGIN CERTIFICATE-----"
    if "cert" in texts and ("key" in texts or not options.get("key")):
        yield from _wrong_pair(place, options, texts)


def _wrong_pair(place: Location, options: Mapping[str, Any], texts: Mapping[str, str]) -> Iterator[Wrong]:
    import ssl

    cert, of_key = texts["cert"], "key" if "key" in texts else "cert"
    key = texts.get("key", cert)
    if "-----BEGIN CERTIFICATE" not in cert:
        what = f"{shown(options['cert'])} holds no certificate"
        yield (*place, "cert"), what, "use a PEM file with -----BEGIN CERTIFICATE-----"
    elif "PRIVATE KEY-----" not in key:
        hint = (
            "use a PEM file with -----BEGIN PRIVATE KEY-----" if of_key == "key" else "add 'key', the file that has it"
        )
        yield (*place, of_key), f"{shown(options[of_key])} holds no private key", hint
    else:
        try:
            client_context(False, Tls(certificate=cert, key=texts.get("key", "")))
        except Encrypted:
            what = f"the private key in {shown(options[of_key])} needs a passphrase"
            yield (
                (*place, of_key),
                what,
                "use a copy without one, readable for you alone: openssl pkey -in KEY -out COPY",
            )
        except (ssl.SSLError, OSError) as error:
            mismatch = "KEY_VALUES_MISMATCH" in str(error)
            what = "the private key is not the one of the certificate" if mismatch else "OpenSSL cannot use this pair"
            yield (*place, of_key), what, f"use the key that {shown(options['cert'])} was issued for"


def _usable(tls: Tls, verify: bool) -> bool:
    import ssl

    try:
        client_context(verify, tls)
    except (ssl.SSLError, ValueError):
        return False
    return True


def _stale_length(name: str, load: Mapping[str, Any], folder: Path) -> Iterator[Wrong]:
    """Yield a Content-Length that is not that of the body's file. Other bodies are checked with the load itself."""
    requests = load.get("requests")
    listed = requests if isinstance(requests, list) else []
    places = [(("loads", name), load)] + [(("loads", name, "requests", i), each) for i, each in enumerate(listed)]
    for place, sent in places:
        if not isinstance(sent, dict) or not isinstance(file := sent.get("body_file"), str):
            continue
        texts = merged(_texts(load.get("headers")), _texts(sent.get("headers")))
        lengths = {key: value.strip() for key, value in texts.items() if key.lower() == "content-length"}
        try:
            size = (folder / file).stat().st_size
        except (OSError, ValueError):
            continue
        if problem := contradiction(lengths, False, size):
            what, _, hint = problem.partition(": ")
            yield (*place, "headers"), what, hint


def _texts(headers: object) -> dict[str, str]:
    given = headers.items() if isinstance(headers, dict) else ()
    return {key: value for key, value in given if isinstance(key, str) and isinstance(value, str)}


def _fragments(where: str, found: Mapping[str, Any]) -> Iterator[str]:
    for key, text in found.items():
        if isinstance(text, str) and (fragment := fragment_of(text)):
            yield f"{where}.{key}: {shown('#' + fragment)} is not sent: a fragment stays with the client. Write %23 for '#'."


def _wanted(case: str, plain: Mapping[str, Any]) -> bool:
    include, exclude = plain.get("include"), plain.get("exclude")
    included = not isinstance(include, list) or any(fnmatch.fnmatch(case, str(glob)) for glob in include)
    return included and not any(fnmatch.fnmatch(case, str(g)) for g in (exclude if isinstance(exclude, list) else []))


def _mapping(plain: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = plain.get(key)
    return value if isinstance(value, dict) else {}
