"""Forms that values of a container can have in Compose files, and its keys that mean something else here."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from orchestrator.slo import shown
from orchestrator.spec.text import LONGEST_NAME, NAME_HINT, Name, Text
from orchestrator.spec.units import as_text

# What Compose calls otherwise, or has and Volley does not.
ELSEWHERE = {
    "cpus": "write limits.cpus",
    "cpu_quota": "write limits.cpus, in cores",
    "cpu_count": "write limits.cpus",
    "cpuset": "write limits.cpuset",
    "mem_limit": "write limits.memory",
    "memswap_limit": "write limits.memory: a container never has swap",
    "mem_reservation": "write limits.memory",
    "pids_limit": "write limits.pids",
    "deploy": "write limits.cpus and limits.memory",
    "depends_on": "write needs",
    "needs": "write depends_on",
    "prepare": "write it at the service; commands around trials are before and after",
    "lifetime": "remove it: a target has a fresh container in every trial",
    "place": "remove it: the campaign's place.server chooses the host of a target",
    "restart": "remove it: a container that ends during a load is a finding, so none is restarted",
    "privileged": "remove it: a container is never privileged; write cap_add for a single capability",
    "network_mode": "write network: host or network: bridge",
    "networks": "write network: host or network: bridge; services are reached under their names",
    "expose": "write ports",
    "links": "write needs or depends_on; a service is reached under its name",
    "external_links": "write extra_hosts",
    "container_name": "remove it: the name in the campaign is the container's",
    "hostname": "remove it: the name in the campaign is the one under which others reach it",
    "env_file": "write environment; ${NAME} takes a value of your environment",
    "devices": "remove it: a container has no devices of the host",
    "security_opt": "remove it: every container runs with no-new-privileges",
    "logging": "remove it: the end of the log is kept with the trial",
    "labels": "remove it: containers carry Volley's labels",
    "secrets": "write environment; ${NAME} takes a value of your environment",
    "configs": "write volumes, e.g. ./app.conf:/etc/app.conf:ro",
    "profiles": "write include or exclude for cases; only services that a target needs are started",
    "pull_policy": "remove it: an image that is missing is pulled",
    "stop_signal": "remove it: containers are killed once everything has been read",
    "stop_grace_period": "remove it: containers are killed once everything has been read",
    "init": "remove it: write an entrypoint that reaps its children, such as tini",
    "pid": "remove it: a container has processes of its own only",
    "ipc": "write shm_size",
    "dns": "write extra_hosts",
    "platform": "remove it: images are built on the host that runs them",
}
_CAPABILITIES = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
    "SYS_NICE",
    "SYS_RESOURCE",
]
_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_PORTS = re.compile(r"(?:([0-9]{1,5}):)?([0-9]{1,5})(?:/tcp)?")
# The engine's own grammar: [HOST[:PORT]/]PATH[:TAG][@DIGEST], or the ID of an image.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    r"(?:(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?/)?"
    rf"{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)
_LONGEST_IMAGE = 255
_LIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
_TMPFS = re.compile(
    r"(?:size|nr_blocks|nr_inodes)=[0-9]+[kmgKMG]?%?|mode=[0-7]{1,4}|(?:uid|gid)=[0-9]+|mpol=\S+"
    r"|rw|ro|exec|noexec|suid|nosuid|dev|nodev|sync|async|atime|noatime|diratime|nodiratime|relatime|norelatime"
)
# Places of a host from which a container could reach the Docker engine or the kernel.
_NEVER = ("/", "/run", "/var", "/var/run", "/proc", "/sys", "/dev", "/var/lib/docker")


def _words(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ValueError(f"cannot be split into words ({str(error).lower()}): write a list") from None


def _pairs(separators: str, what: str, number: bool) -> Callable[[Any], Any]:
    """Return a validator that turns a list of NAME<separator>VALUE, or a mapping, into a mapping of texts."""

    def read(value: Any) -> Any:
        if isinstance(value, list):
            pairs = {}
            for one in value:
                at = min((one.find(c) for c in separators if c in one), default=-1) if isinstance(one, str) else -1
                if at < 1:
                    # Without the text: it can be a secret.
                    raise ValueError(f"one entry of the list has no value: write {what}")
                if one[:at] in pairs:
                    raise ValueError(f"{shown(one[:at])} is there twice: remove one of the two")
                pairs[one[:at]] = one[at + 1 :]
            return pairs
        if number and isinstance(value, dict):
            return {
                key: as_text(inner) if isinstance(inner, int | float) and not isinstance(inner, bool) else inner
                for key, inner in value.items()
            }
        return value

    return read


def _port(value: Any) -> str:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    found = _PORTS.fullmatch(text)
    if found is None:
        raise ValueError(f"{shown(value)} is not a port: write PORT, or HOST:CONTAINER such as 18000:8000")
    host, container = int(found[1] or found[2]), int(found[2])
    for port in (host, container):
        if not 1 <= port <= 65535:
            raise ValueError(f"{port} is out of range: write a port from 1 to 65535")
    return f"{host}:{container}"


def ports_of(ports: list[str]) -> list[tuple[int, int]]:
    """Return pairs of host and container port."""
    pairs = [port.split(":") for port in ports]
    return [(int(host), int(container)) for host, container in pairs]


def mount_of(text: str) -> tuple[str, str, bool]:
    """Return source, path in the container, and whether it is read only."""
    source, path, *mode = text.split(":")
    return source, path, mode == ["ro"]


def _image(value: str) -> str:
    if len(value) > _LONGEST_IMAGE or not _IMAGE.fullmatch(value):
        hint = "write it in lower case, like nginx:1.27 or registry.example.com/team/app:1.4"
        raise ValueError(f"{shown(value)} is not the name of an image: {hint}")
    return value


def _folder(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f"{shown(value)} is not an absolute path: begin it with '/'")
    return value


def _environment_name(value: str) -> str:
    if not value or "=" in value:
        raise ValueError(f"{shown(value)} is not the name of a variable: use letters, digits and '_'")
    return value


def _limit_name(value: str) -> str:
    if value not in _LIMITS:
        raise ValueError(f"{shown(value)} is not a limit of processes: the limits are {', '.join(_LIMITS)}")
    return value


def _of_hosts(value: dict[str, str]) -> dict[str, str]:
    for name, address in value.items():
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise ValueError(f"{shown(name)} is not a host name: {NAME_HINT}")
        if "${" in address or address == "host-gateway":
            continue  # the address of a service, known once it is up
        try:
            ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
        except ValueError:
            raise ValueError(f"{shown(address)} is not an IP address: write e.g. 10.0.0.5") from None
    return value


def _mount(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is not text: write a volume short, NAME:/PATH or ./PATH:/PATH:ro")
    parts = value.split(":")
    if len(parts) == 1:
        raise ValueError(f"{shown(value)} has no name: write NAME:/PATH, or tmpfs for a folder in memory")
    if len(parts) > 3 or not parts[1].startswith("/") or parts[2:] not in ([], ["ro"], ["rw"]):
        raise ValueError(f"{shown(value)} is not a volume: write NAME:/PATH or ./PATH:/PATH:ro")
    source = parts[0]
    if parts[1].rstrip("/") == "":
        raise ValueError(f"{shown(value)} would replace the container's whole file system: write a path below '/'")
    if _VOLUME.fullmatch(source):
        if len(source) > LONGEST_NAME:
            raise ValueError(f"a name of {len(source)} characters is too long: use at most {LONGEST_NAME}")
        return value
    if not source.startswith(("/", "./", "../")):
        raise ValueError(f"{shown(source)} is not the name of a volume: {NAME_HINT}, or begin a path with './' or '/'")
    if source.endswith(".sock") or (source.rstrip("/") or "/") in _NEVER:
        raise ValueError(f"{shown(source)} would give the container control of its host: mount a folder of your own")
    if parts[2:] != ["ro"]:
        raise ValueError(f"{shown(value)} would let the container change its host: write {source}:{parts[1]}:ro")
    return value


def _tmpfs(value: Any) -> Any:
    entries = [value] if isinstance(value, str) else value
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, str) and not entry.startswith("/"):
            raise ValueError(f"{shown(entry)} is not a folder: write /PATH or /PATH:size=256m")
        options = entry.partition(":")[2] if isinstance(entry, str) else ""
        for option in options.split(",") if options else ():
            if not _TMPFS.fullmatch(option):
                raise ValueError(f"{shown(option)} is not an option of tmpfs: write e.g. size=256m or mode=1777")
    return entries


def _capability(value: str) -> str:
    name = value.upper().removeprefix("CAP_")
    if name != "ALL" and name not in _CAPABILITIES:
        raise ValueError(f"{shown(value)} cannot be used here: the capabilities are {', '.join(_CAPABILITIES)}")
    return name


def _names_before(value: Any) -> Any:
    """Return the names in Compose's mapping of conditions."""
    if not isinstance(value, dict):
        return value
    for name, entry in value.items():
        condition = entry.get("condition", _CONDITIONS[0]) if isinstance(entry, dict) else _CONDITIONS[0]
        if condition not in _CONDITIONS:
            raise ValueError(f"{shown(name)} cannot be waited for until {shown(condition)}: write {_CONDITIONS[0]}")
    return list(value)


