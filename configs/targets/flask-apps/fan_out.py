"""A gateway in Flask: each request asks CALLS slow upstreams in parallel and adds their answers up.

httpx on threads: one pool of threads for each worker process, large enough that no request waits for another's calls.
The FastAPI side uses httpx as well, so that the HTTP client is the same.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import httpx
from flask import Flask

CALLS = int(os.environ.get("CALLS", "3"))
THREADS = int(os.environ.get("THREADS", "32"))

app = Flask(__name__)


@cache
def upstreams() -> tuple[httpx.Client, ThreadPoolExecutor]:
    """Return the client and the threads of this process."""
    limits = httpx.Limits(max_connections=CALLS * THREADS, max_keepalive_connections=CALLS * THREADS)
    client = httpx.Client(base_url=os.environ["UPSTREAM_URL"], limits=limits, timeout=30)
    return client, ThreadPoolExecutor(CALLS * THREADS)


def ask(number: int) -> int:
    """Return the answer of one upstream."""
    answer = upstreams()[0].get(f"/{number}")
    answer.raise_for_status()
    return answer.json()["value"]


@app.get("/fan-out")
def fan_out() -> dict[str, int]:
    return {"calls": CALLS, "sum": sum(upstreams()[1].map(ask, range(1, CALLS + 1)))}
