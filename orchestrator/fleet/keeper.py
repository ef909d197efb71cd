"""Keep a fleet up between runs: `volley hosts up` starts it, `volley hosts down` stops it, runs in between join it.

    python -m orchestrator.fleet.keeper INVENTORY --wait=SECONDS [--install]

The keeper holds the SSH channels, and with them the guards' leases: when it dies, however it dies,
the guards clean the hosts up. A run stays connected to the keeper's socket. If that connection ends
before the run has left, the keeper removes what the run has left on all hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from agents.orders import Busy
from agents.records import from_plain, to_plain
from orchestrator.errors import HostError, Several
from orchestrator.fleet import certificates, raynode
from orchestrator.fleet.actors import Notify
from orchestrator.fleet.claims import POLL_S, Claim, Queue, owner
from orchestrator.fleet.environment import project
from orchestrator.fleet.members import members, our_address
from orchestrator.fleet.nodes import HEAD, Nodes
from orchestrator.fleet.state import digest_of, state_root
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.load import load_inventory

ANSWERED_WITHIN_S = 60.0
# How soon a host that was lost is no longer offered to runs.
WATCH_S = 1.0
REACHED_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True)
class State:
    """What a run needs to join the fleet; kept in a file that only this user can read.

    pid: the keeper's. socket, token_file: paths. project: the archive of our own code that the
    hosts run.
    """

    pid: int
    fleet: str
    address: str
    first_port: int
    head_address: str
    token_file: str
    socket: str
    hosts: list[str]
    accepted_keys: list[str]
    project: str


class ReportKind(StrEnum):
    """PROGRESS: something to show. ERROR: a host, or the fleet, failed. UP: the fleet is up; the last report."""

    PROGRESS = "progress"
    ERROR = "error"
    UP = "up"


@dataclass(frozen=True, slots=True)
class Report:
    """One line of the keeper's standard output. text: what to show, or the error; hosts: those that are up."""

    kind: ReportKind
    text: str = ""
    hint: str = ""
    hosts: list[str] = field(default_factory=list)


class RequestKind(StrEnum):
    """JOIN: use the fleet alone. LEAVE: remove what is left of the run and free the fleet. STOP: end the fleet."""

    JOIN = "join"
    LEAVE = "leave"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Request:
    """What a run asks the keeper for. mark, name, owner: the run's (JOIN). force: end a run that uses it, too (STOP)."""

    kind: RequestKind
    mark: str = ""
    name: str = ""
    owner: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The keeper's answer. busy: the run that uses the fleet now, or is before this one in the queue.

    uncleaned: hosts where cleaning up failed.
    """

    busy: Busy | None = None
    uncleaned: list[str] = field(default_factory=list)


def line_of(record: Report | Request | Answer) -> bytes:
    """Return a record as one line of JSON."""
    return json.dumps(to_plain(record)).encode() + b"\n"


def state_file(inventory: Inventory) -> Path:
    """Return the file of the fleet's state; its name follows from the inventory's content."""
    return state_root() / "fleets" / f"{digest_of(inventory)}.json"


def current(inventory: Inventory) -> State | None:
    """Return the state of the fleet that is up; None when there is none. A keeper that died leaves no fleet."""
    file = state_file(inventory)
    with contextlib.suppress(OSError, ValueError):
        state = from_plain(State, json.loads(file.read_text()))
        if b"fleet.keeper" in Path(f"/proc/{state.pid}/cmdline").read_bytes():
            return state
    file.unlink(missing_ok=True)
    return None


class KeptNodes:
    """Nodes that a keeper holds up, as a run uses them."""

    loopback = False

    def __init__(self, claim: Claim, state: State) -> None:
        self._claim = claim
        self._state = state
        self._channel: socket.socket | None = None
        self.address = state.address
        self.ports = raynode.pinned(state.first_port)
        self.head_address = state.head_address
        self.token_file = Path(state.token_file)
        self.encrypts = certificates.are_in(self.token_file.parent)

    def take(self, notify: Notify) -> None:
        """Join the fleet, as soon as it is free. Raises HostError when another run uses it, or the keeper is silent."""
        channel, queue = socket.socket(socket.AF_UNIX), Queue(self._claim, notify)
        channel.settimeout(ANSWERED_WITHIN_S)
        request = Request(RequestKind.JOIN, self._claim.mark, self._claim.name, owner())
        try:
            channel.connect(self._state.socket)
            # The keeper keeps this run's place in its queue as long as the channel is open.
            while (busy := _ask(channel, request).busy) is not None:
                queue.wait({"the fleet": busy})
                time.sleep(POLL_S)
        except (OSError, ValueError) as error:
            channel.close()
            raise _no_answer(error) from None
        except BaseException:
            channel.close()
            raise
        self._channel = channel
        notify(f"joined the fleet {self._state.fleet}, which is up")

    def lost(self) -> dict[str, str]:
        """Return the coordinator's node if its GCS refuses connections. The keeper watches the hosts."""
        if self._channel is None:
            return {}
        host, _, port = self.head_address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), REACHED_WITHIN_S).close()
        except ConnectionRefusedError:
            return {HEAD: f"the fleet {self._state.fleet} ended"}
        except OSError:  # slow is not gone
            pass
        return {}

    def release(self) -> list[str]:
        """Have what is left of the run removed while the nodes stay up; return the hosts where that failed."""
        if self._channel is None:
            return []
        channel, self._channel = self._channel, None
        try:
            return _ask(channel, Request(RequestKind.LEAVE)).uncleaned
        except (OSError, ValueError):
            return list(self._state.hosts)
        finally:
            channel.close()

    def accepted_keys(self) -> list[str]:
        """Return the hosts whose keys were new and accepted when the fleet came up."""
        return self._state.accepted_keys


