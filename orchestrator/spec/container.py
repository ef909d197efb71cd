"""A container in Compose's vocabulary: what a target and a service have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from orchestrator.slo import shown
from orchestrator.spec.base import Model
from orchestrator.spec.compose import (
    Capability,
    Folder,
    Hosts,
    Image,
    LimitName,
    Mount,
    Port,
    Settings,
    Shown,
    Tmpfs,
    Variables,
    Words,
    mount_of,
    ports_of,
)
from orchestrator.spec.text import Cores, Text
from orchestrator.spec.units import Duration, Size, size_text

HOST, BRIDGE = "host", "bridge"
# The engine starts no container with less.
LEAST_MEMORY_BYTES = 6 << 20


def _enough(size: int) -> int:
    if size < LEAST_MEMORY_BYTES:
        raise ValueError(f"{size_text(size)} is less than a container can be started with: write at least 6MiB")
    return size


def _build_kind(value: object) -> str:
    return "mapping" if isinstance(value, dict | Build) else "folder"


class Build(Model):
    """How to build the image of a container."""

    context: Text
    """Folder with the Dockerfile, relative to the campaign file."""
    dockerfile: Text = "Dockerfile"
    """Path of the Dockerfile in that folder."""
    args: dict[str, Text] = Field(default_factory=dict)
    """Build arguments."""
    network: Text = "host"
    """The network that RUN steps use."""


class Limits(Model):
    """What the container may use. Only processes are limited by default."""

    cpus: Annotated[float, Field(ge=0.01, le=10_000, allow_inf_nan=False)] | None = None
    """CPU quota in cores, as docker run --cpus."""
    memory: Annotated[Size, AfterValidator(_enough)] | None = None
    """Memory without swap, at least 6 MiB."""
    cpuset: Cores | None = None
    """Cores to pin the container to, such as '0-1'."""
    pids: Annotated[int, Field(ge=1, le=4_000_000)] | None = None
    """Processes and threads; 16,384 by default, so that a runaway container cannot exhaust the host."""


class Healthcheck(Model):
    """How to see that a container is healthy. Checks run until the first success, and never during a load."""

    test: Text | Annotated[list[Text], Field(min_length=1)] | None = None
    """A command in the container: text for sh, or [CMD, PROGRAM, ARGUMENT…], or [CMD-SHELL, TEXT]. Exit status 0: healthy.
    By default the image's own."""
    interval: Duration = 250_000
    """Pause between two checks."""
    timeout: Duration = 30_000_000
    """A check that takes longer has failed."""
    retries: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """The container is unhealthy after this many failures in a row; by default checks continue until `ready.timeout`."""
    start_period: Duration = 0
    """Failures in this time after the start do not count."""
    disable: bool = False
    """Ignore the image's own health check."""

    @model_validator(mode="after")
    def _known_form(self) -> Healthcheck:
        if isinstance(self.test, list):
            kind, rest = self.test[0], self.test[1:]
            if kind not in ("NONE", "CMD", "CMD-SHELL"):
                raise ValueError(f"the test begins with {shown(kind)}: begin it with CMD or CMD-SHELL")
            if (kind == "NONE") != (not rest) or (kind == "CMD-SHELL" and len(rest) != 1):
                raise ValueError(f"the test does not fit {kind}: write [CMD, PROGRAM, ARGUMENT…] or [CMD-SHELL, TEXT]")
        if self.disable and self.test is not None:
            raise ValueError("test and disable are set together: remove one of the two")
        return self

    @property
    def is_off(self) -> bool:
        """Whether there is no check, not even the image's own."""
        return self.disable or self.test == ["NONE"]

    @property
    def argv(self) -> list[str] | None:
        """The command to run in the container; None for the image's own."""
        if self.test is None or self.is_off:
            return None
        if isinstance(self.test, str):
            return ["/bin/sh", "-c", self.test]
        return ["/bin/sh", "-c", self.test[1]] if self.test[0] == "CMD-SHELL" else self.test[1:]


class Ulimit(Model):
    """A limit of the container's processes, as docker run --ulimit. -1: no limit."""

    soft: Annotated[int, Field(ge=-1, lt=2**63)]
    """What holds at the start."""
    hard: Annotated[int, Field(ge=-1, lt=2**63)]
    """What a process may raise it to."""

    @model_validator(mode="after")
    def _in_order(self) -> Ulimit:
        if self.hard != -1 and (self.soft == -1 or self.soft > self.hard):
            raise ValueError(f"soft ({self.soft}) is above hard ({self.hard}): lower one or raise the other")
        return self


def _limit_kind(value: object) -> str:
    return "both" if isinstance(value, dict | Ulimit) else "number"


UlimitOrNumber = Annotated[
    Annotated[Annotated[int, Field(ge=-1, lt=2**63)], Tag("number")] | Annotated[Ulimit, Tag("both")],
    Discriminator(_limit_kind),
]


