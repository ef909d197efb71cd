"""The verbs of `volley hosts`: check, up, down, clean, trust. They handle all hosts at once, each on its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

from agents.clock import OffsetBound
from agents.lease import LeaseError
from agents.orders import Cleaned
from agents.records import HostRole, from_plain
from agents.sweep import clean_host
from orchestrator.errors import HostError, Several
from orchestrator.fleet import keeper, limits, preflight, provision, raynode
from orchestrator.fleet.actors import Notify
from orchestrator.fleet.claims import unusable, used_by
from orchestrator.fleet.environment import archives, project
from orchestrator.fleet.guarded import clean_there
from orchestrator.fleet.keeper import ReportKind
from orchestrator.fleet.members import members, our_address
from orchestrator.fleet.nodes import Member
from orchestrator.fleet.raynode import Ports
from orchestrator.fleet.ssh import ConnectionLimit, SshHost
from orchestrator.fleet.ssh_login import Presented
from orchestrator.fleet.survey import Check, CheckState, HostSurvey, judge
from orchestrator.spec.inventory import Inventory

T = TypeVar("T")
DOWN_WITHIN_S = 60.0
CLEANED_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Survey:
    """What a host has. clock: its wall clock against ours. environment_sent: whether it has what its node needs."""

    host: HostSurvey
    clock: OffsetBound
    checks: list[Check]
    environment_sent: bool


@dataclass(frozen=True, slots=True)
class HostReport:
    """The report on one host: its survey, or the error that prevented it."""

    host: str
    address: str
    roles: list[HostRole]
    survey: Survey | None = None
    error: HostError | None = None

    @property
    def ready(self) -> bool:
        """Whether a run could use the host."""
        return self.survey is not None and all(c.state is not CheckState.FAILURE for c in self.survey.checks)


def check(inventory: Inventory, folder: Path) -> list[HostReport]:
    """Check every host of an inventory at the same time. A host that fails has an error in its report."""
    names = {archive.name for archive in archives()}
    try:
        address, problem = our_address(inventory, folder), ""
    except HostError as error:
        address, problem = "", error.message
    busy = keeper.current(inventory) is not None
    ports = raynode.pinned(inventory.ports)

    async def examine(member: Member, coordinator: preflight.Coordinator) -> HostReport:
        machine = member.machine
        try:
            survey = await _survey(member, names, ports, coordinator)
            return HostReport(machine.name, machine.address, machine.roles, survey)
        except HostError as error:
            return HostReport(machine.name, machine.address, machine.roles, error=error)

    async def examine_all() -> list[HostReport]:
        async with preflight.Coordinator(address, ports.gcs, busy, problem) as coordinator:
            return await _each(members(inventory, folder), lambda member: examine(member, coordinator))

    reports = asyncio.run(examine_all())
    limits.keep(inventory, [room_of(each.host, each.survey.host) for each in reports if each.survey is not None])
    return reports


def room_of(host: str, survey: HostSurvey) -> limits.Room:
    """Return the room for connections that a survey found."""
    ports = survey.ephemeral_ports
    return limits.Room(host, survey.open_files, ports[1] - ports[0] + 1 if ports else None)


async def _survey(member: Member, archive_names: set[str], ports: Ports, coordinator: preflight.Coordinator) -> Survey:
    """Survey one host. Raises HostError."""
    host = member.ssh
    await host.connect()
    surveyed = await provision.survey(host)
    clock = await provision.clock_bound(host)
    listed = await host.run(f'ls "{provision.FOLDER}"')
    sent = archive_names <= set(listed.out.split())
    checks = judge(surveyed, member.machine.roles, (ports.gcs, ports.last_worker))
    return Survey(
        surveyed, clock, [*checks, *await preflight.check(host, member.machine, ports, sent, coordinator)], sent
    )


async def _each(hosts: list[Member], work: Callable[[Member], Awaitable[T]]) -> list[T]:
    """Do the work for every host at the same time, within the limit on connections, and disconnect."""
    connecting = ConnectionLimit()

    async def one(member: Member) -> T:
        try:
            async with connecting.to(member.ssh):
                return await work(member)
        finally:
            await member.ssh.close()

    return await asyncio.gather(*(one(member) for member in hosts))


@dataclass(slots=True)
class Start:
    """How the start of a fleet went: the hosts that are up, and the errors of the others."""

    hosts: list[str] = field(default_factory=list)
    errors: list[HostError] = field(default_factory=list)


def up(
    path: Path, inventory: Inventory, install: bool, notify: Notify, force: bool = False, wait_s: float = 0.0
) -> Start:
    """Start a fleet and leave it to a keeper. Raises HostError.

    A fleet that is already up, complete and of this version, stays as it is. force: restart one that a run uses, too.
    wait_s: how long to wait for hosts that others use.
    """
    state = keeper.current(inventory)
    if state is not None:
        if set(state.hosts) == set(inventory.hosts) and state.project == project().name and not install:
            notify(f"the fleet {state.fleet} is up")
            return Start(hosts=state.hosts)
        notify("the fleet is incomplete or runs another version: restarting it")
        down(inventory, force)
    log = keeper.state_file(inventory).with_suffix(".log")
    process = _start_keeper(path, install, log, wait_s)
    try:
        assert process.stdout is not None
        started = _follow(process.stdout, notify)
    except BaseException:
        process.terminate()
        raise
    if not started.hosts:
        process.wait(timeout=DOWN_WITHIN_S)
        if not started.errors:
            started.errors.append(HostError("the keeper of the fleet exited without an error message", f"read {log}"))
    return started


def _start_keeper(path: Path, install: bool, log: Path, wait_s: float) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "orchestrator.fleet.keeper", str(path.resolve()), f"--wait={wait_s}"]
    argv += ["--install"] if install else []
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("w") as errors:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )


def _follow(output: IO[bytes], notify: Notify) -> Start:
    """Read the keeper's reports until the fleet is up or the keeper exits."""
    started = Start()
    for line in output:
        report = from_plain(keeper.Report, json.loads(line))
        if report.kind is ReportKind.UP:
            started.hosts = report.hosts
            break
        if report.kind is ReportKind.ERROR:
            started.errors.append(HostError(report.text, report.hint))
        else:
            notify(report.text)
    return started


