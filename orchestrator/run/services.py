"""The services of a trial: brought up in order and prepared before the target, read at its end, removed or kept.

A service that outlives a trial is kept in KeptServices, which lasts as long as the session of the hosts: once a host was
lost everything is brought up again.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agents.records import ServerState, ServiceFacts
from orchestrator.errors import HostError
from orchestrator.fleet.handles import Pending, ServiceHandle
from orchestrator.fleet.hosts import at_once
from orchestrator.run.addresses import LOOPBACK, At, filled, own, resolved, seen_from, variables
from orchestrator.run.containers import prepare_argv, service_spec
from orchestrator.run.events import Event
from orchestrator.spec.container import Container
from orchestrator.spec.needs import in_order, layers
from orchestrator.spec.service import Service

if TYPE_CHECKING:
    from agents.command import CommandResult
    from orchestrator.run.inputs import RunningTrial

START_MARGIN_S = 60.0
POLL_S = 0.25
# Of the output of a command that failed.
LAST_LINES, LINE_CHARACTERS = 3, 160


@dataclass(slots=True)
class Kept:
    """A service that is up and outlives its trial. block: None where it is kept for the run. kills: for memory, so far."""

    handle: ServiceHandle
    block: int | None
    kills: int = 0


@dataclass(frozen=True, slots=True)
class TrialServices:
    """The services that a trial needs, each after those that it depends on. images: by service. kept: shared by the run."""

    needed: Mapping[str, Service] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)


def bring_up_services(trial: RunningTrial) -> list[ServiceFacts]:
    """Bring up what the trial needs and is not up yet, and prepare it; return the facts of each.

    The first service that does not come up, or cannot be prepared, ends it: see why_not_up(). Raises HostError.
    """
    replaced = _end_kept(trial)
    found: dict[str, ServiceFacts] = _look(trial)
    for names in layers(trial.input.services.needed):
        fresh = [name for name in names if name not in found]
        if not fresh:
            continue
        found |= _started(trial, fresh)
        if all(found[name].state is ServerState.READY for name in fresh):
            found |= _prepared(trial, {name: found[name] for name in fresh})
        if any(found[name].state is not ServerState.READY for name in fresh):
            break
        _keep(trial, fresh)
    return [replace(facts, replaced=replaced.get(name, "")) for name, facts in found.items()]


def why_not_up(services: Sequence[ServiceFacts]) -> str | None:
    """Return why a trial's services are not all up; None when they are."""
    for facts in services:
        if facts.state is not ServerState.READY:
            return f"service {facts.name} did not come up: {facts.detail}"
    return None


def addresses_for(trial: RunningTrial, container: Container, host: str, names: Sequence[str]) -> dict[str, At]:
    """Return where a container on a host reaches services. names: those it needs; what these depend on is included."""
    reachable = in_order(names, trial.input.services.needed)
    handles = trial.placed.services
    return {
        name: seen_from(container, host, service, handles[name].host, _number(name, handles[name].load_address))
        for name, service in reachable.items()
    }


def variables_for(trial: RunningTrial, host: str) -> dict[str, str]:
    """Return what a command on a host finds in its environment about the services of the trial."""
    found: dict[str, str] = {}
    for name, service in trial.input.services.needed.items():
        handle = trial.placed.services[name]
        address = LOOPBACK if handle.host == host else handle.load_address
        found |= variables(name, At(address, service.reached, address))
    return found


def finish_services(trial: RunningTrial, before: Sequence[ServiceFacts], loaded: bool) -> list[ServiceFacts]:
    """Return the facts of the trial's services at its end. loaded: whether a load ran, so that they were metered.

    The kills for memory in them are those since the trial before.
    """
    lists = at_once(lambda handle: handle.finish(), trial.placed.service_hosts())
    now = {facts.name: facts for found in lists for facts in found}
    ended = []
    for facts in before:
        latest = now.get(facts.name)
        if latest is None or facts.state is not ServerState.READY:
            ended.append(facts)
            continue
        latest = replace(latest, replaced=facts.replaced)
        if not loaded:
            latest = replace(latest, opening=None, closing=None, series={})
        kept, last = trial.input.services.kept.get(facts.name), latest.last
        if kept is not None and last is not None:
            latest = replace(latest, last=replace(last, oom_kills=last.oom_kills - kept.kills))
            kept.kills = last.oom_kills
        ended.append(latest)
    return ended


