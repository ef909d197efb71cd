"""Under which conditions the numbers of a run were measured, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agents.generators.contract import Arrivals, Model, Protocol
from orchestrator.analyse.people import digits, milliseconds, rate, several
from orchestrator.counted import Counted, counted
from orchestrator.facts import Case
from orchestrator.result import CaseResult, Summary, Trial

_PROTOCOLS = {Protocol.HTTP1: "HTTP/1.1", Protocol.HTTP2: "HTTP/2", Protocol.WEBSOCKET: "WebSocket"}
_LOOPS = {Model.CLOSED: "closed loop", Model.OPEN: "open loop"}
_ARRIVALS = {Arrivals.EVEN: "evenly", Arrivals.POISSON: "at random times (Poisson)"}


def counted_in(*cases: CaseResult) -> Counted:
    """Return what cases are counted in: requests, messages over WebSocket, or both."""
    return counted(None if case.planned is None else case.planned.protocol for case in cases)


def counted_by(trials: Iterable[Trial]) -> Counted:
    """Return what trials are counted in."""
    return counted(trial.facts.case.protocol for trial in trials)


def load_in_words(case: Case) -> str:
    """Return what a load is: '40 connections, 5 s'; '500/s due evenly, 10 s'."""
    streams = f" of {case.streams} streams" if case.streams > 1 else ""
    if case.rate_per_s is not None:
        due = f"{rate(case.rate_per_s)}/s due {_ARRIVALS[Arrivals(case.arrivals)]}"
        return f"{due}, {length(case)}, up to {several(case.clients, 'connection', 'connections')}{streams}"
    return f"{several(case.clients, 'connection', 'connections')}{streams}, {length(case)}"


def length(case: Case) -> str:
    """Return how long a trial of a case is: '10 s', or '1,000 requests'."""
    if case.requests is not None:
        kind = counted([case.protocol])
        return several(case.requests, kind.one, kind.many)
    return f"{digits((case.duration_us or 0) / 1e6)} s"


def trials_in_words(case: CaseResult) -> str:
    """Return behind how many trials the numbers are: '3 trials', '2 of 3 trials'."""
    if case.used == case.trials:
        return several(case.trials, "trial", "trials")
    return f"{case.used} of {several(case.trials, 'trial', 'trials')}"


def circumstances(summary: Summary, trials: Sequence[Trial]) -> str:
    """Return how everything was measured: 'HTTP/1.1, closed loop, 2 agents on this machine, started within 0.8 ms'."""
    planned = [case.planned for case in summary.cases if case.planned is not None]
    planned = planned or list({trial.facts.case.target: trial.facts.case for trial in trials}.values())
    parts = [" and ".join(dict.fromkeys(_PROTOCOLS[Protocol(case.protocol)] for case in planned))]
    loops = [_LOOPS[Model(case.model)] for case in planned] if summary.cases else [_LOOPS[Model.OPEN]]
    parts.append(" and ".join(dict.fromkeys(loops)))
    agents = sorted({case.agents for case in planned})
    if agents:
        number = str(agents[0]) if len(agents) == 1 else f"{agents[0]}–{agents[-1]}"
        parts.append(f"{number} agent{'' if agents == [1] else 's'}{_where(trials)}")
    if services := list(dict.fromkeys(service.name for case in planned for service in case.services)):
        parts.append(f"with {'service' if len(services) == 1 else 'services'} {listed(services)}")
    skews = [case.start_skew_us for case in summary.cases if case.start_skew_us is not None]
    if skews:
        parts.append(f"started within {milliseconds(max(skews))}")
    bounds = [case.clock_bound_us for case in summary.cases if case.clock_bound_us is not None]
    if bounds and len(_hosts(trials)) > 1:
        parts.append(f"clocks known to ± {milliseconds(max(bounds))}")
    return ", ".join(part for part in parts if part)


def listed(names: Sequence[str]) -> str:
    """Return names as prose lists them: 'db and cache'."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _where(trials: Sequence[Trial]) -> str:
    load_hosts = {agent.agent.rpartition("/")[0] for trial in trials for agent in trial.facts.agents}
    if len(load_hosts) > 1:
        return f" on {len(load_hosts)} hosts"
    if len(_hosts(trials)) > 1 and load_hosts:
        return f" on host {next(iter(load_hosts))}"
    return " on this machine" if load_hosts and _local(trials) else ""


def _local(trials: Sequence[Trial]) -> bool:
    return any(trial.facts.shared_host for trial in trials) or _hosts(trials) <= {"local"}


def _hosts(trials: Sequence[Trial]) -> set[str]:
    return {use.host for trial in trials for use in trial.facts.hosts} | {
        clock.host for trial in trials for clock in trial.facts.clocks
    }
