"""One SSH connection per host for the whole run; each failure becomes a HostError with a hint.

Every command runs in /bin/sh, whatever the login shell is, and has a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import HostError
from orchestrator.fleet.login_shell import MARK, after_mark, portable
from orchestrator.fleet.ssh_config import route
from orchestrator.fleet.ssh_errors import login, reason
from orchestrator.fleet.ssh_login import Presented, Route
from orchestrator.spec.inventory import Inventory

if TYPE_CHECKING:
    import asyncssh

COMMAND_TIMEOUT_S = 60.0
# sshd drops connections beyond its MaxStartups (10 by default), and every host behind a jump host
# opens one to it.
AT_ONCE_BY_JUMP, AT_ONCE = 8, 32
# sshd refuses sessions above its MaxSessions, also while one that has ended is being closed. The limit is for each
# connection, and a guard keeps one session for the whole run.
CHANNEL_PAUSES_S = (0.05, 0.1, 0.2)
MOST_CONNECTIONS = 4
CHUNK_BYTES = 1 << 18


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
        jump = host.jump
        return self._limits.setdefault(jump, asyncio.Semaphore(AT_ONCE_BY_JUMP if jump else AT_ONCE))


class SshHost:
    """A host of the inventory, reached over SSH. Used from one event loop."""

    def __init__(self, name: str, inventory: Inventory, folder: Path) -> None:
        self.name = name
        self.address = inventory.address(name)
        self._access = inventory.access(name)
        self._inventory = inventory
        self._folder = folder
        self._resolved: Route | None = None
        # Further connections, where sshd allows few sessions on one; the newest last.
        self._further: list[Route] = []
        self._widening = asyncio.Lock()

    @property
    def python(self) -> str:
        """The Python interpreter on the host."""
        return self._access.python or "python3"

    @property
    def accepted(self) -> bool:
        """Whether a key on the way was new and was recorded, as the inventory's `host_keys: accept-new` allows."""
        return self._resolved is not None and self._resolved.accepted

    @property
    def jump(self) -> str | None:
        """The address of the first jump host, from the inventory or ssh_config; None for a direct connection."""
        with contextlib.suppress(HostError):  # connect() reports it
            return self._route().jump
        return None

    def _route(self) -> Route:
        """Return the logins on the way to the host. Raises HostError."""
        if self._resolved is None:
            hops = route(self.name, self._inventory, self._folder)
            self._resolved = Route(self.name, hops, self._inventory.host_keys == "accept-new")
        return self._resolved

    def number(self) -> str:
        """Return the host's IP address. Its name is resolved as SSH does it, so that aliases work. Raises HostError."""
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(self.address))
        name = self._route().end.address
        try:
            return str(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])
        except OSError:
            raise HostError(
                f"host {self.name}: the name {name} is unknown on this machine",
                "write an IP address into the inventory: address: 10.0.0.5",
            ) from None

    async def connect(self) -> None:
        """Connect and log in. Raises UnknownKey when no key of the host or a jump host is trusted yet, else HostError."""
        await self._route().connect()

    async def keys(self) -> list[Presented]:
        """Return the keys of the jump hosts and the host, up to the first that is not trusted. Raises HostError."""
        return await self._route().keys()

    @property
    def connection(self) -> asyncssh.SSHClientConnection:
        """The open connection. Requires connect()."""
        return self._route().connection

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open, as far as is known."""
        return self._resolved is not None and self._resolved.is_connected

    async def close(self) -> None:
        """Close the connection."""
        further, self._further = self._further, []
        for each in further:
            await each.close()
        if self._resolved is not None:
            await self._resolved.close()

    async def run(self, command: str, given: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Completed:
        """Run a command of POSIX sh with `given` as its input and return how it ended.

        Raises HostError when it takes longer than timeout_s or the connection is lost.
        """
        import asyncssh

        try:
            async with asyncio.timeout(timeout_s):
                process = await self._process(command)
                # A command may end without reading all of its input.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    process.stdin.write(given)
                    process.stdin.write_eof()
                done = await process.wait()
        except TimeoutError:
            raise HostError(
                f"host {self.name}: '{command[:60]}' did not finish within {timeout_s:g} s",
                f"check the load on {self.name} and try again",
            ) from None
        except (OSError, asyncssh.Error) as error:
            raise self.lost(error) from None
        return self._completed(done)

    async def feed(self, command: str, path: Path, timeout_s: float) -> Completed:
        """Run a command that reads the file `path` on its standard input. Raises HostError."""
        import asyncssh

        try:
            async with asyncio.timeout(timeout_s):
                process = await self._process(command)
                # A command that ends early closes its input; its own message says why.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
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
        return self._completed(done)

    async def start(self, command: str) -> asyncssh.SSHClientProcess[bytes]:
        """Start a command of POSIX sh that is talked to; return it once it runs. Raises HostError."""
        import asyncssh

        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                process = await self._process(command, stderr=asyncssh.DEVNULL)
                while (line := await process.stdout.readline()) != f"{MARK}\n".encode():
                    if not line:
                        raise self._not_run("")
        except TimeoutError:
            raise self._not_run("") from None
        except (OSError, asyncssh.Error) as error:
            raise self.lost(error) from None
        return process

    async def _process(self, command: str, **options: Any) -> asyncssh.SSHClientProcess[bytes]:
        """Start a command: after a pause, or on another connection, if sshd refuses another session. Raises HostError."""
        import asyncssh

        # The newest connection is the one that has had room.
        why: Exception | None = None
        for connections in range(1 + len(self._further), MOST_CONNECTIONS + 1):
            for pause_s in (*CHANNEL_PAUSES_S, None):
                connection = self._route_of(connections).connection
                try:
                    return await connection.create_process(portable(command), encoding=None, **options)
                except asyncssh.ChannelOpenError as error:
                    if connection.is_closed():
                        raise self.lost(error) from None
                    why = error
                    if pause_s is not None:
                        await asyncio.sleep(pause_s)
            if connections < MOST_CONNECTIONS:
                await self._widen(connections)
        raise HostError(
            f"host {self.name}: its sshd refused another session{f': {reason(why)}' if why else ''}",
            f"raise MaxSessions in sshd_config on {self.name}; 0 forbids sessions",
        )

    def _route_of(self, connections: int) -> Route:
        """Return the last of so many routes."""
        return self._route() if connections == 1 else self._further[connections - 2]

    async def _widen(self, connections: int) -> None:
        """Open another connection, unless there are more than so many already. Raises HostError."""
        async with self._widening:
            if len(self._further) >= connections:
                return
            hops = route(self.name, self._inventory, self._folder)
            further = Route(self.name, hops, accept_new=False)
            await further.connect()
            self._further.append(further)

    def _completed(self, done: asyncssh.SSHCompletedProcess) -> Completed:
        if done.exit_status is None and done.exit_signal is None:
            raise self.lost(None)
        out, err = bytes(done.stdout or b""), bytes(done.stderr or b"")  # type: ignore[arg-type]
        ours = after_mark(out)
        if ours is None:
            raise self._not_run((err or out).decode(errors="replace").strip())
        return Completed(done.exit_status, _text(ours), _text(after_mark(err) or b""))

    def _not_run(self, printed: str) -> HostError:
        says = f": {printed.splitlines()[-1][:120]!r}" if printed else ""
        return HostError(
            f"host {self.name}: its login shell did not run a command{says}",
            f"check that this prints 'ready': ssh {login(self._route().end)} echo ready; "
            "start files such as .bashrc must not replace the shell or wait for input",
        )

    def lost(self, error: Exception | None) -> HostError:
        """Return the error of a connection that ended."""
        why = f": {reason(error)}" if error else ""
        return HostError(
            f"host {self.name}: the connection to {self.address} was lost{why}",
            "check that the host is up; its guard stops everything that ran there",
        )


def last_line(done: Completed) -> str:
    """Return the last line that a command printed: of its errors, else of its output; '' when there is none."""
    return ((done.err.strip() or done.out.strip()).splitlines() or [""])[-1]


def first_line(done: Completed) -> str:
    """Return the first line that a command printed, as last_line(): of several errors, usually the cause."""
    return ((done.err.strip() or done.out.strip()).splitlines() or [""])[0]


def _text(output: bytes) -> str:
    return output.decode(errors="replace")
