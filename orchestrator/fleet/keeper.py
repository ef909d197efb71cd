"""Keeps a fleet up between runs: `volley hosts up` starts it, `volley hosts down` ends it, runs in between join it.

    python -m orchestrator.fleet.keeper INVENTORY [--install]

It holds the SSH channels, and with them the guards' leases: when it dies, however it dies, the hosts are cleaned. A run
holds a connection to its socket; when that ends in disorder, the keeper has the run's remains removed on all hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import HostError, Several
from orchestrator.fleet import raynode
from orchestrator.fleet.environment import project
from orchestrator.fleet.members import members, our_address
from orchestrator.fleet.nodes import Nodes, Tell
from orchestrator.fleet.state import digest_of, state_root
from orchestrator.spec.inventory import Inventory
from orchestrator.spec.load import load_inventory

ENDED_WITHIN_S = 60.0
# How soon a host that was lost is no longer offered to runs.
WATCH_S = 1.0


@dataclass(frozen=True, slots=True)
class State:
    """What a run needs to join: kept in a file that only this user can read."""

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


def state_file(inventory: Inventory) -> Path:
    """Where the state of this inventory's fleet is; named by what the inventory says."""
    return state_root() / "fleets" / f"{digest_of(inventory)}.json"


def current(inventory: Inventory) -> State | None:
    """Give the state of the fleet that is up; None when there is none. A keeper that died leaves no fleet."""
    file = state_file(inventory)
    with contextlib.suppress(OSError, ValueError, TypeError):
        state = State(**json.loads(file.read_text()))
        if b"fleet.keeper" in Path(f"/proc/{state.pid}/cmdline").read_bytes():
            return state
    file.unlink(missing_ok=True)
    return None


class KeptNodes:
    """Nodes that a keeper holds up, as a run uses them."""

    loopback = False

    def __init__(self, run: str, state: State) -> None:
        self._run = run
        self._state = state
        self._channel: socket.socket | None = None
        self.address = state.address
        self.ports = raynode.pinned(state.first_port)
        self.head_address = state.head_address
        self.token_file = Path(state.token_file)

    def take(self, tell: Tell) -> None:
        """Tell the keeper of the run. Raises HostError when another run uses the fleet."""
        channel = socket.socket(socket.AF_UNIX)
        channel.settimeout(ENDED_WITHIN_S)
        try:
            channel.connect(self._state.socket)
            answer = self._ask(channel, {"run": self._run})
        except OSError as error:
            channel.close()
            raise HostError(f"the keeper of the fleet does not answer: {error}", "volley hosts down, then up") from None
        if "error" in answer:
            channel.close()
            raise HostError(str(answer["error"]), "wait for it to end: two runs would measure each other")
        self._channel = channel
        tell(f"joined the fleet {self._state.fleet}, which is up")

    def _ask(self, channel: socket.socket, request: dict[str, Any]) -> dict[str, Any]:
        channel.sendall(json.dumps(request).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            if not (more := channel.recv(4096)):
                raise ConnectionError("it went away")
            data += more
        return dict(json.loads(data))

    def release(self) -> list[str]:
        """Have what is left of the run removed; the nodes stay. Give the hosts where that failed."""
        if self._channel is None:
            return []
        channel, self._channel = self._channel, None
        try:
            return [str(host) for host in self._ask(channel, {"end": self._run})["left"]]
        except OSError:
            return list(self._state.hosts)
        finally:
            channel.close()

    def accepted_keys(self) -> list[str]:
        """Give the hosts whose keys were new, and accepted, when the fleet came up."""
        return self._state.accepted_keys


class Keeper:
    """Nodes, a socket, and at most one run at a time."""

    def __init__(self, nodes: Nodes, file: Path) -> None:
        self._nodes = nodes
        self._file = file
        self._run: str | None = None

    async def serve(self, ready: Tell) -> None:
        """Take runs until the process is told to end, or no host is left."""
        done = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, done.set)
        place = str(self._nodes.token_file.with_name("keeper"))
        server = await asyncio.start_unix_server(self._talk, place)
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        hosts = self._nodes.there()
        self._write(hosts, place)
        ready("")
        try:
            while hosts and not done.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), WATCH_S)
                if (now := self._nodes.there()) != hosts:
                    hosts = now
                    self._write(hosts, place)
        finally:
            server.close()
            self._file.unlink(missing_ok=True)

    def _write(self, hosts: list[str], place: str) -> None:
        nodes = self._nodes
        state = State(
            pid=os.getpid(),
            fleet=nodes.fleet,
            address=nodes.address,
            first_port=nodes.ports.gcs,
            head_address=nodes.head_address,
            token_file=str(nodes.token_file),
            socket=place,
            hosts=hosts,
            accepted_keys=[member.ssh.name for member in nodes.members if member.ssh.accepted],
            project=project().name,
        )
        draft = self._file.with_suffix(".part")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(state)))
        draft.rename(self._file)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine: str | None = None
        try:
            while line := await reader.readline():
                request = json.loads(line)
                if "run" in request and self._run is not None:
                    answer: dict[str, Any] = {"error": f"the fleet is in use by run {self._run}"}
                elif "run" in request:
                    self._run = mine = str(request["run"])
                    answer = {"ok": True}
                else:
                    answer = {"left": await self._end(mine)}
                    mine = None
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError):
            pass
        finally:
            await self._end(mine)
            writer.close()

    async def _end(self, run: str | None) -> list[str]:
        if run is None:
            return []
        left = await self._nodes.end_run(run)
        self._run = None
        return left


def main() -> int:
    """Bring a fleet up, tell how it went on standard output (a JSON object a line), and keep it."""
    path, install = Path(sys.argv[1]), "--install" in sys.argv[2:]
    inventory = load_inventory(path)
    return asyncio.run(_keep(inventory, path.parent.resolve(), install))


def _tell(event: dict[str, Any]) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


async def _keep(inventory: Inventory, folder: Path, install: bool) -> int:
    fleet = f"fleet-{os.getpid()}-{os.urandom(3).hex()}"
    hosts = members(inventory, folder, list(inventory.hosts))
    nodes = Nodes(fleet, our_address(inventory), raynode.pinned(inventory.ports), None, hosts)
    try:
        errors = await nodes.up(lambda text: _tell({"say": text}), install, partly=True)
        for error in errors:
            for each in error.errors if isinstance(error, Several) else [error]:
                _tell({"error": each.message, "hint": each.hint})
        if nodes.there():
            await Keeper(nodes, state_file(inventory)).serve(lambda _: _up(nodes))
    except HostError as error:
        _tell({"error": error.message, "hint": error.hint})
        return error.exit_code
    finally:
        await nodes.down()
    return 0


def _up(nodes: Nodes) -> None:
    _tell({"up": nodes.there()})
    # Whoever started this goes on; nobody reads what would be written from now on.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
