"""Doubts about the server: memory, state, answers, quota, connections that it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.hostmeter import HostUse
from agents.records import ServerState
from orchestrator.facts import TrialFacts
from orchestrator.result import Finding, Metrics, Severity

INFORMATION, SUSPECT, INVALID = Severity.INFORMATION, Severity.SUSPECT, Severity.INVALID

# At the limit, and paging in program text that was just thrown out: the kernel works, the server does not.
THRASH_FULL = 0.97
THRASH_FAULTS = 1000
ERROR_SHARE = 0.01
# Bodies that must all be alike: the mean may be off by what single odd answers in the warm-up make of it.
BODY_TOLERANCE = 0.005
# Silence at the end of the window, in its length and in the longest service time seen.
SILENT_OF_WINDOW = 0.1
SILENT_SERVICE_TIMES = 2
# Connections opened for each client: above this the server ended some of them. A host opens some for itself.
REOPENED = 2
OPENED_OTHERWISE_PER_S = 20


def server_memory(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Killed for memory (also when only a worker died), or thrashing at the limit."""
    last = facts.server.last
    if last is None or not last.memory_limit_bytes:
        return
    limit, peak = last.memory_limit_bytes, last.memory_peak_bytes
    memory = {"peak_bytes": peak, "limit_bytes": limit, "oom_kills": last.oom_kills, "major_faults": last.major_faults}
    cpu = {"cpu_s": round(last.cpu_us / 1e6, 2), "kernel_cpu_s": round(last.cpu_system_us / 1e6, 2)}
    more = f"give it more memory than {limit / 2**20:.0f} MiB (limits.memory) or fewer workers, and run again"
    if last.oom_kills:
        yield Finding("server-oom-kill", INVALID, memory, more)
    elif (
        facts.server.state == ServerState.NOT_READY
        and peak >= THRASH_FULL * limit
        and last.major_faults >= THRASH_FAULTS
    ):
        yield Finding("server-memory-thrash", INVALID, memory | cpu, more)
    elif metrics is not None and facts.server.opening is not None and peak >= THRASH_FULL * limit:
        faults = last.major_faults - facts.server.opening.major_faults
        if faults >= THRASH_FAULTS:
            yield Finding("server-memory-thrash", INVALID, memory | cpu | {"major_faults_in_window": faults}, more)


