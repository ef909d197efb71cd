"""Try the real steps of bringing a host up before it is done, for `hosts check` and at the start of `up`.

A survey reports what a host has; these steps show whether it works: store and execute files in the
target folder, create a node's sockets, bind its ports, and connect between host and coordinator.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import json
import shlex
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from agents import preflight as remote_preflight
from orchestrator.errors import HostError, Several
from orchestrator.fleet.place import Machine
from orchestrator.fleet.raynode import Ports
from orchestrator.fleet.ssh import SshHost
from orchestrator.fleet.survey import Check, CheckState

if TYPE_CHECKING:
    from asyncssh import SSHClientProcess

REPORTED_WITHIN_S = 30.0
CONNECT_WITHIN_S = 3.0
# The unpacked environment of a node; a host that has it needs little.
ENVIRONMENT_BYTES, LITTLE_BYTES = 300 << 20, 1 << 20
FOLDER = "~/.cache/volley"

_ELSEWHERE = "start Volley on another machine, or leave out --hosts to use this machine alone"
_NAMES = {
    "address": "address",
    "folder": "target folder",
    "sockets": "temporary folder",
    "ports": "ports",
    "reach": "way to the coordinator",
    "own": "load address",
    "listen": "way from the coordinator",
}


def _fixes(host: SshHost, ports: Ports) -> dict[str, str]:
    return {
        "address": _ELSEWHERE,
        "folder": "give the user a home folder on a local disk, writable and not mounted noexec, with 1 GiB free",
        "sockets": "unset TMPDIR for this user there, or set it to a short path such as /tmp",
        "ports": "if no run is under way there: volley hosts clean --hosts INVENTORY; else wait, or set 'ports' "
        "in the inventory",
        "reach": f"{ports.firewall_rule()}; or set coordinator.address in the inventory to an address that "
        f"{host.name} can reach",
        "own": "set 'load_address' in the inventory to an address of the host itself; there, ip address lists them",
        "listen": f"{ports.firewall_rule()}; set 'address' in the inventory to an address of {host.name} itself",
    }


def is_this_machine(address: str) -> bool:
    """Return whether an IP address is this machine's own."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((address, 0))
        except OSError:
            return False
    return True


def _not_here(address: str) -> str | None:
    """Return the problem of a host that is the coordinator itself: their nodes would need the same ports."""
    return f"{address} is this machine, which coordinates" if is_this_machine(address) else None


async def prepare(host: SshHost, address: str, ports: Ports, sent: bool) -> None:
    """Raise Several, with an error for each step that fails on a host by itself. sent: it has its environment."""
    if problem := _not_here(address):
        raise HostError(f"host {host.name}: {problem}", _ELSEWHERE)
    async with _taken(host, _local(ports, sent, busy=False)) as found:
        failed = {step: problem for step, problem in found.items() if problem}
    fixes = _fixes(host, ports)
    if failed:
        raise Several(
            [HostError(f"host {host.name}: {_NAMES[s]}: {p}", f"on {host.name}: {fixes[s]}") for s, p in failed.items()]
        )


async def check(host: SshHost, machine: Machine, ports: Ports, sent: bool, coordinator: Coordinator) -> list[Check]:
    """Take all steps and return a check for each. Raises HostError when they cannot be tried."""
    try:
        address = await asyncio.to_thread(host.number)
    except HostError as error:
        return [Check("address", CheckState.FAILURE, error.message.partition(": ")[2], error.hint)]
    order = _local(ports, sent, coordinator.busy)
    if not coordinator.problem:
        order["reach"] = [coordinator.address, ports.gcs]
    if not coordinator.busy:
        order["listen"] = [address, ports.node_manager]
    if machine.load_address is not None:
        order["own"] = [machine.load_address]
    async with _taken(host, order) as found:
        # A run holds a session for its guard, and needs another one beside it.
        await host.run(":")
        if found.get("listen", "") is None:
            found["listen"] = await _way_back(address, ports.node_manager)
    found = {"address": _not_here(address), **found}
    if coordinator.problem:
        found["reach"] = coordinator.problem
    fixes = _fixes(host, ports)
    return [
        Check(_NAMES[step], CheckState.FAILURE, problem, fixes[step])
        if problem
        else Check(_NAMES[step], CheckState.OK, "works")
        for step, problem in found.items()
    ]


def _local(ports: Ports, sent: bool, busy: bool) -> dict[str, Any]:
    """Return the order of what a host tries by itself. busy: a node of ours is up there and has its ports."""
    tcp = [ports.node_manager, ports.object_manager, ports.runtime_env, ports.dashboard_listen, ports.dashboard_grpc,
           ports.metrics, *range(ports.first_worker, ports.last_worker + 1)]  # fmt: skip
    order: dict[str, Any] = {"folder": [FOLDER, LITTLE_BYTES if sent else ENVIRONMENT_BYTES], "sockets": []}
    return order if busy else order | {"ports": [tcp, [ports.clock_server, ports.clock_load]]}


@asynccontextmanager
async def _taken(host: SshHost, order: dict[str, Any]) -> AsyncIterator[dict[str, str | None]]:
    """Have a host take the steps of an order; yield its report while it still listens. Raises HostError."""
    source = inspect.getsource(remote_preflight)
    words = [host.python, "-c", source, json.dumps(order)]
    process = await host.start("exec " + " ".join(shlex.quote(word) for word in words))
    try:
        async with asyncio.timeout(REPORTED_WITHIN_S):
            found = json.loads(await _first_line(host, process))
        yield found
    except (TimeoutError, ValueError):
        raise HostError(
            f"host {host.name}: its folders, sockets and ports could not be tried",
            f"check that '{host.python}' on {host.name} is a plain Python 3, and the load there",
        ) from None
    finally:
        with contextlib.suppress(OSError):
            process.stdin.write_eof()
        process.close()


async def _first_line(host: SshHost, process: SSHClientProcess[bytes]) -> bytes:
    """Return what a process there writes first. Raises HostError if the connection is lost."""
    import asyncssh

    try:
        return await process.stdout.readline()
    except asyncssh.Error as error:
        raise host.lost(error) from None


async def _way_back(address: str, port: int) -> str | None:
    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            _, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        return f"this machine gets no answer from {address}:{port}"
    except OSError as error:
        return f"this machine cannot connect to {address}:{port}: {error.strerror or error}"
    writer.close()
    return None


class Coordinator:
    """This machine while hosts try to reach it. busy: nodes of ours are up already. problem: why it cannot listen."""

    def __init__(self, address: str, port: int, busy: bool, problem: str = "") -> None:
        self.address, self.busy, self.problem = address, busy, problem
        self._port = port
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Coordinator:
        if self.busy or self.problem:
            return self
        try:
            self._server = await self._listen(self.address)
        except OSError as error:
            # An address that others translate for us is not ours to bind.
            if error.errno != errno.EADDRINUSE:
                with contextlib.suppress(OSError):
                    self._server = await self._listen(None)
        if self._server is None:
            self.problem = f"port {self._port} of the coordinator is in use, by another run or program"
        return self

    async def _listen(self, address: str | None) -> asyncio.Server:
        return await asyncio.start_server(lambda reader, writer: writer.close(), address, self._port)

    async def __aexit__(self, *exception: object) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
