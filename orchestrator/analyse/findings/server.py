"""Doubts about the server: memory, state, responses, CPU limit, connections that it closes."""

from __future__ import annotations

from collections.abc import Iterator

from agents.answers import NO_WEBSOCKET, TOO_MANY
from agents.cgroup import THRASH_FAULTS
from agents.generators.contract import Failure, Model, Protocol
from agents.probe import SPEAKS
from agents.records import HostRole, ServerState
from agents.tls import NEEDS_CERTIFICATE, NO_TLS, OTHER_NAME, UNTRUSTED
from orchestrator.analyse.findings.registry import finding
from orchestrator.analyse.metrics import answered
from orchestrator.facts import TrialFacts
from orchestrator.result import Fact, Facts, Finding, FindingCode, Metrics, Severity

INFORMATION, SUSPECT, INVALID = Severity.INFORMATION, Severity.SUSPECT, Severity.INVALID

# What a server means by a status that the campaign does not expect, by the wording that explains it.
# Over WebSocket: of an answer to a message, and of a handshake without one.
ANSWERED, SWITCHED = 200, 101
REFUSALS = {401: "refused", 403: "refused", 404: "path", 405: "method", 410: "path", 501: "method"}
# Bodies that must all be equal: single odd responses in the warm-up may shift the mean by this
# share.
BODY_TOLERANCE = 0.005
# Silence at the end of the window that is no chance: as a share of it, and in longest service
# times.
SILENT_OF_WINDOW = 0.1
SILENT_SERVICE_TIMES = 2
# Connections opened per client: above this the server closed some. An open loop also opens spare ones.
REOPENED = 2
SPARE_PER_S = 20
# With this many requests per connection, connecting is too rare to change what is measured.
FEW_PER_CONNECTION = 20


