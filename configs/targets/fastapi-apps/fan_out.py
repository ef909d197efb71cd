"""A gateway in FastAPI: each request asks CALLS slow upstreams in parallel and adds their answers up.

httpx's asynchronous client and asyncio.gather. The pool of connections has no limit: a coroutine that waits costs little.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

CALLS = int(os.environ.get("CALLS", "3"))

client: httpx.AsyncClient


@asynccontextmanager
async def connected(_: FastAPI) -> AsyncIterator[None]:
    """Hold the client of this process while it serves."""
    global client
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=os.environ["UPSTREAM_URL"], limits=limits, timeout=30) as client:
        yield


app = FastAPI(lifespan=connected, openapi_url=None)


async def ask(number: int) -> int:
    """Return the answer of one upstream."""
    answer = await client.get(f"/{number}")
    answer.raise_for_status()
    return answer.json()["value"]


@app.get("/fan-out")
async def fan_out() -> dict[str, int]:
    return {"calls": CALLS, "sum": sum(await asyncio.gather(*(ask(number) for number in range(1, CALLS + 1))))}
