"""One trial: commands before, services and server up, load, commands after; the hosts are left as they were."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agents.records import ServerFacts, ServerState
from orchestrator.errors import HostError
from orchestrator.facts import CommandDone, TrialFacts, When
from orchestrator.fleet.handles import ServerHandle
from orchestrator.fleet.hosts import HostLost, Placed, at_once
from orchestrator.redact import clean_bytes, cleaned
from orchestrator.run.commands import carry_out
from orchestrator.run.events import Say
from orchestrator.run.inputs import Losses, RunningTrial, Stages, TrialInput, TrialOutput
from orchestrator.run.load import run_load
from orchestrator.run.server import UP, bring_up
from orchestrator.run.services import bring_up_services, finish_services, logs_of, not_kept, variables_for, why_not_up
from orchestrator.run.targets import is_loopback, traffic_of

if TYPE_CHECKING:
    from agents.wire import AgentResult

LEFT_WITHIN_S = 30.0


def run_trial(item: TrialInput, placed: Placed, say: Say) -> TrialOutput:
    """Run one trial and leave the hosts as they were before, whatever happens.

    A server that does not become ready, or a host that is lost, whichever call to it fails, is a result with an error.
    A host that is lost once everything was measured is noted beside the numbers. Raises HostError for what makes every
    trial impossible (no engine, no h2load, port in use).
    """
    server = placed.server if item.target.url is None else None
    address = server.load_address if server else ""
    traffic = traffic_of(item.target, item.load, address, item.folder, item.permitted)
    trial = RunningTrial(item, traffic, placed, server, Stages(), say)
    shared = (
        placed.shared()
        if item.target.url is None
        else item.target.socket is not None or is_loopback(urlsplit(item.target.url).hostname or "")
    )
    facts = _planned(item, ServerFacts(state=ServerState.EXTERNAL), shared)
    log, service_logs = b"", dict[str, bytes]()
    try:
        facts, results = _between_commands(trial, facts)
        if server is not None:
            log = _log(trial, server.log)
            service_logs = logs_of(trial, lambda read: _log(trial, read))
    finally:
        with trial.stages.of("leave"):
            _leave(trial, server)
    lost = [error.message for error in trial.losses.errors]
    facts = replace(facts, stages_us=trial.stages.lasted_us, lost=lost)
    # Results are cleaned as they are read.
    service_logs = {name: clean_bytes(text) for name, text in service_logs.items()}
    return TrialOutput(cleaned(facts), results, clean_bytes(log), trial.losses.first, service_logs)


def not_run(item: TrialInput, why: str) -> TrialOutput:
    """Record a trial that was planned and not run."""
    facts = replace(_planned(item, ServerFacts(state=ServerState.NOT_TRIED, detail=why), False), error=why)
    return TrialOutput(cleaned(facts), [], b"")


def _between_commands(trial: RunningTrial, facts: TrialFacts) -> tuple[TrialFacts, Collection[AgentResult]]:
    """Run the commands before, the trial itself unless one of them failed, and the commands after."""
    item = trial.input
    results: Collection[AgentResult] = []
    not_started = ServerFacts(state=ServerState.NOT_STARTED)
    done: list[CommandDone] = []
    try:
        with trial.stages.of("before"):
            done = carry_out(When.BEFORE, item.around, item.plan, item.run, trial.placed, partial(variables_for, trial))
        if done and done[-1].status != 0:
            facts = replace(facts, server=not_started, error="a command before it failed")
        else:
            facts, results = _up_and_loaded(trial, facts)
    except HostLost as error:
        trial.losses.note(error)
        facts = replace(facts, server=not_started, error=error.message)
    except BaseException:
        # Interrupted, or every trial is impossible. What was prepared is tidied up all the same; a second signal ends that.
        _quiet(trial)
        with contextlib.suppress(HostError):
            _after(trial)
        raise
    return replace(facts, commands=[*done, *_after(trial)]), results


def _after(trial: RunningTrial) -> list[CommandDone]:
    """Run the commands after a trial."""
    item = trial.input
    with trial.stages.of("after"), trial.losses.noted():
        return carry_out(When.AFTER, item.around, item.plan, item.run, trial.placed, partial(variables_for, trial))
    return []


def _quiet(trial: RunningTrial) -> None:
    """End what is under way on the hosts, so that they can run a command."""
    if trial.input.around.after:
        at_once(
            lambda host: _tidy(host.abort, lambda timeout_s: None, trial.losses)(), [*trial.placed.helpers.values()]
        )


def _up_and_loaded(trial: RunningTrial, facts: TrialFacts) -> tuple[TrialFacts, Collection[AgentResult]]:
    if trial.input.services.needed:
        with trial.stages.of("services"):
            facts = replace(facts, services=bring_up_services(trial))
        if (error := why_not_up(facts.services)) is not None:
            not_started = ServerFacts(state=ServerState.NOT_STARTED)
            return replace(
                facts, server=not_started, services=finish_services(trial, facts.services, False), error=error
            ), []
    with trial.stages.of("server"):
        facts = replace(facts, server=bring_up(trial))
    if facts.server.state not in UP:
        services = finish_services(trial, facts.services, loaded=False)
        return replace(facts, services=services, error=facts.server.detail), []
    return run_load(trial, facts)


def _planned(item: TrialInput, server: ServerFacts, shared_host: bool) -> TrialFacts:
    """Return what is known of a trial before anything has happened."""
    return TrialFacts(
        number=item.plan.number,
        block=item.plan.block,
        case=item.plan.case,
        started_at_ns=time.time_ns(),
        t0_ns=None,
        window_start_us=None,
        window_end_us=None,
        server=server,
        agents=[],
        clocks=[],
        shared_host=shared_host,
        accepted_keys=item.accepted_keys,
        ceilings_per_s=item.ceilings_per_s,
        idle_hosts=item.idle_hosts,
    )


def _log(trial: RunningTrial, read: Callable[[], bytes]) -> bytes:
    """Return the end of a log; why it cannot be read, where it cannot."""
    try:
        return read()
    except HostError as error:
        if isinstance(error, HostLost):
            trial.losses.note(error)
        return f"the log could not be read: {error.message}".encode()


def _leave(trial: RunningTrial, server: ServerHandle | None) -> None:
    """Leave no container and no generator behind; a host that is lost is noted, and cleaned up by its guard."""
    loads = trial.placed.loads
    tidying: list[Callable[[], None]] = [_tidy(load.cancel, load.discard, trial.losses) for load in loads]
    if server is not None:
        tidying.append(_tidy(server.abort, server.stop, trial.losses))
    for handle in trial.placed.service_hosts():
        ending = not_kept(trial, handle)
        tidying.append(_tidy(handle.abort, partial(handle.stop, ending), trial.losses))
    at_once(lambda tidy: tidy(), tidying)


def _tidy(abort: Callable[[], None], remove: Callable[[float], None], losses: Losses) -> Callable[[], None]:
    """Return a call that ends what is under way on a host, then removes it."""

    def tidy() -> None:
        with contextlib.suppress(HostError), losses.noted():
            abort()
            remove(LEFT_WITHIN_S)

    return tidy
