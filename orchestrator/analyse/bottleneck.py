"""What a server or one of its services ran out of in a trial, by their own counters. Pure."""

from __future__ import annotations

from agents.generators.contract import WITHOUT_ANSWER
from agents.records import HostRole
from orchestrator.analyse.metrics import not_logged
from orchestrator.result import Bottleneck, Finding, FindingCode, Trial

MEMORY = {FindingCode.SERVER_OOM_KILL, FindingCode.SERVER_MEMORY_THRASH}
ENDED = {
    FindingCode.SERVER_EXITED,
    FindingCode.SERVER_RESTARTED,
    FindingCode.SERVER_UNRESPONSIVE,
    FindingCode.SERVER_NOT_READY,
}
# What went wrong with a service, by what it is called.
OF_SERVICES = {
    FindingCode.SERVICE_OOM_KILL: Bottleneck.SERVICE_MEMORY,
    FindingCode.SERVICE_EXITED: Bottleneck.SERVICE_ENDED,
    FindingCode.SERVICE_NOT_READY: Bottleneck.SERVICE_ENDED,
}
# The CPU is the bottleneck of a server that used this share of what it may use, or was throttled in
# this share of periods.
CPU_FULL, THROTTLED = 0.85, 0.3
# A host with less of its CPU free than this is full.
HOST_FULL = 0.1
# How close to a whole number of cores counts as one.
WHOLE_CORES = 0.1


def bottleneck(trial: Trial) -> Bottleneck:
    """Return what the server ran out of, as far as it was metered."""
    codes = {finding.code for finding in trial.findings}
    if (failed := _failed_service(trial)) is not None:
        return OF_SERVICES[failed.code]
    if codes & MEMORY:
        return Bottleneck.MEMORY
    if codes & ENDED:
        return Bottleneck.ENDED
    if trial.metrics is None:
        return Bottleneck.NO_ANSWER
    return _of_cpu(trial) or _of_requests(trial)


def _of_cpu(trial: Trial) -> Bottleneck | None:
    assert trial.metrics is not None
    used, allowed = cores_used(trial), trial.facts.case.cpus
    throttled, service = trial.metrics.server.throttled_ratio or 0.0, throttled_service(trial)
    if service is not None and (trial.metrics.services[service].throttled_ratio or 0.0) > throttled:
        return Bottleneck.SERVICE_CPU_QUOTA
    if throttled >= THROTTLED:
        return Bottleneck.CPU_QUOTA if allowed else Bottleneck.CPU_QUOTA_OF_HOST
    if used is not None and cpu_full(trial):
        return Bottleneck.CPU_LIMIT
    if any(use.free_share <= HOST_FULL for use in trial.facts.hosts if use.host in _server_hosts(trial)):
        return Bottleneck.HOST_CPU
    if any(use.free_share <= HOST_FULL for use in trial.facts.hosts if use.role == HostRole.SERVICE):
        return Bottleneck.SERVICE_HOST_CPU
    # A server of one busy process, or of several, uses whole cores.
    if used is not None and round(used) >= 1 and abs(used - round(used)) < WHOLE_CORES:
        return Bottleneck.CPU_OF_PROCESSES
    return None


def _of_requests(trial: Trial) -> Bottleneck:
    assert trial.metrics is not None
    if trial.metrics.requests.http_error:
        return Bottleneck.ADMISSION
    # An answer that does not come in time is what a server without a free worker looks like.
    if trial.metrics.requests.failed > _without_answer(trial):
        return Bottleneck.CONNECTIONS
    return Bottleneck.NOT_METERED if cores_used(trial) is None else Bottleneck.CONCURRENCY


def _without_answer(trial: Trial) -> int:
    """Return the failed requests that only had no answer in time: timed out, unanswered, unsent."""
    assert trial.metrics is not None
    logged = sum(trial.metrics.statuses.get(str(int(failure)), 0) for failure in WITHOUT_ANSWER)
    return logged + sum(agent.hung + not_logged(agent) for agent in trial.facts.agents)


