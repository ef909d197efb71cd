"""Bringing a host to what a node needs: looked at first, then sent what it lacks; nothing is downloaded there."""

from __future__ import annotations

import asyncio
import inspect
import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents import survey as remote_survey
from agents.clock import OffsetBound, bound_from
from orchestrator.errors import HostError, Several
from orchestrator.fleet.environment import Archive, have_zstd
from orchestrator.fleet.ssh import COMMAND_TIMEOUT_S, SshHost
from orchestrator.fleet.survey import FAILURE, judge

SEND_TIMEOUT_S = 900.0
INSTALL_TIMEOUT_S = 600.0
OLDEST_SURVEYED = (3, 7)
FOLDER = "$HOME/.cache/volley"
BOOTSTRAP = Path(__file__).parents[2] / "deploy" / "bootstrap-host.sh"

# One exchange a line, over a channel that is open already: no fork, no connection set-up in the round trip.
_ECHO = "import sys,time\nfor _ in sys.stdin: sys.stdout.write('%d\\n' % time.time_ns()); sys.stdout.flush()"
EXCHANGES = 32


@dataclass(frozen=True, slots=True)
class Prepared:
    """A host that has what a node needs. python_path: for PYTHONPATH, in the words of the host's shell."""

    python: str
    python_path: str
    sent_bytes: int


async def survey(host: SshHost) -> dict[str, Any]:
    """Look what a host is and has; see agents/survey.py. Raises HostError."""
    python = shlex.quote(host.python)
    asked = await host.run(f"{python} -c 'import sys; print(*sys.version_info[:2])'")
    numbers = asked.out.split()
    if asked.status != 0 or len(numbers) < 2 or not all(n.isdigit() for n in numbers[-2:]):
        raise HostError(
            f"host {host.name}: no Python there: '{host.python}' answers {(asked.err or asked.out).strip()[-80:]!r}",
            "sudo apt-get install python3, or name the interpreter in the inventory: python: PATH",
        )
    version = (int(numbers[-2]), int(numbers[-1]))
    if version < OLDEST_SURVEYED:
        raise HostError(f"host {host.name}: Python {version[0]}.{version[1]} is too old", "install a newer one there")
    done = await host.run(f"{python} -", inspect.getsource(remote_survey).encode())
    try:
        return dict(json.loads(done.out.splitlines()[-1]))
    except (ValueError, IndexError):
        raise HostError(
            f"host {host.name}: it cannot be looked at: {(done.err or done.out).strip()[-120:]!r}",
            "does its login shell print or fail? it must start a command and nothing else",
        ) from None


async def clock_bound(host: SshHost) -> OffsetBound:
    """Bound a host's clock offset over its SSH channel, before anything of ours is there. Raises HostError."""
    process = await host.connection.create_process(f"{shlex.quote(host.python)} -u -c {shlex.quote(_ECHO)}")
    exchanges = []
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            for _ in range(EXCHANGES):
                sent = time.time_ns()
                process.stdin.write("\n")
                answered = int(await process.stdout.readline())
                exchanges.append((sent, answered, answered, time.time_ns()))
    except (TimeoutError, ValueError, OSError) as error:
        raise HostError(f"host {host.name}: its clock cannot be read: {error}", "look at its login shell") from None
    finally:
        process.close()
    return bound_from(exchanges)


def require_fit(host: SshHost, found: dict[str, Any], roles: list[str]) -> None:
    """Raise what keeps a host from its roles: HostError, or Several of them."""
    errors = [
        HostError(f"host {host.name}: {check.name}: {check.found}", f"on {host.name}: {check.mend}")
        for check in judge(found, roles)
        if check.state == FAILURE
    ]
    if errors:
        raise Several(errors)


async def install(host: SshHost, roles: list[str]) -> None:
    """Install the system packages that a host's roles need, through deploy/bootstrap-host.sh. Raises HostError."""
    command = f"bash -s -- {' '.join(roles)}"
    done = await host.run(command, BOOTSTRAP.read_bytes(), INSTALL_TIMEOUT_S)
    if done.status != 0:
        said = (done.err or done.out).strip().splitlines()[-1:] or ["no reason given"]
        raise HostError(
            f"host {host.name}: the packages could not be installed: {said[0]}", "install them by hand there"
        )


async def send(host: SshHost, archives: list[Archive], zstd: bool) -> Prepared:
    """Send what the host does not have yet, each as one stream that is unpacked as it comes. Raises HostError.

    zstd: whether the host can unpack it.
    """
    zstd = zstd and have_zstd()
    unpack = "zstd -dcq | tar -xf -" if zstd else "tar -xzf -"
    sent = 0
    for archive in archives:
        place = f'"{FOLDER}/{archive.name}"'
        if (await host.run(f"test -d {place}")).status == 0:
            continue
        # Unpacked beside its place and then renamed: what has the name is complete.
        draft = f'"{FOLDER}/.{archive.name}.$$"'
        command = (
            f"umask 077 && mkdir -p {draft} && {unpack} -C {draft} && "
            f"{{ mv -T {draft} {place} 2>/dev/null || {{ rm -rf {draft}; test -d {place}; }}; }}"
        )
        path = await asyncio.to_thread(archive.packed, zstd)
        done = await host.feed(command, path, SEND_TIMEOUT_S)
        if done.status != 0:
            why = (done.err.strip().splitlines() or ["no reason given"])[-1]
            raise HostError(f"host {host.name}: {archive.name} could not be unpacked: {why}", "is the disk full there?")
        sent += path.stat().st_size
    python_path = ":".join(f"{FOLDER}/{archive.name}" for archive in archives)
    return Prepared(host.python, f'"{python_path}"', sent)


async def forget(host: SshHost) -> None:
    """Remove what was sent."""
    await host.run(f'rm -rf "{FOLDER}"')


async def reach(host: SshHost, prepared: Prepared, address: str, port: int) -> None:
    """See that the host reaches the coordinator's node: Ray itself would take 20 s to fail. Raises HostError."""
    code = f"import socket; socket.create_connection(({address!r}, {port}), 3).close()"
    done = await host.run(f"{shlex.quote(prepared.python)} -c {shlex.quote(code)}")
    if done.status != 0:
        why = (done.err.strip().splitlines() or ["no answer"])[-1]
        raise HostError(
            f"host {host.name}: it cannot reach the coordinator at {address}:{port}: {why}",
            "let the fleet's ports through both ways (docs/hosts.md lists them), or set coordinator.address",
        )
