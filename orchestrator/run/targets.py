"""From a campaign's target and load to what hosts need to know: traffic, container, expected response."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from agents.container import ServerSpec
from agents.generators.contract import Protocol
from agents.probe import Expect, Request
from orchestrator.facts import Traffic
from orchestrator.spec.loads import Load
from orchestrator.spec.models import resolve
from orchestrator.spec.target import Target
from orchestrator.spec.text import authority

CONTENT_TYPE = "content-type"


def traffic_of(target: Target, load: Load, address: str, folder: Path) -> Traffic:
    """Return what a load sends to a target at an address; a body without a method of its own is posted.

    folder: where the path of the body file begins. Raises OSError when that file cannot be read.
    """
    return Traffic(
        urls=_urls(target, load, address),
        protocol=Protocol(load.protocol),
        method=load.http_method,
        headers=_headers(load),
        body=_body(load, folder),
        verify=verifies(target, load),
    )


def _headers(load: Load) -> list[list[str]]:
    headers = [[name, value] for name, value in load.headers.items()]
    if load.has_json and all(name.lower() != CONTENT_TYPE for name in load.headers):
        headers.append(["Content-Type", "application/json"])
    return headers


def _body(load: Load, folder: Path) -> bytes:
    if load.has_json:
        return json.dumps(load.json_, ensure_ascii=False, separators=(",", ":")).encode()
    if load.body is not None:
        return load.body.encode()
    return b"" if load.body_file is None else resolve(folder, load.body_file).read_bytes()


def _urls(target: Target, load: Load, address: str) -> list[str]:
    """Return the URL of every endpoint that the load drives."""
    base = target.url or f"{target.scheme}://{authority(address, target.port)}{target.path}"
    if load.paths is None:
        return [base]
    parts = urlsplit(base)
    return [f"{parts.scheme}://{parts.netloc}{path}" for path in load.paths]


def is_loopback(host: str) -> bool:
    """Return whether a host name or an address is this machine's own loopback."""
    return host in ("localhost", "::1") or host.startswith("127.")


def verifies(target: Target, load: Load) -> bool:
    """Return whether the certificate of a server is checked.

    By default that of a URL elsewhere is: a container of our own, or a server on this machine, seldom has one that any
    authority signed.
    """
    if load.verify is not None:
        return load.verify
    parts = urlsplit(target.url or "")
    return parts.scheme == "https" and not is_loopback(parts.hostname or "")


def request_to(url: str, traffic: Traffic) -> Request:
    """Return the request that the load sends to one of its URLs."""
    return Request(
        url, traffic.protocol is Protocol.HTTP2, traffic.method, traffic.headers, traffic.body, traffic.verify
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
        url=f"{parts.scheme}://{parts.netloc}{target.ready.path}",
        method="GET",
        headers=[header for header in request.headers if not header[0].lower().startswith("content-")],
        body=b"",
    )


def expect_of(target: Target) -> Expect:
    """Return what one response must be."""
    wanted = target.expect
    document = json.dumps(wanted.json_) if "json_" in wanted.model_fields_set else None
    return Expect(wanted.status, wanted.body, document)


def server_spec(name: str, target: Target, image: str, request: Request) -> ServerSpec:
    """Describe the container of a target. request: what its host asks once it is ready, at its own address."""
    assert target.port is not None
    return ServerSpec(
        target=name,
        image=image,
        port=target.port,
        request=request,
        expect=expect_of(target),
        command=target.command,
        env=target.env,
        cpus=target.limits.cpus,
        memory_bytes=target.limits.memory,
        cpuset=target.limits.cpuset,
        network=target.network,
        ready=ready_request(target, request),
        ready_timeout_s=target.ready.timeout / 1e6,
    )
