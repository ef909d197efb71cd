"""The inventory as a checked model: which hosts there are, how they are reached, what each may do."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from orchestrator.spec.base import Model
from orchestrator.spec.ray_cluster import Label, RayCluster
from orchestrator.spec.text import Address, Jump, Name, Printable

Role = Literal["server", "load", "service"]
Port = Annotated[int, Field(ge=1, le=65535)]

# Ports of a node, counted from `ports`: what Ray, the clock responders and calibration listen on.
# docs/how-to/use-several-hosts.md lists them.
GCS, NODE_MANAGER, OBJECT_MANAGER, RUNTIME_ENV, DASHBOARD_LISTEN, DASHBOARD_GRPC, METRICS = range(7)
CLOCK_SERVER, CLOCK_LOAD, TRIVIAL = 7, 8, 9
# UDP, as the other clocks; calibration listens on TCP.
CLOCK_SERVICE = TRIVIAL
FIRST_WORKER, WORKERS = 10, 30
DEFAULT_SLOTS = 2


class Access(Model):
    """How a host is reached: for all hosts in `defaults`, for one host in its entry, which wins."""

    user: Printable | None = None
    """The user to log in as; by default the one in ssh_config, else the one who runs Volley."""
    port: Port | None = None
    """The SSH port; by default the one in ssh_config, else 22."""
    key: Printable | None = None
    """A private key file; by default the SSH agent and the usual files."""
    known_hosts: Printable | None = None
    """The file with the host keys that are trusted; ~/.ssh/known_hosts by default."""
    jump: Jump | None = None
    """[USER@]HOST[:PORT]: the jump host for SSH. Ray and the load still need a direct connection."""
    python: Printable | None = None
    """The Python on the host, of the same minor version as on this machine; python3 by default."""


class Host(Access):
    """One machine."""

    address: Address | None = None
    """The host name or IP address that SSH, Ray and the load use; the host's name here by default."""
    load_address: Address | None = None
    """The address at which load reaches the host, if the load has a network of its own; `address` by default."""
    roles: Annotated[list[Role], Field(min_length=1)]
    """server: runs target containers. load: runs agents. service: runs services. A host can have several."""
    labels: dict[Label, Label] = Field(default_factory=dict)
    """Matched by `place` in campaigns."""
    slots: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many agents run here at once; by default one per core in `cores`, else 2."""
    cores: Annotated[list[Annotated[int, Field(ge=0, le=8191)]], Field(min_length=1)] | None = None
    """The cores to pin agents to, in this order."""


class Coordinator(Model):
    """This machine, as the hosts see it."""

    address: Address | None = None
    """The address at which the hosts reach this machine; by default the one it uses to reach the first host."""


class Inventory(Model):
    """The hosts of a fleet."""

    coordinator: Coordinator = Coordinator()
    """This machine, as the hosts see it."""
    defaults: Access = Access()
    """How hosts are reached that do not say otherwise."""
    hosts: dict[Name, Host] = Field(default_factory=dict)
    """The machines, by name. Required without `ray`."""
    ray: RayCluster | None = None
    """A Ray cluster that is already there, in place of `hosts`: no SSH, and nothing is installed on its nodes."""
    ssh_config: Printable | None = None
    """An OpenSSH client configuration; ~/.ssh/config by default, 'none' for none."""
    host_keys: Literal["strict", "accept-new"] = "strict"
    """accept-new records the key of an unknown host, and the results say so."""
    images: Literal["build", "send"] = "build"
    """build: send the build context to the server host and build there. send: build here and send the image."""
    environment: Literal["relay", "direct"] = "relay"
    """relay: if more than 8 hosts lack the environment, they pass it on. direct: this machine sends it to each."""
    encrypt: bool = False
    """Encrypt what Ray sends between the coordinator and the hosts (TLS, with certificates of this fleet alone). SSH always
    is encrypted; the load is as the target's URL says."""
    ports: Annotated[int, Field(ge=1024, le=65000)] = 20000
    """The first port of the range that the hosts and the coordinator use among themselves."""

    @model_validator(mode="after")
    def _one_kind(self) -> Inventory:
        if self.ray is None:
            if not self.hosts:
                raise ValueError("no hosts are listed: add 'hosts', or 'ray' for the nodes of a Ray cluster")
            return self
        if extra := sorted(self.model_fields_set - {"ray", "images"}):
            them = "it" if len(extra) == 1 else "them"
            raise ValueError(
                f"{', '.join(map(repr, extra))} cannot be used with 'ray': remove {them}; the nodes of the cluster are "
                "the hosts, and they are reached without SSH"
            )
        return self

    @model_validator(mode="after")
    def _distinct(self) -> Inventory:
        seen: dict[tuple[str, int | None], str] = {}
        for name, host in self.hosts.items():
            place = (host.address or name, host.port or self.defaults.port)
            if place in seen:
                raise ValueError(f"{name!r} and {seen[place]!r} are both at {place[0]}: list each host once")
            seen[place] = name
        return self

    def access(self, name: str) -> Access:
        """Return how a host is reached, with the defaults applied."""
        host = self.hosts[name]
        said = {field: getattr(host, field) for field in Access.model_fields if getattr(host, field) is not None}
        return self.defaults.model_copy(update=said)

    def address(self, name: str) -> str:
        """Return a host's address."""
        return self.hosts[name].address or name


def slots_of(host: Host) -> int:
    """Return how many agents a host runs at once."""
    if "load" not in host.roles:
        return 0
    return host.slots or (len(host.cores) if host.cores else DEFAULT_SLOTS)


def file_of(folder: Path, name: str) -> Path:
    """Resolve a path of the inventory: '~' is the user's home, the rest is relative to the inventory's folder."""
    return Path(os.path.realpath(folder / at_home(Path(name))))


def at_home(path: Path) -> Path:
    """Return a path with '~' replaced. The home of a user that does not exist stays as written: it is then missing."""
    with contextlib.suppress(RuntimeError):
        path = path.expanduser()
    return path
