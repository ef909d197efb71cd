"""One SSH connection per host for the whole run; each failure becomes a HostError with a hint.

asyncssh handles the protocol, ssh_config, SSH agents and jump hosts. This module verifies host
keys and never accepts one silently, notices a lost connection within seconds, and gives every
command a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import HostError
from orchestrator.spec.inventory import Inventory, file_of

if TYPE_CHECKING:
    import asyncssh

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 60.0
# A connection that dies without being closed is noticed after this many unanswered keep-alives.
KEEPALIVE_S = 2.0
KEEPALIVES = 3
# sshd drops connections beyond its MaxStartups (10 by default), and every host behind a jump host
# opens one to it.
AT_ONCE_BY_JUMP, AT_ONCE = 8, 32
CHUNK_BYTES = 1 << 18
# Keyword arguments of asyncssh.
Options = dict[str, Any]


class UnknownKey(HostError):
    """No key of this host has been recorded as trusted yet."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ran on a host: its output and exit status (None when a signal ended it)."""

    status: int | None
    out: str
    err: str


class ConnectionLimit:
    """Limits how many connections are opened at a time: directly, and through each jump host."""

    def __init__(self) -> None:
        self._limits: dict[str | None, asyncio.Semaphore] = {}

    def to(self, host: SshHost) -> asyncio.Semaphore:
        """Return the semaphore to hold while a connection to the host is opened."""
        return self._limits.setdefault(host.jump, asyncio.Semaphore(AT_ONCE_BY_JUMP if host.jump else AT_ONCE))


