"""A side container that targets need: a database, a cache, an upstream."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from orchestrator.spec.base import Model
from orchestrator.spec.compose import DependsOn
from orchestrator.spec.container import Container
from orchestrator.spec.text import NonEmpty, Text
from orchestrator.spec.units import Duration

SERVER = "server"


def _place_kind(value: object) -> str:
    return "labels" if isinstance(value, dict) else "server"


def _script_kind(value: object) -> str:
    return "list" if isinstance(value, list) else "text"


Placed = Annotated[
    Annotated[Literal["server"], Tag("server")] | Annotated[dict[str, str], Tag("labels")], Discriminator(_place_kind)
]
Prepare = Annotated[
    Annotated[Annotated[list[Text], Field(min_length=1)], Tag("list")] | Annotated[NonEmpty, Tag("text")],
    Discriminator(_script_kind),
]


class Up(Model):
    """When a service counts as up: its health check succeeds; without one, its port is open."""

    timeout: Duration = 60_000_000
    """How long to wait until it is up."""


class Service(Container):
    """A side container that a target needs. It is started before the target, metered like it, and removed after it.

    ${NAME.address} and ${NAME.port} elsewhere in the campaign are where it is reached.
    """

    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """The port that it listens on; by default the first of `ports`."""
    depends_on: DependsOn = Field(default_factory=list)
    """Services that are up and prepared before this one is started."""
    place: Placed = "server"
    """server: on the target's host; or labels of a host with the role service."""
    lifetime: Literal["trial", "block", "run"] = "trial"
    """trial: a fresh container for each trial; block: kept for the trials of a block; run: kept for the whole run."""
    prepare: list[Prepare] = Field(default_factory=list)
    """Commands in the container once it is up, in this order: text for sh, or a list."""
    prepare_timeout: Duration = 300_000_000
    """How long each of these commands may take."""
    ready: Up = Up()
    """When it counts as up."""

    @model_validator(mode="after")
    def _one_source(self) -> Service:
        self.one_source("build", "image")
        return self

    @property
    def listens(self) -> int | None:
        """The port that it listens on in its container; None for a service without one."""
        return self.port or next((container for _, container in self.published), None)

    @property
    def reached(self) -> int | None:
        """The port of its host at which it is reached: what ${NAME.port} stands for."""
        return None if self.listens is None else self.host_port(self.listens)