def services_afterwards(trial: RunningTrial, services: Sequence[ServiceFacts]) -> list[ServiceFacts]:
    """Return the facts of services at the end of a trial, with those that have ended since.

    A target that answers otherwise after the load may do so because a service of its has just ended.
    """
    lists = at_once(lambda handle: handle.look(), trial.placed.service_hosts())
    now = {facts.name: facts for found in lists for facts in found}
    ended = {name for name, facts in now.items() if facts.state is ServerState.EXITED}
    return [
        replace(
            now[facts.name],
            opening=facts.opening,
            closing=facts.closing,
            last=facts.last,
            series=facts.series,
            replaced=facts.replaced,
        )
        if facts.name in ended and facts.state is ServerState.READY
        else facts
        for facts in services
    ]


def logs_of(trial: RunningTrial, read: Callable[[Callable[[], bytes]], bytes]) -> dict[str, bytes]:
    """Return the end of the log of each service. read: makes the call, and words what goes wrong."""
    handles = trial.placed.services
    return {name: read(lambda name=name: handles[name].log(name)) for name in trial.input.services.needed}  # type: ignore[misc]


def not_kept(trial: RunningTrial, handle: ServiceHandle) -> list[str]:
    """Return the services of a host that end with the trial."""
    services = trial.input.services
    return [name for name in services.needed if trial.placed.services[name] is handle and name not in services.kept]


def _end_kept(trial: RunningTrial) -> dict[str, str]:
    """Remove the kept services whose block is over, and those that have ended or depend on one that has.

    Return how those ended that the trial needs again.
    """
    services, block = trial.input.services, trial.input.plan.block
    over = [
        name
        for name, kept in services.kept.items()
        if kept.block is not None and (kept.block != block or name not in services.needed)
    ]
    replaced = {
        facts.name: facts.detail or "the container ended"
        for facts in _look(trial).values()
        if not facts.running and facts.name not in over
    }
    for name, service in services.needed.items():
        gone = next((other for other in service.depends_on if other in replaced), None)
        if name in services.kept and name not in replaced and name not in over and gone is not None:
            replaced[name] = f"{gone}, which it depends on, was started again"
    by_handle: dict[int, tuple[ServiceHandle, list[str]]] = {}
    for name in [*over, *replaced]:
        handle = services.kept.pop(name).handle
        by_handle.setdefault(id(handle), (handle, []))[1].append(name)
    at_once(lambda pair: pair[0].stop(pair[1], START_MARGIN_S), list(by_handle.values()))
    for name, why in replaced.items():
        facts = {"service": name, "why": why}
        trial.say(Event("service", f"  service {name} is started again: {why}", facts))
    return replaced


def _look(trial: RunningTrial) -> dict[str, ServiceFacts]:
    """Return the facts of the kept services that the trial needs, as they are now."""
    services = trial.input.services
    kept = [name for name in services.needed if name in services.kept]
    handles = list({id(services.kept[name].handle): services.kept[name].handle for name in kept}.values())
    now = {facts.name: facts for found in at_once(lambda handle: handle.look(), handles) for facts in found}
    return {name: now[name] for name in kept if name in now}


def _keep(trial: RunningTrial, names: Sequence[str]) -> None:
    services = trial.input.services
    for name in names:
        lifetime = services.needed[name].lifetime
        if lifetime != "trial":
            block = trial.input.plan.block if lifetime == "block" else None
            services.kept[name] = Kept(trial.placed.services[name], block)


