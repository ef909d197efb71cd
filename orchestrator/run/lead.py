"""How far ahead T0 has to be for every host to learn it in time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.fleet.handles import LoadHandle
from orchestrator.fleet.hosts import at_once

if TYPE_CHECKING:
    from agents.load_host import Progress

# Telling T0 may take this many times as long as asking all hosts did.
TIMES = 3


def progress_of(loads: Sequence[LoadHandle]) -> dict[str, Progress]:
    """Return by host how far its agents are. All hosts are asked at once. Raises HostLost."""
    return dict(zip((load.host for load in loads), at_once(lambda load: load.progress(), loads), strict=True))


def telling_ns(loads: Sequence[LoadHandle]) -> int:
    """Return how long telling all hosts something can take: TIMES what asking them all at once takes now.

    It grows with the number of hosts and with the round trip to the farthest. Raises HostLost.
    """
    began_ns = time.monotonic_ns()
    progress_of(loads)
    return TIMES * (time.monotonic_ns() - began_ns)
