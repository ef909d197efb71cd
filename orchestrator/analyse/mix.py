"""Each request of a mix: its figures in a trial, and over the trials of a case. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from agents.mix import MOST_REQUESTS, RequestCounts
from orchestrator.analyse.estimates import added, intervals, slower_shares
from orchestrator.analyse.percentiles import Judged, judged, times
from orchestrator.analyse.statistics import geometric_mean
from orchestrator.facts import TrialFacts
from orchestrator.merge import Merged
from orchestrator.result import CaseRequest, RequestFigures, Requests


def figures(facts: TrialFacts, merged: Merged, window_s: float) -> list[RequestFigures]:
    """Return the numbers of each request; none where the load has a single one.

    Runs of earlier versions have no mix: there each agent had a path of its own.
    """
    counted = _of_mix(facts, merged) if merged.mix else _of_paths(facts, merged)
    total = sum(own.service.n + own.http_error + own.failed for _, own, _ in counted)
    return [_figures(facts, each, total, window_s) for each in counted] if len(counted) > 1 else []


# Name, counters, and answers that differ from what is expected.
_Counted = tuple[str, RequestCounts, int]


def _of_mix(facts: TrialFacts, merged: Merged) -> list[_Counted]:
    names = [request.name for request in facts.case.mix]
    unexpected: dict[int, int] = {}
    for agent in facts.agents:
        for number, count in agent.unexpected.items():
            unexpected[min(number, MOST_REQUESTS)] = unexpected.get(min(number, MOST_REQUESTS), 0) + count
    return [(_name(names, number), own, unexpected.get(number, 0)) for number, own in sorted(merged.mix.items())]


def _name(names: Sequence[str], number: int) -> str:
    if number == MOST_REQUESTS and len(names) > MOST_REQUESTS + 1:
        return f"{len(names) - MOST_REQUESTS:,} others"
    return names[number] if number < len(names) else f"request {number + 1}"


def _of_paths(facts: TrialFacts, merged: Merged) -> list[_Counted]:
    """Return the counters by path, where the agents drove several."""
    by_path: dict[str, RequestCounts] = {}
    for part in merged.parts:
        own = by_path.setdefault(_path(part.facts.url), RequestCounts())
        failed = {status: n for status, n in part.facts.statuses.items() if status < 0}
        errors = sum(n for status, n in part.facts.statuses.items() if status >= 400)
        own += RequestCounts(part.ok, http_error=errors, failed=sum(failed.values()), statuses=part.facts.statuses)
    return [(path, own, 0) for path, own in by_path.items()]


def _path(url: str) -> str:
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _figures(facts: TrialFacts, counted: _Counted, total: int, window_s: float) -> RequestFigures:
    name, own, unexpected = counted
    requests = Requests(own.service.n, own.http_error, own.failed)
    number = requests.ok + requests.unsuccessful
    found: Judged = judged(facts.case, requests, own.service, own.response, own.unanswered, own.first_byte)
    has_bytes = bool(own.first_byte.n or own.received_bytes)
    return RequestFigures(
        name=name,
        requests=requests,
        share=number / total if total else None,
        throughput_per_s=own.service.n / window_s if window_s > 0 else 0.0,
        statuses={str(status): n for status, n in sorted(own.statuses.items())},
        service_time_us=times(own.service),
        response_time_us=None if own.response is None else times(own.response),
        first_byte_us=times(own.first_byte) if own.first_byte.n else None,
        received_bytes_per_s=own.received_bytes / window_s if has_bytes and window_s > 0 else None,
        unexpected=unexpected,
        objective_time_us=found.time_us,
        objective_service_time_us=found.service_time_us,
        objective_first_byte_us=found.first_byte_us,
        beyond=found.beyond,
        slower=found.slower,
        first_byte_slower=found.first_byte_slower,
    )


def over_trials(
    shown: Sequence[Sequence[RequestFigures]], ran: Iterable[Sequence[RequestFigures]]
) -> list[CaseRequest]:
    """Return the requests of a case. shown: of the trials behind the numbers; ran: of all, for the counts."""
    every = [request for trial in ran for request in trial]
    names = list(dict.fromkeys(request.name for request in every))
    return [_over_trials(name, [r for trial in shown for r in trial if r.name == name], every) for name in names]


def _over_trials(name: str, own: Sequence[RequestFigures], every: Sequence[RequestFigures]) -> CaseRequest:
    ran = [request for request in every if request.name == name]
    requests = Requests(
        sum(r.requests.ok for r in ran), sum(r.requests.http_error for r in ran), sum(r.requests.failed for r in ran)
    )
    total = sum(r.requests.ok + r.requests.unsuccessful for r in every)
    open_loop = any(r.response_time_us is not None for r in own)
    with_first_byte = any(r.first_byte_us is not None for r in own)
    received = [r.received_bytes_per_s for r in own if r.received_bytes_per_s is not None]
    return CaseRequest(
        name=name,
        requests=requests,
        share=(requests.ok + requests.unsuccessful) / total if total else None,
        throughput_per_s=geometric_mean([r.throughput_per_s for r in own]),
        statuses=added([r.statuses for r in ran]),
        service_time_us=intervals([r.service_time_us for r in own]),
        response_time_us=intervals([r.response_time_us or {} for r in own]) if open_loop else None,
        first_byte_us=intervals([r.first_byte_us or {} for r in own]) if with_first_byte else None,
        received_bytes_per_s=geometric_mean(received) if len(received) == len(own) else None,
        unexpected=sum(r.unexpected for r in ran),
        objective_time_us=intervals([r.objective_time_us for r in own]),
        objective_service_time_us=intervals([r.objective_service_time_us for r in own]) if open_loop else {},
        objective_first_byte_us=intervals([r.objective_first_byte_us for r in own]),
        beyond=sorted({metric for r in own for metric in r.beyond}),
        slower_share=slower_shares(own),
    )