def server_state(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Never ready, gone, restarted, answering something else, not tried."""
    server = facts.server
    told = {"detail": server.detail, "after_s": round(server.ready_after_us / 1e6, 1)}
    if server.state == ServerState.NOT_READY and not any(server_memory(facts, metrics)):
        yield Finding("server-not-ready", INVALID, told, "look into server.log beside trial.json; is the port right?")
    elif server.state == ServerState.EXITED or (server.state == ServerState.READY and not server.running):
        told |= {"exit_code": server.exit_code}
        yield Finding("server-exited", INVALID, told, "look into server.log beside trial.json")
    elif server.state == ServerState.MISMATCH:
        yield Finding("response-mismatch", INVALID, told, "mend the server, or 'expect' in the campaign")
    elif server.state == ServerState.NOT_TRIED:
        yield Finding("not-run", INVALID, told, "mend what stopped the trials before it")
    if server.restarts:
        yield Finding(
            "server-restarted", INVALID, {"restarts": server.restarts}, "look into server.log beside trial.json"
        )


def server_afterwards(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """It answered before the load, and not, or otherwise, after it; or it fell silent in the middle."""
    server = facts.server
    told: dict[str, Any] = {"when": "after the load", "detail": server.afterwards_detail}
    if server.afterwards == ServerState.NOT_READY:
        yield Finding("server-unresponsive", INVALID, told, "it did not survive the load; look into server.log")
    elif server.afterwards == ServerState.MISMATCH:
        yield Finding("response-mismatch", INVALID, told, "it answers otherwise than before the load")
    elif metrics is not None and (silent_s := _silent_s(facts, metrics)):
        told = {"when": "before the window's end", "silent_s": round(silent_s, 1)}
        yield Finding("server-unresponsive", INVALID, told, "no request was answered any more; look into server.log")


def _silent_s(facts: TrialFacts, metrics: Metrics) -> float:
    """How long before the end of a timed window nothing was started any more, where that is too long to be chance."""
    if facts.case.duration_us is None or not metrics.series or facts.case.rate_per_s is not None:
        return 0.0
    last = max(row[0] or 0.0 for row in metrics.series)
    silent_s = metrics.window_s - (last + 1) * metrics.series_interval_s
    longest_s = (metrics.service_us["max"] or 0.0) / 1e6
    enough_s = max(metrics.series_interval_s, SILENT_OF_WINDOW * metrics.window_s, SILENT_SERVICE_TIMES * longest_s)
    return silent_s if silent_s >= enough_s else 0.0


def body_size(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Answers that should all be alike had another size than the one that was checked."""
    wanted = facts.server.body_bytes
    if metrics is None or wanted is None or metrics.requests.http_error or metrics.requests.failed:
        return
    told = [agent for agent in facts.agents if agent.body_bytes is not None and agent.done]
    received = sum(agent.body_bytes or 0 for agent in told)
    answers = sum(agent.done or 0 for agent in told)
    # When the time is over, each slot may have received a part of one more.
    slots = sum(agent.slots for agent in told)
    least, most = answers * wanted * (1 - BODY_TOLERANCE), (answers + slots) * wanted * (1 + BODY_TOLERANCE)
    if answers and not least <= received <= most:
        mean = round(received / answers, 1)
        numbers: dict[str, Any] = {"when": "under load", "body_bytes": mean, "expected_bytes": wanted}
        hint = "under load it answers something else than what was checked before: a fast wrong answer is no answer"
        yield Finding("response-mismatch", SUSPECT, numbers, hint)


def server_throttled(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Held back by a CPU quota: information where the quota was asked for."""
    if metrics is None or not metrics.server.throttled_ratio:
        return
    numbers: dict[str, Any] = {
        "share_of_periods": round(metrics.server.throttled_ratio, 3),
        "throttled_s": metrics.server.throttled_s,
    }
    if facts.case.cpus is not None:
        hint = "the CPU limit shapes these times; that is what was asked for"
        yield Finding("server-throttled", INFORMATION, numbers, hint)
    else:
        hint = "a quota that the campaign did not ask for holds it back: who set it on this host?"
        yield Finding("server-throttled", SUSPECT, numbers, hint)


def failed_requests(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Requests that did not succeed: none did, or a share that makes the rest another workload."""
    if metrics is None:
        return
    r = metrics.requests
    total = r.ok + r.http_error + r.failed
    numbers: dict[str, Any] = {
        "ok": r.ok,
        "http_error": r.http_error,
        "failed": r.failed,
        "statuses": metrics.statuses,
    }
    if r.ok == 0:
        yield Finding("no-success", INVALID, numbers, "no request succeeded: there is nothing to measure")
    elif total and (r.failed + r.http_error) / total > ERROR_SHARE:
        hint = "the times are of the requests that succeeded; errors are often cheaper than answers"
        yield Finding("errors", SUSPECT, numbers | {"share": round((r.failed + r.http_error) / total, 4)}, hint)
    elif r.failed + r.http_error:
        yield Finding("errors", INFORMATION, numbers, "few, and counted")


def connections_ended(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """The server ends connections after one answer, or after a number of them."""
    if metrics is None:
        return
    rows = sum(agent.rows for agent in facts.agents)
    opened = sum(use.opened for use in _load_hosts(facts))
    otherwise = sum(OPENED_OTHERWISE_PER_S * max(1.0, use.seconds) for use in _load_hosts(facts))
    # With HTTP/2 h2load opens no connection anew: what it lost is all that shows.
    http2 = facts.case.protocol == "http2"
    reopened = not http2 and opened > REOPENED * facts.case.clients + otherwise
    numbers: dict[str, Any] = {"connections_opened": opened, "clients": facts.case.clients}
    if facts.server.closes or (reopened and rows < 2 * opened):
        hint = "each request pays for a new connection; is keep-alive off in the server?"
        yield Finding("connection-close", SUSPECT, numbers, hint)
    elif reopened:
        numbers["requests_per_connection"] = round(rows / opened)
        yield Finding("keepalive-limit", SUSPECT, numbers, "raise keepalive_requests, or what it is called there")
    elif http2 and facts.server.afterwards == ServerState.READY and rows and _went_away(facts):
        numbers = {"clients": facts.case.clients, "requests_per_connection": round(rows / facts.case.clients)}
        hint = "the server lives and ended connections: raise keepalive_requests, or what it is called there"
        yield Finding("keepalive-limit", SUSPECT, numbers, hint)


def _load_hosts(facts: TrialFacts) -> list[HostUse]:
    return [use for use in facts.hosts if use.role == "load"]


def _went_away(facts: TrialFacts) -> bool:
    for agent in facts.agents:
        clients = agent.slots // max(1, facts.case.streams)
        if agent.request_failures or (agent.sockets_fewest is not None and agent.sockets_fewest < clients):
            return True
        if facts.case.requests is not None and agent.errored:
            return True
    return False
