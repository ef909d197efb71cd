"""Doubts about one trial: each a pure function of its facts and numbers. docs/measurement.md has the table of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from agents.records import TrialFacts
from orchestrator.analyse.metrics import censored, unlogged
from orchestrator.result import QUANTILES, Finding, Metrics, Severity

INFORMATION, SUSPECT, INVALID = Severity.INFORMATION, Severity.SUSPECT, Severity.INVALID

# At the limit, and paging in program text that was just thrown out: the kernel works, the server does not.
THRASH_FULL = 0.97
THRASH_FAULTS = 1000
GENERATOR_SUSPECT, GENERATOR_INVALID = 0.70, 0.85
RATE_TOLERANCE = 0.02
SKEW_OF_WINDOW = 0.05
SKEW_US = 10_000
# Both edges of the window are uncertain by the bound: what matters is its share of the window.
CLOCK_BOUND_OF_WINDOW = 0.01
CLOCK_STEP_NS = 1_000_000
# h2load's pacing timer ticks every 10 ms: above this a client sends several requests at once.
MOST_PER_CLIENT = 100
CENSORED_SHARE = 0.001
ERROR_SHARE = 0.01

Rule = Callable[[TrialFacts, Metrics | None], Iterator[Finding]]


def find(facts: TrialFacts, metrics: Metrics | None) -> list[Finding]:
    """Apply every rule to a trial."""
    return [finding for rule in RULES for finding in rule(facts, metrics)]


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
    elif facts.server.state == "not-ready" and peak >= THRASH_FULL * limit and last.major_faults >= THRASH_FAULTS:
        yield Finding("server-memory-thrash", INVALID, memory | cpu, more)
    elif metrics is not None and facts.server.opening is not None and peak >= THRASH_FULL * limit:
        faults = last.major_faults - facts.server.opening.major_faults
        if faults >= THRASH_FAULTS:
            yield Finding("server-memory-thrash", INVALID, memory | cpu | {"major_faults_in_window": faults}, more)


def server_state(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Never ready, gone, restarted, answering something else, not tried."""
    server = facts.server
    told = {"detail": server.detail, "after_s": round(server.ready_after_us / 1e6, 1)}
    if server.state == "not-ready" and not any(server_memory(facts, metrics)):
        yield Finding("server-not-ready", INVALID, told, "look into server.log beside trial.json; is the port right?")
    elif server.state == "exited" or (server.state == "ready" and not server.running):
        told |= {"exit_code": server.exit_code}
        yield Finding("server-exited", INVALID, told, "look into server.log beside trial.json")
    elif server.state == "mismatch":
        yield Finding("response-mismatch", INVALID, told, "mend the server, or 'expect' in the campaign")
    elif server.state == "not-tried":
        yield Finding("not-run", INVALID, told, "mend what stopped the trials before it")
    if server.restarts:
        yield Finding(
            "server-restarted", INVALID, {"restarts": server.restarts}, "look into server.log beside trial.json"
        )


