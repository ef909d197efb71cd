"""Doubts about the services of a target: not up, ended, killed for memory, limited by their CPU quota."""

from __future__ import annotations

from collections.abc import Iterator

from agents.records import ServerState, ServiceFacts
from orchestrator.analyse.findings.registry import finding
from orchestrator.facts import TrialFacts
from orchestrator.result import Fact, Facts, Finding, FindingCode, Metrics, Severity

INFORMATION, SUSPECT, INVALID = Severity.INFORMATION, Severity.SUSPECT, Severity.INVALID

# A service is the likely bottleneck when it was throttled in this share of the periods.
BOTTLENECK = 0.3
ENDED = "the container ended: "


def service_memory(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find services killed for memory, even if only one of their processes died."""
    for service in facts.services:
        kills = oom_kills(service)
        if not kills:
            continue
        limit = service.memory_bytes or (service.last.memory_limit_bytes if service.last else 0)
        numbers: Facts = {"service": service.name, "oom_kills": kills, "limit_bytes": limit or None}
        yield finding(FindingCode.SERVICE_OOM_KILL, INVALID, numbers, "" if limit else "host")


def oom_kills(service: ServiceFacts) -> int:
    """Return how many of a service's processes were killed for memory in the trial."""
    return max(0 if service.last is None else service.last.oom_kills, int(service.oom_killed))


def service_state(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find services that did not come up, were not prepared, or ended before the trial did."""
    for service in facts.services:
        detail = service.detail.removeprefix(ENDED)
        numbers: dict[str, Fact] = {"service": service.name, "detail": detail}
        if service.state == ServerState.EXITED or (service.state == ServerState.READY and not service.running):
            after_us = service.exited_after_us
            numbers |= {"exit_code": service.exit_code}
            numbers |= {} if after_us is None else {"after_s": round(after_us / 1e6, 1 if after_us >= 1_000_000 else 3)}
            numbers["detail"] = detail or "the container is gone"
            yield finding(FindingCode.SERVICE_EXITED, INVALID, numbers, "" if after_us is None else "when")
        elif service.state == ServerState.NOT_STARTED:
            yield finding(FindingCode.SERVICE_NOT_READY, INVALID, numbers, "prepare")
        elif service.state != ServerState.READY:
            yield finding(FindingCode.SERVICE_NOT_READY, INVALID, numbers)
        if service.replaced:
            numbers = {"service": service.name, "detail": service.replaced.removeprefix(ENDED)}
            yield finding(FindingCode.SERVICE_REPLACED, INFORMATION, numbers)


def service_throttled(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Report CPU limits that throttled services: information where the campaign set them."""
    for service in facts.services:
        cost = None if metrics is None else metrics.services.get(service.name)
        if cost is None or not cost.throttled_ratio:
            continue
        share = cost.throttled_ratio
        numbers: Facts = {
            "service": service.name,
            "share_of_periods": round(share, 3),
            "throttled_s": cost.throttled_s,
            "quota": None if service.cpus is None else f"{service.cpus:g} core{'s' * (service.cpus != 1)}",
        }
        if service.cpus is None:
            yield finding(FindingCode.SERVICE_THROTTLED, SUSPECT, numbers, "foreign")
        else:
            wording = "bottleneck" if share >= BOTTLENECK else ""
            yield finding(FindingCode.SERVICE_THROTTLED, INFORMATION, numbers, wording)
