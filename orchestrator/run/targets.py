"""From a campaign's target and load to what hosts need to know: traffic, container, expected response."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from agents.container import ServerSpec
from agents.destinations import Permitted
from agents.generators.contract import DataOrder, Protocol, Wanted
from agents.probe import Expect, Request
from agents.records import AssignedRequest
from orchestrator.facts import Traffic
from orchestrator.plan import allowed_by
from orchestrator.redact import keep_secret
from orchestrator.run.containers import container_of, fields_of
from orchestrator.run.rows import Places, with_first_row, with_places
from orchestrator.spec.loads import Load
from orchestrator.spec.messages import DEFAULT_MESSAGE, SUBPROTOCOL_HEADER, WEBSOCKET, websocket_url
from orchestrator.spec.models import resolve
from orchestrator.spec.reach import read_tls
from orchestrator.spec.requests import Request as Listed
from orchestrator.spec.requests import has_json, json_bytes, merged, names_of
from orchestrator.spec.rows import read_table
from orchestrator.spec.secrets import is_secret_name, secrets_of_header
from orchestrator.spec.target import Expect as SpecExpect
from orchestrator.spec.target import Target
from orchestrator.spec.text import authority
from orchestrator.spec.urls import sent_path, sent_url

CONTENT_TYPE = "content-type"
NO_MORE = Permitted()


def traffic_of(target: Target, load: Load, address: str, folder: Path, permitted: Permitted = NO_MORE) -> Traffic:
    """Return what a load sends to a target at an address; a body without a method of its own is posted.

    folder: where the paths of body, data and TLS files begin. permitted: where requests to a URL may go, beside local
    addresses. Raises OSError or BadData when a file cannot be read.
    """
    base = target.url or f"{target.scheme}://{authority(address, target.reached)}{target.path}"
    listed, files = load.listed, BodyFiles(folder)
    requests = [
        _request(load, each, name, base, target, files) for each, name in zip(listed, names_of(listed), strict=True)
    ] or [_own_request(load, base, target, files)]
    data = None
    if load.data is not None:
        places = Places()
        requests = [with_places(request, places) for request in requests]
        data = places.data(read_table(resolve(folder, load.data.file), load.data.file), DataOrder(load.data.order))
    return Traffic(
        requests,
        Protocol(load.protocol),
        verifies(target, load),
        data,
        read_tls(load.tls.model_dump(), folder),
        target.socket or "",
        # A container is on a host of the run, and a socket on the load host.
        None if target.url is None or target.socket is not None else permitted,
    )


def _own_request(load: Load, base: str, target: Target, files: BodyFiles) -> AssignedRequest:
    """Return the request of a load that lists none: it goes to the target's own path."""
    if load.protocol == WEBSOCKET:
        return _message(load, base, target, files)
    return AssignedRequest(
        name=f"{load.http_method} {urlsplit(base).path or '/'}",
        url=sent_url(base),
        method=load.http_method,
        headers=_headers(load.headers, load.has_json),
        body=_body(load, files),
        timeout_us=load.timeout,
        allowed=allowed_by(None, target),
        wanted=_wanted(target.expect),
    )


def _message(load: Load, base: str, target: Target, files: BodyFiles) -> AssignedRequest:
    """Return the message of a load over WebSocket. Raise OSError when its file cannot be read."""
    if load.message_file is not None:
        message = files.read(load.message_file)
    elif load.has_json:
        message = json_bytes(load.json_)
    else:
        message = (DEFAULT_MESSAGE if load.message is None else load.message).encode()
    offered = [] if load.subprotocols is None else [[SUBPROTOCOL_HEADER, ", ".join(load.subprotocols)]]
    return AssignedRequest(
        name=f"message to {urlsplit(base).path or '/'}",
        url=websocket_url(sent_url(base)),
        headers=_headers(load.headers, is_json=False) + offered,
        body=message,
        timeout_us=load.timeout,
        wanted=_wanted(target.expect),
        binary=load.binary,
    )


def _request(load: Load, listed: Listed, name: str, base: str, target: Target, files: BodyFiles) -> AssignedRequest:
    """Return one of the requests that a load lists. Its own headers replace those of the load."""
    parts = urlsplit(sent_url(base))
    return AssignedRequest(
        name=name,
        url=f"{parts.scheme}://{parts.netloc}{sent_path(listed.path)}",
        method=listed.http_method,
        headers=_headers(merged(load.headers, listed.headers), has_json(listed)),
        body=_body(listed, files),
        weight=listed.weight,
        timeout_us=load.timeout if listed.timeout is None else listed.timeout,
        allowed=allowed_by(listed.expect, target),
        wanted=_wanted(target.expect if listed.expect is None else listed.expect),
    )


