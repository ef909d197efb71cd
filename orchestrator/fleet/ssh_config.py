"""Where SSH goes and how: a host's settings in the inventory and in ssh_config, as the hops of its route.

asyncssh reads ssh_config. Jump hosts are resolved here instead of there, so that an error names the
jump host, its key can be recorded, and the logins it must accept are counted.
"""

from __future__ import annotations

import getpass
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import HostError
from orchestrator.fleet.host_keys import KeyFiles
from orchestrator.slo import legible
from orchestrator.spec.inventory import Access, Inventory, at_home, file_of

if TYPE_CHECKING:
    from asyncssh.config import SSHClientConfig

DEFAULT_PORT = 22
MOST_HOPS = 8
CIPHERS, HOST_KEYS = "Ciphers", "HostKeyAlgorithms"
# [USER@]HOST[:PORT], where HOST is a name, an IPv4 address or [IPv6], as ProxyJump and `jump` have it.
_PLACE = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@\s]+)@)?(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^@:\s\[\]]+)(?::(?P<port>[0-9]{1,5}))?/?"
)
_TOKEN = re.compile(r"%(.)|\$\{(.*?)\}")


@dataclass(frozen=True, slots=True)
class Hop:
    """One login on the way to a host: at a jump host, or at the host itself.

    label: how messages begin. target: what ssh_config's `Host` matches. key_name: what known_hosts
    has its key under. identities: the private keys to offer; None for OpenSSH's usual ones.
    agent_identities: those that a key in the SSH agent must belong to; None for any. explicit: what
    the inventory or a ProxyJump sets, which wins over ssh_config. chosen: the options about
    algorithms that ssh_config sets, which are then left to it.
    """

    label: str
    is_jump: bool
    target: str
    address: str
    port: int
    user: str
    key_name: str
    files: KeyFiles
    config: list[str] | None
    identities: tuple[str, ...] | None
    agent_identities: tuple[str, ...] | None
    explicit: dict[str, Any]
    chosen: frozenset[str]

    @property
    def place(self) -> str:
        """The address for messages, with the port unless it is 22."""
        if self.port == DEFAULT_PORT:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def route(name: str, inventory: Inventory, folder: Path) -> list[Hop]:
    """Return the hops to a host of the inventory; the host itself is the last. Raises HostError."""
    access = inventory.access(name)
    reader = _Reader(name, access, _config_files(inventory, folder), folder)
    explicit = {"username": access.user, "port": access.port}
    given = {key: value for key, value in explicit.items() if value is not None}
    return reader.hops(inventory.address(name), given, access.jump, f"host {name}", 0)


def _config_files(inventory: Inventory, folder: Path) -> list[str] | None:
    if inventory.ssh_config == "none":
        return None
    if inventory.ssh_config is not None:
        return [str(file_of(folder, inventory.ssh_config))]
    usual = Path.home() / ".ssh" / "config"
    return [str(usual)] if usual.is_file() else None