def server_throttled(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Held back by its CPU quota: information, because the quota was asked for."""
    if metrics is None or not metrics.server.throttled_ratio:
        return
    numbers: dict[str, Any] = {
        "share_of_periods": round(metrics.server.throttled_ratio, 3),
        "throttled_s": metrics.server.throttled_s,
    }
    yield Finding(
        "server-throttled", INFORMATION, numbers, "the CPU limit shapes these times; that is what was asked for"
    )


def agents_lost(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """An agent that is planned and has no complete result."""
    if facts.error is not None and facts.server.state in ("ready", "external"):
        yield Finding("agent-lost", INVALID, {"error": facts.error}, "see that the load hosts are up, and run again")
        return
    if facts.t0_ns is not None and len(facts.agents) != facts.case.agents:
        numbers: dict[str, Any] = {"planned": facts.case.agents, "reported": len(facts.agents)}
        yield Finding("agent-lost", INVALID, numbers, "see that the load hosts are up, and run again")
    for agent in facts.agents:
        # In the open model a server that cannot keep up makes the load outlast its window: it is ended, and told below.
        overran = agent.ended == "watchdog" and facts.case.model == "open"
        if agent.ended != "finished" and not overran:
            numbers = {
                "agent": agent.agent,
                "ended": agent.ended,
                "exit_status": agent.exit_status,
                "said": _last_line(agent.output),
            }
            hint = "its numbers stop early; look into h2load-*.txt beside trial.json"
            yield Finding("agent-lost", INVALID, numbers, hint)


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1][:120] if lines else ""


def counts(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """The proofs of completeness: rows are what h2load says is done, and no more is unfinished than slots can hold."""
    for agent in facts.agents:
        for error in agent.errors:
            yield Finding(
                "counts-mismatch", INVALID, {"agent": agent.agent, "error": error}, "this log cannot be trusted"
            )
        if agent.done is not None and agent.done != agent.rows:
            numbers: dict[str, Any] = {"agent": agent.agent, "rows": agent.rows, "done": agent.done}
            yield Finding("counts-mismatch", INVALID, numbers, "requests are missing from the log, or are there twice")
        open_requests = unlogged(agent)
        if facts.case.requests is None and open_requests is not None and open_requests > agent.slots:
            numbers = {"agent": agent.agent, "unfinished": open_requests, "slots": agent.slots}
            yield Finding(
                "requests-lost", INVALID, numbers, "connections were lost; h2load does not log what was on them"
            )
        if agent.boundary:
            numbers = {"agent": agent.agent, "rows": agent.boundary}
            yield Finding("counts-mismatch", INVALID, numbers, "rows without a status: this log cannot be trusted")


def clients_lost(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Fewer connections than clients while the load ran."""
    for agent in facts.agents:
        clients = agent.slots // max(1, facts.case.streams)
        held = agent.sockets_fewest
        if held is not None and held < clients and facts.case.duration_us is not None and not _staggering(facts):
            numbers: dict[str, Any] = {"agent": agent.agent, "clients": clients, "held_fewest": held}
            yield Finding(
                "clients-lost", INVALID, numbers, "the server or the network closed connections during the run"
            )
        if agent.request_failures:
            numbers = {"agent": agent.agent, "lines": agent.request_failures}
            yield Finding(
                "stream-failures", SUSPECT, numbers, "is keepalive_requests or a stream limit of the server too low?"
            )


def _staggering(facts: TrialFacts) -> bool:
    # While staggered connections come up there are fewer than clients, and that is as it should be.
    return facts.case.model == "open"


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


def generator(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """h2load's one thread near the end of its core: the number would be about h2load."""
    for agent in facts.agents:
        if agent.cpu_busiest > GENERATOR_SUSPECT:
            severity = INVALID if agent.cpu_busiest > GENERATOR_INVALID else SUSPECT
            numbers: dict[str, Any] = {"agent": agent.agent, "busiest_share_of_a_core": agent.cpu_busiest}
            yield Finding("generator-cpu", severity, numbers, "use more agents, or more load hosts")


def shared_host(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Server and agents on one machine."""
    if facts.shared_host and facts.t0_ns is not None:
        yield Finding("shared-host", INFORMATION, {}, "server and agents share this machine; --hosts puts them apart")


def host_keys(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Hosts that were reached although nobody had vouched for their keys."""
    if facts.accepted_keys:
        hint = "host_keys: accept-new took them at their word; 'volley hosts trust' shows fingerprints to compare"
        yield Finding("host-key-accepted", INFORMATION, {"hosts": facts.accepted_keys}, hint)


def clocks(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Clocks that are known too loosely, or that were stepped."""
    for host in facts.clocks:
        uncertain_us = host.before.half_width_ns / 1000
        if metrics is not None and 2 * uncertain_us > CLOCK_BOUND_OF_WINDOW * metrics.window_s * 1e6:
            numbers: dict[str, Any] = {"host": host.host, "half_width_us": round(uncertain_us)}
            numbers["window_us"] = round(metrics.window_s * 1e6)
            hint = "each edge of the window is uncertain by that much: a longer window, or a nearer host"
            yield Finding("clock-bound", SUSPECT, numbers, hint)
        if host.after is not None and not host.before.agrees_with(host.after):
            numbers = {"host": host.host, "moved_us": (host.after.offset_ns - host.before.offset_ns) // 1000}
            yield Finding("clock-step", INVALID, numbers, "let NTP only slew while a test runs")
    for agent in facts.agents:
        if agent.clock_moved_ns > CLOCK_STEP_NS:
            numbers = {"agent": agent.agent, "moved_us": agent.clock_moved_ns // 1000}
            yield Finding("clock-step", INVALID, numbers, "let NTP only slew while a test runs")


def start_skew(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """An agent that started late: it cuts into the window, or into a short load bound by requests."""
    if metrics is None:
        return
    skews = [line.start_skew_us for line in metrics.agents if line.start_skew_us is not None]
    if not skews:
        return
    allowed = max(SKEW_US, facts.case.warm_up_us // 2, int(metrics.window_s * 1e6 * SKEW_OF_WINDOW))
    if (late := max(skews)) > allowed:
        numbers: dict[str, Any] = {"latest_us": late, "spread_us": late - min(skews), "allowed_us": allowed}
        yield Finding("start-skew", SUSPECT, numbers, "is a load host busy? a longer load makes the skew matter less")


def open_model(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """The rate was not kept, or requests were sent late."""
    if metrics is None or facts.case.rate_per_s is None:
        return
    if (each := facts.case.rate_per_s / facts.case.clients) > MOST_PER_CLIENT:
        numbers: dict[str, Any] = {"rate_per_client": round(each, 1), "most": MOST_PER_CLIENT}
        yield Finding("bursty-arrivals", SUSPECT, numbers, "h2load paces a client every 10 ms: use more clients")
    due = sum(agent.due or 0 for agent in facts.agents)
    sent = sum(a.rows - a.before - a.after for a in facts.agents)
    if due and abs(sent / due - 1) > RATE_TOLERANCE:
        numbers = {"due": due, "sent": sent, "rate_per_s": facts.case.rate_per_s}
        yield Finding(
            "rate-not-reached", SUSPECT, numbers, "the server, or the number of clients, cannot take this rate"
        )
    late = sum(agent.late or 0 for agent in facts.agents)
    if due and late / due > 0.01:
        numbers = {"late": late, "due": due, "p99_lag_us": (metrics.lag_us or {}).get("p99")}
        hint = (
            "requests left more than 20 ms after they were due; more clients keep slots free. Response time includes it"
        )
        yield Finding("send-lag", SUSPECT if _lower_bound(facts) else INFORMATION, numbers, hint)


def _lower_bound(facts: TrialFacts) -> bool:
    return any(agent.lower_bound for agent in facts.agents)


def censored_tail(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Requests that started inside the window and were not seen to end."""
    if metrics is None or not metrics.requests.censored:
        return
    missing, total = metrics.requests.censored, metrics.requests.ok + metrics.requests.http_error
    severity = SUSPECT if missing > CENSORED_SHARE * max(1, total) else INFORMATION
    numbers: dict[str, Any] = {
        "at_most": missing,
        "of": total,
        "by_agent": {a.agent: censored(a) for a in facts.agents},
    }
    yield Finding("censored-tail", severity, numbers, "a longer 'tail' lets them end")


def too_few_samples(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Percentiles that were withheld."""
    if metrics is None:
        return
    withheld = [name for name in QUANTILES if metrics.service_us[name] is None]
    if withheld and metrics.requests.ok:
        needed = {name: round(10 / (1 - QUANTILES[name])) for name in withheld}
        numbers: dict[str, Any] = {"withheld": withheld, "requests": metrics.requests.ok, "needed": needed}
        yield Finding("too-few-samples", INFORMATION, numbers, "more requests, or a longer window, would show them")


def no_warm_up(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """A load whose window begins with the first request ever."""
    if facts.t0_ns is not None and facts.case.warm_up_us == 0:
        yield Finding(
            "no-warmup", INFORMATION, {}, "the first requests count as well; a load with 'duration' has a warm-up"
        )


RULES: list[Rule] = [
    server_memory,
    server_state,
    agents_lost,
    counts,
    clients_lost,
    failed_requests,
    generator,
    host_keys,
    clocks,
    start_skew,
    open_model,
    censored_tail,
    server_throttled,
    shared_host,
    too_few_samples,
    no_warm_up,
]
