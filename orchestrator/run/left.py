"""The load hosts that are left of a trial, where the campaign lets it continue without those that were lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from agents.generators.contract import READY
from agents.records import AgentFacts, Assignment, Ended
from orchestrator.facts import Case, Degraded
from orchestrator.fleet.handles import LoadHandle, Pending, TrialHandle
from orchestrator.fleet.hosts import HostLost, at_once
from orchestrator.run.events import Event, Say

H = TypeVar("H", bound=TrialHandle)
B = TypeVar("B")
Shares = Mapping[str, Sequence[Assignment]]


@dataclass(slots=True)
class LoadsLeft:
    """The load hosts of a trial that are not lost. degrade: a lost host ends its own part only. note: called for each.

    lost: by host. agents: those whose generator died, and what each last printed. noticed_at_ns: when the first loss was
    noticed, on the coordinator's clock.
    """

    loads: list[LoadHandle]
    degrade: bool
    note: Callable[[HostLost], None]
    say: Say
    lost: dict[str, HostLost] = field(default_factory=dict)
    agents: dict[str, str] = field(default_factory=dict)
    noticed_at_ns: int | None = None

    def each(self, call: Callable[[H], B], hosts: Sequence[H]) -> dict[int, B]:
        """Call all hosts at the same time; return the results by the id of the handle, without those that are lost.

        Raises HostLost for a host that the trial cannot continue without, HostError for all that is not a loss.
        """
        if not self.degrade:
            return dict(zip(map(id, hosts), at_once(call, hosts), strict=True))

        def attempt(host: H) -> B | HostLost:
            try:
                return call(host)
            except HostLost as error:
                return error

        found: dict[int, B] = {}
        for host, outcome in zip(hosts, at_once(attempt, hosts), strict=True):
            if isinstance(outcome, HostLost):
                self.lose(host, outcome)
            else:
                found[id(host)] = outcome
        return found

    def first(self, call: Callable[[LoadHandle], B]) -> B:
        """Call the first load host that is left; if it is lost meanwhile, the next. Raises HostError as each() does."""
        while True:
            load = self.loads[0]
            try:
                return call(load)
            except HostLost as error:
                self.lose(load, error)

    def running(self, loads: Sequence[LoadHandle], wait_s: float, answer_s: float) -> list[LoadHandle]:
        """Wait up to wait_s for the agents of some hosts to end; return the hosts whose agents still run.

        answer_s: all hosts together have this long to answer. Raises HostError as each() does.
        """
        deadline = time.monotonic() + answer_s
        calls: list[tuple[LoadHandle, Pending[bool]]] = []
        for load in loads:
            with self._losing(load):
                calls.append((load, load.wait(wait_s)))
        still = []
        for load, call in calls:
            with self._losing(load):
                if not call.result(max(0.0, deadline - time.monotonic())):
                    still.append(load)
        return still

    @contextmanager
    def _losing(self, load: LoadHandle) -> Iterator[None]:
        try:
            yield
        except HostLost as error:
            self.lose(load, error)

    def lose(self, host: TrialHandle, error: HostLost) -> None:
        """Continue without a load host. Raises its error where the trial cannot: the server's host, the last one."""
        if not self.degrade or all(load is not host for load in self.loads) or len(self.loads) == 1:
            raise error
        self.loads = [load for load in self.loads if load is not host]
        self.lost[host.host] = error
        self.note(error)
        self._notice(time.time_ns())
        left = f"{len(self.loads)} load host{'s' * (len(self.loads) != 1)}"
        self.say(Event("host-lost", f"  {error.message}; the trial continues with {left}", {"host": host.host}))

    def lose_agents(self, agents: Sequence[AgentFacts]) -> None:
        """Continue without those of the agents whose generator died, unless none would be left.

        They died after their last request, on the coordinator's clock.
        """
        died = [agent for agent in agents if agent.ended == Ended.DIED]
        if not self.degrade or not died or len(died) == len(agents):
            return
        self.agents = {agent.agent: _last_line(agent.output) for agent in died}
        self._notice(min(agent.last_end_us * 1000 for agent in died))

    def degraded(self, case: Case, shares: Shares, t0_ns: int | None) -> Degraded | None:
        """Return what the trial has lost; None where all agents are left. case: as planned."""
        gone = [each.agent for host in self.lost for each in shares.get(host, [])]
        gone += [agent for agent in self.agents if agent not in gone]
        if not gone:
            return None
        after_us = None
        if t0_ns is not None and self.noticed_at_ns is not None and self.noticed_at_ns > t0_ns:
            after_us = (self.noticed_at_ns - t0_ns) // 1000
        why = [error.message for error in self.lost.values()]
        why += [f"load agent {agent} died" + (f": {said}" if said else "") for agent, said in self.agents.items()]
        return Degraded(case, gone, lost_share(case, shares, gone), after_us, why)

    def _notice(self, at_ns: int) -> None:
        self.noticed_at_ns = at_ns if self.noticed_at_ns is None else min(at_ns, self.noticed_at_ns)


def _last_line(output: str) -> str:
    """Return what a generator printed last, except that it was ready: that is the contract's."""
    lines = [line.strip() for line in output.splitlines() if line.strip() not in ("", READY)]
    return lines[-1][:120] if lines else ""


def driven(case: Case, shares: Shares, gone: Sequence[str]) -> Case:
    """Return the case that the agents that are left drive: their clients, requests and rate."""
    left = [each for host in shares.values() for each in host if each.agent not in gone]
    planned = sum(len(host) for host in shares.values())
    return replace(
        case,
        agents=len(left),
        clients=sum(each.clients for each in left),
        requests=None if case.requests is None else sum(each.count or 0 for each in left),
        rate_per_s=None if case.rate_per_s is None else case.rate_per_s * len(left) / planned,
    )


def lost_share(case: Case, shares: Shares, gone: Sequence[str]) -> float:
    """Return the share of the load that was lost: of its rate, its requests or its clients."""
    left = driven(case, shares, gone)
    if case.rate_per_s is not None and left.rate_per_s is not None:
        return 1 - left.rate_per_s / case.rate_per_s
    if case.requests is not None and left.requests is not None:
        return 1 - left.requests / case.requests
    return 1 - left.clients / case.clients
