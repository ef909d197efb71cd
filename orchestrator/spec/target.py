"""The server under test as a checked model: a container or a URL."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from orchestrator.spec.base import Model
from orchestrator.spec.container import Build as Build
from orchestrator.spec.container import Container
from orchestrator.spec.container import Limits as Limits
from orchestrator.spec.text import Document, Name, SocketPath, Url, UrlPath
from orchestrator.spec.units import Duration, Size


class Ready(Model):
    """When the server counts as up: it answers with a status below 500, or with 501 or 505."""

    path: UrlPath | None = None
    """Sends GET to this path until the server is up; by default the load's own request is sent."""
    timeout: Duration = 60_000_000
    """How long to wait until the server is up, and for one answer unless the load has a `timeout`. A target that is a URL
    is asked once unless `ready` is set."""


def _status_kind(value: object) -> str:
    return "list" if isinstance(value, list) else "one"


Status = Annotated[int, Field(ge=100, le=599)]
Statuses = Annotated[list[Status], Field(min_length=1)]


class Expect(Model):
    """What one response must be before any load starts. Every part that is given must hold."""

    status: (
        Annotated[Annotated[Status, Tag("one")] | Annotated[Statuses, Tag("list")], Discriminator(_status_kind)] | None
    ) = None
    """The status code, or a list of those that are allowed; any below 400 by default. Such an answer is a success."""
    body: str | None = None
    """The body, without blanks at its ends."""
    json_: Annotated[Document, Field(alias="json")] = None
    """The body as a JSON document, compared by value."""
    size: Size | None = None
    """The length of the body."""

    @property
    def statuses(self) -> list[int]:
        """The status codes that are allowed; empty: any below 400."""
        if self.status is None:
            return []
        return self.status if isinstance(self.status, list) else [self.status]


class Target(Container):
    """The server under test: a container (build or image) or a URL that is already up."""

    url: Url | None = None
    """Use a server that is already up."""
    socket: SocketPath | None = None
    """Connect to this unix socket on the load hosts instead of the URL's address; the URL gives Host and path."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """The port that the container listens on; by default the first of `ports`."""
    path: UrlPath = "/"
    """The path to request."""
    scheme: Literal["http", "https"] = "http"
    """https: the container speaks TLS; any certificate is accepted."""
    needs: list[Name] = Field(default_factory=list)
    """Services that are up before the container is started. It reaches each under its name, or at ${NAME.address} and
    ${NAME.port}."""
    ready: Ready = Ready()
    """When the server counts as up."""
    expect: Expect = Expect()
    """What one response must be before any load starts."""

    @model_validator(mode="after")
    def _one_source(self) -> Target:
        self.one_source("build", "image", "url")
        if self.url is None and self.listens is None:
            raise ValueError("a container needs 'port': add the port it listens on")
        if self.url is None and self.socket is not None:
            raise ValueError("'socket' belongs to a server that is already up: add url: http://localhost/PATH")
        if self.url is not None:
            without_effect = [name for name in OF_CONTAINERS if name in self.model_fields_set]
            if without_effect:
                raise ValueError(f"'{without_effect[0]}' belongs to containers, and this target is a URL: remove it")
        return self

    @property
    def listens(self) -> int | None:
        """The port that the server listens on in its container; None for a URL."""
        return self.port or next((container for _, container in self.published), None)

    @property
    def reached(self) -> int | None:
        """The port of its host to which the load goes; None for a URL."""
        return None if self.listens is None else self.host_port(self.listens)


# What a target that is a URL does not have.
OF_URLS = ("build", "image", "url", "socket", "ready", "expect")
OF_CONTAINERS = tuple(name for name in Target.model_fields if name not in OF_URLS)