def server_memory(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find a server killed for memory (even if only a worker died), or thrashing at its limit."""
    last = facts.server.last
    if last is None or not last.memory_limit_bytes:
        return
    limit, peak = last.memory_limit_bytes, last.memory_peak_bytes
    memory: dict[str, Fact] = {
        "peak_bytes": peak,
        "limit_bytes": limit,
        "oom_kills": last.oom_kills,
        "major_faults": last.major_faults,
    }
    memory_and_cpu = memory | {"cpu_s": round(last.cpu_us / 1e6, 2), "kernel_cpu_s": round(last.cpu_system_us / 1e6, 2)}
    if last.oom_kills:
        yield finding(FindingCode.SERVER_OOM_KILL, INVALID, memory)
    elif facts.server.state == ServerState.NOT_READY and last.fills_limit(peak) and last.major_faults >= THRASH_FAULTS:
        yield finding(FindingCode.SERVER_MEMORY_THRASH, INVALID, memory_and_cpu, "starting")
    elif metrics is not None and facts.server.opening is not None and last.fills_limit(peak):
        faults = last.major_faults - facts.server.opening.major_faults
        if faults >= THRASH_FAULTS:
            numbers = memory_and_cpu | {"major_faults_in_window": faults}
            yield finding(FindingCode.SERVER_MEMORY_THRASH, INVALID, numbers)


def server_state(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find a server that was never ready, exited, restarted, answered wrongly, or was not tried."""
    server = facts.server
    numbers: dict[str, Fact] = {"detail": server.detail, "after_s": round(server.ready_after_us / 1e6, 1)}
    if server.state == ServerState.NOT_READY and not any(server_memory(facts, metrics)):
        wording = _why_no_answer(server.detail) if facts.case.external else "why"
        yield finding(FindingCode.SERVER_NOT_READY, INVALID, numbers, wording if server.detail else "")
    elif server.state == ServerState.EXITED or (server.state == ServerState.READY and not server.running):
        numbers["exit_code"] = server.exit_code
        wording = "" if server.exit_code is None else "status"
        if line := server.last_line:
            numbers["line"] = line
            wording = "line" if server.exit_code is None else "status, line"
        yield finding(FindingCode.SERVER_EXITED, INVALID, numbers, wording)
    elif server.state == ServerState.MISMATCH:
        refusal = REFUSALS.get(server.status or 0, "") if server.asked else ""
        # An answer to a message has status 200, and so has one to the handshake of a server that knows no WebSocket.
        refused = server.status != ANSWERED or server.detail.startswith(NO_WEBSOCKET)
        if facts.case.protocol == Protocol.WEBSOCKET and refused:
            numbers["status"] = server.status
            refusal = "messages" if server.status == SWITCHED else "handshake"
        numbers |= {"asked": server.asked, "status": server.status} if refusal in REFUSALS.values() else {}
        yield finding(FindingCode.RESPONSE_MISMATCH, INVALID, numbers, refusal)
    elif server.state == ServerState.NOT_TRIED:
        yield finding(FindingCode.NOT_RUN, INVALID, numbers)
    if server.restarts:
        yield finding(FindingCode.SERVER_RESTARTED, INVALID, {"restarts": server.restarts})


def _why_no_answer(detail: str) -> str:
    """Return the wording for a URL without an answer, by how the reason begins."""
    causes = {
        "no answer": "url, slow",
        SPEAKS: "url, version",
        OTHER_NAME: "url, name",
        NO_TLS: "url, plain",
        NEEDS_CERTIFICATE: "url, client",
        UNTRUSTED: "url, untrusted",
    }
    return next((wording for begin, wording in causes.items() if detail.startswith(begin)), "url")


def server_afterwards(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find a server that stopped answering, or answers differently after the load."""
    server = facts.server
    numbers: Facts = {"when": "after the load", "detail": server.afterwards_detail}
    # A rate limiter that refused requests under load may still do so: nothing has changed.
    still_limited = server.afterwards_status == TOO_MANY and metrics is not None and str(TOO_MANY) in metrics.statuses
    if still_limited and server.afterwards == ServerState.MISMATCH:
        return
    if server.afterwards == ServerState.NOT_READY:
        yield finding(FindingCode.SERVER_UNRESPONSIVE, INVALID, numbers, "why" if server.afterwards_detail else "")
    elif server.afterwards == ServerState.MISMATCH:
        yield finding(FindingCode.RESPONSE_MISMATCH, INVALID, numbers, "after")
    elif metrics is not None and not facts.spoiled and (silent_s := _silent_s(facts, metrics)):
        numbers = {"when": "before the window's end", "silent_s": round(silent_s, 1)}
        yield finding(FindingCode.SERVER_UNRESPONSIVE, INVALID, numbers, "silent")


def _silent_s(facts: TrialFacts, metrics: Metrics) -> float:
    """Return for how long before the window's end no request was started.

    0 where that may be chance. Timed loads.
    """
    if facts.case.duration_us is None or not metrics.series or facts.case.rate_per_s is not None:
        return 0.0
    last = max(row[0] or 0.0 for row in metrics.series)
    silent_s = metrics.window_s - (last + 1) * metrics.series_interval_s
    longest_s = (metrics.service_time_us["max"] or 0.0) / 1e6
    enough_s = max(metrics.series_interval_s, SILENT_OF_WINDOW * metrics.window_s, SILENT_SERVICE_TIMES * longest_s)
    return silent_s if silent_s >= enough_s else 0.0


def body_size(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find responses under load that differ in size from the one that was checked."""
    wanted = facts.server.body_bytes
    if metrics is None or wanted is None or metrics.requests.http_error or metrics.requests.failed:
        return
    if any(agent.checked for agent in facts.agents):
        return  # whole bodies were compared
    agents = [agent for agent in facts.agents if agent.body_bytes is not None and agent.done]
    received = sum(agent.body_bytes or 0 for agent in agents)
    answers = answered(agents)
    # At the end of the time each slot may have received part of one more response.
    slots = sum(agent.slots for agent in agents)
    least, most = answers * wanted * (1 - BODY_TOLERANCE), (answers + slots) * wanted * (1 + BODY_TOLERANCE)
    if answers and not least <= received <= most:
        mean = round(received / answers, 1)
        numbers: Facts = {"when": "under load", "body_bytes": mean, "expected_bytes": wanted}
        yield finding(FindingCode.RESPONSE_MISMATCH, SUSPECT, numbers, "load")


def server_throttled(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Report a CPU limit that throttled the server: information if the campaign set it."""
    if metrics is None or not metrics.server.throttled_ratio:
        return
    numbers: Facts = {
        "share_of_periods": round(metrics.server.throttled_ratio, 3),
        "throttled_s": metrics.server.throttled_s,
    }
    if facts.case.cpus is not None:
        yield finding(FindingCode.SERVER_THROTTLED, INFORMATION, numbers)
    else:
        yield finding(FindingCode.SERVER_THROTTLED, SUSPECT, numbers, "foreign")


def connections_ended(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find a server that closes connections after one response, or after a number of them."""
    if metrics is None:
        return
    rows = sum(agent.rows for agent in facts.agents)
    opened, expected = _opened(facts)
    # The generator closes the connection of a request that timed out; the window's are known, those around it alike.
    timed_out = sum(agent.statuses.get(Failure.TIMEOUT, 0) for agent in facts.agents)
    window_rows = sum(sum(agent.statuses.values()) for agent in facts.agents)
    expected += timed_out * max(1.0, rows / window_rows) if window_rows else 0
    # h2load does not reopen HTTP/2 connections: only lost clients show.
    http2 = facts.case.protocol == Protocol.HTTP2
    reopened = not http2 and opened is not None and opened > expected
    numbers: dict[str, Fact] = {"connections_opened": opened, "clients": facts.case.clients}
    # Of a mix, one request was answered so; how many connections paced opened says what all of them did.
    closes = facts.server.closes and not facts.server.endless and not facts.case.mix
    if closes or (reopened and opened is not None and rows < 2 * opened):
        asked = "asked" if facts.server.asked_to_close else ""
        yield finding(FindingCode.CONNECTION_CLOSE, SUSPECT, numbers, asked)
    elif reopened and opened is not None and facts.server.asked_to_close:
        yield finding(FindingCode.CONNECTION_CLOSE, SUSPECT, numbers, "some")
    elif reopened and opened is not None:
        numbers["requests_per_connection"] = round(rows / opened)
        severity = INFORMATION if rows >= FEW_PER_CONNECTION * opened else SUSPECT
        yield finding(FindingCode.KEEPALIVE_LIMIT, severity, numbers, "" if severity is SUSPECT else "many")
    elif http2 and facts.server.afterwards == ServerState.READY and rows and _lost_connections(facts):
        numbers = {"clients": facts.case.clients, "requests_per_connection": round(rows / facts.case.clients)}
        yield finding(FindingCode.KEEPALIVE_LIMIT, SUSPECT, numbers, "http2")


def _opened(facts: TrialFacts) -> tuple[int | None, float]:
    """Return the connections that the generators opened, and the most that a server without a limit explains.

    A generator counts its own; of h2load they are known from its sockets. None where they are not known. What the whole
    host opened is never used: other processes open connections, too.
    """
    counted = [agent.opened_about if agent.connects is None else agent.connects for agent in facts.agents]
    known = [n for n in counted if n is not None]
    if not known or len(known) < len(counted):
        return None, 0.0
    # The open loop uses few of the clients that it may use, and opens spare connections that a server may time out.
    if facts.case.model == Model.OPEN:
        most = sum(agent.most_connections or agent.slots for agent in facts.agents)
        seconds = sum(max(1.0, use.seconds) for use in facts.hosts if use.role == HostRole.LOAD)
        return sum(known), REOPENED * most + SPARE_PER_S * seconds
    return sum(known), REOPENED * facts.case.clients


def _lost_connections(facts: TrialFacts) -> bool:
    for agent in facts.agents:
        clients = agent.slots // max(1, facts.case.streams)
        if agent.request_failures or (agent.sockets_fewest is not None and agent.sockets_fewest < clients):
            return True
        if facts.case.requests is not None and agent.errored:
            return True
    return False
