"""From a trial's facts and merged counters to its numbers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agents.cgroup import Counters
from agents.histogram import (
    LOWEST_US,
    HdrCounts,
    Sparse,
    highest_equivalent_us,
    highest_us,
    rank_of,
)
from agents.recorder import HTTP_ERROR, OK, STREAM_FAILED
from agents.records import AgentFacts, GeneratorKind, ServerFacts, ServerState, ServiceFacts
from orchestrator.analyse import mix
from orchestrator.analyse.percentiles import judged, shown_quantile, successes, times
from orchestrator.facts import TrialFacts
from orchestrator.merge import Merged, Part
from orchestrator.result import (
    SHAPE_PER_DECADE,
    AgentLine,
    Metrics,
    Requests,
    ServerCost,
    Shape,
)


def evaluate(facts: TrialFacts, merged: Merged) -> Metrics:
    """Compute a trial's numbers from the sum of its agents' counters."""
    window_s = window_length_s(facts)
    ok = merged.service[OK]
    requests = count_requests(facts, merged)
    tail = tail_of(ok)
    response, first_byte = merged.response, merged.first_byte
    found = judged(facts.case, requests, ok, response, merged.unanswered, first_byte)
    received = received_bytes(facts, merged)
    return Metrics(
        throughput_per_s=ok.n / window_s if window_s > 0 else 0.0,
        window_s=window_s,
        requests=requests,
        statuses=statuses(facts.agents),
        service_time_us=times(ok),
        response_time_us=None if response is None else times(response),
        send_lag_us=None if merged.lag is None else times(merged.lag),
        lower_bound_from=lower_bound_from(facts, merged),
        server=cost_of(facts, requests, window_s),
        mix=mix.figures(facts, merged, window_s),
        agents=[agent_line(facts, part, tail, window_s) for part in merged.parts],
        series_interval_s=merged.series[OK].interval_s,
        series=per_interval(merged),
        concurrency=concurrency(facts, merged, window_s),
        objective_time_us=found.time_us,
        objective_service_time_us=found.service_time_us,
        beyond=found.beyond,
        slower=found.slower,
        service_time_shape=shape(ok),
        response_time_shape={} if response is None else shape(successes(ok, response, merged.unanswered)),
        first_byte_us=times(first_byte) if first_byte.n else None,
        received_bytes=received,
        received_bytes_per_s=received / window_s if received is not None and window_s > 0 else None,
        objective_first_byte_us=found.first_byte_us,
        first_byte_slower=found.first_byte_slower,
        services=service_costs(facts, requests, window_s),
    )


def received_bytes(facts: TrialFacts, merged: Merged) -> int | None:
    """Return the bytes of the bodies of the successful answers in the window; None where they are not known.

    h2load says how many bytes it received in all, warm-up and errors included: then the mean of all answers counts.
    """
    if merged.received_bytes is not None:
        return merged.received_bytes
    agents = [agent for agent in facts.agents if agent.body_bytes is not None and agent.done]
    answers = answered(agents)
    if not answers or len(agents) < sum(agent.rows > 0 for agent in facts.agents):
        return None
    return round(merged.service[OK].n * sum(agent.body_bytes or 0 for agent in agents) / answers)


def answered(agents: Sequence[AgentFacts]) -> int:
    """Return how many requests have a whole answer: those that ended, without those that ended by an error."""
    return sum((agent.done or 0) - (agent.errored or 0) for agent in agents)


def concurrency(facts: TrialFacts, merged: Merged, window_s: float) -> float | None:
    """Return the mean number of requests under way.

    The sum of service times over the window's length (Little 1961).
    """
    if facts.case.duration_us is None or facts.case.rate_per_s is not None or window_s <= 0:
        return None
    return sum(counts.total_us for counts in merged.service.values()) / (window_s * 1e6)


def window_length_s(facts: TrialFacts) -> float:
    """Return the window's length.

    For a load bound by requests, from the first start to the last end on one clock.
    """
    if facts.window_start_us is not None and facts.window_end_us is not None:
        return (facts.window_end_us - facts.window_start_us) / 1e6
    sent = [agent for agent in facts.agents if agent.first_start_us]
    if not sent:
        return 0.0
    return (max(a.last_end_us for a in sent) - min(a.first_start_us for a in sent)) / 1e6


def count_requests(facts: TrialFacts, merged: Merged) -> Requests:
    """Count every request, including those that h2load did not log."""
    ok, http_error = merged.service[OK].n, merged.service[HTTP_ERROR].n
    if facts.case.requests is not None:
        return Requests(ok, http_error, facts.case.requests - ok - http_error, 0)
    lost = sum(max(0, (unlogged(agent) or 0) - agent.slots) for agent in facts.agents)
    failed = merged.service[STREAM_FAILED].n + sum(a.never_sent + a.boundary for a in facts.agents) + lost
    failed += sum(agent.hung + not_logged(agent) for agent in facts.agents)
    return Requests(ok, http_error, failed, sum(censored(agent) for agent in facts.agents))


def not_logged(agent: AgentFacts) -> int:
    """Return the requests that were due, were never answered, and have no row: h2load's log has none for them."""
    return (agent.missing or 0) if agent.generator == GeneratorKind.H2LOAD else 0