def _headers(own: dict[str, str], is_json: bool) -> list[list[str]]:
    headers = [[name, value] for name, value in own.items()]
    if is_json and all(name.lower() != CONTENT_TYPE for name in own):
        headers.append(["Content-Type", "application/json"])
    return headers


class BodyFiles:
    """The files of bodies, each read once. folder: where their paths begin."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, bytes] = {}

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raise OSError when it cannot be read."""
        if name not in self._read:
            self._read[name] = resolve(self._folder, name).read_bytes()
        return self._read[name]


def _body(sent: Load | Listed, files: BodyFiles) -> bytes:
    if has_json(sent):
        return json_bytes(sent.json_)
    if sent.body is not None:
        return sent.body.encode()
    return b"" if sent.body_file is None else files.read(sent.body_file)


def _wanted(expect: SpecExpect) -> Wanted | None:
    """Return what the body of an answer must be; None where nothing is expected of it."""
    document = json.dumps(expect.json_) if "json_" in expect.model_fields_set else None
    wanted = Wanted(expect.body, document, expect.size)
    return None if wanted == Wanted() else wanted


def asks_to_close(traffic: Traffic) -> bool:
    """Return whether requests ask the server to close their connection after the answer."""
    headers = [header for request in traffic.requests for header in request.headers]
    return any(name.lower() == "connection" and "close" in value.lower() for name, value in headers)


def is_loopback(host: str) -> bool:
    """Return whether a host name or an address is this machine's own loopback."""
    return host in ("localhost", "::1") or host.startswith("127.")


def verifies(target: Target, load: Load) -> bool:
    """Return whether the certificate of a server is checked.

    With authorities of the load's own it is. By default that of a URL elsewhere is: a container of our own, or a server on
    this machine, seldom has one that any authority signed.
    """
    if load.verifies is not None:
        return load.verifies
    if load.tls.ca is not None:
        return target.scheme == "https" or (target.url or "").lower().startswith(("https:", "wss:"))
    parts = urlsplit(target.url or "")
    return parts.scheme in ("https", "wss") and not is_loopback(parts.hostname or "")


def request_to(traffic: Traffic, index: int = 0) -> Request:
    """Return one of the requests of a load, as it is sent before the load: with the first row of its data."""
    sent = with_first_row(traffic.requests[index], traffic.data)
    # Of a data file, only this row can come back in a quoted answer.
    keep_secret(value for name, text in sent.headers if is_secret_name(name) for value in secrets_of_header(text))
    websocket = traffic.protocol is Protocol.WEBSOCKET
    return Request(
        sent.url,
        traffic.protocol is Protocol.HTTP2,
        sent.method,
        sent.headers,
        sent.body,
        traffic.verify,
        traffic.tls,
        traffic.socket,
        websocket,
        websocket and sent.binary,
        traffic.permitted,
    )


def ready_request(target: Target, request: Request) -> Request:
    """Return what is asked until a server is up: the load's request, or a GET of `ready.path` with the load's headers.

    request: the load's. Headers about a body are left out, because a GET has none.
    """
    if target.ready.path is None:
        return request
    parts = urlsplit(request.url)
    return replace(
        request,
        url=f"{parts.scheme.replace('ws', 'http')}://{parts.netloc}{sent_path(target.ready.path)}",
        websocket=False,
        method="GET",
        headers=[header for header in request.headers if not header[0].lower().startswith("content-")],
        body=b"",
    )


def expect_of(target: Target, load: Load, index: int = 0) -> Expect:
    """Return what the response to one of a load's requests must be: by its own `expect`, else by the target's."""
    own = load.listed[index].expect if load.listed else None
    wanted = target.expect if own is None else own
    document = json.dumps(wanted.json_) if "json_" in wanted.model_fields_set else None
    return Expect(wanted.statuses, wanted.body, document, wanted.size)


def answer_s(target: Target, load: Load) -> float:
    """Return how long one answer may take: as long as under load, else as long as the server may take to become ready."""
    return (target.ready.timeout if load.timeout is None else load.timeout) / 1e6


def server_spec(
    name: str, target: Target, image: str, request: Request, expect: Expect, folder: Path, answer_s: float
) -> ServerSpec:
    """Describe the container of a target. request: what its host asks once it is ready; expect: what must come back.

    folder: where paths of the campaign begin. answer_s: how long one answer may take.
    """
    assert target.listens is not None
    return ServerSpec(
        target=name,
        image=image,
        port=target.listens,
        request=request,
        expect=expect,
        ready=ready_request(target, request),
        ready_timeout_s=target.ready.timeout / 1e6,
        answer_timeout_s=answer_s,
        **fields_of(container_of(target, folder)),
    )
