"""The head of a page: which question was asked, of what, under which loads, when and where."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from agents.generators.contract import Arrivals, Model, Protocol
from orchestrator.analyse.people import digits, mebibytes, several
from orchestrator.counted import counted
from orchestrator.facts import Case, Environment
from orchestrator.result import Summary, Trial

# More names than these make no sentence.
_MOST_NAMES = 6
_PROTOCOLS = {Protocol.HTTP1: "HTTP/1.1", Protocol.HTTP2: "HTTP/2", Protocol.WEBSOCKET: "WebSocket"}


def question(summary: Summary, sweep: bool) -> str:
    """Return the question that the run answers."""
    searched = [search.target for search in summary.saturation]
    if searched:
        return f"How much load can {_names(searched)} take?"
    targets = list(dict.fromkeys(case.target for case in summary.cases))
    if sweep:
        return f"How does {_names(targets)} scale with more clients?"
    if len(targets) > 1:
        return f"Which is faster: {_names(targets, 'or')}?"
    urls = list(dict.fromkeys(url for case in summary.cases for url in case.urls))
    return f"How fast is {urls[0] if len(urls) == 1 else _names(targets)}?"


def _names(names: Sequence[str], last: str = "and") -> str:
    shown = list(names[:_MOST_NAMES])
    more = [f"{len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    parts = [*shown, *more]
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def load_in_words(case: Case) -> str:
    """Return how a case drives its target: '40 connections, closed loop, 5 s after a warm-up of 2 s, HTTP/1.1, 2 agents'."""
    parts, sent = [], counted([case.protocol])
    if case.model == Model.OPEN and case.rate_per_s is not None:
        arrivals = "random arrivals" if case.arrivals == Arrivals.POISSON else "even arrivals"
        parts.append(f"{digits(case.rate_per_s)} {sent.many} due per second, open loop, {arrivals}")
    else:
        parts.append(f"{several(case.clients, 'connection', 'connections')}, closed loop")
    if case.streams > 1:
        parts.append(f"{case.streams} streams each")
    if case.requests is not None:
        parts.append(several(case.requests, sent.one, sent.many))
    elif case.duration_us is not None:
        warm_up = f" after a warm-up of {digits(case.warm_up_us / 1e6)} s" if case.warm_up_us else ""
        parts.append(f"{digits(case.duration_us / 1e6)} s{warm_up}")
    parts.append(_PROTOCOLS.get(case.protocol, str(case.protocol)))
    parts.append(f"{several(case.agents, 'agent', 'agents')} ({case.generator})")
    return ", ".join(parts)


def limits_in_words(case: Case) -> str:
    """Return what the campaign limits the target to; '' for nothing."""
    cpus = [f"{digits(case.cpus)} CPU{'' if case.cpus == 1 else 's'}"] if case.cpus is not None else []
    memory = [mebibytes(case.memory_bytes)] if case.memory_bytes is not None else []
    return ", ".join([*cpus, *memory])


def when(trials: Sequence[Trial]) -> str:
    """Return when the trials ran, in UTC: '26 Nov 2026, 17:03 to 17:09 UTC'."""
    starts = [trial.facts.started_at_ns for trial in trials if trial.facts.started_at_ns]
    if not starts:
        return ""
    first, last = (datetime.fromtimestamp(at / 1e9, UTC) for at in (min(starts), max(starts)))
    day = f"{first.day} {first:%b %Y}, {first:%H:%M}"
    if last.date() != first.date():
        return f"{day} to {last.day} {last:%b %Y}, {last:%H:%M} UTC"
    return f"{day} UTC" if f"{last:%H:%M}" == f"{first:%H:%M}" else f"{day} to {last:%H:%M} UTC"


def where(environment: Environment | None) -> str:
    """Return the hosts in a few words."""
    if environment is None or not environment.hosts:
        return ""
    names = list(dict.fromkeys(host.host for host in environment.hosts))
    if len(names) == 1:
        return f"on one machine with {several(environment.cores, 'core', 'cores')}"
    return f"on {len(names)} hosts: {_names(names)}"
