"""What a trial is made of, what it leaves, and what its steps share while it runs."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agents.destinations import Permitted
from orchestrator.facts import Traffic, TrialFacts
from orchestrator.fleet.handles import ServerHandle
from orchestrator.fleet.hosts import HostLost, Placed
from orchestrator.plan import TrialPlan
from orchestrator.run.commands import Around
from orchestrator.run.events import Say
from orchestrator.run.left import LoadsLeft
from orchestrator.run.services import TrialServices
from orchestrator.spec.loads import Load
from orchestrator.spec.target import Target

if TYPE_CHECKING:
    from agents.wire import AgentResult


@dataclass(frozen=True, slots=True)
class TrialInput:
    """What a trial is made of. image: None for a URL; folder: where the paths of the campaign begin.

    degrade: continue without load hosts and agents that are lost. services: those that the target needs.
    permitted: where a load on a URL may go, beside local addresses.
    """

    plan: TrialPlan
    target: Target
    load: Load
    image: str | None
    folder: Path
    run: str
    accepted_keys: list[str] = field(default_factory=list)
    ceilings_per_s: dict[str, float] = field(default_factory=dict)
    around: Around = field(default_factory=Around)
    idle_hosts: list[str] = field(default_factory=list)
    degrade: bool = False
    services: TrialServices = field(default_factory=TrialServices)
    permitted: Permitted = field(default_factory=Permitted)


@dataclass(frozen=True, slots=True)
class TrialOutput:
    """What a trial leaves: facts, each agent's result (decoded whenever it is read), the server's log.

    lost: the first host that was lost; the hosts have to be started again. service_logs: the log of each service.
    """

    facts: TrialFacts
    agents: Collection[AgentResult]
    server_log: bytes
    lost: HostLost | None = None
    service_logs: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Losses:
    """The hosts that were lost in one trial, each once, in order."""

    errors: list[HostLost] = field(default_factory=list)

    def note(self, error: HostLost) -> None:
        """Note a lost host, unless it is known."""
        if not error.host or error.host not in {known.host for known in self.errors}:
            self.errors.append(error)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the host that is lost inside, and continue."""
        try:
            yield
        except HostLost as error:
            self.note(error)

    @property
    def first(self) -> HostLost | None:
        """Return the first loss; None where no host was lost."""
        return self.errors[0] if self.errors else None


@dataclass(slots=True)
class Stages:
    """How long each stage of a trial takes, in µs, in the order in which the stages began."""

    lasted_us: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Time one stage; a stage that is entered again is added up."""
        began = time.monotonic_ns()
        try:
            yield
        finally:
            self.lasted_us[name] = self.lasted_us.get(name, 0) + (time.monotonic_ns() - began) // 1000


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """What the steps of one trial share. server: the host that runs the target, None for a URL.

    left: the load hosts that are not lost.
    """

    input: TrialInput
    traffic: Traffic
    placed: Placed
    server: ServerHandle | None
    stages: Stages
    say: Say
    losses: Losses = field(default_factory=Losses)
    left: LoadsLeft = field(init=False)

    def __post_init__(self) -> None:
        """Begin with all load hosts."""
        left = LoadsLeft(list(self.placed.loads), self.input.degrade, self.losses.note, self.say)
        object.__setattr__(self, "left", left)
