"""The server under test as a checked model: a container or a URL."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from orchestrator.spec.base import Model
from orchestrator.spec.text import Cores, Text, Url, UrlPath
from orchestrator.spec.units import Duration, Size


def _build_kind(value: object) -> str:
    return "mapping" if isinstance(value, dict | Build) else "folder"


class Build(Model):
    """How to build the target's image."""

    context: Text
    """Folder with the Dockerfile, relative to the campaign file."""
    dockerfile: Text = "Dockerfile"
    """Path of the Dockerfile in that folder."""
    args: dict[str, Text] = Field(default_factory=dict)
    """Build arguments."""
    network: Text = "host"
    """The network that RUN steps use."""


class Limits(Model):
    """What the container may use. There is no limit unless one is set."""

    cpus: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] | None = None
    """CPU quota in cores, as docker run --cpus."""
    memory: Size | None = None
    """Memory without swap."""
    cpuset: Cores | None = None
    """Cores to pin the container to, such as '0-1'."""


class Ready(Model):
    """When the server counts as up: it answers with a status below 500, or with 501 or 505."""

    path: UrlPath | None = None
    """Sends GET to this path until the server is up; by default the load's own request is sent."""
    timeout: Duration = 60_000_000
    """How long to wait until the server is up. A target that is a URL is asked once unless `ready` is set."""


class Expect(Model):
    """What one response must be before any load starts. Every part that is given must hold."""

    status: Annotated[int, Field(ge=100, le=599)] | None = None
    """The status code; any below 400 by default."""
    body: str | None = None
    """The body, without blanks at its ends."""
    json_: Annotated[Any, Field(alias="json")] = None
    """The body as a JSON document, compared by value."""
    size: Size | None = None
    """The length of the body."""


class Target(Model):
    """The server under test: a container (build or image) or a URL that is already up."""

    build: (
        Annotated[Annotated[Build, Tag("mapping")] | Annotated[Text, Tag("folder")], Discriminator(_build_kind)] | None
    ) = None
    """Build the image from this folder (or from a mapping with context, dockerfile, args)."""
    image: Text | None = None
    """Use this image."""
    url: Url | None = None
    """Use a server that is already up."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """The port that the container listens on."""
    path: UrlPath = "/"
    """The path to request."""
    scheme: Literal["http", "https"] = "http"
    """https: the container speaks TLS; any certificate is accepted."""
    command: list[Text] | None = None
    """Replaces the image's command."""
    env: dict[Text, Text] = Field(default_factory=dict)
    """Environment variables of the container."""
    limits: Limits = Limits()
    """What the container may use."""
    network: Literal["host", "bridge"] = "host"
    """bridge publishes the port through NAT, which is then part of what is measured."""
    ready: Ready = Ready()
    """When the server counts as up."""
    expect: Expect = Expect()
    """What one response must be before any load starts."""

    @model_validator(mode="after")
    def _one_source(self) -> Target:
        given = [name for name in ("build", "image", "url") if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"{', '.join(given)} are set together" if given else "none of build, image and url is set"
            raise ValueError(f"{found}: set exactly one of build, image and url")
        if self.url is None and self.port is None:
            raise ValueError("a container needs 'port': add the port it listens on")
        if self.url is not None:
            own = ("port", "command", "env", "limits", "network", "path", "scheme")
            without_effect = [name for name in own if name in self.model_fields_set]
            if without_effect:
                raise ValueError(f"'{without_effect[0]}' belongs to containers, and this target is a URL: remove it")
        return self
