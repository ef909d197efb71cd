"""Have the hosts of a fleet pass the environment on to each other, so that the coordinator sends it to a few only.

Nothing here raises for a host: one that does not get the environment this way gets it from the coordinator
afterwards, as a single host does.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
import shlex
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.orders import RUN_VARIABLE
from agents.relay import CHUNK_BYTES, Order
from orchestrator.errors import HostError
from orchestrator.fleet import provision
from orchestrator.fleet.actors import Notify
from orchestrator.fleet.environment import Archive, have_zstd
from orchestrator.fleet.provision import SEND_TIMEOUT_S, Prepared
from orchestrator.fleet.relay_plan import DIRECT_UP_TO, USES, From, RelayPlan
from orchestrator.fleet.ssh import SshHost

if TYPE_CHECKING:
    import asyncssh

PROGRAM = "agents.relay"
FOLDER = "~/.cache/volley"
# A host that receives more slowly than this gets the environment from the coordinator.
SLOWEST_BYTES_S = 1e6
EXTRA_S = 10.0
DEADLINE_S = 1800.0


@dataclass(slots=True)
class _Channel:
    """The relay on a host, over its SSH channel."""

    process: asyncssh.SSHClientProcess[bytes]
    order: Order

    async def write(self, request: dict[str, Any]) -> None:
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        await self.process.stdin.drain()

    async def event(self, within_s: float) -> dict[str, Any]:
        """Return the next report. Raises _Lost."""
        import asyncssh

        try:
            async with asyncio.timeout(within_s):
                line = await self.process.stdout.readline()
            event: dict[str, Any] = json.loads(line)
        except TimeoutError:
            raise _Lost("it did not finish in time") from None
        except (OSError, ValueError, asyncssh.Error):
            raise _Lost("its relay ended") from None
        if "failed" in event:
            raise _Lost(event["failed"], bool(event.get("blame")))
        return event


class _Lost(Exception):
    """A transfer failed. blame: because of the sender."""

    def __init__(self, reason: str, blame: bool = False) -> None:
        super().__init__(reason)
        self.blame = blame


@dataclass(slots=True)
class _Kind:
    """The distribution of one packed file: those for hosts with and without zstd differ."""

    archive: Archive
    zstd: bool
    plan: RelayPlan = field(default_factory=RelayPlan)
    waiting: dict[str, asyncio.Future[str | From]] = field(default_factory=dict)
    channels: dict[str, _Channel] = field(default_factory=dict)
    packed: tuple[Path, str] | None = None
    packing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def file(self) -> tuple[Path, str]:
        """Return the packed file and its SHA-256. Raises HostError."""
        async with self.packing:
            if self.packed is None:
                self.packed = await asyncio.to_thread(_packed, self.archive, self.zstd)
            return self.packed

    def proceed(self) -> None:
        """Start what can start."""
        for host, sender in self.plan.assign():
            turn = self.waiting.pop(host)
            if not turn.done():
                turn.set_result(sender)
            # Else it was cancelled: it reports that to the plan itself, as soon as it runs.


class EnvironmentRelay:
    """Distributes one archive. All coroutines run on one event loop. sent_bytes: what the coordinator itself sent."""

    def __init__(self, archive: Archive, port: int, run: str, notify: Notify) -> None:
        """port: where hosts serve. run: the run's mark, by which its guards end what is left of it."""
        self._kinds = {zstd: _Kind(archive, zstd) for zstd in (False, True)}
        self._port, self._run, self._notify = port, run, notify
        self._lacking: dict[str, bool] = {}
        self._left: set[str] = set()
        self._gave_up = False
        self.sent_bytes = 0

    async def ask(self, hosts: Sequence[tuple[SshHost, bool]]) -> None:
        """Ask hosts whether they lack the archive, before any is sent. Each comes with whether it can unpack zstd."""
        archives = [self._kinds[False].archive]
        asked = await asyncio.gather(*(provision.has(host, archives) for host, _ in hosts), return_exceptions=True)
        for (host, zstd), has in zip(hosts, asked, strict=True):
            # One that does not answer is reported when it is brought up.
            if has is False:
                self.expect(host.name, zstd)

    def expect(self, host: str, zstd: bool) -> None:
        """Record that a host lacks the archive, before any is sent. zstd: it can unpack that."""
        self._lacking[host] = zstd and have_zstd()
        self._left.add(host)

    def worthwhile(self, host: str) -> bool:
        """Return whether a host takes part: it lacks the archive, and so do many others."""
        kind = self._lacking.get(host)
        return kind is not None and sum(each is kind for each in self._lacking.values()) > DIRECT_UP_TO

    async def deliver(self, host: SshHost, address: str, prepared: Prepared) -> bool:
        """Have a host get the archive; return whether it has it now. prepared: what runs our code there.

        False: the coordinator has to send it by other means.
        """
        try:
            return self.worthwhile(host.name) and await self._deliver(host, address, prepared)
        finally:
            self._left.discard(host.name)
            if not self._left:
                self.close()

    async def _deliver(self, host: SshHost, address: str, prepared: Prepared) -> bool:
        import asyncssh

        kind = self._kinds[self._lacking[host.name]]
        turn: asyncio.Future[str | From] = asyncio.get_running_loop().create_future()
        kind.waiting[host.name] = turn
        kind.plan.want(host.name)
        kind.proceed()
        try:
            sender = await turn
        except asyncio.CancelledError:
            kind.waiting.pop(host.name, None)
            kind.plan.cancel(host.name)
            kind.proceed()
            raise
        if sender is From.FALLBACK:
            self._give_up()
            return False
        try:
            await self._transfer(kind, host, address, prepared, sender)
        except (_Lost, HostError, OSError, asyncssh.Error) as error:
            reason = error.message.partition(": ")[2] if isinstance(error, HostError) else str(error)
            blame = isinstance(error, _Lost) and error.blame
            self._fell_back(kind, host, sender, reason, blame)
            return False
        except BaseException:
            # Interrupted: that says nothing about the network.
            self._end(kind, host.name)
            raise
        finally:
            kind.proceed()
        return await self._unpacked(kind, host)

    async def _transfer(self, kind: _Kind, host: SshHost, address: str, prepared: Prepared, sender: str | From) -> None:
        """Have a host receive the archive, and serve it from then on. Raises _Lost, HostError, OSError."""
        path, digest = await kind.file()
        size = path.stat().st_size
        order = Order(FOLDER, kind.archive.name, kind.zstd, digest, size, address, self._port, secrets.token_hex(16),
                      USES, DEADLINE_S)  # fmt: skip
        # A process of the run: its guard ends it with everything else of the run.
        mark = f"export {RUN_VARIABLE}={shlex.quote(self._run)} && "
        process = await host.start(mark + prepared.shell(f"-m {PROGRAM}"))
        channel = kind.channels[host.name] = _Channel(process, order)
        await channel.write(asdict(order))
        within_s = EXTRA_S + size / SLOWEST_BYTES_S
        if isinstance(sender, From):
            await channel.write({"take": True})
            async with _lost_after(SEND_TIMEOUT_S):
                await self._feed(channel, path)
        else:
            if sender not in kind.channels:
                raise _Lost(f"{sender} has ended", blame=True)
            source = kind.channels[sender].order
            await channel.write({"fetch": {"address": source.address, "port": source.port, "token": source.token,
                                           "within_s": within_s}})  # fmt: skip
        event = await channel.event(SEND_TIMEOUT_S if isinstance(sender, From) else within_s + EXTRA_S)
        silent = event.get("silent")
        kind.plan.received(host.name, serves=silent is None)
        megabytes = f"{size / 1e6:.0f} MB"
        if isinstance(sender, From):
            self._notify(f"host {host.name}: sent {megabytes}")
        else:
            self._notify(f"host {host.name}: got {megabytes} from {sender}")
        if silent:
            self._notify(f"host {host.name}: does not pass the environment on: {address}:{self._port}: {silent}")

    async def _feed(self, channel: _Channel, path: Path) -> None:
        with path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                channel.process.stdin.write(chunk)
                await channel.process.stdin.drain()
                self.sent_bytes += len(chunk)

    async def _unpacked(self, kind: _Kind, host: SshHost) -> bool:
        try:
            await kind.channels[host.name].event(SEND_TIMEOUT_S)
        except _Lost as error:
            self._notify(f"host {host.name}: {error}; this machine sends the environment again")
            self._end(kind, host.name)
            return False
        return True

    def _fell_back(self, kind: _Kind, host: SshHost, sender: str | From, reason: str, blame: bool) -> None:
        kind.plan.failed(host.name, blame)
        self._end(kind, host.name)
        if not self._gave_up:
            whence = f" from {sender}" if isinstance(sender, str) else ""
            self._notify(f"host {host.name}: did not get the environment{whence}: {reason}; this machine sends it")

    def _give_up(self) -> None:
        if not self._gave_up:
            self._gave_up = True
            self._notify(
                "the hosts cannot pass the environment on to each other; this machine sends it to each: "
                f"allow TCP port {self._port} between the hosts, or set 'environment: direct' in the inventory"
            )

    def _end(self, kind: _Kind, host: str) -> None:
        kind.plan.cancel(host)
        if (channel := kind.channels.pop(host, None)) is not None:
            _close(channel)

    def close(self) -> None:
        """End all relays. The end of standard input is what they wait for."""
        for kind in self._kinds.values():
            for host in list(kind.channels):
                self._end(kind, host)


def _close(channel: _Channel) -> None:
    with contextlib.suppress(OSError):
        channel.process.stdin.write_eof()
    channel.process.close()


@contextlib.asynccontextmanager
async def _lost_after(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise _Lost("it did not finish in time") from None


def _packed(archive: Archive, zstd: bool) -> tuple[Path, str]:
    path = archive.packed(zstd)
    with path.open("rb") as file:
        return path, hashlib.file_digest(file, "sha256").hexdigest()
