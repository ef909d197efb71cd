"""A service to run: its container, when it counts as up, and what it is called."""

from __future__ import annotations

from dataclasses import dataclass

from agents.container import ContainerSpec


@dataclass(frozen=True, slots=True)
class ServiceSpec(ContainerSpec):
    """A service of a campaign, on one host.

    port: of the host, at which it is reached; None: it has none, and is up as soon as its process runs and its health
    check, if there is one, succeeds. trial: for the container's label; '' for one that outlives trials.
    """

    name: str
    image: str
    port: int | None = None
    ready_timeout_s: float = 60.0
    trial: str = ""