class _Reader:
    """Resolves the hops of one host."""

    def __init__(self, name: str, access: Access, config: list[str] | None, folder: Path) -> None:
        self._name = name
        self._access = access
        self._config = config
        self._folder = folder

    def hops(self, target: str, given: dict[str, Any], jump: str | None, label: str, depth: int) -> list[Hop]:
        """Return the hops to a target. jump: of the inventory, which wins over ProxyJump."""
        if depth > MOST_HOPS:
            raise HostError(
                f"{label}: ssh_config leads through more than {MOST_HOPS} jump hosts",
                "check the ProxyJump settings: a jump host must not be reached through itself",
            )
        config = self._read(target, given, label)
        before: list[Hop] = []
        jumps = jump or str(config.get("ProxyJump") or "")
        # Each jump host after the first is reached through the one before it.
        for index, place in enumerate(part.strip() for part in jumps.split(",") if part.strip()):
            user, host, port = _parsed(place, label)
            explicit = {"username": user, "port": port}
            here = {key: value for key, value in explicit.items() if value is not None}
            where = f"host {self._name}: jump host {host}"
            if index == 0:
                before += self.hops(host, here, None, where, depth + 1)
            else:
                before.append(self._hop(host, here, self._read(host, here, where), where, True))
        return [*before, self._hop(target, given, config, label, depth > 0)]

    def _read(self, target: str, given: dict[str, Any], label: str) -> SSHClientConfig:
        from asyncssh.config import SSHClientConfig

        who = (getpass.getuser(), given.get("username", ()), target, given.get("port", ()))
        try:
            config = SSHClientConfig.load(None, self._config, False, False, False, *who)
            if config.has_match_final():
                config = SSHClientConfig.load(config, self._config, True, False, True, *who)
        except (OSError, ValueError, LookupError) as error:
            # asyncssh raises LookupError for an option without its arguments.
            raise config_error(label, error, self._config) from None
        # load() is declared to return the base class.
        assert isinstance(config, SSHClientConfig)
        return config

    def _hop(self, target: str, given: dict[str, Any], config: SSHClientConfig, label: str, is_jump: bool) -> Hop:
        address = str(config.get("Hostname", target))
        port = int(str(given.get("port") or config.get("Port") or DEFAULT_PORT))
        user = str(given.get("username") or config.get("User") or getpass.getuser())
        tokens = {
            "%": "%",
            "d": str(Path.home()),
            "h": address,
            "i": str(os.getuid()),
            "n": target,
            "p": str(port),
            "r": user,
            "u": getpass.getuser(),
        }
        alias = config.get("HostKeyAlias")
        identities, agent = self._identities(config)
        return Hop(
            label=label,
            is_jump=is_jump,
            target=target,
            address=address,
            port=port,
            user=user,
            key_name=str(alias)
            if alias
            else address.lower()
            if port == DEFAULT_PORT
            else f"[{address.lower()}]:{port}",
            files=self._key_files(config, tokens),
            config=self._config,
            identities=identities,
            agent_identities=agent,
            explicit=given,
            chosen=frozenset(name for name in (CIPHERS, HOST_KEYS) if config.get(name) is not None),
        )

    def _key_files(self, config: SSHClientConfig, tokens: dict[str, str]) -> KeyFiles:
        if self._access.known_hosts is not None:
            return KeyFiles((file_of(self._folder, self._access.known_hosts),), ())
        home, system = Path.home() / ".ssh", Path("/etc/ssh")
        return KeyFiles(
            _files(config.get("UserKnownHostsFile"), tokens, (home / "known_hosts", home / "known_hosts2")),
            _files(
                config.get("GlobalKnownHostsFile"), tokens, (system / "ssh_known_hosts", system / "ssh_known_hosts2")
            ),
        )

    def _identities(self, config: SSHClientConfig) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
        """Return the private keys to offer, and those that keys of the agent are limited to.

        As in OpenSSH, a file that ssh_config names need not exist, and may be the public half of a
        key in the agent.
        """
        if self._access.key is not None:
            return (str(file_of(self._folder, self._access.key)),), None
        named = config.get("IdentityFile")
        if not isinstance(named, list):
            return None, None
        files = [at_home(Path(str(name))) for name in named]
        private = tuple(str(file) for file in files if _is_private(file))
        halves = [file if file.suffix == ".pub" else file.with_name(file.name + ".pub") for file in files]
        agent = tuple(str(half) for half in halves if half.is_file()) if config.get("IdentitiesOnly") else None
        return private, agent


def _is_private(file: Path) -> bool:
    try:
        with file.open("rb") as data:
            return data.read(11) == b"-----BEGIN "
    except OSError:
        return False


def _files(named: object, tokens: dict[str, str], usual: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return the files of an option of ssh_config. A word that cannot be expanded stays as it is."""
    if not isinstance(named, list):
        return usual

    def expanded(found: re.Match[str]) -> str:
        if found[1] is not None:
            return tokens.get(found[1], found[0])
        return os.environ.get(found[2], found[0])

    return tuple(at_home(Path(_TOKEN.sub(expanded, str(name)))) for name in named)


def _parsed(place: str, label: str) -> tuple[str | None, str, int | None]:
    found = _PLACE.fullmatch(place)
    if found is None or not 0 < int(found["port"] or DEFAULT_PORT) < 65536:
        raise HostError(
            f"{label}: the jump host {place!r} is not [USER@]HOST[:PORT]",
            "correct 'jump' in the inventory or ProxyJump in ssh_config",
        )
    return found["user"], found["host"].strip("[]"), int(found["port"]) if found["port"] else None


def config_error(label: str, error: Exception, files: list[str] | None) -> HostError:
    """Return the error of an ssh_config that cannot be used."""
    if isinstance(error, OSError):
        return HostError(
            f"{label}: cannot read {legible(str(error.filename or files), 200)}: {error.strerror}",
            "correct 'ssh_config' in the inventory, or its Include lines",
        )
    reason = legible(str(error), 300)
    if "Invalid match condition" in reason:
        hint = (
            "Volley reads Match with all, canonical, final, exec, host, originalhost, user, localuser, localnetwork "
            "and tagged. Name a file without this line in the inventory: ssh_config: FILE"
        )
    else:
        hint = "correct the file, or name another one in the inventory: ssh_config: FILE (or 'none')"
    where = "" if not files or reason.startswith(files[0]) else f" in {files[0]}"
    return HostError(f"{label}: the SSH configuration is wrong{where}: {reason}", hint)
