"""The inventory as a checked model: which hosts there are, how they are reached, what each may do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from orchestrator.spec.base import Model
from orchestrator.spec.models import Name, document_schema

Role = Literal["server", "load"]
Port = Annotated[int, Field(ge=1, le=65535)]

# Ports of a node, counted from `ports`: what Ray, the clock responders and calibration listen on. docs/hosts.md lists them.
GCS, NODE_MANAGER, OBJECT_MANAGER, RUNTIME_ENV, DASHBOARD_LISTEN, DASHBOARD_GRPC, METRICS = range(7)
CLOCK_SERVER, CLOCK_LOAD, TRIVIAL = 7, 8, 9
FIRST_WORKER, WORKERS = 10, 30
DEFAULT_SLOTS = 2


def _label(value: str) -> str:
    if not value or any(c in value for c in "=,{}\"' ") or value.startswith(("!", "in(", "volley-")):
        raise ValueError(f"{value!r} is no label: it may hold no '=', ',', quotes or blanks, nor begin with '!'")
    return value


Label = Annotated[str, AfterValidator(_label)]


class Access(Model):
    """How a host is reached; in `defaults` it is said for all hosts, at a host for that one."""

    user: str | None = None
    """The user to log in as; what ssh_config says, else the user who types."""
    port: Port | None = None
    """The SSH port; what ssh_config says, else 22."""
    key: str | None = None
    """A private key file; by default the SSH agent and the usual files."""
    known_hosts: str | None = None
    """The file with the host keys that are trusted; ~/.ssh/known_hosts by default."""
    jump: str | None = None
    """[USER@]HOST[:PORT] to go through, for SSH. Ray and the load still need the direct way."""
    python: str | None = None
    """The interpreter on the host, of the same minor version as the coordinator's; python3 by default."""


class Host(Access):
    """One machine."""

    address: str | None = None
    """Where SSH, Ray and the load reach it; the host's name by default."""
    roles: Annotated[list[Role], Field(min_length=1)]
    """server: runs target containers. load: runs h2load agents."""
    labels: dict[Label, Label] = Field(default_factory=dict)
    """For `place` in campaigns."""
    slots: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many agents it takes at once: one per core of `cores`, else 2."""
    cores: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    """The cores that agents are pinned to, in this order."""


class Coordinator(Model):
    """This machine, as the hosts see it."""

    address: str | None = None
    """The address at which the hosts reach it; by default the one it uses to reach the first host."""


class Inventory(Model):
    """The hosts of a fleet."""

    coordinator: Coordinator = Coordinator()
    defaults: Access = Access()
    hosts: Annotated[dict[Name, Host], Field(min_length=1)]
    ssh_config: str | None = None
    """An OpenSSH client configuration; ~/.ssh/config by default, 'none' for none."""
    host_keys: Literal["strict", "accept-new"] = "strict"
    """accept-new records the key of a host that is not known yet, and says so in the results."""
    images: Literal["build", "send"] = "build"
    """build: on the server host, from the context that is sent there. send: built here, and sent as an image."""
    ports: Annotated[int, Field(ge=1024, le=65000)] = 20000
    """The first of the ports that each host and the coordinator listen on for each other."""

    @model_validator(mode="after")
    def _distinct(self) -> Inventory:
        seen: dict[tuple[str, int | None], str] = {}
        for name, host in self.hosts.items():
            place = (host.address or name, host.port or self.defaults.port)
            if place in seen:
                raise ValueError(f"{name!r} and {seen[place]!r} are both at {place[0]}: one host is listed once")
            seen[place] = name
        return self

    def access(self, name: str) -> Access:
        """Give how a host is reached, the defaults applied."""
        host = self.hosts[name]
        said = {field: getattr(host, field) for field in Access.model_fields if getattr(host, field) is not None}
        return self.defaults.model_copy(update=said)

    def address(self, name: str) -> str:
        """Give a host's address."""
        return self.hosts[name].address or name


def slots_of(host: Host) -> int:
    """How many agents a host takes at once."""
    if "load" not in host.roles:
        return 0
    return host.slots or (len(host.cores) if host.cores else DEFAULT_SLOTS)


def schema() -> dict[str, Any]:
    """Give the JSON Schema of an inventory file, for editors."""
    return document_schema(Inventory)


def file_of(folder: Path, name: str) -> Path:
    """Resolve a path of the inventory: '~' is the user's home, the rest is relative to the inventory's folder."""
    return (folder / Path(name).expanduser()).resolve()
