"""Prepare a host for its Ray node: survey it first, then send what is missing. Nothing is downloaded there."""

from __future__ import annotations

import asyncio
import inspect
import json
import shlex
import time
from collections.abc import Collection
from dataclasses import dataclass

from agents import survey as remote_survey
from agents.clock import OffsetBound, bound_from
from agents.records import HostRole
from orchestrator.errors import HostError, Several
from orchestrator.fleet.environment import Archive, have_zstd
from orchestrator.fleet.fixing import BOOTSTRAP
from orchestrator.fleet.ssh import COMMAND_TIMEOUT_S, SshHost, first_line, last_line
from orchestrator.fleet.survey import CheckState, HostSurvey, judge, read_survey

SEND_TIMEOUT_S = 900.0
INSTALL_TIMEOUT_S = 600.0
OLDEST_SURVEYED = (3, 7)
FOLDER = "$HOME/.cache/volley"

# One exchange per line over an open channel: no fork and no connection set-up inside the round
# trip.
_ECHO = "import sys,time\nfor _ in sys.stdin: sys.stdout.write('%d\\n' % time.time_ns()); sys.stdout.flush()"
EXCHANGES = 32


@dataclass(frozen=True, slots=True)
class Prepared:
    """A host that has everything its node needs. python_path: value of PYTHONPATH, to be expanded by its shell."""

    python: str
    python_path: str
    sent_bytes: int

    def shell(self, arguments: str) -> str:
        """Return a shell command that runs our code on the host; `arguments` are quoted already."""
        return f"cd / && PYTHONPATH={self.python_path} exec {shlex.quote(self.python)} {arguments}"


async def survey(host: SshHost) -> HostSurvey:
    """Return what a host has; see agents/survey.py. Raises HostError."""
    await _require_python(host)
    done = await host.run(f"{shlex.quote(host.python)} -", inspect.getsource(remote_survey).encode())
    try:
        return read_survey(json.loads(done.out.splitlines()[-1]))
    except (ValueError, IndexError):
        raise HostError(
            f"host {host.name}: the survey printed no valid result: {last_line(done)[-120:]!r}",
            f"check that '{host.python}' on {host.name} is a plain Python 3",
        ) from None


async def _require_python(host: SshHost) -> None:
    asked = await host.run(f"{shlex.quote(host.python)} -c 'import sys; print(*sys.version_info[:2])'")
    numbers = asked.out.split()[-2:]
    if asked.status != 0 or len(numbers) < 2 or not all(n.isdigit() for n in numbers):
        raise HostError(
            f"host {host.name}: '{host.python}' is not a working Python: {last_line(asked)[-80:]!r}",
            "sudo apt-get install python3, or name the interpreter in the inventory: python: PATH",
        )
    version = (int(numbers[0]), int(numbers[1]))
    if version < OLDEST_SURVEYED:
        raise HostError(
            f"host {host.name}: Python {version[0]}.{version[1]} is too old",
            "install a newer Python there and name it in the inventory: python: PATH",
        )


async def clock_bound(host: SshHost) -> OffsetBound:
    """Bound a host's clock offset over its SSH channel, before anything is sent. Raises HostError."""
    process = await host.start(f"exec {shlex.quote(host.python)} -u -c {shlex.quote(_ECHO)}")
    exchanges = []
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            for _ in range(EXCHANGES):
                sent = time.time_ns()
                process.stdin.write(b"\n")
                answered = int(await process.stdout.readline())
                exchanges.append((sent, answered, answered, time.time_ns()))
    except (TimeoutError, ValueError, OSError) as error:
        raise HostError(
            f"host {host.name}: cannot read its clock: {error or 'no answer in time'}",
            f"check the load on {host.name} and try again",
        ) from None
    finally:
        process.close()
    return bound_from(exchanges)


def require_ready(host: SshHost, surveyed: HostSurvey, roles: Collection[HostRole]) -> None:
    """Raise Several, with one HostError for each problem that keeps a host from its roles."""
    errors = [
        HostError(f"host {host.name}: {check.name}: {check.found}", f"on {host.name}: {check.fix}")
        for check in judge(surveyed, roles)
        if check.state is CheckState.FAILURE
    ]
    if errors:
        raise Several(errors)


async def install(host: SshHost, roles: Collection[HostRole]) -> None:
    """Install the system packages that a host's roles need, with bootstrap-host.sh. Raises HostError."""
    done = await host.run(f"bash -s -- {' '.join(roles)}", BOOTSTRAP.read_bytes(), INSTALL_TIMEOUT_S)
    if done.status != 0:
        reason = last_line(done) or "no reason given"
        raise HostError(
            f"host {host.name}: the system packages could not be installed: {reason}",
            f"log in to {host.name} and install them by hand",
        )


async def send(host: SshHost, archives: list[Archive], zstd: bool) -> Prepared:
    """Send the archives that the host does not have yet. Raises HostError.

    zstd: whether the host can unpack it.
    """
    zstd = zstd and have_zstd()
    sent_bytes = 0
    for archive in archives:
        if (await host.run(f'test -d "{FOLDER}/{archive.name}"')).status != 0:
            sent_bytes += await _send_one(host, archive, zstd)
    python_path = ":".join(f"{FOLDER}/{archive.name}" for archive in archives)
    return Prepared(host.python, f'"{python_path}"', sent_bytes)


async def has(host: SshHost, archives: list[Archive]) -> bool:
    """Return whether a host has all archives. Raises HostError."""
    return (await host.run(" && ".join(f'test -d "{FOLDER}/{archive.name}"' for archive in archives))).status == 0


async def _send_one(host: SshHost, archive: Archive, zstd: bool) -> int:
    """Send one archive as a stream that is unpacked on arrival; return its size in bytes. Raises HostError."""
    unpack = "zstd -dcq | tar -xf -" if zstd else "tar -xzf -"
    place = f'"{FOLDER}/{archive.name}"'
    # Unpacked under another name and then renamed, so a folder of this name is always complete.
    draft = f'"{FOLDER}/.{archive.name}.$$"'
    command = (
        f"umask 077 && mkdir -p {draft} && {{ {unpack} -C {draft} || {{ rm -rf {draft}; false; }}; }} && "
        f"{{ mv -T {draft} {place} 2>/dev/null || {{ rm -rf {draft}; test -d {place}; }}; }}"
    )
    path = await asyncio.to_thread(archive.packed, zstd)
    done = await host.feed(command, path, SEND_TIMEOUT_S)
    if done.status != 0:
        reason = first_line(done) or "no reason given"
        raise HostError(
            f"host {host.name}: cannot unpack {archive.name}: {reason}",
            f"free at least 1 GiB in the home folder on {host.name}",
        )
    return path.stat().st_size


async def forget(host: SshHost) -> None:
    """Remove everything that was sent to the host."""
    await host.run(f'rm -rf "{FOLDER}"')


async def require_route(host: SshHost, prepared: Prepared, address: str, port: int, open_ports: str) -> None:
    """Raise HostError when the host cannot reach the coordinator's node; Ray itself would take 20 s to fail.

    open_ports: what a firewall must allow, for the hint.
    """
    code = f"import socket; socket.create_connection(({address!r}, {port}), 3).close()"
    done = await host.run(f"{shlex.quote(prepared.python)} -c {shlex.quote(code)}")
    if done.status != 0:
        reason = last_line(done) or "no answer"
        raise HostError(
            f"host {host.name}: it cannot reach the coordinator at {address}:{port}: {reason}",
            f"{open_ports}, or set coordinator.address in the inventory",
        )