def statuses(agents: list[AgentFacts]) -> dict[str, int]:
    """Add up the requests of the window by HTTP status."""
    total: dict[str, int] = {}
    for agent in agents:
        for status, count in agent.statuses.items():
            total[str(status)] = total.get(str(status), 0) + count
    return dict(sorted(total.items()))


def unlogged(agent: AgentFacts) -> int | None:
    """Return the requests that were started and have no row.

    None when h2load printed no summary.
    """
    return None if agent.started is None else agent.started - agent.rows


def censored(agent: AgentFacts) -> int:
    """Return an upper bound on the requests of the window that outlasted the observation.

    A slot that a logged request held across the window's end cannot hold another; and what has no row is at most what was
    started and not done.
    """
    if agent.missing is not None or agent.generator != GeneratorKind.H2LOAD:
        return 0  # each has its row, or is counted as failed
    free = max(0, agent.slots - agent.crossing - agent.hung)
    missing = unlogged(agent)
    return free if missing is None else max(0, min(free, missing))


def shape(h: HdrCounts) -> Shape:
    """Return how times are distributed, in buckets of equal width on a logarithmic axis."""
    sparse = h.sparse
    values_us = np.maximum(highest_equivalent_us(sparse.index), LOWEST_US)
    buckets = np.floor(np.log10(values_us) * SHAPE_PER_DECADE + 1e-9).astype(np.int64)
    counts: Shape = {}
    for bucket, count in zip(buckets.tolist(), sparse.count.tolist(), strict=True):
        counts[bucket] = counts.get(bucket, 0) + count
    return counts


def lower_bound_from(facts: TrialFacts, merged: Merged) -> float | None:
    """Return the quantile above which response times are lower bounds; None: none are.

    Requests never ended, or slots ran out.
    """
    if merged.response is None or merged.response.n == 0:
        return None
    unfinished = sum(agent.missing or 0 for agent in facts.agents)
    # Rank matching understates the tail when h2load's connections were busy.
    waited = sum(agent.waited_for_slot or 0 for agent in facts.agents if agent.generator == GeneratorKind.H2LOAD)
    share = max(unfinished, waited) / merged.response.n
    return max(0.0, 1 - share) if share else None


def cost_of(facts: TrialFacts, requests: Requests, window_s: float) -> ServerCost:
    """Return what the load cost the server.

    What it answered to agents that were lost is in its counters, and not counted: then nothing is known per request.
    """
    cost = server_cost(facts.server, requests.ok + requests.http_error, window_s)
    if facts.degraded is None:
        return cost
    return replace(cost, cpu_us_per_request=None, requests_per_cpu_s=None, requests_per_s_per_mib=None)


def service_costs(facts: TrialFacts, requests: Requests, window_s: float) -> dict[str, ServerCost]:
    """Return what the load cost each service, by name."""
    answered = 0 if facts.degraded is not None else requests.ok + requests.http_error
    return {service.name: server_cost(service, answered, window_s) for service in facts.services}


