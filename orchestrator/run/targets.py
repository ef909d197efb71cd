"""From a campaign's target to what a host needs to know: image, container, request, expectation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from agents.probe import Expect, Request
from agents.server_host import ServerSpec
from orchestrator.spec.models import Load, Target, resolve


@dataclass(frozen=True, slots=True)
class Body:
    """A load's method and body as they will be sent."""

    method: str
    content: bytes


def body_of(load: Load, folder: Path) -> Body:
    """Read a load's body file; a body without a method of its own is posted."""
    content = b"" if load.body_file is None else resolve(folder, load.body_file).read_bytes()
    return Body("POST" if content and load.method == "GET" else load.method, content)


def url_of(target: Target, address: str) -> str:
    """Give the URL that the agents drive."""
    return target.url or f"{target.scheme}://{address}:{target.port}{target.path}"


def urls_of(target: Target, load: Load, address: str) -> list[str]:
    """Give the URL of every endpoint that the load drives."""
    base = url_of(target, address)
    if load.paths is None:
        return [base]
    parts = urlsplit(base)
    return [f"{parts.scheme}://{parts.netloc}{path}" for path in load.paths]


def request_of(target: Target, load: Load, body: Body, address: str) -> Request:
    """Give the request that the load sends."""
    headers = [[name, value] for name, value in load.headers.items()]
    return Request(urls_of(target, load, address)[0], load.protocol == "http2", body.method, headers, body.content)


def expect_of(target: Target) -> Expect:
    """Give what one response must be."""
    wanted = target.expect
    document = json.dumps(wanted.json_) if "json_" in wanted.model_fields_set else None
    return Expect(wanted.status, wanted.body, document)


def server_spec(name: str, target: Target, image: str, request: Request) -> ServerSpec:
    """Describe the container. The server host asks itself, on its own address."""
    assert target.port is not None
    parts = urlsplit(request.url)
    ready = urlunsplit((parts.scheme, parts.netloc, target.ready.path or parts.path, "", ""))
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
        ready_path_url=ready,
        ready_timeout_s=target.ready.timeout / 1e6,
    )
