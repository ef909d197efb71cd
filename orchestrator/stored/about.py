"""What a run was, beside its numbers: when and where it ran, from which commit, and how long its cases took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.facts import Environment
from orchestrator.result import Trial
from orchestrator.stored.layout import started_at
from orchestrator.stored.reading import read_environment, read_plan


@dataclass(frozen=True, slots=True)
class About:
    """What a page for CI says about a run.

    commit: of the repository that holds the campaign file. took_s: by case, all its trials together.
    """

    started: datetime
    commit: str | None = None
    file: str | None = None
    hosts: list[str] = field(default_factory=list)
    took_s: dict[str, float] = field(default_factory=dict)


def about(run: Path, trials: Sequence[Trial]) -> About:
    """Return what is known about a run. Raises StoredRunError."""
    origin = read_plan(run).origin
    took_s: dict[str, float] = {}
    for trial in trials:
        name = trial.facts.case.name
        took_s[name] = took_s.get(name, 0.0) + sum(trial.facts.stages_us.values()) / 1e6
    return About(
        started=started_at(run) or _first(trials),
        commit=None if origin is None else origin.commit,
        file=None if origin is None else Path(origin.file).name,
        hosts=_hosts(read_environment(run)),
        took_s=took_s,
    )


def _first(trials: Sequence[Trial]) -> datetime:
    """Return when the first trial began; the epoch without trials."""
    return datetime.fromtimestamp(min((t.facts.started_at_ns for t in trials), default=0) / 1e9, UTC)


def _hosts(environment: Environment | None) -> list[str]:
    """Return each host with its roles and cores: 'web1 (server, 8 cores)'."""
    if environment is None:
        return []
    roles: dict[str, list[str]] = {}
    cores: dict[str, int] = {}
    for host in environment.hosts:
        roles.setdefault(host.host, []).append(str(host.role))
        cores[host.host] = len(host.cores)
    return [f"{name} ({_listed(list(dict.fromkeys(own)))}, {_cores(cores[name])})" for name, own in roles.items()]


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"
