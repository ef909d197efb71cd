"""How far ahead T0 has to be for every host to learn it in time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from orchestrator.fleet.handles import LoadHandle
from orchestrator.fleet.hosts import at_once

# Telling T0 may take this many times as long as asking all hosts did.
TIMES = 3


def rows_of(loads: Sequence[LoadHandle]) -> int:
    """Return how many requests all agents have logged so far. All hosts are asked at once."""
    return sum(sum(progress.rows.values()) for progress in at_once(lambda load: load.progress(), loads))


def telling_ns(loads: Sequence[LoadHandle]) -> int:
    """Return how long telling all hosts something can take: TIMES what asking them all at once takes now.

    It grows with the number of hosts and with the round trip to the farthest. Raises HostLost.
    """
    began_ns = time.monotonic_ns()
    rows_of(loads)
    return TIMES * (time.monotonic_ns() - began_ns)