class Container(Model):
    """A container: its image, how it is started, and what it may use. Keys and forms are those of Compose."""

    build: (
        Annotated[Annotated[Build, Tag("mapping")] | Annotated[Text, Tag("folder")], Discriminator(_build_kind)] | None
    ) = None
    """Build the image from this folder (or from a mapping with context, dockerfile, args)."""
    image: Image | None = None
    """Use this image."""
    command: Words | None = None
    """Replaces the image's command: a list, or text that is split as a shell would."""
    entrypoint: Words | None = None
    """Replaces the image's entrypoint: a list, or text that is split as a shell would."""
    environment: Variables = Field(default_factory=dict)
    """Environment variables of the container: a mapping, or a list of NAME=VALUE."""
    ports: list[Port] = Field(default_factory=list)
    """Ports of the container: PORT, or HOST:CONTAINER with `network: bridge`."""
    extra_hosts: Hosts = Field(default_factory=dict)
    """Names that the container can resolve: a mapping of name to address, or a list of NAME:ADDRESS."""
    healthcheck: Healthcheck | None = None
    """How to see that the container is healthy; by default the image's own."""
    volumes: list[Mount] = Field(default_factory=list)
    """Named volumes (NAME:/PATH), which last as long as the run, and files and folders of the container's host, read only
    (./PATH:/PATH:ro)."""
    tmpfs: Tmpfs = Field(default_factory=list)
    """Folders in memory: /PATH, or /PATH:size=256m. They count towards the container's memory."""
    ulimits: dict[LimitName, UlimitOrNumber] = Field(default_factory=dict)
    """Limits of its processes, such as nofile: a number, or a mapping of soft and hard."""
    sysctls: Settings = Field(default_factory=dict)
    """Kernel parameters of the container; net.* only with `network: bridge`."""
    limits: Limits = Limits()
    """What the container may use."""
    network: Literal["host", "bridge"] = "host"
    """bridge publishes its ports through NAT, which is then part of what is measured."""
    shm_size: Size | None = None
    """Size of /dev/shm; 64 MiB by default."""
    user: Shown | None = None
    """The user that it runs as: NAME or ID, or USER:GROUP."""
    working_dir: Folder | None = None
    """The folder that it starts in."""
    cap_add: list[Capability] = Field(default_factory=list)
    """Linux capabilities beyond those that every container has (docs/how-to/describe-containers.md lists them)."""
    cap_drop: list[Capability] = Field(default_factory=list)
    """Linux capabilities that it must not have; ALL for none."""

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, value: Any) -> Any:
        """Read `env`, as campaigns called it before they had Compose's names."""
        if not isinstance(value, dict) or "env" not in value:
            return value
        if "environment" in value:
            raise ValueError("env and environment are set together: keep environment")
        return {"environment" if key == "env" else key: inner for key, inner in value.items()}

    @model_validator(mode="after")
    def _one_network(self) -> Container:
        if self.network == HOST:
            moved = next((pair for pair in self.published if pair[0] != pair[1]), None)
            if moved is not None:
                raise ValueError(f"'{moved[0]}:{moved[1]}' needs a network of the container's own: set network: bridge")
            for name in self.sysctls:
                if name.startswith("net."):
                    raise ValueError(f"sysctl {name} would change the host: set network: bridge, or remove it")
        hosts = [host for host, _ in self.published]
        for host, inside in self.published:
            if hosts.count(host) > 1:
                raise ValueError(f"port {host} of the host is published twice: remove one of the two")
            if getattr(self, "port", None) == host != inside:
                raise ValueError(
                    f"port {host} is the host's in '{host}:{inside}': write port: {inside}, the container's"
                )
        if any(name != "ALL" and name in self.cap_drop for name in self.cap_add):
            raise ValueError("cap_add and cap_drop have a capability in common: remove one of the two")
        return self

    @property
    def published(self) -> list[tuple[int, int]]:
        """The ports of the host and of the container that belong together."""
        return ports_of(self.ports)

    def host_port(self, port: int) -> int:
        """Return the port of the host at which a port of the container is reached."""
        return next((host for host, container in self.published if container == port), port)

    def one_source(self, *kinds: str) -> None:
        """Check that exactly one of some keys says where the server comes from. Raise ValueError."""
        given = [name for name in kinds if getattr(self, name) is not None]
        if len(given) != 1:
            names = f"{', '.join(kinds[:-1])} and {kinds[-1]}"
            found = f"{', '.join(given)} are set together" if given else f"none of {names} is set"
            if len(kinds) == 2 and not given:
                found = f"neither {kinds[0]} nor {kinds[1]} is set"
            raise ValueError(f"{found}: set exactly one of {names}")

    @property
    def mounts(self) -> list[tuple[str, str, bool]]:
        """Its volumes: name of a volume or path on the host, path in the container, read only."""
        return [mount_of(text) for text in self.volumes]