def describe(what: Bottleneck, trial: Trial) -> str:
    """Return a bottleneck in words, with the trial's numbers."""
    used, allowed = cores_used(trial) or 0.0, trial.facts.case.cpus or 0.0
    return {
        Bottleneck.MEMORY: "memory",
        Bottleneck.ENDED: "the server itself: it exited or stopped answering",
        Bottleneck.NO_ANSWER: "unknown: the server did not answer",
        Bottleneck.CPU_QUOTA: f"CPU quota ({_cores(allowed)})",
        Bottleneck.CPU_QUOTA_OF_HOST: "CPU: a quota not set by the campaign",
        Bottleneck.CPU_LIMIT: f"CPU ({used:.2f} of {_cores(allowed)})",
        Bottleneck.HOST_CPU: "CPU of the server's host",
        Bottleneck.CPU_OF_PROCESSES: f"CPU ({used:.2f} cores busy, as many as its processes can use)",
        Bottleneck.ADMISSION: "admission: the server answered with errors",
        Bottleneck.CONNECTIONS: "connections: the server refused or closed them",
        Bottleneck.NOT_METERED: "unknown: the server is not metered",
        **_of_services(trial),
        Bottleneck.CONCURRENCY: "its own concurrency: CPU, memory and connections still had headroom",
    }[what]


def _failed_service(trial: Trial) -> Finding | None:
    """Return the finding about the first service that ended or was killed for memory: that is why the server failed."""
    return next((finding for code in OF_SERVICES for finding in trial.findings if finding.code is code), None)


def throttled_service(trial: Trial) -> str | None:
    """Return the service that its CPU quota throttled most, if that was enough to be the bottleneck."""
    costs = {} if trial.metrics is None else trial.metrics.services
    shares = {name: cost.throttled_ratio or 0.0 for name, cost in costs.items()}
    most = max(shares, key=lambda name: shares[name], default=None)
    return most if most is not None and shares[most] >= THROTTLED else None


def service_full(trial: Trial) -> bool:
    """Return whether a service used up the CPU that the campaign allows it."""
    metrics = trial.metrics
    if metrics is None or metrics.window_s <= 0:
        return False
    used = {name: (cost.cpu_s or 0.0) / metrics.window_s for name, cost in metrics.services.items()}
    return any(s.cpus is not None and used.get(s.name, 0.0) >= CPU_FULL * s.cpus for s in trial.facts.services)


def _of_services(trial: Trial) -> dict[Bottleneck, str]:
    failed, throttled = _failed_service(trial), throttled_service(trial)
    name = "a service" if failed is None else failed.facts.get("service")
    cpus = {service.name: service.cpus for service in trial.facts.services}
    quota = cpus.get(throttled or "")
    full = {use.host for use in trial.facts.hosts if use.role == HostRole.SERVICE and use.free_share <= HOST_FULL}
    there = ", ".join(service.name for service in trial.facts.services if service.host in full)
    return {
        Bottleneck.SERVICE_MEMORY: f"{name}: memory",
        Bottleneck.SERVICE_ENDED: f"{name}: it ended or did not come up",
        Bottleneck.SERVICE_CPU_QUOTA: f"{throttled}: CPU quota" + (f" of {_cores(quota)}" if quota else ""),
        Bottleneck.SERVICE_HOST_CPU: f"{there}: CPU of its host",
    }


def _cores(number: float) -> str:
    return f"{number:g} core{'' if number == 1 else 's'}"


def cores_used(trial: Trial) -> float | None:
    """Return how many cores the server used on average over the window; None: not metered."""
    metrics = trial.metrics
    if metrics is None or metrics.server.cpu_s is None or metrics.window_s <= 0:
        return None
    return metrics.server.cpu_s / metrics.window_s


def cpu_full(trial: Trial) -> bool:
    """Return whether the server used up the CPU that the campaign allows it."""
    used, allowed = cores_used(trial), trial.facts.case.cpus
    return used is not None and allowed is not None and used >= CPU_FULL * allowed


def _server_hosts(trial: Trial) -> set[str]:
    """Return the hosts of the server; on a shared host, every host."""
    if trial.facts.shared_host:
        return {use.host for use in trial.facts.hosts}
    return {use.host for use in trial.facts.hosts if use.role == HostRole.SERVER}