def _shown_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# Both mean the same: a service is waited for until it is healthy and prepared.
_CONDITIONS = ("service_healthy", "service_started")
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_SCALARS = {"type": "object", "additionalProperties": {"anyOf": [_TEXT, {"type": "number"}]}}
_CONDITIONED = {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": _TEXT}}


def _either(*forms: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": list(forms)})


Words = Annotated[list[Text], BeforeValidator(_words), _either(_TEXTS, _TEXT)]
Image = Annotated[Text, AfterValidator(_image)]
Folder = Annotated[Text, AfterValidator(_folder)]
LimitName = Annotated[Text, AfterValidator(_limit_name)]
Variables = Annotated[
    dict[Annotated[Text, AfterValidator(_environment_name)], Text],
    BeforeValidator(_pairs("=", "NAME=VALUE", number=True)),
    _either(_SCALARS, _TEXTS),
]
Settings = Annotated[
    dict[Text, Text], BeforeValidator(_pairs("=", "NAME=VALUE", number=True)), _either(_SCALARS, _TEXTS)
]
Hosts = Annotated[
    dict[Text, Text],
    BeforeValidator(_pairs(":=", "NAME:ADDRESS", number=False)),
    AfterValidator(_of_hosts),
    _either({"type": "object", "additionalProperties": _TEXT}, _TEXTS),
]
Port = Annotated[
    str,
    BeforeValidator(_port),
    _either({"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string"}),
]
Mount = Annotated[str, BeforeValidator(_mount), Field(json_schema_extra={"pattern": r"^[^:]+:/[^:]*(:(ro|rw))?$|\$\{"})]
Tmpfs = Annotated[list[Text], BeforeValidator(_tmpfs), _either(_TEXTS, _TEXT)]
DependsOn = Annotated[list[Name], BeforeValidator(_names_before), _either(_TEXTS, _CONDITIONED)]
Capability = Annotated[Text, AfterValidator(_capability)]
Shown = Annotated[Text, BeforeValidator(_shown_text), _either(_TEXT, {"type": "integer"})]
