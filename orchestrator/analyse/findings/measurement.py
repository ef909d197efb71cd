"""Doubts about the measurement.

Completeness, clocks, start, steadiness, agents that differ from the others.
"""

from __future__ import annotations

from collections.abc import Iterator

from agents.generators.contract import Model
from agents.generators.h2load_output import STOPPED
from agents.records import Ended, ServerState
from agents.room import FolderRoom
from orchestrator.analyse import steady
from orchestrator.analyse.findings import answers
from orchestrator.analyse.findings.generator import host_of
from orchestrator.analyse.findings.registry import finding
from orchestrator.analyse.metrics import censored, unlogged
from orchestrator.facts import TrialFacts
from orchestrator.result import QUANTILES, AgentLine, Fact, Facts, Finding, FindingCode, Metrics, Severity

INFORMATION, SUSPECT, INVALID = Severity.INFORMATION, Severity.SUSPECT, Severity.INVALID

SKEW_OF_WINDOW = 0.05
SKEW_US = 10_000
# Both edges of the window are uncertain by the bound, so its share of the window counts.
CLOCK_BOUND_OF_WINDOW = 0.01
CLOCK_STEP_NS = 1_000_000
CENSORED_SHARE = 0.001
# A load bound by requests that needs less than this ends in time, unless something else is wrong.
SLOW_LOAD_S = 5.0
# Little's law: computed requests under way against slots. The rest are clients that were idle.
FEWEST_BUSY, MOST_BUSY = 0.85, 1.1
# The law holds for a steady stream: in a window of few service times the edges dominate.
SERVICE_TIMES_IN_WINDOW = 20
# An agent's share of the tail against its share of all requests, and the distance from chance in
# standard deviations.
IMBALANCE = 2.0
IMBALANCE_SIGMA = 5.0
FEWEST_IN_TAIL = 20


