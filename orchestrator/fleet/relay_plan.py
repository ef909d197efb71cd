"""Plan who sends the environment to whom: the coordinator to a few hosts, and these to the others. Pure logic.

A host that has the environment serves one other host at a time, so that the number of hosts that have it
doubles each round. What fails is left to the coordinator, which sends to such a host itself.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto

# With as many hosts, or fewer, the coordinator sends to each.
DIRECT_UP_TO = 8
# Hosts that the coordinator sends to at a time.
SEEDS = 4
# How many hosts a host serves, one after the other: 4 seeds reach 1,000 hosts in 8 rounds.
USES = 8
# Failed transfers in which a sender took part before it is left out.
STRIKES = 2
# Failures without any success after which hosts are taken to be unable to reach each other.
HOPELESS = 4


class From(Enum):
    """Who sends to a host, other than a host."""

    COORDINATOR = auto()
    """The coordinator does, and the host passes it on."""
    FALLBACK = auto()
    """The coordinator does, as if there were only this host."""


@dataclass(slots=True)
class _Sender:
    uses: int = USES
    strikes: int = 0


@dataclass(slots=True)
class RelayPlan:
    """The state of one distribution. Hosts are named; a host that failed is out of it."""

    _waiting: deque[str] = field(default_factory=deque)
    _idle: deque[str] = field(default_factory=deque)
    _senders: dict[str, _Sender] = field(default_factory=dict)
    _receiving: dict[str, str | From] = field(default_factory=dict)
    _seeded: int = 0
    _passed_on: int = 0
    _failures: int = 0

    @property
    def hopeless(self) -> bool:
        """Whether the hosts cannot reach each other, as far as was tried."""
        return not self._passed_on and self._failures >= HOPELESS

    def want(self, host: str) -> None:
        """Add a host that lacks the environment."""
        self._waiting.append(host)

    def cancel(self, host: str) -> None:
        """Remove a host that does not want the environment any more, or that is lost as a sender."""
        sender = self._receiving.pop(host, None)
        if isinstance(sender, str):
            self._release(sender)
        if host in self._waiting:
            self._waiting.remove(host)
        if host in self._idle:
            self._idle.remove(host)
        self._senders.pop(host, None)

    def assign(self) -> list[tuple[str, str | From]]:
        """Return transfers that can start now: the receiver and its sender."""
        started: list[tuple[str, str | From]] = []
        while self._waiting and (sender := self._sender()) is not None:
            receiver = self._waiting.popleft()
            if sender is not From.FALLBACK:
                self._receiving[receiver] = sender
            started.append((receiver, sender))
        return started

    def _sender(self) -> str | From | None:
        if self.hopeless:
            return From.FALLBACK
        if self._idle:
            return self._idle.popleft()
        busy = len(self._receiving)
        seeding = sum(sender is From.COORDINATOR for sender in self._receiving.values())
        # Further seeds only replace those that failed or that do not serve.
        if self._seeded + seeding < SEEDS or not (busy or self._senders):
            return From.COORDINATOR
        return None

    def received(self, host: str, serves: bool) -> None:
        """Record that a transfer succeeded. serves: the host can pass the environment on."""
        sender = self._receiving.pop(host)
        if isinstance(sender, From):
            self._seeded += 1
            # One of its own that does not serve says as much about the network as a transfer that fails.
            self._failures += not serves
        else:
            self._passed_on += 1
            self._release(sender)
        if serves:
            self._senders[host] = _Sender()
            self._idle.append(host)

    def failed(self, host: str, blame: bool) -> None:
        """Record that a transfer failed. blame: the sender alone is at fault, and does not send again."""
        sender = self._receiving.pop(host)
        self._failures += 1
        if isinstance(sender, str):
            if sender in self._senders:
                self._senders[sender].strikes += STRIKES if blame else 1
            self._release(sender)

    def _release(self, sender: str) -> None:
        state = self._senders.get(sender)
        if state is None:
            return
        state.uses -= 1
        if state.uses > 0 and state.strikes < STRIKES:
            self._idle.append(sender)
        else:
            del self._senders[sender]