def _ask(channel: socket.socket, request: Request) -> Answer:
    """Send a request and return its answer. Raises OSError, ValueError."""
    channel.sendall(line_of(request))
    data = b""
    while not data.endswith(b"\n"):
        if not (more := channel.recv(4096)):
            raise ConnectionError("it closed the connection")
        data += more
    return from_plain(Answer, json.loads(data))


def _no_answer(error: Exception) -> HostError:
    return HostError(
        f"the keeper of the fleet does not answer: {error}",
        "restart the fleet: volley hosts down --force --hosts INVENTORY, then volley hosts up --hosts INVENTORY",
    )


def stop(state: State, force: bool) -> Busy | None:
    """Have a keeper end its fleet; return the run that uses the fleet, unless that is ended, too. Raises HostError."""
    channel = socket.socket(socket.AF_UNIX)
    channel.settimeout(ANSWERED_WITHIN_S)
    try:
        channel.connect(state.socket)
        return _ask(channel, Request(RequestKind.STOP, force=force)).busy
    except (OSError, ValueError) as error:
        if not force:
            raise _no_answer(error) from None
        with contextlib.suppress(OSError):
            os.kill(state.pid, signal.SIGTERM)
        return None
    finally:
        channel.close()


class Keeper:
    """Nodes, a socket, and at most one run at a time; the others wait in the order in which they asked."""

    def __init__(self, nodes: Nodes, file: Path) -> None:
        self._nodes = nodes
        self._file = file
        self._done = asyncio.Event()
        self._run: Request | None = None
        self._since = 0.0
        self._waiting: list[str] = []

    async def serve(self, ready: Callable[[], None]) -> None:
        """Accept runs until the process is told to stop or no host is left. ready: called once runs can join."""
        done = self._done
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, done.set)
        place = str(self._nodes.token_file.with_name("keeper"))
        server = await asyncio.start_unix_server(self._talk, place)
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        hosts = self._nodes.hosts_up()
        self._write(hosts, place)
        ready()
        try:
            while hosts and not done.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), WATCH_S)
                if (now := self._nodes.hosts_up()) != hosts:
                    hosts = now
                    self._write(hosts, place)
        finally:
            server.close()
            self._file.unlink(missing_ok=True)

    def _write(self, hosts: list[str], place: str) -> None:
        nodes = self._nodes
        state = State(
            pid=os.getpid(),
            fleet=nodes.claim.mark,
            address=nodes.address,
            first_port=nodes.ports.gcs,
            head_address=nodes.head_address,
            token_file=str(nodes.token_file),
            socket=place,
            hosts=hosts,
            accepted_keys=nodes.accepted_keys(),
            project=project().name,
        )
        draft = self._file.with_suffix(".part")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(to_plain(state)))
        draft.rename(self._file)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one run's connection; stop what is left of the run when the connection ends without LEAVE."""
        joined: Request | None = None
        asked = ""
        try:
            while line := await reader.readline():
                request = from_plain(Request, json.loads(line))
                if request.kind is RequestKind.LEAVE:
                    answer = Answer(uncleaned=await self._end(joined))
                    joined = None
                elif request.kind is RequestKind.STOP:
                    answer = self._stop(request.force)
                else:
                    asked = request.mark
                    answer = Answer(busy=self._before(asked))
                    if answer.busy is None:
                        joined = await self._join(request)
                writer.write(line_of(answer))
                await writer.drain()
        except (OSError, ValueError):
            pass
        finally:
            if asked in self._waiting:
                self._waiting.remove(asked)
            await self._end(joined)
            writer.close()

    def _before(self, mark: str) -> Busy | None:
        """Put a run into the queue, if it is not there; return the run that uses the fleet or is before it."""
        if mark not in self._waiting:
            self._waiting.append(mark)
        place = self._waiting.index(mark)
        if (busy := self._busy()) is not None:
            return replace(busy, before=place + 1)
        return Busy("", "that asked before", before=place) if place else None

    def _busy(self) -> Busy | None:
        run = self._run
        return None if run is None else Busy(run.owner, run.name, round(time.monotonic() - self._since, 1))

    async def _join(self, request: Request) -> Request:
        self._waiting.remove(request.mark)
        self._run, self._since = request, time.monotonic()
        await self._nodes.begin_run(request.mark, request.name, request.owner)
        return request

    def _stop(self, force: bool) -> Answer:
        if (busy := self._busy()) is not None and not force:
            return Answer(busy)
        self._done.set()
        return Answer()

    async def _end(self, run: Request | None) -> list[str]:
        if run is None:
            return []
        uncleaned = await self._nodes.end_run(run.mark)
        self._run = None
        return uncleaned


