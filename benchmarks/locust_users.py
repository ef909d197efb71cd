"""The users that Locust runs for benchmarks/generators.py: one GET each, paced by constant_throughput.

Locust starts users in batches. Here each waits for its own instant, 1/rate after the one before, so that all together ask
for an even stream: more than Locust does by itself.
"""

from __future__ import annotations

import os
from itertools import count
from time import perf_counter

import gevent
from locust import FastHttpUser, constant_throughput, task

RATE_PER_S = float(os.environ["BENCH_RATE_PER_S"])
USERS = int(os.environ["BENCH_USERS"])
# Creating a user takes about this long.
EACH_S = 0.001
_numbers = count()
_first_s: list[float] = []


class Visitor(FastHttpUser):
    """One connection."""

    wait_time = constant_throughput(RATE_PER_S / USERS)

    def on_start(self) -> None:
        """Wait for this user's instant."""
        number = next(_numbers)
        if number == 0:
            _first_s.append(perf_counter() + 0.1 + USERS * EACH_S)
        gevent.sleep(max(0.0, _first_s[0] + number / RATE_PER_S - perf_counter()))
        if number == 0:
            print("begun", flush=True)

    @task
    def index(self) -> None:
        """Ask for the root."""
        self.client.get("/")
