"""The users that Locust runs for benchmarks/overhead.py: each sends one GET after the other, as fast as it can.

Prints one JSON document at the end: requests, and seconds and CPU seconds since all users are there. What Locust needs to
start is not counted.
"""

from __future__ import annotations

import json
import resource
from time import perf_counter
from typing import Any

from locust import FastHttpUser, events, task

_began: list[tuple[float, float]] = []
_count = [0]


def _cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@events.spawning_complete.add_listener
def _begin(**_: Any) -> None:
    _count[0] = 0
    _began.append((perf_counter(), _cpu_s()))


@events.test_stopping.add_listener
def _end(**_: Any) -> None:
    began, cpu_s = _began[-1]
    plain = {"requests": _count[0], "seconds": perf_counter() - began, "cpu_s": _cpu_s() - cpu_s}
    print(json.dumps(plain), flush=True)


class Visitor(FastHttpUser):
    """One connection."""

    @task
    def index(self) -> None:
        """Ask for the root."""
        if self.client.get("/").status_code == 200:
            _count[0] += 1