class SshHost:
    """A host of the inventory, reached over SSH. Used from one event loop."""

    def __init__(self, name: str, inventory: Inventory, folder: Path) -> None:
        self.name = name
        self.address = inventory.address(name)
        self.accepted = False
        self._access = inventory.access(name)
        self._inventory = inventory
        self._folder = folder
        self._connection: asyncssh.SSHClientConnection | None = None
        self._jump: asyncssh.SSHClientConnection | None = None

    @property
    def python(self) -> str:
        """The Python interpreter on the host."""
        return self._access.python or "python3"

    @property
    def jump(self) -> str | None:
        """The jump host, [USER@]HOST[:PORT]; None for a direct connection."""
        return self._access.jump

    @property
    def known_hosts(self) -> Path:
        """The file of trusted host keys."""
        if self._access.known_hosts is None:
            return Path.home() / ".ssh" / "known_hosts"
        return file_of(self._folder, self._access.known_hosts)

    def _options(self) -> Options:
        """Return the explicit options of a connection; ssh_config and OpenSSH's defaults supply the rest."""
        options: Options = {
            "keepalive_interval": KEEPALIVE_S,
            "keepalive_count_max": KEEPALIVES,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "login_timeout": CONNECT_TIMEOUT_S,
            # Preferred because they need half the CPU time of asyncssh's default, at tens of MB per
            # host.
            "encryption_algs": "^aes128-gcm@openssh.com,aes256-gcm@openssh.com",
        }
        if self._access.known_hosts is not None:
            # An empty tuple trusts no key: the file does not exist yet.
            options["known_hosts"] = str(self.known_hosts) if self.known_hosts.exists() else ()
        if self._access.key is not None:
            options["client_keys"] = [str(file_of(self._folder, self._access.key))]
        options |= self._config()
        return options

    def _config(self) -> Options:
        if self._inventory.ssh_config == "none":
            return {"config": None}
        if self._inventory.ssh_config is not None:
            return {"config": [str(file_of(self._folder, self._inventory.ssh_config))]}
        return {}

    def _where(self) -> Options:
        where: Options = {"host": self.address}
        if self._access.user is not None:
            where["username"] = self._access.user
        if self._access.port is not None:
            where["port"] = self._access.port
        if self._jump is not None:
            where["tunnel"] = self._jump
        return where

    async def connect(self) -> None:
        """Connect and log in. Raises UnknownKey when no key of the host is trusted yet, else HostError."""
        try:
            await self._connect()
        except UnknownKey:
            if self._inventory.host_keys != "accept-new":
                raise
            record_key(self.known_hosts, self._key_pattern(), await self.host_key())
            self.accepted = True
            await self._connect()

    async def _connect(self) -> None:
        import asyncssh

        try:
            async with asyncio.timeout(2 * CONNECT_TIMEOUT_S):
                await self._open_jump()
                self._connection = await asyncssh.connect(**self._where(), **self._options())
        except asyncssh.HostKeyNotVerifiable:
            raise await self._key_error() from None
        except asyncssh.PermissionDenied as error:
            user = self._access.user or "the user of ssh_config"
            raise HostError(
                f"host {self.name}: {self.address} refused the login of {user}: {error.reason}",
                f"install your public key: ssh-copy-id {user}@{self.address}; or set 'key:' in the inventory",
            ) from None
        except (OSError, asyncssh.Error, asyncssh.KeyImportError) as error:
            raise HostError(
                f"host {self.name}: cannot connect to {self.address} with SSH: {_reason(error)}",
                "check that the host is up, sshd runs and the address is right: volley hosts check --hosts INVENTORY",
            ) from None

    async def _open_jump(self) -> None:
        import asyncssh

        if self._access.jump is None or self._jump is not None:
            return
        user, at, place = self._access.jump.rpartition("@")
        host, colon, port = place.partition(":")
        where: Options = {"host": host} | ({"username": user} if at else {})
        self._jump = await asyncssh.connect(**where, **({"port": int(port)} if colon else {}), **self._options())

    async def host_key(self) -> asyncssh.SSHKey:
        """Return the key that the host presents. Raises HostError."""
        import asyncssh

        where = {k: v for k, v in self._where().items() if k != "username"}
        try:
            await self._open_jump()
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                key = await asyncssh.get_server_host_key(**where, **self._config())
        except (OSError, asyncssh.Error) as error:
            raise HostError(
                f"host {self.name}: cannot connect to {self.address} with SSH: {_reason(error)}",
                "check that the host is up and sshd runs there",
            ) from None
        if key is None:
            raise HostError(
                f"host {self.name}: {self.address} presented no host key", "create one there: sudo ssh-keygen -A"
            )
        return key

    def trusts(self, key: asyncssh.SSHKey) -> bool | None:
        """Return whether a key is the recorded one; None when none is recorded for this host."""
        import asyncssh

        try:
            recorded = asyncssh.read_known_hosts(str(self.known_hosts))
        except OSError:
            return None
        port = self._access.port or 22
        keys, authorities, *_ = recorded.match(self.address, self.address, None if port == 22 else port)
        if not keys and not authorities:
            return None
        return any(known.public_data == key.public_data for known in keys)

    def trust(self, key: asyncssh.SSHKey) -> None:
        """Record a key as trusted."""
        record_key(self.known_hosts, self._key_pattern(), key)

    def _key_pattern(self) -> str:
        port = self._access.port or 22
        return self.address if port == 22 else f"[{self.address}]:{port}"

    async def _key_error(self) -> HostError:
        key = await self.host_key()
        if self.trusts(key) is None:
            return UnknownKey(
                f"host {self.name}: the key of {self.address} is unknown: {key.get_algorithm()} {key.get_fingerprint()}",
                "compare it with the output of 'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' on the host, "
                "then run: volley hosts trust --hosts INVENTORY",
            )
        return self.changed_key(key.get_fingerprint())

    def changed_key(self, fingerprint: str) -> HostError:
        """Return the error of a host that presents another key than the recorded one."""
        return HostError(
            f"host {self.name}: the key of {self.address} HAS CHANGED: it is now {fingerprint}",
            f"find out why. If the new key is right: ssh-keygen -R '{self._key_pattern()}' -f {self.known_hosts}, "
            "then: volley hosts trust --hosts INVENTORY",
        )

    @property
    def connection(self) -> asyncssh.SSHClientConnection:
        """The open connection. Requires connect()."""
        assert self._connection is not None, "connect() was not called"
        return self._connection

    async def run(self, command: str, given: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Completed:
        """Run a command with `given` as its input and return how it ended.

        Raises HostError when it takes longer than timeout_s or the connection is lost.
        """
        import asyncssh

        try:
            async with asyncio.timeout(timeout_s):
                done = await self.connection.run(command, input=given, encoding=None, check=False)
        except TimeoutError:
            raise HostError(
                f"host {self.name}: '{command[:60]}' did not finish within {timeout_s:g} s",
                f"check the load on {self.name} and try again",
            ) from None
        except (OSError, asyncssh.Error) as error:
            raise self.lost(error) from None
        if done.exit_status is None and done.exit_signal is None:
            raise self.lost(None)
        return Completed(done.exit_status, _text(done.stdout), _text(done.stderr))

    async def feed(self, command: str, path: Path, timeout_s: float) -> Completed:
        """Run a command that reads the file `path` on its standard input. Raises HostError."""
        import asyncssh

        try:
            async with asyncio.timeout(timeout_s), self.connection.create_process(command, encoding=None) as process:
                with path.open("rb") as file:
                    while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                        process.stdin.write(chunk)
                        await process.stdin.drain()
                process.stdin.write_eof()
                done = await process.wait()
        except TimeoutError:
            raise HostError(
                f"host {self.name}: {path.name} was not sent within {timeout_s:g} s",
                f"check the network between this machine and {self.name}",
            ) from None
        except (OSError, asyncssh.Error) as error:
            raise self.lost(error) from None
        return Completed(done.exit_status, _text(done.stdout), _text(done.stderr))

    def lost(self, error: Exception | None) -> HostError:
        """Return the error of a connection that ended."""
        why = f": {_reason(error)}" if error else ""
        return HostError(
            f"host {self.name}: the connection to {self.address} was lost{why}",
            "check that the host is up; its guard stops everything that ran there",
        )

    async def close(self) -> None:
        """Close the connection."""
        for connection in (self._connection, self._jump):
            if connection is not None:
                connection.close()
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(2):
                        await connection.wait_closed()
        self._connection = self._jump = None


def record_key(file: Path, pattern: str, key: asyncssh.SSHKey) -> None:
    """Append a host's key to a known_hosts file, which is created when it does not exist."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    line = f"{pattern} {key.export_public_key().decode().strip()}\n"
    with file.open("a+", encoding="utf-8") as out:
        out.seek(0)
        ends_well = (out.read() or "\n").endswith("\n")
        out.write(line if ends_well else "\n" + line)


def last_line(done: Completed) -> str:
    """Return the last line that a command printed: of its errors, else of its output; '' when there is none."""
    return ((done.err.strip() or done.out.strip()).splitlines() or [""])[-1]


def _reason(error: Exception | None) -> str:
    import asyncssh

    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, asyncssh.Error):
        return str(error.reason)
    return str(getattr(error, "strerror", None) or error).splitlines()[0] if str(error) else type(error).__name__


def _text(output: Any) -> str:
    return bytes(output or b"").decode(errors="replace")