def main() -> int:
    """Bring a fleet up, report on standard output how that went, and keep it until told to stop."""
    path, wait_s, install = Path(sys.argv[1]), float(sys.argv[2].partition("=")[2]), "--install" in sys.argv[3:]
    inventory = load_inventory(path)
    return asyncio.run(_keep(inventory, path.parent.resolve(), install, wait_s))


def _report(report: Report) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(line_of(report).decode())
        sys.stdout.flush()


def _report_error(error: HostError) -> None:
    for each in error.errors if isinstance(error, Several) else [error]:
        _report(Report(ReportKind.ERROR, each.message, each.hint))


async def _keep(inventory: Inventory, folder: Path, install: bool, wait_s: float) -> int:
    fleet = f"fleet-{os.getpid()}-{os.urandom(3).hex()}"
    hosts = members(inventory, folder)
    claim = Claim(fleet, fleet, wait_s, fleet=True)
    ports = raynode.pinned(inventory.ports)
    relay, encrypts = inventory.environment == "relay", inventory.encrypt
    nodes = Nodes(claim, our_address(inventory, folder), ports, None, hosts, relay=relay, encrypts=encrypts)
    try:
        errors = await nodes.up(lambda text: _report(Report(ReportKind.PROGRESS, text)), install, partly=True)
        for error in errors:
            _report_error(error)
        if nodes.hosts_up():
            await Keeper(nodes, state_file(inventory)).serve(lambda: _up(nodes))
    except HostError as error:
        _report_error(error)
        return error.exit_code
    finally:
        await nodes.down()
    return 0


def _up(nodes: Nodes) -> None:
    _report(Report(ReportKind.UP, hosts=nodes.hosts_up()))
    # The process that started this one stops reading now; later output would fill the pipe.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
