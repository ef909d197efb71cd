"""What became of the requests of a case, and what they cost the server, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.generators.contract import Failure
from orchestrator.analyse.people import count, digits, percent, seconds, several
from orchestrator.facts import CaseService
from orchestrator.report.conditions import counted_in
from orchestrator.result import CaseResult, ServerCost

_FAILURES = {
    Failure.FAILED: "failed",
    Failure.TIMEOUT: "timed out",
    Failure.RESET: "connection reset",
    Failure.REFUSED: "connection refused",
    Failure.PROTOCOL: "protocol error",
    Failure.UNANSWERED: "never answered",
    Failure.UNSENT: "never sent",
}


def outcome(cases: Sequence[CaseResult]) -> str:
    """Return what became of requests: '68,087 ok, no errors'."""
    ok, http_errors, failed = (
        sum(counts)
        for counts in zip(*((r.ok, r.http_error, r.failed) for r in (c.requests for c in cases)), strict=True)
    )
    if not ok + http_errors + failed:
        return "none"
    parts = [f"{count(ok)} ok", several(http_errors, "HTTP error", "HTTP errors"), f"{count(failed)} failed"]
    shown = [part for part, number in zip(parts, (ok, http_errors, failed), strict=True) if number]
    return ", ".join([*shown, *([] if http_errors + failed else ["no errors"])])


def status_codes(statuses: Mapping[str, int]) -> str:
    """Return the status codes with their counts: '200 3,410 · 429 97 · timed out 3'; of a single one the code alone."""
    found = {status: number for status, number in statuses.items() if number}
    if len(found) == 1 and int(next(iter(found))) > 0:
        return f"all {next(iter(found))}"
    # Codes in order, and after them why there was none.
    ordered = sorted(found.items(), key=lambda each: (int(each[0]) < 0, abs(int(each[0]))))
    return " · ".join(f"{status_name(status)} {count(number)}" for status, number in ordered)


def added(cases: Sequence[CaseResult]) -> dict[str, int]:
    """Return the statuses of several cases added up."""
    total: dict[str, int] = {}
    for case in cases:
        for status, number in case.statuses.items():
            total[status] = total.get(status, 0) + number
    return total


def status_name(status: str) -> str:
    """Return an HTTP status, or why there was none."""
    number = int(status)
    if number == 0:
        return "status unknown"
    return status if number > 0 else _FAILURES.get(Failure(number), "failed") if number in set(Failure) else "failed"


def memory(server: ServerCost) -> str:
    """Return the peak and the limit in MiB, without the unit: '91 of 150'."""
    if server.peak_memory_bytes is None:
        return ""
    limit = f" of {digits(server.memory_limit_bytes / 2**20)}" if server.memory_limit_bytes else ""
    return f"{digits(server.peak_memory_bytes / 2**20)}{limit}"


def of_services(case: CaseResult) -> list[str]:
    """Return what each service used, for a person: 'db: CPU time 2.4 s (quota 1 core), peak memory 91 of 150 MiB'."""
    planned = {service.name: service for service in (case.planned.services if case.planned else [])}
    return [f"{name}: {', '.join(_use(used, planned.get(name)))}" for name, used in case.services.items()]


def _use(used: ServerCost, planned: CaseService | None) -> list[str]:
    quota = f" (quota {planned.cpus:g} core{'s' * (planned.cpus != 1)})" if planned is not None and planned.cpus else ""
    parts = [] if used.cpu_s is None else [f"CPU time {seconds(used.cpu_s)}{quota}"]
    if memory(used):
        parts.append(f"peak memory {memory(used)} MiB")
    if used.throttled_ratio:
        parts.append(f"throttled in {percent(used.throttled_ratio)} of the periods")
    if used.oom_kills:
        parts.append(several(used.oom_kills, "OOM kill", "OOM kills"))
    if used.restarts:
        parts.append(f"started again {several(used.restarts, 'time', 'times')}")
    return parts


def cost(case: CaseResult) -> list[str]:
    """Return what the requests cost the server, each as a field; none where it was not metered."""
    parts, server = [], case.server
    if server.cpu_us_per_request is not None:
        parts.append(f"CPU {digits(server.cpu_us_per_request)} µs/{counted_in(case).one}")
    if memory(server):
        parts.append(f"peak memory {memory(server)} MiB")
    if server.throttled_ratio:
        parts.append(f"throttled in {percent(server.throttled_ratio)} of the periods")
    if server.oom_kills:
        parts.append(several(server.oom_kills, "OOM kill", "OOM kills"))
    if server.restarts:
        parts.append(several(server.restarts, "restart", "restarts"))
    return parts
