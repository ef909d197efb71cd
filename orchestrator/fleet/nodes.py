"""The Ray nodes of a fleet: the coordinator's own and one per host, each under its guard; all at once, down to nothing."""

from __future__ import annotations

import asyncio
import functools
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agents.guard import Order
from orchestrator.errors import HostError, Several
from orchestrator.fleet import provision, raynode
from orchestrator.fleet.environment import Archive, archives, have_zstd
from orchestrator.fleet.guarded import LEASE_S, Guard, guard_here, guard_there
from orchestrator.fleet.place import Machine
from orchestrator.fleet.raynode import Ports
from orchestrator.fleet.ssh import Doors, SshHost

UP_WITHIN_S = 90.0
HEAD = "coordinator"
LOOPBACK = "127.0.0.1"
Tell = Callable[[str], None]

_REFUSED = "the coordinator refused its token; run it again, and see that nobody else's head uses the port"
_TAKEN = "its ports are in use; 'volley hosts clean' removes what was left there, or set 'ports' in the inventory"
# Ray goes on trying for half a minute after these.
HOPELESS = ["InvalidAuthToken", "AuthenticationError", "Version mismatch"]
# What Ray prints, and what a person can do about it.
_TROUBLE = {
    "InvalidAuthToken": _REFUSED,
    "AuthenticationError": _REFUSED,
    "Version mismatch": "Ray or Python differ in version there; name the right interpreter: python: PATH",
    "already in use": _TAKEN,
    "Address already": _TAKEN,
    "occupied": _TAKEN,
}


@dataclass(slots=True)
class Member:
    """A host of the fleet: what it offers, its connection, its guard once its node is up."""

    machine: Machine
    roles: list[str]
    ssh: SshHost
    guard: Guard | None = None