def _started(trial: RunningTrial, names: Sequence[str]) -> dict[str, ServiceFacts]:
    """Start services at the same time, wherever they are, and wait until each is up or has failed."""
    item, handles = trial.input, trial.placed.services
    trial.say(Event("server", f"starting {_listed(names)}", passing=True))
    calls: list[tuple[ServiceHandle, Pending[list[ServiceFacts]]]] = []
    longest_s = 0.0
    for handle in {id(handles[name]): handles[name] for name in names}.values():
        specs = []
        for name in names:
            service = item.services.needed[name]
            if handles[name] is handle:
                addresses = addresses_for(trial, service, handle.host, service.depends_on)
                trial_name = item.plan.name if service.lifetime == "trial" else ""
                whole = resolved(service, addresses | {name: own(service)})
                # Its own name is its host's business.
                whole = whole.model_copy(update={"extra_hosts": _without(name, service, whole)})
                specs.append(service_spec(name, whole, item.services.images[name], item.folder, trial_name))
        longest_s = max(longest_s, *(spec.ready_timeout_s for spec in specs))
        calls.append((handle, handle.start_all(specs)))
    shown = ""
    found: dict[str, ServiceFacts] = {}
    for handle, call in calls:
        while not call.done(timeout_s=POLL_S):
            if (now := handle.waiting_for()) and now != shown:
                trial.say(Event("server", now, passing=True))
                shown = now
        found |= {facts.name: facts for facts in call.result(longest_s + START_MARGIN_S)}
    return {name: found[name] for name in names}


def _without(name: str, service: Service, whole: Service) -> dict[str, str]:
    return {
        other: address for other, address in whole.extra_hosts.items() if other != name or other in service.extra_hosts
    }


def _prepared(trial: RunningTrial, found: Mapping[str, ServiceFacts]) -> dict[str, ServiceFacts]:
    """Run the commands that prepare services: of each one after the other, of several services at the same time."""
    after = dict(found)
    services, handles = trial.input.services.needed, trial.placed.services
    waiting = {name: list(services[name].prepare) for name in found if services[name].prepare}
    if waiting:
        trial.say(Event("server", f"preparing {_listed(list(waiting))}", passing=True))
    position = 0
    while waiting:
        position += 1
        calls: dict[str, Pending[CommandResult]] = {}
        for name, commands in waiting.items():
            service = services[name]
            seen = addresses_for(trial, service, handles[name].host, service.depends_on) | {name: own(service)}
            argv = [filled(word, seen) for word in prepare_argv(commands.pop(0))]
            calls[name] = handles[name].prepare(name, argv, service.prepare_timeout / 1e6)
        for name, call in calls.items():
            while not call.done(timeout_s=POLL_S):
                pass
            result = call.result(services[name].prepare_timeout / 1e6 + START_MARGIN_S)
            if result.status != 0:
                detail = _failed(position, result, services[name].prepare_timeout / 1e6)
                after[name] = replace(after[name], state=ServerState.NOT_STARTED, detail=detail)
        waiting = {
            name: commands for name, commands in waiting.items() if commands and after[name].state is ServerState.READY
        }
    return after


def _failed(position: int, result: CommandResult, timeout_s: float) -> str:
    """Return how a command that prepares a service failed, with what it printed last."""
    how = f"did not end within {timeout_s:g} s" if result.status is None else f"failed with exit status {result.status}"
    lines = [line.strip()[:LINE_CHARACTERS] for line in result.output.splitlines() if line.strip()][-LAST_LINES:]
    said = f": {' | '.join(lines)}" if lines else ""
    return f"prepare command {position} {how}{said}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _number(service: str, address: str) -> str:
    """Return the IP address of a service's host: names in a container's /etc/hosts need one. Raises HostError."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        try:
            return str(socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0][4][0])
        except (OSError, UnicodeError) as error:
            raise HostError(
                f"service {service}: the address {address} of its host has no IP address here: {error}",
                "write the host's IP address as its address or load_address in the inventory",
            ) from None
    return address