def server_cost(server: ServerFacts | ServiceFacts, answered: int, window_s: float) -> ServerCost:
    """Return the counters' differences over the window.

    answered: requests that were answered in it.
    """
    opening, closing, last = server.opening, server.closing, server.last
    if last is None:
        return ServerCost(restarts=None if server.state == ServerState.EXTERNAL else server.restarts)
    start = opening or Counters()
    end = closing or last
    cpu_us, periods = end.cpu_us - start.cpu_us, end.periods - start.periods
    metered = opening is not None and closing is not None
    peak_bytes = max(last.memory_peak_bytes, end.memory_peak_bytes)
    rate_per_s = answered / window_s if window_s > 0 else 0.0
    return ServerCost(
        cpu_us_per_request=cpu_us / answered if metered and answered else None,
        requests_per_cpu_s=answered / (cpu_us / 1e6) if metered and cpu_us else None,
        requests_per_s_per_mib=rate_per_s / (peak_bytes / 2**20) if metered and peak_bytes else None,
        cpu_s=cpu_us / 1e6,
        throttled_ratio=(end.throttled_periods - start.throttled_periods) / periods if periods else None,
        throttled_s=(end.throttled_us - start.throttled_us) / 1e6,
        peak_memory_bytes=peak_bytes,
        memory_limit_bytes=last.memory_limit_bytes or None,
        oom_kills=last.oom_kills,
        major_faults=last.major_faults,
        restarts=server.restarts,
    )


def tail_of(merged_ok: HdrCounts) -> tuple[int, float] | None:
    """Return the merged p99 in µs and how many requests are above it; None with fewer than 1,000 requests."""
    if merged_ok.n < 1000:
        return None
    border_us = merged_ok.quantile_us(0.99)
    return border_us, merged_ok.share_above(border_us) * merged_ok.n


def agent_line(facts: TrialFacts, part: Part, tail: tuple[int, float] | None, window_s: float) -> AgentLine:
    """Return one agent's part; share_of_tail is its part of the merged tail, as tail_of() describes it."""
    own, agent = part.ok, part.facts
    share = None
    if tail is not None:
        border_us, above = tail
        share = own.share_above(border_us) * own.n / above if above else None
    # Agents of an open loop take turns: the first request of each is due at another time.
    expected_us = agent.first_due_us or (facts.t0_ns or 0) // 1000
    skew = agent.first_start_us - expected_us if agent.first_start_us and expected_us else None
    return AgentLine(
        agent=agent.agent,
        requests=own.n,
        throughput_per_s=own.n / window_s if window_s > 0 else 0.0,
        p50_us=shown_quantile(own, 0.5),
        p99_us=shown_quantile(own, 0.99),
        start_skew_us=skew,
        cpu_busiest=agent.cpu_busiest,
        share_of_tail=share,
    )


def per_interval(merged: Merged) -> list[list[float | None]]:
    """Return [interval, ok, http_error, failed, p50_us, p99_us] of service time, by interval."""
    by_class = {name: dict(series.intervals()) for name, series in merged.series.items()}
    rows: list[list[float | None]] = []
    for k in sorted({k for series in by_class.values() for k in series}):
        ok = by_class[OK].get(k)
        counts = [
            float(series[k].n) if k in series else 0.0
            for series in (by_class[c] for c in (OK, HTTP_ERROR, STREAM_FAILED))
        ]
        rows.append([float(k), *counts, *_p50_and_p99(ok)])
    return rows


def _p50_and_p99(sparse: Sparse | None) -> list[float | None]:
    if sparse is None or not sparse.narrow_index.size:
        return [None, None]
    sums = np.cumsum(sparse.narrow_count, dtype=np.int64)
    ranks = [rank_of(q, int(sums[-1])) for q in (0.5, 0.99)]
    return [float(highest_us(int(index))) for index in sparse.narrow_index[sums.searchsorted(ranks)]]