def hosts_lost(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find hosts that were lost in the trial: before everything was measured, or right after it."""
    known = facts.degraded.why if facts.degraded is not None else []
    for error in facts.lost:
        if error in known:
            continue
        if facts.error is None:
            yield finding(FindingCode.HOST_LOST, SUSPECT, {"error": error}, "after")
        else:
            yield finding(FindingCode.HOST_LOST, INVALID, {"error": error})


def degraded(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Report the part of the load that was lost of a trial that continued without it."""
    lost = facts.degraded
    if lost is None or facts.error is not None:
        return
    numbers: Facts = {
        "lost": len(lost.agents),
        "planned": lost.planned.agents,
        "share": lost.share,
        "after_s": None if lost.after_us is None else lost.after_us / 1e6,
        "agents": lost.agents,
        "why": lost.why,
    }
    yield finding(FindingCode.DEGRADED, SUSPECT, numbers, "early" if lost.after_us is None else "")


def agents_lost(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find agents that were planned and have no complete result."""
    if facts.lost and facts.error is not None:
        return
    if facts.error is not None and facts.server.state in (ServerState.READY, ServerState.EXTERNAL):
        yield finding(FindingCode.AGENT_LOST, INVALID, {"error": facts.error})
        return
    if facts.t0_ns is not None and len(facts.agents) != facts.case.agents:
        missing: Facts = {"planned": facts.case.agents, "reported": len(facts.agents)}
        yield finding(FindingCode.AGENT_LOST, INVALID, missing, "missing")
    numbers: dict[str, Fact]
    for agent in facts.agents:
        if agent.ended == Ended.NO_SPACE:
            continue  # no_space() reports it
        if agent.stopped_us:
            # Whatever else became of its load, such as an end by the watchdog, came of that.
            numbers = {"agent": agent.agent, "stopped_s": agent.stopped_us / 1e6}
            yield finding(FindingCode.AGENT_LOST, INVALID, numbers, "suspended")
            continue
        # In the open loop a server that cannot keep up makes the load outlast its window; other
        # findings report that.
        overran = agent.ended == Ended.WATCHDOG and facts.case.model == Model.OPEN
        if agent.ended == Ended.WATCHDOG and STOPPED in agent.output and not agent.errors:
            yield finding(FindingCode.AGENT_LOST, SUSPECT, {"agent": agent.agent, "rows": agent.rows}, "stopped")
        elif agent.ended != Ended.FINISHED and not overran:
            numbers = {
                "agent": agent.agent,
                "ended": agent.ended,
                "exit_status": agent.exit_status,
                "said": _last_line(agent.output),
            }
            wording, why = _overrun(facts) if agent.ended == Ended.WATCHDOG else ("", {})
            yield finding(FindingCode.AGENT_LOST, INVALID, numbers | why, wording or agent.ended)


def no_space(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find agents whose log found no room, and those whose log was on a disk because memory had too little."""
    moved: set[str] = set()
    for agent in facts.agents:
        host = host_of(agent.agent)
        if agent.ended == Ended.NO_SPACE and agent.no_space is not None:
            yield finding(FindingCode.NO_SPACE, INVALID, {"agent": agent.agent, "host": host, **_room(agent.no_space)})
        elif agent.moved_log is not None and host not in moved:
            moved.add(host)
            yield finding(FindingCode.NO_SPACE, INFORMATION, {"host": host, **_room(agent.moved_log)}, "moved")


def _room(found: FolderRoom) -> dict[str, Fact]:
    return {"folder": found.folder, "free_bytes": found.free_bytes, "needed_bytes": found.needed_bytes}


def _overrun(facts: TrialFacts) -> tuple[str, dict[str, Fact]]:
    """Return the wording for a load that did not end in time, where the answer before it explains that, and its facts."""
    needed = answers.needed_s(facts)
    if facts.server.endless:
        return "endless", {}
    if needed is None or needed < SLOW_LOAD_S:
        return "", {}
    case = facts.case
    return "slow", {
        "requests": case.requests,
        "clients": case.clients,
        "answer_s": answers.answer_s(facts),
        "needed_s": needed,
    }


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1][:120] if lines else ""


def counts(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Check the proofs of completeness.

    Rows are what h2load reports as done, and unfinished requests fit into the slots.
    """
    for agent in facts.agents:
        if agent.ended == Ended.NO_SPACE:
            continue  # rows that found no room are missing in its log
        for error in agent.errors:
            yield finding(FindingCode.COUNTS_MISMATCH, INVALID, {"agent": agent.agent, "error": error}, "error")
        if agent.done is not None and agent.done != agent.rows:
            numbers: Facts = {"agent": agent.agent, "rows": agent.rows, "done": agent.done}
            yield finding(FindingCode.COUNTS_MISMATCH, INVALID, numbers)
        open_requests = unlogged(agent)
        if facts.case.requests is None and open_requests is not None and open_requests > agent.slots:
            numbers = {"agent": agent.agent, "unfinished": open_requests, "slots": agent.slots}
            yield finding(FindingCode.REQUESTS_LOST, INVALID, numbers)
        if agent.boundary:
            numbers = {"agent": agent.agent, "rows": agent.boundary}
            yield finding(FindingCode.COUNTS_MISMATCH, INVALID, numbers, "status")


def clocks(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find clocks whose bound is too loose, that were not compared after the load, or that were stepped."""
    for host in facts.clocks:
        uncertain_us = host.half_width_ns / 1000
        if host.unbounded:
            numbers: Facts = {"host": host.host, "half_width_us": round(uncertain_us), "why": host.unbounded}
            yield finding(FindingCode.CLOCK_UNBOUNDED, SUSPECT, numbers)
        if metrics is not None and 2 * uncertain_us > CLOCK_BOUND_OF_WINDOW * metrics.window_s * 1e6:
            window_us = round(metrics.window_s * 1e6)
            numbers = {"host": host.host, "half_width_us": round(uncertain_us), "window_us": window_us}
            yield finding(FindingCode.CLOCK_BOUND, SUSPECT, numbers)
        if host.after is not None and not host.before.agrees_with(host.after):
            numbers = {"host": host.host, "moved_us": (host.after.offset_ns - host.before.offset_ns) // 1000}
            yield finding(FindingCode.CLOCK_STEP, INVALID, numbers)
    moved = {use.host: use.clock_moved_ns for use in facts.hosts if use.clock_moved_ns > CLOCK_STEP_NS}
    for name, by_ns in moved.items():
        numbers = {"host": name, "moved_us": by_ns // 1000}
        yield finding(FindingCode.CLOCK_STEP, INVALID, numbers)
    for agent in facts.agents:
        if host_of(agent.agent) in moved:
            continue
        if agent.clock_moved_ns > CLOCK_STEP_NS:
            numbers = {"agent": agent.agent, "moved_us": agent.clock_moved_ns // 1000}
            yield finding(FindingCode.CLOCK_STEP, INVALID, numbers, "agent")


def start_skew(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find an agent that started so late that it cuts into the window, or into a short load."""
    if metrics is None:
        return
    skews = [line.start_skew_us for line in metrics.agents if line.start_skew_us is not None]
    if not skews:
        return
    allowed = max(SKEW_US, facts.case.warm_up_us // 2, int(metrics.window_s * 1e6 * SKEW_OF_WINDOW))
    if (late := max(skews)) > allowed:
        numbers: Facts = {"latest_us": late, "spread_us": late - min(skews), "allowed_us": allowed}
        yield finding(FindingCode.START_SKEW, SUSPECT, numbers)


def littles_law(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Check Little's law: mean service time times throughput is the number of requests under way.

    All slots, if none idles (Little 1961).
    """
    if metrics is None or metrics.concurrency is None or not metrics.service_time_us["mean"]:
        return
    if metrics.window_s * 1e6 < SERVICE_TIMES_IN_WINDOW * metrics.service_time_us["mean"]:
        return
    slots = sum(agent.slots for agent in facts.agents)
    busy = metrics.concurrency / max(1, slots)
    if not FEWEST_BUSY <= busy <= MOST_BUSY:
        numbers: Facts = {
            "requests_under_way": round(metrics.concurrency, 1),
            "slots": slots,
            "busy_share": round(busy, 3),
        }
        yield finding(FindingCode.LITTLES_LAW, SUSPECT, numbers, "over" if busy > MOST_BUSY else "")


def not_steady(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find a trend over the window, or numbers that only settle late in it."""
    if metrics is None or facts.case.duration_us is None:
        return
    whole = int(metrics.window_s / metrics.series_interval_s)
    rows = {int(row[0] or 0): row for row in metrics.series}
    columns = {"throughput": 1, "p50": 4} if facts.case.rate_per_s is None else {"p50": 4}
    for name, column in columns.items():
        values = [rows[k][column] if k in rows else None for k in range(whole)]
        if any(not value for value in values):
            continue
        doubt = steady.doubt([float(value or 0.0) for value in values], tested=len(columns))
        if doubt is not None:
            numbers: Facts = {"of": name, "interval_s": metrics.series_interval_s, **doubt}
            yield finding(FindingCode.NOT_STEADY, SUSPECT, numbers, "drift" if "drift" in doubt else "settled")


def agent_imbalance(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Find an agent that owns the tail: the merged p99 is then about its host or its network."""
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
        # Binomial: with many agents and few requests in the tail, twice the expected share occurs
        # by chance.
        sigma = (line.share_of_tail - share) * tail / max(1e-9, tail * share * (1 - share)) ** 0.5
        if sigma < IMBALANCE_SIGMA:
            continue
        far_us = _further_us(facts, line)
        numbers: dict[str, Fact] = {"agent": line.agent, "share_of_tail": round(line.share_of_tail, 3)}
        numbers |= {"share_of_requests": round(share, 3), "round_trip_further_us": far_us}
        if _explained(far_us, line, metrics):
            yield finding(FindingCode.AGENT_IMBALANCE, INFORMATION, numbers, "distance")
        else:
            yield finding(FindingCode.AGENT_IMBALANCE, SUSPECT, numbers)


def _further_us(facts: TrialFacts, line: AgentLine) -> int:
    """Return how much longer the round trip to its host is than to the nearest one."""
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
    """Report requests that started inside the window and were not seen to end."""
    if metrics is None or not metrics.requests.censored:
        return
    missing, total = metrics.requests.censored, metrics.requests.ok + metrics.requests.http_error
    severity = SUSPECT if missing > CENSORED_SHARE * max(1, total) else INFORMATION
    numbers: Facts = {
        "at_most": missing,
        "of": total,
        "by_agent": {a.agent: censored(a) for a in facts.agents},
    }
    slow = facts.server.answer_us > facts.case.tail_us and facts.case.duration_us is not None
    if slow:
        numbers = {**numbers, "answer_s": answers.answer_s(facts)}
    yield finding(FindingCode.CENSORED_TAIL, severity, numbers, "slow" if slow else "")


def too_few_samples(facts: TrialFacts, metrics: Metrics | None) -> Iterator[Finding]:
    """Report percentiles that were withheld."""
    if metrics is None:
        return
    withheld = [name for name in QUANTILES if metrics.service_time_us[name] is None]
    if withheld and metrics.requests.ok:
        needed = {str(name): round(10 / (1 - QUANTILES[name])) for name in withheld}
        numbers: Facts = {"withheld": withheld, "requests": metrics.requests.ok, "needed": needed}
        yield finding(FindingCode.TOO_FEW_SAMPLES, INFORMATION, numbers)