def down(inventory: Inventory, force: bool = False) -> str | None:
    """Stop the fleet that is up and return its name; None when there is none. Raises HostError.

    force: end a run that uses it, too.
    """
    state = keeper.current(inventory)
    if state is None:
        return None
    if (busy := keeper.stop(state, force)) is not None:
        raise HostError(f"the fleet is {used_by(busy)}", "wait until it has ended, or end it too with --force")
    deadline = time.monotonic() + DOWN_WITHIN_S
    while Path(f"/proc/{state.pid}").exists() and not _is_zombie(state.pid):
        if time.monotonic() > deadline:
            raise HostError(
                f"the keeper (pid {state.pid}) did not exit within {DOWN_WITHIN_S:g} s",
                f"kill {state.pid}, then: volley hosts clean --hosts INVENTORY",
            )
        time.sleep(0.05)
    return state.fleet


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def clean(inventory: Inventory, folder: Path, run: str | None, force: bool = False) -> dict[str, Cleaned]:
    """Remove what dead runs have left on the hosts; return how much, by host. Needs nothing that is up, Ray included.

    run: only this run's; None: that of all runs, and what was sent to the hosts. force: end live runs and the fleet that
    is up, too. Raises HostError, or Several, after all hosts that can be cleaned are clean.
    """
    if run is None and force:
        down(inventory, force)

    async def sweep(member: Member) -> Cleaned | HostError:
        try:
            return await _clean(member.ssh, run, force)
        except HostError as error:
            return error

    hosts = members(inventory, folder)
    results = dict(zip([m.machine.name for m in hosts], asyncio.run(_each(hosts, sweep)), strict=True))
    errors = [result for result in results.values() if isinstance(result, HostError)]
    if errors:
        raise Several(errors)
    return {name: result for name, result in results.items() if isinstance(result, Cleaned)}


async def _clean(host: SshHost, run: str | None, force: bool) -> Cleaned:
    """Clean one host up. Raises HostError."""
    await host.connect()
    prepared = await provision.send(host, [project()], zstd=False)
    cleaned = await clean_there(host, prepared, run, force, CLEANED_WITHIN_S)
    if run is None and not cleaned.left:
        await provision.forget(host)  # live runs need it
    return cleaned


def clean_here(run: str | None, force: bool = False) -> Cleaned:
    """Remove what a dead run, or all of them, have left on this machine; return how much. force: end live ones, too.

    Raises HostError.
    """
    try:
        return clean_host(run, force)
    except LeaseError as error:
        raise unusable(error) from error


def keys(inventory: Inventory, folder: Path) -> tuple[list[Presented], list[HostError]]:
    """Return the keys of all hosts and jump hosts, each once, and the errors of those that presented none.

    A host behind a jump host that is not trusted yet is missing: ask again once it is.
    """

    async def ask(member: Member) -> list[Presented] | HostError:
        try:
            return await member.ssh.keys()
        except HostError as error:
            return error

    results = asyncio.run(_each(members(inventory, folder), ask))
    presented = [key for result in results if not isinstance(result, HostError) for key in result]
    distinct = {(key.hop.key_name, key.fingerprint): key for key in presented}
    return list(distinct.values()), [result for result in results if isinstance(result, HostError)]
