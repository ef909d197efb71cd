"""A gateway in Flask: each request asks CALLS slow upstreams in parallel and adds their answers up.

urllib3 (what requests is made of) on threads: one pool of them for each worker process, so that no request waits
for another's calls.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import urllib3
from flask import Flask

CALLS = int(os.environ.get("CALLS", "3"))
THREADS = int(os.environ.get("THREADS", "32"))

app = Flask(__name__)


@cache
def upstreams() -> tuple[urllib3.PoolManager, ThreadPoolExecutor]:
    """Return the client and the threads of this process."""
    return urllib3.PoolManager(maxsize=CALLS * THREADS, timeout=30), ThreadPoolExecutor(CALLS * THREADS)


def ask(number: int) -> int:
    """Return the answer of one upstream."""
    answer = upstreams()[0].request("GET", f"{os.environ['UPSTREAM_URL']}/{number}")
    if answer.status != 200:
        raise RuntimeError(f"the upstream answered {answer.status}")
    return answer.json()["value"]


@app.get("/fan-out")
def fan_out() -> dict[str, int]:
    return {"calls": CALLS, "sum": sum(upstreams()[1].map(ask, range(1, CALLS + 1)))}
