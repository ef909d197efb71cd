"""What `volley hosts` does, host by host and all at once: check, up, down, clean, trust. One broken host hides no other."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from agents import guard
from agents.clock import OffsetBound
from orchestrator.errors import HostError, Several
from orchestrator.fleet import keeper, provision
from orchestrator.fleet.environment import archives, project
from orchestrator.fleet.members import members
from orchestrator.fleet.nodes import Member, Tell
from orchestrator.fleet.ssh import Doors, SshHost
from orchestrator.fleet.survey import Check, judge
from orchestrator.spec.inventory import Inventory

T = TypeVar("T")
DOWN_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of one host. error: why it could not be looked at. clock: our wall clock to the host's."""

    host: str
    address: str
    roles: list[str]
    error: HostError | None = None
    found: dict[str, Any] = field(default_factory=dict)
    clock: OffsetBound | None = None
    checks: list[Check] = field(default_factory=list)
    ready: bool = False

    @property
    def fit(self) -> bool:
        """Say whether a run could use it."""
        return self.error is None and all(check.state != "failure" for check in self.checks)


def check(inventory: Inventory, folder: Path) -> list[Report]:
    """Look at every host, at the same time."""
    names = [archive.name for archive in archives()]

    async def look(member: Member) -> Report:
        name, address, host = member.machine.name, member.machine.address, member.ssh
        try:
            await host.connect()
            found = await provision.survey(host)
            clock = await provision.clock_bound(host)
            listed = await host.run(f'ls "{provision.FOLDER}"')
            ready = set(names) <= set(listed.out.split())
            checks = judge(found, member.roles)
            return Report(name, address, member.roles, None, found, clock, checks, ready)
        except HostError as error:
            return Report(name, address, member.roles, error)

    return asyncio.run(_each(members(inventory, folder, list(inventory.hosts)), look))


async def _each(hosts: list[Member], work: Callable[[Member], Awaitable[T]]) -> list[T]:
    """Do something with every host at once, within bounds."""
    doors = Doors()

    async def one(member: Member) -> T:
        try:
            async with doors.to(member.ssh):
                return await work(member)
        finally:
            await member.ssh.close()

    return await asyncio.gather(*(one(member) for member in hosts))


def up(path: Path, inventory: Inventory, install: bool, tell: Tell) -> tuple[list[str], list[HostError]]:
    """Bring the fleet up and leave it to a keeper; give the hosts that are up, and what went wrong at others.

    A fleet that is up already, complete and of this version, is left as it is.
    """
    state = keeper.current(inventory)
    if state is not None:
        if set(state.hosts) == set(inventory.hosts) and state.project == project().name and not install:
            tell(f"the fleet {state.fleet} is up")
            return state.hosts, []
        tell("the fleet is up in part, or in another version: starting it anew")
        down(inventory)
    argv = [sys.executable, "-m", "orchestrator.fleet.keeper", str(path.resolve()), *(["--install"] if install else [])]
    log = keeper.state_file(inventory).with_suffix(".log")
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("w") as words:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=words, start_new_session=True
        )
    hosts: list[str] = []
    errors: list[HostError] = []
    assert process.stdout is not None
    try:
        for line in process.stdout:
            event = json.loads(line)
            if "say" in event:
                tell(str(event["say"]))
            elif "error" in event:
                errors.append(HostError(str(event["error"]), str(event["hint"])))
            else:
                hosts = [str(host) for host in event["up"]]
                break
    except BaseException:
        process.terminate()
        raise
    if not hosts:
        process.wait(timeout=DOWN_WITHIN_S)
        if not errors:
            errors.append(HostError("the keeper of the fleet ended without a word", f"look into {log}"))
    return hosts, errors


def down(inventory: Inventory) -> str | None:
    """End the fleet that is up; give its name, None when there was none. Raises HostError."""
    state = keeper.current(inventory)
    if state is None:
        return None
    os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_WITHIN_S
    while Path(f"/proc/{state.pid}").exists() and not _is_zombie(state.pid):
        if time.monotonic() > deadline:
            raise HostError(f"the keeper (pid {state.pid}) does not end", f"kill {state.pid}; volley hosts clean")
        time.sleep(0.05)
    return state.fleet


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def clean(inventory: Inventory, folder: Path, run: str | None) -> dict[str, dict[str, int]]:
    """Remove what runs have left on the hosts: of one run, or of all, and then what was sent there too.

    Needs neither Ray nor anything else that is up. Raises HostError, Several; the other hosts are cleaned all the same.
    """
    if run is None:
        down(inventory)

    async def sweep(member: Member) -> dict[str, int] | HostError:
        host = member.ssh
        try:
            await host.connect()
            prepared = await provision.send(host, [project()], zstd=False)
            argument = shlex.quote(run) if run else ""
            python = shlex.quote(prepared.python)
            done = await host.run(
                f"cd / && PYTHONPATH={prepared.python_path} {python} -m agents.guard --clean {argument}"
            )
            if run is None:
                await provision.forget(host)
            try:
                return dict(json.loads(done.out.splitlines()[-1]))
            except (ValueError, IndexError):
                return HostError(f"host {host.name}: it could not be cleaned: {done.err.strip()[-120:]}", "look there")
        except HostError as error:
            return error

    hosts = members(inventory, folder, list(inventory.hosts))
    results = dict(zip([m.machine.name for m in hosts], asyncio.run(_each(hosts, sweep)), strict=True))
    errors = [result for result in results.values() if isinstance(result, HostError)]
    if errors:
        raise Several(errors)
    return {name: result for name, result in results.items() if isinstance(result, dict)}


def clean_here(run: str | None) -> dict[str, int]:
    """Remove what runs have left on this machine."""
    return guard.clean(run)


@dataclass(frozen=True, slots=True)
class Key:
    """A host's key as it shows it. known: recorded as it is; changed: another one is recorded."""

    host: SshHost
    fingerprint: str
    known: bool
    changed: bool
    record: Callable[[], None]


def keys(inventory: Inventory, folder: Path) -> tuple[list[Key], list[HostError]]:
    """Ask every host for its key."""

    async def ask(member: Member) -> Key | HostError:
        host = member.ssh
        try:
            key = await host.host_key()
        except HostError as error:
            return error
        trusted = host.trusts(key)
        shown = f"{key.get_algorithm()} {key.get_fingerprint()}"
        return Key(host, shown, trusted is True, trusted is False, lambda: host.trust(key))

    results = asyncio.run(_each(members(inventory, folder, list(inventory.hosts)), ask))
    return [r for r in results if isinstance(r, Key)], [r for r in results if isinstance(r, HostError)]
