"""What became of the requests of a case, and what they cost the server, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agents.generators.contract import Failure
from orchestrator.analyse.people import count, digits, percent, several
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
    """Return what became of requests: '68,087 ok (200: 68,087), no errors'."""
    ok, http_errors, failed = (
        sum(counts)
        for counts in zip(*((r.ok, r.http_error, r.failed) for r in (c.requests for c in cases)), strict=True)
    )
    if not ok + http_errors + failed:
        return "none"
    statuses = added(cases)
    parts = [
        f"{count(ok)} ok{_codes(statuses, lambda status: 100 <= status < 400)}",
        f"{several(http_errors, 'HTTP error', 'HTTP errors')}{_codes(statuses, lambda status: status >= 400)}",
        f"{count(failed)} failed{_codes(statuses, lambda status: status < 0)}",
    ]
    shown = [part for part, number in zip(parts, (ok, http_errors, failed), strict=True) if number]
    return ", ".join([*shown, *([] if http_errors + failed else ["no errors"])])


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
    return status if number >= 0 else _FAILURES.get(Failure(number), "failed") if number in set(Failure) else "failed"


def _codes(statuses: Mapping[str, int], wanted: Callable[[int], bool]) -> str:
    named = [f"{status_name(status)}: {count(n)}" for status, n in sorted(statuses.items()) if wanted(int(status))]
    return f" ({', '.join(named)})" if named else ""


def memory(server: ServerCost) -> str:
    """Return the peak and the limit in MiB, without the unit: '91 of 150'."""
    if server.peak_memory_bytes is None:
        return ""
    limit = f" of {digits(server.memory_limit_bytes / 2**20)}" if server.memory_limit_bytes else ""
    return f"{digits(server.peak_memory_bytes / 2**20)}{limit}"


def cost(server: ServerCost) -> list[str]:
    """Return what the requests cost the server, each as a field; none where it was not metered."""
    parts = []
    if server.cpu_us_per_request is not None:
        parts.append(f"CPU {digits(server.cpu_us_per_request)} µs/request")
    if memory(server):
        parts.append(f"peak memory {memory(server)} MiB")
    if server.throttled_ratio:
        parts.append(f"throttled in {percent(server.throttled_ratio)} of the periods")
    if server.oom_kills:
        parts.append(several(server.oom_kills, "OOM kill", "OOM kills"))
    if server.restarts:
        parts.append(several(server.restarts, "restart", "restarts"))
    return parts