class Nodes:
    """Head and members. Everything happens on one event loop; up() and down() are its coroutines."""

    def __init__(self, fleet: str, address: str, ports: Ports, here: Machine | None, members: list[Member]) -> None:
        """`here`: what this machine itself offers as a host; None when it only coordinates."""
        self.fleet = fleet
        self.address = address
        self.ports = ports
        self.members = members
        self.token = _token()
        self._here = here
        self._doors = Doors()
        self._head: Guard | None = None

    @property
    def head_address(self) -> str:
        """Where the GCS listens."""
        return f"{self.address}:{self.ports.gcs}"

    @property
    def loopback(self) -> bool:
        """Say whether nothing listens beyond this machine."""
        return self.address == LOOPBACK

    @property
    def token_file(self) -> Path:
        """Where this machine's node keeps the token."""
        assert self._head is not None
        return Path(self._head.folder) / "token"

    async def up(self, tell: Tell, install: bool = False, partly: bool = False) -> list[HostError]:
        """Start everything. Raises HostError, or Several, when a node does not come up.

        partly: then the others stay, and the errors are given back.
        """
        head = asyncio.create_task(self._start_head())
        packed = asyncio.create_task(asyncio.to_thread(_archives)) if self.members else None
        try:
            ready = [self._start(member, head, packed, install, tell) for member in self.members]
            results = await asyncio.gather(*ready, return_exceptions=True)
            await head
        finally:
            for task in (head, packed):
                if task is not None and not task.done():
                    task.cancel()
        errors = [result for result in results if isinstance(result, HostError)]
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, HostError):
                raise result
        if errors and not partly:
            raise errors[0] if len(errors) == 1 else Several(errors)
        return errors

    async def _start_head(self) -> None:
        self._head = await guard_here(HEAD)
        command = raynode.head_command(self.address, self.ports, self._here)
        await self._begin(self._head, command, 0.0, "run 'volley doctor'")

    async def _begin(self, guard: Guard, command: list[str], lease_s: float, hint: str) -> None:
        settings = raynode.environment(self.loopback)
        await guard.begin(Order(self.fleet, command, settings, self.token, raynode.READY, lease_s, HOPELESS))
        if await guard.event("ready", UP_WITHIN_S) is None:
            raise trouble(guard, hint)

    async def _start(
        self,
        member: Member,
        head: asyncio.Task[None],
        packed: asyncio.Task[list[Archive]] | None,
        install: bool,
        tell: Tell,
    ) -> None:
        """Bring one host up: connect, look, send, join. Whatever fails is this host's error alone."""
        host = member.ssh
        async with self._doors.to(host):
            await host.connect()
        if install:
            await provision.install(host, member.roles)
        found = await provision.survey(host)
        provision.require_fit(host, found, member.roles)
        assert packed is not None
        prepared = await provision.send(host, await asyncio.shield(packed), found["zstd"] is not None)
        if prepared.sent_bytes:
            tell(f"host {host.name}: sent {prepared.sent_bytes / 1e6:.0f} MB")
        await asyncio.shield(head)
        await provision.reach(host, prepared, self.address, self.ports.gcs)
        guard = await guard_there(host, prepared.python, prepared.python_path)
        command = raynode.member_command(self.head_address, member.machine, self.ports)
        try:
            await self._begin(guard, command, LEASE_S, f"look at {host.name} with 'volley hosts check'")
            await self._reach_back(host)
        except BaseException:
            await guard.close()
            raise
        member.guard = guard

    async def _reach_back(self, host: SshHost) -> None:
        try:
            async with asyncio.timeout(3):
                _, writer = await asyncio.open_connection(host.address, self.ports.node_manager)
            writer.close()
        except (TimeoutError, OSError):
            raise HostError(
                f"host {host.name}: its node at {host.address}:{self.ports.node_manager} cannot be reached from here",
                "let the fleet's ports through both ways (docs/hosts.md lists them)",
            ) from None

    def there(self) -> list[str]:
        """Give the hosts whose nodes are up."""
        guards = {member.machine.name: member.guard for member in self.members}
        return [name for name, guard in guards.items() if guard is not None and not guard.gone and guard.ended is None]

    async def end_run(self, run: str) -> list[str]:
        """Have everything of a run that used these nodes removed, on all hosts; give the hosts where that failed."""
        guards = [member.guard for member in self.members if member.guard is not None]
        ended = await asyncio.gather(*(guard.end_run(run) for guard in guards))
        return [guard.host for guard, done in zip(guards, ended, strict=True) if not done]

    async def down(self) -> list[str]:
        """End everything, everywhere, at once; give the hosts that could not be cleaned in time."""
        guards = [member.guard for member in self.members if member.guard is not None]
        guards += [self._head] if self._head else []
        cleaned = await asyncio.gather(*(guard.close() for guard in guards))
        for member in self.members:
            member.guard = None
        self._head = None
        await asyncio.gather(*(member.ssh.close() for member in self.members))
        return [guard.host for guard, done in zip(guards, cleaned, strict=True) if not done]


@functools.cache
def _token() -> str:
    """One per process, and so per run: Ray reads it once, and a fleet that is brought up again has to know it."""
    return secrets.token_hex(32)


def _archives() -> list[Archive]:
    made = archives()
    for archive in made:
        archive.packed(have_zstd())  # what most hosts will want, while they are being reached
    return made


def trouble(guard: Guard, hint: str) -> HostError:
    """Say in one line why a node did not come up."""
    log = str((guard.ended or {}).get("log", ""))
    for sign, what in _TROUBLE.items():
        if sign in log:
            words, _, advice = what.partition("; ")
            return HostError(f"host {guard.host}: {words}", advice)
    if guard.gone:
        return HostError(f"host {guard.host}: it went away while its node was starting", "see that the host is up")
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    why = f"ended: {lines[-1][:200]}" if guard.ended else f"did not come up within {UP_WITHIN_S:g} s"
    return HostError(f"host {guard.host}: its Ray node {why if lines or not guard.ended else 'ended'}", hint)
