"""How far ahead T0 has to be for every host to learn it in time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orchestrator.run.left import LoadsLeft

if TYPE_CHECKING:
    from agents.load_host import Progress

# Telling T0 may take this many times as long as asking all hosts did.
TIMES = 3


def progress_of(left: LoadsLeft) -> dict[str, Progress]:
    """Return by host how far its agents are. All hosts are asked at once. Raises HostLost."""
    found = left.each(lambda load: load.progress(), left.loads)
    return {load.host: found[id(load)] for load in left.loads}


def telling_ns(left: LoadsLeft) -> int:
    """Return how long telling all hosts something can take: TIMES what asking them all at once takes now.

    It grows with the number of hosts and with the round trip to the farthest. Raises HostLost.
    """
    began_ns = time.monotonic_ns()
    progress_of(left)
    return TIMES * (time.monotonic_ns() - began_ns)
