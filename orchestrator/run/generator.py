"""The generator of a trial, settled once the server has been asked: some versions of h2load cannot load every server."""

from __future__ import annotations

from dataclasses import replace

from agents.generators.contract import Model, Protocol
from agents.records import GeneratorKind, HostDescription, ServerFacts
from orchestrator.errors import HostError
from orchestrator.facts import Case, TrialFacts
from orchestrator.run.events import Event
from orchestrator.run.inputs import RunningTrial


def settle(trial: RunningTrial, facts: TrialFacts) -> TrialFacts:
    """Return the facts with the generator that can load the server that was asked.

    h2load never sees the end of an answer that only the end of its connection ends. Up to 1.63 it never ends a timed
    closed load over HTTP/1.1 if the server closes every connection. paced sends those loads instead. Raises HostError
    where the campaign names h2load, because nothing has been loaded yet.
    """
    case, server = facts.case, facts.server
    if not server.closes or case.generator is not GeneratorKind.H2LOAD or case.protocol is not Protocol.HTTP1:
        return facts
    if server.until_close:
        why = "its answers have no Content-Length and end with the connection, and h2load never sees such an end"
        fix = "omit 'generator' so that paced sends this load, or have the server send Content-Length or chunks"
    elif _is_timed(case) and (old := _too_old(trial)) is not None:
        why = f"{_closes(server)}, and h2load {old.h2load} on host {old.host} never ends a timed load then"
        fix = "omit 'generator' so that paced sends this load, or install h2load 1.64 or newer"
    else:
        return facts
    if trial.input.load.generator != "auto":
        raise HostError(f"loads.{case.load}: {why}", fix)
    reason = "its answers end with the connection" if server.until_close else _closes(server)
    trial.say(Event("generator", f"{reason}: paced sends this load instead of h2load"))
    # The ceilings are h2load's.
    return replace(facts, case=replace(case, generator=GeneratorKind.PACED), ceilings_per_s={})


def _closes(server: ServerFacts) -> str:
    if server.asked_to_close:
        return "the load's header Connection: close ends every connection"
    return "the server closes every connection"


def _is_timed(case: Case) -> bool:
    return case.model is Model.CLOSED and case.duration_us is not None


def _too_old(trial: RunningTrial) -> HostDescription | None:
    """Return a load host whose h2load is too old for a server that closes every connection; None without one."""
    hosts = trial.left.each(lambda load: load.describe(), trial.left.loads)
    return next((host for host in hosts.values() if not _ends_on_close(host)), None)


def _ends_on_close(host: HostDescription) -> bool:
    from agents.generators.h2load_version import capabilities

    if host.h2load is None:
        return False
    major, minor = host.h2load.split(".")
    return capabilities((int(major), int(minor))).ends_on_close
