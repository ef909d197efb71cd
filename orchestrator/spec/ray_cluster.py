"""`ray:` in an inventory: hosts are nodes of a Ray cluster that is already there."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from orchestrator.slo import shown
from orchestrator.spec.base import Model
from orchestrator.spec.text import Printable

AUTO = "auto"


def _label(value: str) -> str:
    if not value or any(c in value for c in "=,{}\"' ") or value.startswith(("!", "in(", "volley-")):
        hint = "leave out '=', ',', quotes and blanks, and do not begin it with '!', 'in(' or 'volley-'"
        raise ValueError(f"{shown(value)} is not a valid label: {hint}")
    return value


Label = Annotated[str, AfterValidator(_label)]


def _address(value: str) -> str:
    if value == AUTO:
        return value
    if "://" in value:
        raise ValueError(
            f"{shown(value)} is the address of a Ray client or dashboard: write HOST:PORT of the head node's GCS, "
            f"usually port 6379, or {AUTO!r}"
        )
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(f"{shown(value)} is not {AUTO!r} or HOST:PORT: write, for example, 10.0.0.1:6379")
    return value


ClusterAddress = Annotated[Printable, AfterValidator(_address)]
Selector = Annotated[dict[Label, Label], Field(min_length=1)] | Label


class RayCluster(Model):
    """A Ray cluster that is already there. Its nodes are the hosts."""

    address: ClusterAddress = AUTO
    """HOST:PORT of the head node's GCS; auto: the cluster that this machine is a node of."""
    load: Selector | None = None
    """The load hosts: Ray labels that a node has, or the name of a custom resource; by default every node but this one."""
    server: Selector | None = None
    """The server hosts, in the same way; by default none, so that targets are URLs. They need a Docker engine."""
    service: Selector | None = None
    """The hosts of services, in the same way; by default none. They need a Docker engine."""
