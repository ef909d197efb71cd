"""Log in at a host over SSH, through its jump hosts; verify every key on the way.

asyncssh handles the protocol and SSH agents. Host keys are verified against known_hosts, and never
accepted silently. A login that a busy sshd drops is repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import HostError
from orchestrator.fleet import ssh_errors
from orchestrator.fleet.host_keys import KeyState, fingerprint
from orchestrator.fleet.ssh_config import CIPHERS, HOST_KEYS, Hop, config_error
from orchestrator.fleet.ssh_errors import UnknownKey, reason

if TYPE_CHECKING:
    import asyncssh

CONNECT_TIMEOUT_S = 10.0
# A connection that dies without being closed is noticed after this many unanswered keep-alives.
KEEPALIVE_S = 2.0
KEEPALIVES = 3
# sshd drops logins at random above its MaxStartups; they succeed when others have ended.
LOGIN_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 3.0)
# Keyword arguments of asyncssh.
Options = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Presented:
    """The key that a host or a jump host presents. where: its name and address for lists; error: unless it is trusted."""

    name: str
    place: str
    key: asyncssh.SSHKey
    state: KeyState
    hop: Hop
    error: HostError | None

    @property
    def fingerprint(self) -> str:
        """Type and fingerprint."""
        return fingerprint(self.key)

    def record(self) -> Path:
        """Record the key as trusted; return the file. Raises HostError."""
        return self.hop.files.record(self.hop.key_name, self.key)


class Route:
    """The logins on the way to a host, and their connections while they are open."""

    def __init__(self, name: str, hops: list[Hop], accept_new: bool) -> None:
        """name: of the host. accept_new: record the key of a host that has none on record."""
        self.accepted = False
        self._name = name
        self._hops = hops
        self._accept_new = accept_new
        self._connections: list[asyncssh.SSHClientConnection] = []

    @property
    def end(self) -> Hop:
        """The host itself."""
        return self._hops[-1]

    @property
    def jump(self) -> str | None:
        """The address of the first jump host; None for a direct connection."""
        return self._hops[0].place if self._hops[0].is_jump else None

    @property
    def is_connected(self) -> bool:
        """Whether every connection on the way is open, as far as is known."""
        return len(self._connections) == len(self._hops) and not any(each.is_closed() for each in self._connections)

    @property
    def connection(self) -> asyncssh.SSHClientConnection:
        """The open connection to the host. Requires connect()."""
        assert len(self._connections) == len(self._hops), "connect() was not called"
        return self._connections[-1]

    async def connect(self) -> None:
        """Connect and log in. Raises UnknownKey when no key of the host or a jump host is trusted yet, else HostError."""
        await self.close()
        for hop in self._hops:
            self._connections.append(await self._enter(hop))

    async def _enter(self, hop: Hop) -> asyncssh.SSHClientConnection:
        """Log in at a hop through the one before it; record its key if the inventory allows that."""
        try:
            return await self._log_in(hop)
        except UnknownKey:
            recorded = hop.files.recorded(hop.key_name)
            if not self._accept_new or recorded.keys or recorded.authorities:
                raise
            hop.files.record(hop.key_name, await self._key_of(hop))
            self.accepted = True
            return await self._log_in(hop)

    async def _log_in(self, hop: Hop, certificates: bool = True) -> asyncssh.SSHClientConnection:
        import asyncssh

        client = _client()
        try:
            options = self._options(hop, client, certificates)
            opened: asyncssh.SSHClientConnection = await self._patiently(hop, lambda: asyncssh.connect(**options))
            return opened
        except asyncssh.HostKeyNotVerifiable as error:
            recorded, key = hop.files.recorded(hop.key_name), await self._key_of(hop)
            state = recorded.judge(key)
            if state is not KeyState.TRUSTED:
                raise ssh_errors.untrusted(hop, key, recorded, state, reason(error)) from None
            if not certificates:
                raise HostError(
                    f"{hop.label}: the key of {hop.place} changes from one connection to the next: {fingerprint(key)}",
                    "check whether several machines answer at this address",
                ) from None
            # Its certificate is of another authority, but the key itself is recorded.
            return await self._log_in(hop, certificates=False)
        except asyncssh.PermissionDenied as error:
            raise ssh_errors.refused(hop, error, client.wants_second_factor) from None

    async def _patiently(self, hop: Hop, connect: Any) -> Any:
        """Connect, again after a pause if sshd drops the connection. Raises HostError, and asyncssh's refusals."""
        import asyncssh

        via = self._before(hop)
        for pause_s in (*LOGIN_PAUSES_S, None):
            try:
                async with asyncio.timeout(2 * CONNECT_TIMEOUT_S):
                    return await connect()
            except (asyncssh.HostKeyNotVerifiable, asyncssh.PermissionDenied):
                raise
            except (asyncssh.ConnectionLost, ConnectionResetError, BrokenPipeError) as error:
                if pause_s is None or (self._connections and self._connections[-1].is_closed()):
                    raise ssh_errors.dropped(hop, error) from None
                # Hosts that were dropped together do not return together.
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
            except asyncssh.KeyImportError as error:
                raise ssh_errors.unusable_key(hop, error) from None
            except (TimeoutError, asyncssh.Error, OSError) as error:
                raise ssh_errors.unreachable(hop, error, via) from None
            except ValueError as error:
                raise config_error(hop.label, error, hop.config) from None
        raise AssertionError("the last attempt returns or raises")

    def _before(self, hop: Hop) -> Hop | None:
        index = self._hops.index(hop)
        return self._hops[index - 1] if index else None

    def _where(self, hop: Hop) -> Options:
        # None rather than the default: ProxyJump of ssh_config is a hop of ours.
        tunnel = self._connections[-1] if self._connections else None
        return {"host": hop.target, "config": hop.config, "tunnel": tunnel}

    def _options(self, hop: Hop, client: Any, certificates: bool) -> Options:
        """Return the explicit options of a login; ssh_config and OpenSSH's defaults supply the rest."""
        recorded = hop.files.recorded(hop.key_name)
        options = self._where(hop) | hop.explicit
        options |= {
            "client_factory": lambda: client,
            "known_hosts": recorded.trusted,
            "keepalive_interval": KEEPALIVE_S,
            "keepalive_count_max": KEEPALIVES,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "login_timeout": CONNECT_TIMEOUT_S,
            "ignore_encrypted": True,
            # Settings of ssh_config for people at a terminal, which would disturb our commands.
            "request_pty": False,
            "x11_forwarding": False,
            "agent_forwarding": False,
        }
        if CIPHERS not in hop.chosen:
            # They need half the CPU time of asyncssh's default, at tens of MB per host.
            options["encryption_algs"] = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
        if HOST_KEYS not in hop.chosen:
            options["server_host_key_algs"] = recorded.algorithms(certificates)
        if hop.identities is not None:
            options["client_keys"] = list(hop.identities)
        if hop.agent_identities is not None:
            options["agent_identities"] = list(hop.agent_identities)
        return options

    async def _key_of(self, hop: Hop) -> asyncssh.SSHKey:
        """Return the key that a hop presents, of a recorded type if it has one. Raises HostError."""
        import asyncssh

        where = self._where(hop) | {k: v for k, v in hop.explicit.items() if k != "username"}
        if HOST_KEYS not in hop.chosen:
            where["server_host_key_algs"] = hop.files.recorded(hop.key_name).algorithms(certificates=False)
        key: asyncssh.SSHKey | None = await self._patiently(hop, lambda: asyncssh.get_server_host_key(**where))
        if key is None:
            raise HostError(f"{hop.label}: {hop.place} presented no host key", "create one there: sudo ssh-keygen -A")
        return key

    async def keys(self) -> list[Presented]:
        """Return the keys of the jump hosts and the host, up to the first that is not trusted. Raises HostError.

        What is behind a jump host can be asked only once that host is trusted.
        """
        await self.close()
        found: list[Presented] = []
        for hop in self._hops:
            found.append(await self._presented(hop))
            if not hop.is_jump or found[-1].state is not KeyState.TRUSTED:
                break
            self._connections.append(await self._log_in(hop))
        return found

    async def _presented(self, hop: Hop) -> Presented:
        key, recorded = await self._key_of(hop), hop.files.recorded(hop.key_name)
        state, error = recorded.judge(key), None
        if state is not KeyState.TRUSTED:
            why = await self._refusal(hop) if recorded.authorities else "no certificate"
            if why is None:
                state = KeyState.TRUSTED
            else:
                error = ssh_errors.untrusted(hop, key, recorded, state, why)
        return Presented(hop.target if hop.is_jump else self._name, hop.place, key, state, hop, error)

    async def _refusal(self, hop: Hop) -> str | None:
        """Return why a host's certificate is refused; None when it is accepted. No login is attempted."""
        import asyncssh

        options = self._options(hop, _client(), certificates=True) | {"client_keys": None, "preferred_auth": ["none"]}
        try:
            connection = await self._patiently(hop, lambda: asyncssh.connect(**options))
        except asyncssh.HostKeyNotVerifiable as error:
            return reason(error)
        except asyncssh.PermissionDenied:
            return None
        connection.close()
        return None

    async def close(self) -> None:
        """Close all connections."""
        connections, self._connections = self._connections, []
        for connection in reversed(connections):
            connection.close()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(2):
                    await connection.wait_closed()


def _client() -> Any:
    """Return a client that notices when a login needs more than a key."""
    import asyncssh

    class Client(asyncssh.SSHClient):
        """asyncssh asks it for what it could not find itself: another key, a password, an answer."""

        _keys_refused = False
        wants_second_factor = False

        def public_key_auth_requested(self) -> None:
            """All keys were refused."""
            self._keys_refused = True

        def kbdint_auth_requested(self) -> None:
            """The server asks questions: a second factor, unless it does so instead of a key."""
            self.wants_second_factor = not self._keys_refused

        def password_auth_requested(self) -> None:
            """The server wants a password."""
            self.wants_second_factor = not self._keys_refused

    return Client()
