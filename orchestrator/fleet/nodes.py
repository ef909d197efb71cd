"""The Ray nodes of a fleet: the coordinator's own and one per host, each under a guard, started and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from agents.orders import GuardEventKind, Order
from agents.processes import raise_open_files
from orchestrator.errors import HostError, Several
from orchestrator.fleet import certificates, preflight, provision, raynode
from orchestrator.fleet.actors import Notify
from orchestrator.fleet.claims import HERE, Claim, owner
from orchestrator.fleet.environment import Archive, archives, have_zstd, project
from orchestrator.fleet.guarded import LEASE_S, Guard, guard_here, guard_there
from orchestrator.fleet.hosts import HostLost
from orchestrator.fleet.place import LOOPBACK, Machine
from orchestrator.fleet.raynode import Ports
from orchestrator.fleet.relay import EnvironmentRelay
from orchestrator.fleet.relay_plan import DIRECT_UP_TO
from orchestrator.fleet.ssh import ConnectionLimit, SshHost
from orchestrator.fleet.take_all import take_all
from orchestrator.spec.text import authority

UP_WITHIN_S = 90.0
HEAD = "coordinator"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What Ray's message means, and the fix."""

    message: str
    fix: str


_REFUSED = Trouble(
    "the coordinator refused its token", "run it again; if that fails, check for another Ray head on the same port"
)
_TAKEN = Trouble(
    "its ports are in use by a program that is not a run of yours",
    "set 'ports' in the inventory to a free range; 'ss -ltnp' on the host names the program",
)
# Ray keeps trying for half a minute after these messages, without any chance.
HOPELESS = ["InvalidAuthToken", "AuthenticationError", "Version mismatch"]
_ERROR = re.compile(
    r"\b(error|exception|failed|cannot|could not|unable|denied|refused|no such|not found|no space|too long|fatal)\b"
    r"|\w(Error|Exception)\b",
    re.IGNORECASE,
)
# What 'ray start --block' prints of a process of the node that has died.
_DIED = re.compile(r"^\s*(\w+) \[exit code=(-?\d+)\]", re.MULTILINE)
# What 'ray start' prints, among much else, of a raylet that has not registered in time.
_NO_RAYLET = "Failed to get node info"
# By what Ray prints.
_TROUBLE = {
    "InvalidAuthToken": _REFUSED,
    "AuthenticationError": _REFUSED,
    "Version mismatch": Trouble(
        "its version of Ray or Python differs from the coordinator's",
        "name the right interpreter in the inventory: python: PATH",
    ),
    "already in use": _TAKEN,
    "Address already": _TAKEN,
    "occupied": _TAKEN,
}


@dataclass(slots=True)
class Member:
    """A host of the fleet: what it offers, its connection, its guard, and whether its node is up.

    zstd: whether it can unpack that. ours: what runs our own modules there, once they were sent.
    """

    machine: Machine
    ssh: SshHost
    guard: Guard | None = None
    zstd: bool = False
    ours: provision.Prepared | None = None
    is_up: bool = False


