"""The generator of a trial, settled once the server has been asked: some versions of h2load cannot load every server."""

from __future__ import annotations

from dataclasses import replace

from agents.generators.contract import Model, Protocol
from agents.records import GeneratorKind, HostDescription
from orchestrator.errors import HostError
from orchestrator.facts import Case, TrialFacts
from orchestrator.run.events import Event
from orchestrator.run.inputs import RunningTrial


def settle(trial: RunningTrial, facts: TrialFacts) -> TrialFacts:
    """Return the facts with the generator that can load the server that was asked.

    Up to 1.63, h2load never ends a timed closed load over HTTP/1.1 if the server closes every connection. paced sends it
    instead. Raises HostError where the campaign names h2load, because nothing has been loaded yet.
    """
    if not facts.server.closes or not _is_timed_by_h2load(facts.case):
        return facts
    hosts = trial.left.each(lambda load: load.describe(), trial.left.loads)
    old = next((host for host in hosts.values() if not _ends_on_close(host)), None)
    if old is None:
        return facts
    if trial.input.load.generator != "auto":
        raise HostError(
            f"loads.{facts.case.load}: the server closes every connection, and h2load {old.h2load} on host {old.host} "
            "never ends a timed load then",
            "omit 'generator' so that paced sends this load, or install h2load 1.64 or newer",
        )
    trial.say(Event("generator", "the server closes every connection: paced sends this load instead of h2load"))
    # The ceilings are h2load's.
    return replace(facts, case=replace(facts.case, generator=GeneratorKind.PACED), ceilings_per_s={})


def _is_timed_by_h2load(case: Case) -> bool:
    timed = case.model is Model.CLOSED and case.duration_us is not None
    return timed and case.protocol is Protocol.HTTP1 and case.generator is GeneratorKind.H2LOAD


def _ends_on_close(host: HostDescription) -> bool:
    from agents.generators.h2load import capabilities  # imports numpy

    if host.h2load is None:
        return False
    major, minor = host.h2load.split(".")
    return capabilities((int(major), int(minor))).ends_on_close
