"""Doubts about one trial: each a pure function of its facts and numbers.

docs/reference/findings.md explains them.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.analyse.findings import (
    answers,
    arrivals,
    bodies,
    conduct,
    generator,
    handshakes,
    measurement,
    server,
    services,
)
from orchestrator.analyse.findings.registry import REGISTRY
from orchestrator.analyse.findings.single import Rule, singles
from orchestrator.counted import counted
from orchestrator.facts import TrialFacts
from orchestrator.result import Finding, Metrics


def find(facts: TrialFacts, metrics: Metrics | None) -> list[Finding]:
    """Apply every rule to a trial."""
    found = [finding for rule in RULES for finding in rule(facts, metrics)]
    if facts.case.external:
        found = [replace(each, hint=_without_log(each.hint)) for each in found]
    said = counted([facts.case.protocol]).said
    return [replace(each, sentence=said(each.sentence), hint=said(each.hint)) for each in found]


def _without_log(hint: str) -> str:
    """Return what to do about a server that Volley did not start: its log is not in the trial's folder."""
    own = "the log of the server"
    return hint.replace("server.log in the trial's folder", own).replace("server.log", own)


# Causes come before what follows from them: that is the order in which they are shown.
RULES: list[Rule] = [
    conduct.commands_failed,
    services.service_memory,
    services.service_state,
    server.server_memory,
    server.server_state,
    server.server_afterwards,
    server.body_size,
    bodies.unexpected,
    measurement.hosts_lost,
    measurement.degraded,
    measurement.no_space,
    measurement.agents_lost,
    measurement.counts,
    generator.ephemeral_ports,
    generator.clients_lost,
    generator.hung_slots,
    generator.clients_idle,
    handshakes.handshakes,
    server.connections_ended,
    answers.failed_requests,
    answers.redirected,
    generator.generator,
    generator.other_run,
    generator.host_steal,
    generator.network,
    measurement.clocks,
    measurement.start_skew,
    arrivals.arrivals,
    measurement.censored_tail,
    measurement.littles_law,
    measurement.not_steady,
    measurement.agent_imbalance,
    server.server_throttled,
    services.service_throttled,
    generator.shared_host,
    measurement.too_few_samples,
    conduct.agents_used,
]
for _single in singles():
    REGISTRY[_single.entry.code] = _single.entry
    RULES.insert(RULES.index(_single.after) + 1, _single.rule)
