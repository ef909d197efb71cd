"""Doubts about the measurement: completeness, clocks, start, steadiness, what one agent saw and the others did not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.records import Ended, ServerState
from orchestrator.analyse import steady
from orchestrator.analyse.findings.generator import host_of
from orchestrator.analyse.metrics import censored, unlogged
from orchestrator.facts import Model, TrialFacts
from orchestrator.result import QUANTILES, AgentLine, Finding, Metrics, Severity

INFORMATION, SUSPECT, INVALID = Severity.INFORMATION, Severity.SUSPECT, Severity.INVALID

SKEW_OF_WINDOW = 0.05
SKEW_US = 10_000
# Both edges of the window are uncertain by the bound: what matters is its share of the window.
CLOCK_BOUND_OF_WINDOW = 0.01
CLOCK_STEP_NS = 1_000_000
CENSORED_SHARE = 0.001
# Little's law: requests under way, computed, against slots. What is missing were clients that did nothing.
FEWEST_BUSY, MOST_BUSY = 0.85, 1.1
# The law is about a steady stream: a window of few service times has edges.
SERVICE_TIMES_IN_WINDOW = 20
# An agent's share of the tail against its share of all; and how far from chance, in standard deviations.
IMBALANCE = 2.0
IMBALANCE_SIGMA = 5.0
FEWEST_IN_TAIL = 20


def agents_lost(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """An agent that is planned and has no complete result."""
    if facts.error is not None and facts.server.state in (ServerState.READY, ServerState.EXTERNAL):
        yield Finding("agent-lost", INVALID, {"error": facts.error}, "see that the load hosts are up, and run again")
        return
    if facts.t0_ns is not None and len(facts.agents) != facts.case.agents:
        numbers: dict[str, Any] = {"planned": facts.case.agents, "reported": len(facts.agents)}
        yield Finding("agent-lost", INVALID, numbers, "see that the load hosts are up, and run again")
    for agent in facts.agents:
        # In the open model a server that cannot keep up makes the load outlast its window: it is ended, and told below.
        overran = agent.ended == Ended.WATCHDOG and facts.case.model == Model.OPEN
        if agent.ended != Ended.FINISHED and not overran:
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
    moved = {use.host: use.clock_moved_ns for use in facts.hosts if use.clock_moved_ns > CLOCK_STEP_NS}
    for name, by_ns in moved.items():
        numbers = {"host": name, "moved_us": by_ns // 1000}
        yield Finding("clock-step", INVALID, numbers, "let NTP only slew while a test runs")
    for agent in facts.agents:
        if host_of(agent.agent) in moved:
            continue
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


def littles_law(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Mean service time times throughput is the number of requests under way: all slots, if none idles (Little 1961)."""
    if metrics is None or metrics.concurrency is None or not metrics.service_us["mean"]:
        return
    if metrics.window_s * 1e6 < SERVICE_TIMES_IN_WINDOW * metrics.service_us["mean"]:
        return
    slots = sum(agent.slots for agent in facts.agents)
    busy = metrics.concurrency / max(1, slots)
    if not FEWEST_BUSY <= busy <= MOST_BUSY:
        numbers: dict[str, Any] = {"requests_under_way": round(metrics.concurrency, 1), "slots": slots}
        hint = "clients did nothing for part of the time: connecting, lost, or waiting for h2load itself"
        if busy > MOST_BUSY:
            hint = "more requests under way than there can be: these times cannot be right"
        yield Finding("littles-law", SUSPECT, numbers | {"busy_share": round(busy, 3)}, hint)


def not_steady(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """The numbers of the window have a trend, or only settle late in it."""
    if metrics is None or facts.case.duration_us is None:
        return
    whole = int(metrics.window_s / metrics.series_interval_s)
    rows = {int(row[0] or 0): row for row in metrics.series}
    columns = {"throughput": 1, "p50": 4} if facts.case.rate_per_s is None else {"p50": 4}
    for name, column in columns.items():
        values = [rows[k][column] if k in rows else None for k in range(whole)]
        if any(not value for value in values):
            continue
        doubt = steady.doubt([float(value or 0.0) for value in values])
        if doubt is not None:
            numbers: dict[str, Any] = {"of": name, "interval_s": metrics.series_interval_s, **doubt}
            yield Finding(
                "not-steady", SUSPECT, numbers, "a longer warm-up, a longer window; or the server gets slower"
            )


def agent_imbalance(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """One agent owns the tail: the merged p99 is then about its host, or its way to the server."""
    if metrics is None:
        return
    total = sum(line.requests for line in metrics.agents)
    tail = round(total * 0.01)
    if tail < FEWEST_IN_TAIL:
        return
    for line in metrics.agents:
        share = line.requests / total
        if not share or line.share_of_tail is None or line.share_of_tail <= IMBALANCE * share:
            continue
        # Binomial: with many agents and few requests in the tail, twice one's share happens.
        sigma = (line.share_of_tail - share) * tail / max(1e-9, tail * share * (1 - share)) ** 0.5
        if sigma < IMBALANCE_SIGMA:
            continue
        far_us = _further_us(facts, line)
        numbers: dict[str, Any] = {"agent": line.agent, "share_of_tail": round(line.share_of_tail, 3)}
        numbers |= {"share_of_requests": round(share, 3), "round_trip_further_us": far_us}
        if _explained(far_us, line, metrics):
            hint = "its host is further away, and that explains it; the p99 is that of its distance"
            yield Finding("agent-imbalance", INFORMATION, numbers, hint)
        else:
            hint = "look at its host and at its way to the server: the merged p99 is mostly about them"
            yield Finding("agent-imbalance", SUSPECT, numbers, hint)


def _further_us(facts: TrialFacts, line: AgentLine) -> int:
    """How much longer the way to its host is than to the nearest."""
    trips = {clock.host: clock.before.round_trip_ns for clock in facts.clocks}
    own = trips.get(host_of(line.agent))
    return 0 if own is None else (own - min(trips.values())) // 1000


def _explained(far_us: int, line: AgentLine, metrics: Metrics) -> bool:
    others = [other.p50_us for other in metrics.agents if other.agent != line.agent and other.p50_us is not None]
    if line.p50_us is None or not others:
        return False
    slower_us = line.p50_us - min(others)
    return far_us > 0 and 0.5 * slower_us <= far_us


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
