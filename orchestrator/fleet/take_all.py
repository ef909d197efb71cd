"""Take several hosts together, each through its guard."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from agents.orders import Busy
from orchestrator.fleet.actors import Notify
from orchestrator.fleet.claims import POLL_S, Claim, Queue


class Claimed(Protocol):
    """A host's guard, as far as claiming the host goes."""

    host: str

    @property
    def busy(self) -> Busy | None:
        """Who has the host now; None when it is free."""

    async def take(self) -> bool:
        """Take the host; return whether it was free. Raises HostError when the guard is gone."""

    async def give_back(self) -> None:
        """Give the host back, and stay in the queue."""

    def require(self) -> None:
        """Raise HostError when the guard is gone."""


async def take_all(guards: Sequence[Claimed], claim: Claim, notify: Notify) -> None:
    """Take all hosts together, as soon as all are free. Raises HostError.

    A run that got only some of them gives them back: otherwise two runs could each hold what the other waits for. The
    queue has the same order on all hosts, so that the first in it gets them all.
    """
    queue = Queue(claim, notify)
    while True:
        for guard in guards:
            guard.require()
        busy = {guard.host: guard.busy for guard in guards}
        if not any(busy.values()):
            taken = await asyncio.gather(*(guard.take() for guard in guards))
            if all(taken):
                return
            given = [guard.give_back() for guard, is_taken in zip(guards, taken, strict=True) if is_taken]
            await asyncio.gather(*given)
            busy = {guard.host: guard.busy for guard in guards}
        queue.wait({host: each for host, each in busy.items() if each is not None} or _starting(guards))
        await asyncio.sleep(POLL_S)


def _starting(guards: Sequence[Claimed]) -> dict[str, Busy]:
    return {guards[0].host: Busy("another coordinator", "that starts now")}