class Nodes:
    """The coordinator's node and those of the members. All coroutines run on one event loop."""

    def __init__(
        self,
        claim: Claim,
        address: str,
        ports: Ports,
        here: Machine | None,
        members: list[Member],
        *,
        relay: bool = True,
        encrypts: bool = False,
    ) -> None:
        """here: what this machine itself offers as a host; None when it only coordinates.

        relay: let many hosts pass the environment on to each other. encrypts: with certificates of this fleet alone.
        """
        self.claim = claim
        self.address = address
        self.ports = ports
        self.members = members
        self.token = _token()
        self._here = here
        self._relay = relay
        self.encrypts = encrypts
        self._connecting = ConnectionLimit()
        self._head: Guard | None = None
        self._head_is_up = False
        self._own: Archive | None = None

    @property
    def head_address(self) -> str:
        """The address of Ray's GCS, host:port."""
        return authority(self.address, self.ports.gcs)

    @property
    def loopback(self) -> bool:
        """Whether all nodes listen on this machine's loopback only."""
        return self.address == LOOPBACK

    @property
    def token_file(self) -> Path:
        """The file in which this machine's node keeps the token."""
        assert self._head is not None
        return Path(self._head.folder) / "token"

    async def up(self, notify: Notify, install: bool = False, partly: bool = False) -> list[HostError]:
        """Start all nodes. Raises HostError, or Several, when one does not come up.

        partly: keep the nodes that are up and return the errors instead.
        """
        # A connection for each host.
        raise_open_files()
        head = asyncio.create_task(self._start_head(notify))
        packed = asyncio.create_task(asyncio.to_thread(_archives)) if self.members else None
        try:
            asking = [self._ask(member, install) for member in self.members]
            errors = _errors(await asyncio.gather(*asking, return_exceptions=True), partly)
            guards = [member.guard for member in self.members if member.guard is not None]
            if guards:
                # Nothing is sent to a host and nothing starts there before it is ours: that would disturb another run.
                await take_all(guards, self.claim, notify)
            taken = [member for member in self.members if member.guard is not None]
            relay = await self._relay_to(taken, packed, notify)
            try:
                joining = [self._join(member, head, packed, relay, install, notify) for member in taken]
                errors += _errors(await asyncio.gather(*joining, return_exceptions=True), partly)
            finally:
                if relay is not None:
                    relay.close()
            await head
        finally:
            for task in (head, packed):
                if task is not None and not task.done():
                    task.cancel()
        return errors

    async def _start_head(self, notify: Notify) -> None:
        guard = self._head = await guard_here(HEAD if self._here is None else HERE)
        command = raynode.head_command(self.address, self.ports, self._here)
        order = self._order(command, 0.0, self.address)
        if self._here is None:
            # A coordinator that only coordinates may do so for several runs.
            await guard.begin(replace(order, alone=False))
        else:
            await guard.ask(order)
            await take_all([guard], self.claim, notify)
            await guard.start()
        await self._ready(guard, "check this machine: volley doctor")
        self._head_is_up = True

    def _order(self, command: list[str], lease_s: float, address: str) -> Order:
        """Return the order for the node at an address."""
        claim = self.claim
        return Order(
            claim.mark,
            command,
            raynode.environment(self.loopback, encrypts=self.encrypts),
            self.token,
            raynode.READY,
            lease_s,
            HOPELESS,
            name=claim.name,
            owner=owner(),
            fleet=claim.fleet,
            alone=True,
            share=claim.share,
            stamp_ns=claim.stamp_ns,
            files=certificates.authority().files(address) if self.encrypts else {},
        )

    async def _ready(self, guard: Guard, hint: str) -> None:
        if await guard.event(GuardEventKind.READY, UP_WITHIN_S) is None:
            raise trouble(guard, hint)

    def _project(self) -> Archive:
        """Return our own modules. They are read once, not for each host."""
        if self._own is None:
            self._own = project()
        return self._own

    async def _ask(self, member: Member, install: bool) -> None:
        """Start a host's guard, and see who has the host. Raises HostError; a failure concerns this host alone."""
        host = member.ssh
        member.machine = replace(member.machine, address=await asyncio.to_thread(host.number))
        async with self._connecting.to(host):
            await host.connect()
        surveyed = await provision.survey(host)
        if not install:
            provision.require_ready(host, surveyed, member.machine.roles)
        member.zstd = surveyed.zstd is not None
        member.ours = await provision.send(host, [self._project()], member.zstd)
        guard = await guard_there(host, member.ours)
        try:
            command = raynode.member_command(self.head_address, member.machine, self.ports)
            await guard.ask(self._order(command, LEASE_S, member.machine.address))
        except BaseException:
            await guard.close()
            raise
        member.guard = guard

    async def _relay_to(
        self, members: list[Member], packed: asyncio.Task[list[Archive]] | None, notify: Notify
    ) -> EnvironmentRelay | None:
        """Return what hosts pass the packages on with; None where they are few. An error in packing is left to _join."""
        if not self._relay or packed is None or len(members) <= DIRECT_UP_TO:
            return None
        with contextlib.suppress(HostError):
            packages = (await asyncio.shield(packed))[0]
            relay = EnvironmentRelay(packages, self.ports.relay, self.claim.mark, notify)
            await relay.ask([(member.ssh, member.zstd) for member in members])
            return relay
        return None

    async def _join(
        self,
        member: Member,
        head: asyncio.Task[None],
        packed: asyncio.Task[list[Archive]] | None,
        relay: EnvironmentRelay | None,
        install: bool,
        notify: Notify,
    ) -> None:
        """Bring the node of a host up that is ours. Raises HostError; a failure concerns this host alone."""
        host, guard = member.ssh, member.guard
        assert guard is not None
        assert packed is not None
        try:
            if install:
                await provision.install(host, member.machine.roles)
                provision.require_ready(host, await provision.survey(host), member.machine.roles)
            environment = await asyncio.shield(packed)
            await preflight.prepare(host, member.machine.address, self.ports, await provision.has(host, environment))
            if relay is not None and member.ours is not None:
                await relay.deliver(host, member.machine.address, member.ours)
            # Whatever is still missing.
            prepared = await provision.send(host, environment, member.zstd)
            if prepared.sent_bytes:
                notify(f"host {host.name}: sent {prepared.sent_bytes / 1e6:.0f} MB")
            await asyncio.shield(head)
            await provision.require_route(host, prepared, self.address, self.ports.gcs, self.ports.firewall_rule())
            await guard.start(prepared.python_path)
            await self._ready(guard, "check the hosts: volley hosts check --hosts INVENTORY")
            await self._require_route_back(member.machine)
        except BaseException:
            member.guard = None
            await guard.close(ask=False)
            raise
        member.is_up = True

    async def _require_route_back(self, host: Machine) -> None:
        try:
            async with asyncio.timeout(3):
                _, writer = await asyncio.open_connection(host.address, self.ports.node_manager)
            writer.close()
        except (TimeoutError, OSError):
            raise HostError(
                f"host {host.name}: this machine cannot reach its node at {host.address}:{self.ports.node_manager}",
                self.ports.firewall_rule(),
            ) from None

    def lost(self) -> dict[str, str]:
        """Return the hosts whose node or guard has ended after it was up, and why; HEAD for the coordinator's own."""
        guards = {HEAD: self._head} if self._head_is_up else {}
        guards |= {member.machine.name: member.guard for member in self.members if member.is_up}
        return {host: why for host, guard in guards.items() if guard is not None and (why := end_of(guard))}

    def hosts_up(self) -> list[str]:
        """Return the hosts whose nodes are up."""
        guards = {member.machine.name: member.guard for member in self.members if member.is_up}
        return [name for name, guard in guards.items() if guard is not None and not guard.gone and guard.ended is None]

    def accepted_keys(self) -> list[str]:
        """Return the hosts whose keys were new and accepted, as the inventory's `host_keys: accept-new` allows."""
        return [member.ssh.name for member in self.members if member.ssh.accepted]

    async def end_run(self, run: str) -> list[str]:
        """Have everything of a run removed on all hosts while the nodes stay up; return the hosts where that failed.

        run: its mark.
        """
        guards = [member.guard for member in self.members if member.guard is not None]
        ended = await asyncio.gather(*(guard.end_run(run) for guard in guards))
        return [guard.host for guard, done in zip(guards, ended, strict=True) if not done]

    async def begin_run(self, run: str, name: str, owner: str) -> list[str]:
        """Have a run registered on all hosts; return the hosts where that failed. run: its mark."""
        guards = [member.guard for member in self.members if member.guard is not None]
        begun = await asyncio.gather(*(guard.begin_run(run, name, owner) for guard in guards))
        return [guard.host for guard, done in zip(guards, begun, strict=True) if not done]

    async def down(self) -> list[str]:
        """Stop all nodes at the same time; return the hosts that could not be cleaned up in time."""
        self._head_is_up = False
        guards = [member.guard for member in self.members if member.guard is not None]
        guards += [self._head] if self._head else []
        cleaned = await asyncio.gather(*(guard.close() for guard in guards))
        for member in self.members:
            member.guard, member.is_up = None, False
        self._head = None
        await asyncio.gather(*(member.ssh.close() for member in self.members))
        return [guard.host for guard, done in zip(guards, cleaned, strict=True) if not done]


@functools.cache
def _token() -> str:
    """Return the token of this process. Ray reads it once, so a fleet that is brought up again must use the same one."""
    return secrets.token_hex(32)


def _errors(results: list[BaseException | None], partly: bool) -> list[HostError]:
    """Return the errors of hosts. Raises other errors than HostError; without `partly`, HostError or Several."""
    errors = [result for result in results if isinstance(result, HostError)]
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, HostError):
            raise result
    if errors and not partly:
        raise errors[0] if len(errors) == 1 else Several(errors)
    return errors


def _archives() -> list[Archive]:
    made = archives()
    for archive in made:
        archive.packed(have_zstd())  # the kind that most hosts take, packed while they are being connected
    return made


def trouble(guard: Guard, hint: str) -> HostError:
    """Return the error of a node that did not come up; HostLost where a process of it was killed or crashed.

    hint: the fix when Ray's message is not a known one.
    """
    where, ended = f"host {guard.host}", guard.ended
    log = ended.log if ended else ""
    for sign, known in _TROUBLE.items():
        if sign in log:
            return HostError(f"{where}: {known.message}", known.fix)
    if _DIED.search(log):
        return HostLost(f"{where}: {end_of(guard)}", hint, guard.host)
    if _NO_RAYLET in log:
        return HostLost(f"{where}: its Ray node died while it was starting", hint, guard.host)
    if guard.gone:
        return HostError(f"{where}: connection lost while its Ray node was starting", "check that the host is up")
    if ended is None:
        return HostError(f"{where}: its Ray node did not come up within {UP_WITHIN_S:g} s", hint)
    return HostError(f"{where}: its Ray node exited: {first_error(log)[:200]}", hint)


def end_of(guard: Guard) -> str:
    """Return how a node that was up has ended, in a few words; empty while it is up."""
    if guard.ended is not None:
        if (died := _DIED.search(guard.ended.log)) is None:
            return "its Ray node died"
        status = int(died[2])
        how = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
        return f"its Ray node died: {died[1]} {how}"
    return "its guard is gone" if guard.gone else ""


def first_error(log: str) -> str:
    """Return the line of a log that says first what went wrong; what follows is often only a consequence."""
    lines = [line for line in log.splitlines() if line.strip()]
    for index, line in enumerate(lines):
        if line.startswith("Traceback (most recent call last)"):
            # The exception stands below its trace, which is indented.
            below = (each for each in lines[index + 1 :] if not each.startswith((" ", "\t")))
            return next(below, line).strip()
        if _ERROR.search(line):
            return line.strip()
    return lines[-1].strip() if lines else "without a message"
